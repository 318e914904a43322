"""Channels-last, as torch means it: which tensors are, and making them so."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ndconv._cache import cached
from ndconv._geometry import Ints

# The axes torch knows such a format for, by the number of dimensions.
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def is_channels_last(tensor: Tensor) -> bool:
    """Whether torch calls the tensor channels-last rather than contiguous; its strides decide, also of single elements.

    Example:
        >>> is_channels_last(torch.rand(2, 3, 4, 4)), is_channels_last(torch.rand(2, 4, 4, 3).permute(0, 3, 1, 2))
        (False, True)
    """
    last = _FORMATS.get(tensor.dim())
    if last is None:
        return False
    if is_compiling():
        return tensor.is_contiguous(memory_format=last) and not tensor.is_contiguous()
    stride = tensor.stride()
    if stride[1] != 1 or 0 in (shape := tensor.shape):
        return False
    least = shape[1]
    for axis in range(tensor.dim() - 1, 1, -1):
        if stride[axis] < least:
            return False
        least = stride[axis] * shape[axis]
    # Where only channels have more than one element the two formats are one, and torch says contiguous.
    return stride[0] >= least != 1


def lay_out(tensor: Tensor, channels_last: bool) -> Tensor:
    """Contiguous, or channels-last where torch has that."""
    format = _FORMATS.get(tensor.dim(), torch.contiguous_format) if channels_last else torch.contiguous_format
    tensor = tensor.contiguous(memory_format=format)
    if not is_compiling() and 1 in tensor.shape:
        # On axes of one element any stride passes for either, but torch and DDP compare strides as numbers.
        wanted = strides(tensor.shape, channels_last)
        if tensor.stride() != wanted:
            tensor = tensor.as_strided(tensor.shape, wanted)
    return tensor


@cached
def strides(shape: Ints, channels_last: bool) -> Ints:
    """Strides of a tensor that `lay_out` has laid out.

    Example:
        >>> strides((2, 3, 4, 5), False), strides((2, 3, 4, 5), True)
        ((60, 20, 5, 1), (60, 1, 15, 3))
    """
    axes, length = [*range(len(shape))], 1
    order = [0, *axes[2:], 1] if channels_last and len(shape) in _FORMATS else axes
    found = [0] * len(shape)
    for axis in reversed(order):
        found[axis], length = length, length * (shape[axis] or 1)
    return tuple(found)
