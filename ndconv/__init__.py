"""Convolution and its gradients in any number of dimensions, as einsum and matmul on PyTorch.

- `Conv1d`, `ConvTranspose2d`, `LazyConv3d`, ..., `ConvNd`, `ConvTransposeNd`: modules that take the place of torch's.
- `convert`, `revert`: all convolutions of a model, in place and back.
- `ndconv.functional`: `convnd`, `conv_transposend`, `unfoldnd`, `foldnd` and their kin of 1, 2 and 3 axes.
- `ndconv.grad`: gradients as plain functions, also per sample.
- `ndconv.grad` and `ndconv.curvature` also: norms, products, squares and covariances of gradients, without the
  gradients; of whole models by `ndconv.curvature.record`.
- `plan`: what a convolution will run, and why; `set_lowering`, `lowering`: what it shall run; `set_exact`: what it
  shall not; `calibrate`: how fast this machine goes; `set_measuring_budget`: how long "fastest" may find out.
- `ndconv.lowerings`: lowerings of your own.
- `ndconv.testing`: exact checks, to be run on a device of yours.
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
    # Without torch there are the integers left: `ndconv._form` to `ndconv._planner`, which import without it.
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
