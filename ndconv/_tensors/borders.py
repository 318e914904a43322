"""Borders that repeat elements of the tensor they surround, and the adjoint that adds a border back.

`torch.nn.functional.pad` knows these modes for three axes at most and, on some devices, only with atomic additions in
the gradient. Here an axis is done at a time, by slices, so that any number of axes goes and every sum has one order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ndconv._form.geometry import Pairs


def _shown(size: int, lo: int, hi: int, mode: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Start and length of the elements that the low and the high side of a border show."""
    if mode == "circular":
        return (size - lo, lo), (0, hi)
    if mode == "replicate":
        return (0, 1), (size - 1, 1)
    return (1, lo), (size - 1 - hi, hi)


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
    for axis, (lo, hi) in enumerate(border, start=tensor.dim() - len(border)):
        if lo or hi:
            sides = []
            for (start, length), count in zip(_shown(tensor.shape[axis], lo, hi, mode), (lo, hi), strict=True):
                side = tensor.narrow(axis, start, length)
                if mode == "reflect":
                    side = side.flip(axis)
                elif mode == "replicate":
                    side = side.expand([count if i == axis else -1 for i in range(tensor.dim())])
                sides.append(side)
            tensor = torch.cat([sides[0], tensor, sides[1]], axis)
    return tensor


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
        if lo or hi:
            size = tensor.shape[axis] - lo - hi
            core = tensor.narrow(axis, lo, size).clone()
            sides = tensor.narrow(axis, 0, lo), tensor.narrow(axis, lo + size, hi)
            for side, (start, length) in zip(sides, _shown(size, lo, hi, mode), strict=True):
                if mode == "reflect":
                    side = side.flip(axis)
                elif mode == "replicate":
                    side = side.sum(axis, keepdim=True)
                core.narrow(axis, start, length).add_(side)
            tensor = core
    return tensor
