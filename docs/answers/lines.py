"""The same convolution and its gradients in one line each: of the library, and of torch where torch has it.

Names are those of the programs: ``x`` and ``y`` are input and output, of a transposed convolution output and input.
"""

from __future__ import annotations

from typing import Any

from docs.answers.layer import Layer, name_of
from ndconv._form.written import USUAL, as_text

_ORDER = "stride", "padding", "output_padding", "dilation", "groups", "padding_mode"


def lines(layer: Layer) -> dict[str, str]:
    """Lines of the input, ``w`` and the result's gradient ``g``, by library."""
    given = {name: layer.typed[name] for name in _ORDER if layer.transposed or name != "output_padding"}
    found = {"ndconv": _lines("ndconv", layer, given)}
    if (theirs := _as_torch_has_it(layer, given)) is not None:
        found["torch"] = _lines("torch", layer, theirs)
    return {library: "\n".join(each) for library, each in found.items()}


def _lines(library: str, layer: Layer, arguments: dict[str, Any]) -> list[str]:
    nn, torchs = ("torch.nn", True) if library == "torch" else ("ndconv", False)
    ndim, transposed = layer.ndim, layer.transposed
    source, result = "yx" if transposed else "xy"
    channels = layer.input_shape[1], layer.typed["out_channels"], layer.typed["kernel_size"]
    own = ", ".join([*([str(ndim)] if ndim > 3 else []), *map(_shown, channels)])
    written = _keywords(arguments)
    module = f"{nn}.{name_of('Conv', ndim, transposed)}({own}{written}, bias=False)"
    function, mode = name_of("conv", ndim, transposed), torchs and arguments["padding_mode"] != "zeros"
    if mode:  # which torch has for modules only
        call = f"torch.func.functional_call({module}, {{'weight': w}}, {source})"
    else:
        call = f"{nn}.functional.{function}({source}, w{_keywords(arguments, module=False, zeros=torchs)})"
    if torchs and (transposed or mode or isinstance(arguments["padding"], str)):
        gradients = [
            f"{name} = torch.autograd.grad({call}, {of}, g)[0]" for name, of in ((f"d{source}", source), ("dw", "w"))
        ]
    else:
        further = _keywords(arguments, module=False, zeros=torchs)
        gradients = [
            f"d{source} = {nn}.grad.{function}_input({source}.shape, w, g{further})",
            f"dw = {nn}.grad.{function}_weight({source}, w.shape, g{further})",
        ]
    return [f"layer = {module}", f"{result} = {call}", *gradients]


def _keywords(arguments: dict[str, Any], *, module: bool = True, zeros: bool = False) -> str:
    named = (
        (name, value) for name, value in arguments.items() if not (zeros and name == "padding_mode" and not module)
    )
    return "".join(f", {name}={_shown(value)}" for name, value in named if value != USUAL[name])


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return repr(value)
    return f"({as_text(value)})".replace(",", ", ").replace(", )", ",)") if isinstance(value, tuple) else str(value)


def _as_torch_has_it(layer: Layer, given: dict[str, Any]) -> dict[str, Any] | None:
    """Arguments that torch's functions take for it; None where it has none."""
    padding, mode = given["padding"], given["padding_mode"]
    if layer.ndim > 3 or (layer.transposed and (mode != "zeros" or isinstance(padding, str))):
        return None
    strides = given["stride"] if isinstance(given["stride"], tuple) else (given["stride"],)
    if padding == "causal" or (padding == "same" and any(stride != 1 for stride in strides)):
        return None
    if isinstance(padding, tuple) and any(isinstance(each, tuple) for each in padding):
        sides = [each if isinstance(each, tuple) else (each, each) for each in padding]
        if any(lo != hi for lo, hi in sides):
            return None
        return {**given, "padding": tuple(lo for lo, _ in sides)}
    return given
