"""Borders that repeat elements of the tensor they surround, and the adjoint that adds a border back.

`torch.nn.functional.pad` has these modes for three axes at most, and its gradient may use atomic additions. Here axes
are treated one at a time, by slices: for any number of axes, and with a fixed order in every sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ndconv._form.geometry import Pairs
from ndconv._form.partition import Side


def _sides(size: int, lo: int, hi: int, mode: str) -> tuple[Side, Side]:
    """The border of a whole axis."""
    if mode == "circular":
        low, high = (size - lo, lo), (0, hi)
    elif mode == "replicate":
        low, high = (0, 1), (size - 1, 1)
    else:
        low, high = (1, lo), (size - 1 - hi, hi)
    return Side(*low, lo), Side(*high, hi)


def extend(tensor: Tensor, border: Pairs, mode: str) -> Tensor:
    """Surround the last ``len(border)`` axes.

    Args:
        tensor: ``(..., *I)``.
        border: ``(lo, hi)`` per axis.
        mode: ``"reflect"`` (mirrored at the outermost element, which is not repeated), ``"replicate"`` (the outermost
            element) or ``"circular"`` (the other end).

    Returns:
        Tensor of shape ``(..., *(lo + I + hi))``.

    Example:
        >>> x = torch.tensor([1, 2, 3, 4])
        >>> [extend(x, ((2, 1),), mode).tolist() for mode in ("reflect", "replicate", "circular")]
        [[3, 2, 1, 2, 3, 4, 3], [1, 1, 1, 2, 3, 4, 4], [3, 4, 1, 2, 3, 4, 1]]
    """
    for axis, sides in enumerate(border, start=tensor.dim() - len(border)):
        tensor = extend_axis(tensor, axis, _sides(tensor.shape[axis], *sides, mode), mode)
    return tensor


def extend_axis(tensor: Tensor, axis: int, border: tuple[Side, Side], mode: str, kept: range | None = None) -> Tensor:
    """Put a border around the rows at hand, or around those ``kept``. It may show any of the rows at hand."""
    core = tensor if kept is None else tensor.narrow(axis, kept.start, len(kept))
    if not any(side.size for side in border):
        return core
    sides = []
    for start, length, count in border:
        side = tensor.narrow(axis, start, length if count else 0)
        if mode == "reflect":
            side = side.flip(axis)
        elif mode == "replicate":
            side = side.expand([count if i == axis else -1 for i in range(tensor.dim())]) if count else side
        sides.append(side)
    return torch.cat([sides[0], core, sides[1]], axis)


def retract(tensor: Tensor, border: Pairs, mode: str) -> Tensor:
    """Adjoint of `extend`: add every element of the border to the element that it showed.

    Args:
        tensor: ``(..., *(lo + I + hi))``.
        border: ``(lo, hi)`` per axis.
        mode: As in `extend`.

    Returns:
        Tensor of shape ``(..., *I)``.

    Example:
        >>> retract(torch.tensor([1, 10, 100, 100, 100, 1000]), ((2, 1),), "circular").tolist()
        [1100, 101, 110]
    """
    for axis, (lo, hi) in enumerate(border, start=tensor.dim() - len(border)):
        tensor = retract_axis(tensor, axis, _sides(tensor.shape[axis] - lo - hi, lo, hi, mode), mode)
    return tensor


def retract_axis(tensor: Tensor, axis: int, border: tuple[Side, Side], mode: str) -> Tensor:
    """Adjoint of `extend_axis` where all rows at hand are kept."""
    low, high = (side.size for side in border)
    if not (low or high):
        return tensor
    size = tensor.shape[axis] - low - high
    core = tensor.narrow(axis, low, size).clone()
    sides = tensor.narrow(axis, 0, low), tensor.narrow(axis, low + size, high)
    for side, (start, length, count) in zip(sides, border, strict=True):
        if mode == "reflect":
            side = side.flip(axis)
        elif mode == "replicate":
            side = side.sum(axis, keepdim=True)
        if count:
            core.narrow(axis, start, length).add_(side)
    return core
