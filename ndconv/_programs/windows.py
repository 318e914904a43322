"""Windows of a tensor as a strided view, and the adjoint that adds windows back up.

Both take one axis at a time, so nothing depends on how many there are.
"""

from __future__ import annotations

from typing import Any

from ndconv._form.geometry import Geometry, Ints
from ndconv._programs.values import Value

Tensor = Any
"""A tensor, or a `ndconv._programs.values.Value`."""

# Of more kernel indices than this a program has a loop.
_LISTED = 8


def unflatten(tensor: Tensor, axis: int, sizes: Ints) -> Tensor:
    """`torch.Tensor.unflatten` without what it does for named tensors, which takes longer than the view."""
    shape = tensor.shape
    return tensor.view(*shape[:axis], *sizes, *shape[axis + 1 :])


def ungroup(tensor: Tensor, axis: int, groups: int) -> Tensor:
    """Set the groups apart that torch's layout folds into channels: ``(..., g*c, ...) -> (..., g, c, ...)``."""
    if groups == 1:
        return tensor.unsqueeze(axis)
    return unflatten(tensor, axis, (groups, tensor.shape[axis] // groups))


def narrow(tensor: Tensor, size: Ints) -> Tensor:
    """The first elements along the axes from the fourth on."""
    for axis, length in enumerate(size, start=3):
        tensor = tensor.narrow(axis, 0, length)
    return tensor


def windows(padded: Tensor, geometry: Geometry) -> Tensor:
    """All windows of a padded input, as a view.

    Args:
        padded: ``(n, g, c, *P)`` with ``P = geometry.reach(output_size)``.
        geometry: Kernel, stride and dilation.

    Returns:
        View of shape ``(n, g, c, *O, *K)`` with ``view[..., o, k] = padded[..., S*o + D*k]``.

    Example:
        >>> import torch
        >>> geometry = Geometry(kernel=(3,), stride=(2,), padding=((0, 0),), dilation=(1,))
        >>> windows(torch.arange(5).view(1, 1, 1, 5), geometry)[0, 0, 0]
        tensor([[0, 1, 2],
                [2, 3, 4]])
    """
    for axis, (kernel, stride, dilation) in enumerate(
        zip(geometry.kernel, geometry.stride, geometry.dilation, strict=True), start=3
    ):
        padded = padded.unfold(axis, dilation * (kernel - 1) + 1, stride)
        if dilation > 1:
            padded = padded[..., ::dilation]
    return padded


def kernel_first(view: Tensor, ndim: int) -> Tensor:
    """Windows ``[n,g,c,*o,*k]`` seen as columns ``[n,g,c,*k,*o]``."""
    return view.permute(0, 1, 2, *range(3 + ndim, 3 + 2 * ndim), *range(3, 3 + ndim))


def fold(columns: Tensor, geometry: Geometry) -> Tensor:
    """Adjoint of `windows`, kernel axes first: add every window element to the input element it was taken from.

    Slices are added in a fixed order, one kernel index of one axis at a time: the result is the same on every call, and
    N axes of K elements take N*K additions, not K**N.

    Args:
        columns: ``(n, g, c, *K, *O)``.
        geometry: Kernel, stride and dilation.

    Returns:
        Tensor of shape ``(n, g, c, *P)`` with ``P = geometry.reach(O)``.
    """
    ndim = geometry.ndim
    reach = geometry.reach(tuple(columns.shape[3 + ndim :]))
    for axis in range(ndim):
        # Every axis done has lost its kernel axis, the first of those left.
        columns = _fold_axis(columns, 3, 3 + ndim, reach[axis], geometry.stride[axis], geometry.dilation[axis])
    return columns


def _fold_axis(columns: Tensor, kernel_axis: int, output_axis: int, reach: int, stride: int, dilation: int) -> Tensor:
    number, axis = columns.shape[kernel_axis], output_axis - 1
    first = columns[(slice(None),) * kernel_axis + (0,)]
    if number == 1 and stride == 1:
        return first
    shape = list(first.shape)
    positions, shape[axis] = shape[axis], reach
    folded = columns.new_zeros(shape)
    span = stride * (positions - 1) + 1
    folded[(slice(None),) * axis + (slice(0, span, stride),)] = first
    if isinstance(columns, Value) and number > _LISTED:
        # Where every kernel index adds its elements to, as one view.
        places = folded.unfold(axis, span, dilation)[..., ::stride].movedim(-1, axis + 1)
        for tap in columns.builder.each(number, "k", start=1):
            place = places[(slice(None),) * axis + (tap,)]
            place += columns[(slice(None),) * kernel_axis + (tap,)]
        return folded
    for k in range(1, number):
        index = (slice(None),) * axis + (slice(k * dilation, k * dilation + span, stride),)
        folded[index] += columns[(slice(None),) * kernel_axis + (k,)]
    return folded


def merge(tensor: Tensor, first: int, ndim: int) -> Tensor:
    """Merge each of ``ndim`` axes from ``first`` on with its partner ``ndim`` axes later: ``(*A, *B) -> (*A*B)``."""
    order = [*range(first), *(first + axis + half for axis in range(ndim) for half in (0, ndim))]
    pairs = zip(tensor.shape[first : first + ndim], tensor.shape[first + ndim :], strict=True)
    return tensor.permute(order).reshape(*tensor.shape[:first], *(a * b for a, b in pairs))


def split(tensor: Tensor, first: int, steps: Ints) -> Tensor:
    """Adjoint of `merge`: ``(*A*B) -> (*A, *B)`` with ``B = steps``, as a view."""
    for axis, step in enumerate(steps, start=first):
        tensor = tensor.unfold(axis, step, step)
    return tensor
