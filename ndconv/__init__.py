"""Convolution and its gradients in any number of dimensions, as einsum and matmul on PyTorch.

- `Conv1d`, `ConvTranspose2d`, `LazyConv3d`, ..., `ConvNd`, `ConvTransposeNd`: modules that take the place of torch's.
- `convert`, `revert`: exchange all convolutions of a model for ndconv's, and back, in place.
- `ndconv.functional`: `convnd`, `conv_transposend`, `unfoldnd`, `foldnd`, and their versions for 1, 2 and 3 axes.
- `ndconv.grad`: gradients as plain functions, also per sample; norms and inner products of per-sample gradients.
- `ndconv.curvature`: covariances, squared gradients, operator norms; `ndconv.curvature.record` for whole models.
- `plan`: the lowering (the algorithm) that a convolution runs, and why. `set_lowering` and `lowering` choose it,
  `set_exact` rules out inexact ones, `calibrate` measures this machine, `set_measuring_budget` limits the time
  that "fastest" measures.
- `ndconv.lowerings`: lowerings of your own.
- `ndconv.distributed`: layers for DTensors, sharded along batch and space.
- `ndconv.testing`: exact checks, to run on your device.
"""

try:
    from ndconv import curvature as curvature
    from ndconv import functional as functional
    from ndconv import grad as grad
    from ndconv import lowerings as lowerings
    from ndconv import nn as nn
    from ndconv._convert import Change, Conversion, convert, revert
    from ndconv._explain import ConvPlan, plan
    from ndconv._machine.budget import get_measuring_budget, set_measuring_budget
    from ndconv._machine.profile import Profile, calibrate
    from ndconv._machine.timings import load_timings, save_timings
    from ndconv._planner.exact import get_exact, set_exact
    from ndconv._planner.plans import SlotPlan
    from ndconv._planner.selection import get_lowering, lowering, set_lowering
    from ndconv._planner.workspace import get_workspace_limit, set_workspace_limit
    from ndconv.nn import (
        Conv1d,
        Conv2d,
        Conv3d,
        ConvNd,
        ConvTranspose1d,
        ConvTranspose2d,
        ConvTranspose3d,
        ConvTransposeNd,
        LazyConv1d,
        LazyConv2d,
        LazyConv3d,
        LazyConvNd,
        LazyConvTranspose1d,
        LazyConvTranspose2d,
        LazyConvTranspose3d,
        LazyConvTransposeNd,
    )
except ModuleNotFoundError as missing:
    # Without torch the packages that know integers only still import: `ndconv._form` to `ndconv._planner`.
    if missing.name != "torch":
        raise

__version__ = "0.1.0"
__all__ = [
    "Change",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvNd",
    "ConvPlan",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "ConvTransposeNd",
    "Conversion",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvNd",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
    "LazyConvTransposeNd",
    "Profile",
    "SlotPlan",
    "calibrate",
    "convert",
    "curvature",
    "functional",
    "get_exact",
    "get_lowering",
    "get_measuring_budget",
    "get_workspace_limit",
    "grad",
    "load_timings",
    "lowering",
    "lowerings",
    "nn",
    "plan",
    "revert",
    "save_timings",
    "set_exact",
    "set_lowering",
    "set_measuring_budget",
    "set_workspace_limit",
]
