"""Layers for DTensors that are sharded along batch and space: norms, pooling and resizing.

They have torch's arguments, parameters, state dict and results: outputs and gradients on every process are its shard of
what a single process computes. Plain tensors go to torch's own modules. ndconv's convolutions take DTensors too.
`parallelize` puts these layers into a model; to do so by hand, set a module's ``__class__``.

For convolutions and layers alike, batch and spatial axes may be sharded, each over one dimension of the mesh at most.
Parameters and buffers are plain or replicated. Everything else raises `NotImplementedError`, on all processes alike and
before any communication.
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
