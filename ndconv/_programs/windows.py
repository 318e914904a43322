"""Windows of a tensor as a strided view, and the adjoint that adds windows back up.

Both take one axis at a time, so nothing depends on how many there are.
"""

from __future__ import annotations

from ndconv._form.geometry import Geometry, Ints
from ndconv._programs.values import Array, Steps


def unflatten(tensor: Array, axis: int, sizes: Ints) -> Array:
    """`torch.Tensor.unflatten` without its work for named tensors, which takes longer than the view."""
    shape = tensor.shape
    return tensor.view(*shape[:axis], *sizes, *shape[axis + 1 :])


def ungroup(tensor: Array, axis: int, groups: int) -> Array:
    """Separate the groups, which torch's layout folds into channels: ``(..., g*c, ...) -> (..., g, c, ...)``."""
    if groups == 1:
        return tensor.unsqueeze(axis)
    return unflatten(tensor, axis, (groups, tensor.shape[axis] // groups))


def narrow(tensor: Array, size: Ints) -> Array:
    """The first elements along the axes from the fourth on."""
    for axis, length in enumerate(size, start=3):
        tensor = tensor.narrow(axis, 0, length)
    return tensor


def windows(padded: Array, geometry: Geometry) -> Array:
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


def kernel_first(view: Array, ndim: int) -> Array:
    """Windows ``[n,g,c,*o,*k]`` seen as columns ``[n,g,c,*k,*o]``."""
    return view.permute(0, 1, 2, *range(3 + ndim, 3 + 2 * ndim), *range(3, 3 + ndim))


def fold(b: Steps, columns: Array, geometry: Geometry) -> Array:
    """Adjoint of `windows`, kernel axes first: add every window element to the input element it was taken from.

    Slices are added in a fixed order, one kernel index of one axis at a time: the result is the same on every call, and
    N axes of K elements take N*K additions, not K**N.

    Args:
        b: Records the steps, or computes them at once.
        columns: ``(n, g, c, *K, *O)``.
        geometry: Kernel, stride and dilation.

    Returns:
        Tensor of shape ``(n, g, c, *P)`` with ``P = geometry.reach(O)``.
    """
    ndim = geometry.ndim
    reach = geometry.reach(tuple(columns.shape[3 + ndim :]))
    for axis in range(ndim):
        # Every pass removes the first kernel axis that is left.
        columns = _fold_axis(b, columns, 3 + ndim, reach[axis], geometry.stride[axis], geometry.dilation[axis])
    return columns


def _fold_axis(b: Steps, columns: Array, output_axis: int, reach: int, stride: int, dilation: int) -> Array:
    taps, axis, lead = columns.shape[3], output_axis - 1, (slice(None),) * 3
    if taps == 1 and stride == 1:
        return columns[(*lead, 0)]
    shape = [*columns.shape[:3], *columns.shape[4:]]
    positions, shape[axis] = shape[axis], reach
    folded = b.named("folded", columns.new_zeros(shape))
    for k in b.each(taps, "k"):
        places = folded[(*(slice(None),) * axis, b.span(k, positions, stride, dilation))]
        places += columns[(*lead, k)]
    return folded


def merge(tensor: Array, first: int, ndim: int) -> Array:
    """Merge each of ``ndim`` axes from ``first`` on with its partner ``ndim`` axes later: ``(*A, *B) -> (*A*B)``."""
    order = [*range(first), *(first + axis + half for axis in range(ndim) for half in (0, ndim))]
    pairs = zip(tensor.shape[first : first + ndim], tensor.shape[first + ndim :], strict=True)
    return tensor.permute(order).reshape(*tensor.shape[:first], *(a * b for a, b in pairs))


def split(tensor: Array, first: int, steps: Ints) -> Array:
    """Adjoint of `merge`: ``(*A*B) -> (*A, *B)`` with ``B = steps``, as a view."""
    for axis, step in enumerate(steps, start=first):
        tensor = tensor.unfold(axis, step, step)
    return tensor
