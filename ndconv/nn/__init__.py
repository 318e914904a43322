"""Drop-in replacements of torch's convolution modules: same arguments, parameters, state dict, initial values."""

from ndconv.nn._conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvNd,
)
from ndconv.nn._conv_transpose import (
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    ConvTransposeNd,
)
from ndconv.nn._lazy import (
    LazyConv1d,
    LazyConv2d,
    LazyConv3d,
    LazyConvNd,
    LazyConvTranspose1d,
    LazyConvTranspose2d,
    LazyConvTranspose3d,
    LazyConvTransposeNd,
)

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvNd",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "ConvTransposeNd",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvNd",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
    "LazyConvTransposeNd",
]
