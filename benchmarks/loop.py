"""Four axes and more as it is done today: a loop over torch's `conv3d`."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from benchmarks.workloads import Ints

_KERNELS = (functional.conv1d, functional.conv2d, functional.conv3d)


def convnd(input: Tensor, weight: Tensor, stride: Ints, padding: Ints, dilation: Ints, groups: int) -> Tensor:
    """Fold the first axis into the batch and convolve once for each of its kernel indices, down to three axes."""
    ndim = weight.dim() - 2
    if ndim <= 3:
        return _KERNELS[ndim - 1](input, weight, None, stride, padding, dilation, groups)
    rest = stride[1:], padding[1:], dilation[1:], groups
    padded = functional.pad(input, (0, 0) * (ndim - 1) + (padding[0],) * 2)
    length = padded.shape[2] - dilation[0] * (weight.shape[2] - 1)
    parts: list[Tensor] = []
    for k, kernel in enumerate(weight.unbind(2)):
        rows = padded[:, :, dilation[0] * k : dilation[0] * k + length : stride[0]].transpose(1, 2)
        parts.append(convnd(rows.flatten(0, 1), kernel, *rest).unflatten(0, rows.shape[:2]))
    return sum(parts[1:], parts[0]).transpose(1, 2)
