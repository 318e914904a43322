"""What a network needs beside convolutions when its tensors are DTensors, sharded along batch and space.

Norms, pooling and resizing, each with torch's arguments, parameters, state dict and results: what every process holds
is its share of what a single process computes, and so are the gradients. Plain tensors go to torch's own modules.
Convolutions take DTensors as they are. A module that keeps its class can have its ``__class__`` exchanged for one of
these.

Placements are those of `ndconv.functional`: batch and spatial axes, each over one dimension of the mesh at most, and
parameters and buffers plain or replicated; everything else raises `NotImplementedError`, on all processes alike, before
any of them sends something. Knows which module of torch's is which operation.
"""

from ndconv._sharded.function import get_overlap, set_overlap
from ndconv.distributed._norm import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)
from ndconv.distributed._parallelize import parallelize
from ndconv.distributed._parts import from_local, local_slices
from ndconv.distributed._pool import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from ndconv.distributed._upsample import Upsample

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Upsample",
    "from_local",
    "get_overlap",
    "local_slices",
    "parallelize",
    "set_overlap",
]
