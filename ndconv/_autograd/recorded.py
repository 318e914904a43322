"""torch's own operators, for recordings that other tools read: TorchScript and ONNX know torch's convolution only."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ndconv._form.geometry import Convolution, Pairs
from ndconv._lowerings.native import Call, call_of
from ndconv._tensors.direct import constant_pad
from ndconv._tensors.tracing import is_scripted, wants_torchs_own


def records(convolution: Convolution) -> bool:
    """Whether torch's operators are recorded, and torch has one for this convolution.

    Raises:
        NotImplementedError: If `torch.jit.trace` records what torch has no operator for.
    """
    if torch._C._get_tracing_state() is None and not (is_compiling() and wants_torchs_own()):
        return False
    axes = convolution.geometry.ndim
    if 1 <= axes <= 3:
        return True
    if is_scripted():
        raise NotImplementedError(
            f"torch.jit.trace can record convolutions over 1 to 3 axes, which torch has operators for, but this one has"
            f" {axes}; use torch.export"
        )
    return False


def output(convolution: Convolution, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of an input that has its border."""
    call = _call(convolution)
    return torch.convolution(_padded(x, call.first), w, bias, *call.arguments)


def input(convolution: Convolution, w: Tensor, y: Tensor) -> Tensor:
    """The gradient of the input with its border."""
    call = _call(convolution)
    return _padded(torch.convolution(y, w, None, *call.transposed), tuple((-lo, -hi) for lo, hi in call.first))


def _call(convolution: Convolution) -> Call:
    return call_of(convolution.geometry, convolution.framed_size, convolution.output_size)


def _padded(tensor: Tensor, amounts: Pairs) -> Tensor:
    # No look at sizes, as `pad` takes: they would hold for this recording only.
    return constant_pad(tensor, amounts) if amounts else tensor
