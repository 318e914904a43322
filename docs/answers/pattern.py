"""The ties of an axis as a picture: kernel, input, output, and which elements of the three belong together."""

from __future__ import annotations

from collections.abc import Iterable

from docs.answers.axis import Axis, alike

_CELL, _GAP, _MARGIN = 20, 12, 64
_MOST = 40
"""Columns beyond which a picture ends."""


def picture(axis: Axis, transposed: bool, title: str) -> str:
    """An SVG of rows o and columns i, with the kernel element k in each cell that ties the two.

    Every cell says by ``data-i``, ``data-o`` and ``data-k`` what it is, so that the page can show what it is tied to.
    """
    drawn = axis.shortened()
    first = min(0, -drawn.lo)
    last = max(drawn.size, drawn.position(drawn.windows - 1, drawn.kernel - 1) + 1)
    shown = min(last, first + _MOST)
    columns, kernel = range(first, shown), range(min(drawn.kernel, _MOST))
    # No more kernel elements than there are columns can be drawn.
    ties = [
        (drawn.position(o, k), o, k)
        for o in range(drawn.windows)
        for k in range(min(drawn.kernel, _MOST))
        if drawn.position(o, k) in columns
    ]
    met: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
    for tie in ties:
        for name, index in zip("iok", tie, strict=True):
            met.setdefault((name, index), []).append(tie)

    x, y = ("output", "input") if transposed else ("input", "output")
    left, top = _MARGIN + _CELL + _GAP, 24
    row_i = top + 2 * _CELL + _GAP
    grid = row_i + _CELL + _GAP
    parts = [
        _label(0, top + _CELL / 2, "kernel k"),
        _label(0, row_i + _CELL / 2, f"{x} i"),
        _label(0, grid - 4, f"{y} o"),
    ]
    for k in kernel:
        parts.append(_cell(left + k * _CELL, top, "k", k, drawn, met, shade=True))
    for i in columns:
        parts.append(_cell(left + (i - first) * _CELL, row_i, "i", i, drawn, met))
    for o in range(drawn.windows):
        parts.append(_cell(_MARGIN, grid + o * _CELL, "o", o, drawn, met))
    parts += [
        f'<g class="tie" data-i="{i}" data-o="{o}" data-k="{k}"><rect x="{left + (i - first) * _CELL}" '
        f'y="{grid + o * _CELL}" width="{_CELL}" height="{_CELL}" fill-opacity="{_shade(k, drawn.kernel)}"/>'
        f"{_number(left + (i - first) * _CELL, grid + o * _CELL, k)}<title>i = {i}, o = {o}, k = {k}</title></g>"
        for i, o, k in ties
    ]
    cut = f", the first {len(columns)} of them" if shown < last else ""
    if cut:
        parts.append(_label(left + len(columns) * _CELL + 4, row_i + _CELL / 2, "..."))
    width = left + max(len(columns), len(kernel)) * _CELL + 28
    height = grid + drawn.windows * _CELL + 8
    return (
        f'<figure class="pattern"><figcaption>{title}{_said(axis, drawn, x)}{cut}</figcaption><div class="scrolls">'
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="group" '
        f'aria-label="{title}: {x} element i meets {y} element o by kernel element k">{"".join(parts)}</svg>'
        "</div></figure>"
    )


def _said(axis: Axis, drawn: Axis, x: str) -> str:
    if drawn == axis:
        return ""
    return f", drawn with {drawn.size} instead of {axis.size} elements of the {x}"


def _cell(
    x: int, y: int, name: str, index: int, axis: Axis, met: dict[tuple[str, int], list[tuple[int, int, int]]],
    *, shade: bool = False,
) -> str:  # fmt: skip
    """A cell of one of the three, which says what it is tied to; the tab key reaches the first, arrows the others."""
    padded, first = name == "i" and not 0 <= index < axis.size, min(0, -axis.lo) if name == "i" else 0
    ties = met.get((name, index), [])
    kind = "padded" if padded else "" if ties else "unread"
    fill = f' fill-opacity="{_shade(index, axis.kernel)}"' if shade else ""
    words = f"{'outside, ' * padded}{name} = {index}: {_ties(name, ties)}"
    return (
        f'<g class="cell {kind}" data-{name}="{index}" tabindex="{-(index != first)}" '
        f'role="img" aria-label="{words}"><title>{words}</title>'
        f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}"{fill}/>{_number(x, y, index)}</g>'
    )


def _ties(name: str, ties: list[tuple[int, int, int]]) -> str:
    if not ties:
        return "nothing"
    others = [position for position, each in enumerate("iok") if each != name]
    pairs = [", ".join(f"{'iok'[position]} {tie[position]}" for position in others) for tie in ties]
    return "; ".join(pairs)


def _shade(k: int, kernel: int) -> str:
    return f"{0.2 + 0.55 * k / max(1, kernel - 1):.2f}"


def _number(x: float, y: float, number: int) -> str:
    long = ' class="long"' if len(str(number)) > 3 else ""
    return f'<text{long} x="{x + _CELL / 2}" y="{y + _CELL / 2}">{number}</text>'


def _label(x: float, y: float, words: str) -> str:
    return f'<text class="label" x="{x}" y="{y}">{words}</text>'


def pictures(axes: Iterable[Axis], transposed: bool) -> str:
    """A picture of every axis; those that are alike share one."""
    return "".join(picture(axis, transposed, named(numbers)) for axis, numbers in alike(axes).items())


def named(numbers: list[int]) -> str:
    """Axes by number.

    Example:
        >>> named([1]), named([0, 1, 2])
        ('Axis 1', 'Axes 0, 1 and 2')
    """
    *others, last = map(str, numbers)
    return f"Axes {', '.join(others)} and {last}" if others else f"Axis {last}"
