"""The page's form and answers, as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from docs.answers.axis import Axis, alike, axes_of
from docs.answers.layer import Layer
from docs.answers.lines import lines
from docs.answers.pattern import named, pictures
from docs.answers.state import CHOICES, PRESETS, read, values
from ndconv._form.written import USUAL, address, as_text
from ndconv._lowerings import LOWERINGS
from ndconv._planner.plans import SlotPlan, in_bytes, in_units

_LABELS = {
    "transposed": "operation", "input": "input shape", "out_channels": "out channels", "kernel_size": "kernel size",
    "output_padding": "output padding", "padding_mode": "padding mode", "profile": "machine",
}  # fmt: skip
_HINTS = {
    "input": "batch, channels, then one number per axis",
    "padding": "a number, one per axis, (lo, hi) pairs, or 'same', 'valid', 'causal'",
}
_WORDS = {"False": "convolution", "True": "transposed"}
DEFAULT = next(iter(PRESETS.values()))


def answer(texts: Mapping[str, str]) -> dict[str, str]:
    """The answer to what was typed in.

    Args:
        texts: Text of every field by name.

    Returns:
        ``html`` and ``said``, one line with the result, or ``error``, the library's own message; and ``address``, if
        what was typed has one.
    """
    found: dict[str, str] = {}
    try:
        typed = values(texts)
        found["address"] = address(typed)
        layer = Layer.of(typed)
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        return {**found, "error": str(error)}
    return {**found, "html": answered(layer), "said": _result(layer)}


def texts(fragment: str) -> dict[str, str]:
    """Text of every field, by the part of an address behind the ``#``."""
    return {name: as_text(value) if isinstance(value, tuple) else str(value) for name, value in read(fragment).items()}


def form(fragment: str = DEFAULT) -> str:
    """All fields, filled in."""
    presets = "".join(f'<option value="{escape(each)}">{escape(name)}</option>' for name, each in PRESETS.items())
    fields = "".join(_field(name, text) for name, text in texts(fragment).items())
    return (
        '<form id="try-form" autocomplete="off"><p><label for="try-preset">start from</label> '
        f'<select id="try-preset">{presets}<option value="">what is below</option></select></p>'
        f'<div class="fields">{fields}</div></form>'
    )


def _field(name: str, text: str) -> str:
    label = _LABELS.get(name, name)
    if name in CHOICES:
        options = "".join(
            f'<option value="{each}"{" selected" * (each == text)}>{_WORDS.get(each, each)}</option>'
            for each in CHOICES[name]
        )
        control = f'<select id="try-{name}" name="{name}">{options}</select>'
    else:
        hint = f' title="{escape(_HINTS[name])}"' if name in _HINTS else ""
        control = (
            f'<input id="try-{name}" name="{name}" value="{escape(text)}" spellcheck="false" '
            f'placeholder="{escape(as_text(USUAL[name]))}"{hint}>'
        )
    return f'<div class="field"><label for="try-{name}">{label}</label>{control}</div>'


def _result(layer: Layer) -> str:
    return f"{layer.input_shape} * {layer.weight_shape} -> {layer.output_shape}"


def answered(layer: Layer) -> str:
    """Everything that the page shows of a layer."""
    axes = axes_of(layer)
    parts = (
        ("Sizes", _sizes(layer, axes)),
        ("What meets what", _ties(layer, axes)),
        ("The three einsums", _equations(layer)),
        ("What it takes", _costs(layer)),
        ("The programs", _programs(layer)),
        ("In one line", _lines(layer)),
    )
    return "".join(f"<section><h2>{title}</h2>{body}</section>" for title, body in parts)


def _sizes(layer: Layer, axes: list[Axis]) -> str:
    items = "".join(
        f"<li>{named(numbers)}: <code>{axis.arithmetic(layer.transposed)}</code>{_left_out(axis, layer)}</li>"
        for axis, numbers in alike(axes).items()
    )
    return f'<p class="result"><code>{_result(layer)}</code></p><ul>{items}</ul>'


def _left_out(axis: Axis, layer: Layer) -> str:
    """Which elements are padding, and which no window reads."""
    behind, between = axis.unread() or (0, 0)
    if layer.transposed:
        said = [f"{axis.lo} before and {axis.hi} behind are cut off"] if axis.lo or axis.hi else []
        said += [f"nothing is written to {behind + between} of the result"] if behind + between else []
    else:
        mode = layer.typed["padding_mode"]
        filled = mode if mode == "zeros" else f"a {mode} border"
        said = [f"padded by {axis.lo} before and {axis.hi} behind, with {filled}"] if axis.lo or axis.hi else []
        said += [f"no window reads the last {behind}"] if behind else []
        said += [f"nor {between} between" if behind else f"no window reads {between} between"] if between else []
    return f"<br>{'; '.join(said)}" if said else ""


def _ties(layer: Layer, axes: list[Axis]) -> str:
    dashed = "cut off" if layer.transposed else "padding"
    return (
        "<p>Along each axis <code>i = S*o + D*k - lo</code>, and that is all. A row is an element o, a column an "
        "element i, the number in the cell the kernel element k that ties the two. Point at a cell to see its ties, or "
        "go there by the tab key and on by the arrows. "
        f"Cells with a dashed edge are {dashed}.</p>{pictures(axes, layer.transposed)}"
    )


def _equations(layer: Layer) -> str:
    rows = "".join(
        f"<tr><th scope=row>{title}</th><td><code>{plan.equation}</code></td></tr>"
        for title, plan in layer.plans.items()
    )
    words = "The convolution's input enters as its windows, with a letter for each output axis and each kernel axis."
    return f'<div class="scrolls"><table>{rows}</table></div><p>{words}</p>'


def _costs(layer: Layer) -> str:
    return "".join(_cost(title, plan, layer) for title, plan in layer.plans.items())


def _cost(title: str, plan: SlotPlan, layer: Layer) -> str:
    choice, rows = plan.choice, []
    taken = choice.costs[choice.name].nanoseconds
    for name in sorted(choice.costs, key=lambda name: choice.costs[name].nanoseconds):
        if not LOWERINGS[name].compared:
            continue
        cost = choice.costs[name]
        cells = (
            in_units(cost.multiply_adds),
            in_bytes(cost.bytes_moved),
            in_bytes(cost.workspace),
            f"{cost.nanoseconds / taken:.3g}",
        )
        note = "runs" if name == choice.name else "not exact" if not LOWERINGS[name].exact else ""
        data = "".join(f"<td>{each}</td>" for each in (*cells, note))
        rows.append(f"<tr{' class=taken' * (name == choice.name)}><th scope=row>{name}</th>{data}</tr>")
    rows += [
        f"<tr class=refused><th scope=row>{name}</th><td colspan=5>{escape(why)}</td></tr>"
        for name, why in choice.refusals.items()
        if LOWERINGS[name].compared
    ]
    head = "".join(
        f"<th scope=col>{each}</th>" for each in ("", "multiply-adds", "bytes moved", "workspace", "relative time", "")
    )
    wanted = layer.typed["lowering"]
    fell = "" if wanted in ("auto", choice.name) else f", as {wanted} does not apply"
    return (
        f'<div class="scrolls"><table class="costs"><caption>{title}: <b>{choice.name}</b>{fell}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _programs(layer: Layer) -> str:
    words = ["Each is what runs for contiguous operands of these sizes, and needs torch alone."]
    if layer.transposed:
        words.append("<code>y</code> is the input, <code>x</code> the output or its gradient.")
    if layer.convolution.mode != "zeros":
        mode, framed = layer.typed["padding_mode"], layer.convolution.framed_size
        words.append(f"<code>x</code> has its {mode} border, and so has its gradient: <code>{framed}</code>.")
    programs = "".join(_code(title, plan.source.rstrip()) for title, plan in layer.plans.items())
    return f"<p>{' '.join(words)}</p>{programs}"


def _lines(layer: Layer) -> str:
    found = lines(layer)
    absent = "" if "torch" in found else "<p>torch has no function for it.</p>"
    return "".join(_code(library, text) for library, text in found.items()) + absent


def _code(title: str, text: str) -> str:
    body = "\n".join(_dimmed(line) for line in text.splitlines())
    return (
        f'<div class="program"><div class="bar"><span>{title}</span><button type="button" class="copy" '
        f'aria-label="copy {title}">copy</button></div><pre tabindex="0" data-title="{title}">{body}</pre></div>'
    )


def _dimmed(line: str) -> str:
    code, sign, comment = line.partition("#")
    return escape(code, quote=False) + (f'<span class="comment">#{escape(comment, quote=False)}</span>' if sign else "")


def markdown(facts: Mapping[str, str]) -> str:
    """The part of the page that is made when the site is built: form, first answer, and what it runs on.

    Args:
        facts: ``ndconv``, ``pyodide`` and ``license``.
    """
    first = answer(texts(DEFAULT))
    runs = (
        f"Runs ndconv {facts['ndconv']} in Pyodide {facts['pyodide']}, which is CPython for browsers under the "
        f"{facts['license']} licence. All of it comes from this site."
    )
    status = "Python is being loaded, 14 MB the first time. Until then, the answer for the first preset."
    html = (
        f'<link rel="stylesheet" href="_static/try.css">{form()}<p id="try-status" role="status">{status}</p>'
        f'<div id="try-answer">{first["html"]}</div><p><small>{runs}</small></p>'
        '<script type="module" src="_static/try.js"></script>'
    )
    return f"```{{raw}} html\n{html}\n```\n"
