"""Convolution and its gradients in any number of dimensions, as einsum and matmul on PyTorch."""

from ndconv import functional as functional
from ndconv import grad as grad
from ndconv import nn as nn
from ndconv._explain import ConvPlan, plan
from ndconv._plan import get_lowering, lowering, set_lowering
from ndconv._workspace import get_workspace_limit, set_workspace_limit
from ndconv.nn import Conv1d, Conv2d, Conv3d, ConvNd

__version__ = "0.1.0"
__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvNd",
    "ConvPlan",
    "functional",
    "get_lowering",
    "get_workspace_limit",
    "grad",
    "lowering",
    "nn",
    "plan",
    "set_lowering",
    "set_workspace_limit",
]
