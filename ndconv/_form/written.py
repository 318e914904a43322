"""A convolution as a user would write it, and as the address of a page: the way back from its integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ndconv._form.geometry import Convolution, Ints, Pairs

PAGE = "try.html"
"""The page of the docs that shows the convolution of its address."""
USUAL: dict[str, Any] = {
    "transposed": False, "input": (), "out_channels": 1, "kernel_size": (), "stride": 1, "padding": 0,
    "output_padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros",
    "lowering": "auto", "dtype": "float32", "profile": "avx2",
}  # fmt: skip
"""The arguments that an address may name, in this order, with their defaults."""


def written(
    convolution: Convolution, transposed: bool, input_shape: Sequence[int], weight_shape: Sequence[int]
) -> dict[str, Any]:
    """Arguments that make this convolution, one number where all axes have the same.

    Args:
        convolution: The convolution, or the one whose input gradient the transposed convolution is.
        transposed: Whether to write a transposed convolution.
        input_shape: ``(n, channels, *space)``.
        weight_shape: As torch lays it out.

    Returns:
        The arguments by name.

    Example:
        >>> from ndconv._form.geometry import Geometry
        >>> geometry = Geometry(kernel=(3,), stride=(2,), padding=((1, 0),), dilation=(1,))
        >>> found = written(Convolution.of(geometry, (14,), ((1, 1),), "zeros"), True, (1, 8, 7), (8, 4, 3))
        >>> found["kernel_size"], found["stride"], found["padding"], found["output_padding"]
        (3, 2, 1, 1)
    """
    geometry = convolution.geometry
    sides, extra = convolution.border, (0,) * geometry.ndim
    if convolution.mode == "zeros":
        sides = geometry.padding
        if transposed:
            sides, extra = _without_negative(sides, geometry.stride, geometry.dilation)
    elif transposed:
        extra = tuple(-hi for _, hi in geometry.padding)
    return {
        "transposed": transposed,
        "input": tuple(input_shape),
        "out_channels": weight_shape[1] * geometry.groups if transposed else weight_shape[0],
        "kernel_size": _short(geometry.kernel),
        "stride": _short(geometry.stride),
        "padding": _short(tuple(lo for lo, _ in sides)) if all(lo == hi for lo, hi in sides) else sides,
        "output_padding": _short(extra),
        "dilation": _short(geometry.dilation),
        "groups": geometry.groups,
        "padding_mode": convolution.mode,
    }


def _without_negative(sides: Pairs, stride: Ints, dilation: Ints) -> tuple[Pairs, Ints]:
    """Padding without negative amounts, alike on both sides where possible, and the output padding that it needs."""
    found, extra = [], []
    for (lo, hi), s, d in zip(sides, stride, dilation, strict=True):
        more = lo - hi if 0 <= lo - hi < max(s, d) else max(0, -hi)
        found.append((lo, hi + more))
        extra.append(more)
    return tuple(found), tuple(extra)


def _short(axes: Ints) -> int | Ints:
    return axes[0] if len(set(axes)) == 1 else axes


def address(arguments: Mapping[str, Any]) -> str:
    """The page's address with these arguments, defaults left out; the docs' ``answers.state.read`` is the way back.

    Example:
        >>> address({"input": (8, 3, 32, 32), "out_channels": 64, "kernel_size": 3, "padding": ((1, 2), (0, 0))})
        'try.html#input=8,3,32,32&out_channels=64&kernel_size=3&padding=(1,2),(0,0)'
    """
    named = ((name, arguments[name]) for name in USUAL if name in arguments)
    return f"{PAGE}#" + "&".join(f"{name}={as_text(value)}" for name, value in named if value != USUAL[name])


def as_text(value: Any) -> str:
    """A value as Python writes it, without outer brackets, blanks and quotes."""
    if isinstance(value, tuple):
        inner = ",".join(f"({as_text(each)})" if isinstance(each, tuple) else str(each) for each in value)
        return inner if len(value) != 1 else f"({inner},)"
    return quote(str(value), safe="+-.")
