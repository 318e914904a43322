"""torch's channels-last format: which tensors have it, and how to convert them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ndconv._programs.values import is_channels_last as strided_channels_last
from ndconv._programs.values import layout_strides

# torch's formats by the number of dimensions.
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def is_channels_last(tensor: Tensor) -> bool:
    """Whether torch calls the tensor channels-last rather than contiguous; strides of single elements count too.

    Example:
        >>> is_channels_last(torch.rand(2, 3, 4, 4)), is_channels_last(torch.rand(2, 4, 4, 3).permute(0, 3, 1, 2))
        (False, True)
    """
    last = _FORMATS.get(tensor.dim())
    if last is None:
        return False
    if is_compiling():
        return tensor.is_contiguous(memory_format=last) and not tensor.is_contiguous()
    return tensor.stride(1) == 1 and strided_channels_last(tensor.shape, tensor.stride())


def lay_out(tensor: Tensor, channels_last: bool) -> Tensor:
    """Contiguous, or channels-last where torch has that."""
    format = _FORMATS.get(tensor.dim(), torch.contiguous_format) if channels_last else torch.contiguous_format
    tensor = tensor.contiguous(memory_format=format)
    if not is_compiling() and 1 in tensor.shape:
        # On axes of one element any stride would do, but torch and DDP compare strides as numbers.
        wanted = layout_strides(tuple(tensor.shape), channels_last)
        if tensor.stride() != wanted:
            tensor = tensor.as_strided(tensor.shape, wanted)
    return tensor
