"""torch's autocast: operands of a convolution are cast, what happens inside is not."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor
from torch.amp.autocast_mode import is_autocast_available
from torch.compiler import is_compiling

Operand = TypeVar("Operand")


def autocast_device(tensor: object) -> str | None:
    """The type of the tensor's device if autocast is on for it."""
    if not (is_compiling() or torch._C._is_any_autocast_enabled()) or not isinstance(tensor, Tensor):
        return None
    kind = tensor.device.type
    # Up to torch 2.6 a compiler cannot trace the question; then only meta tensors, which have no autocast, are met.
    available = kind != "meta" if is_compiling() else is_autocast_available(kind)
    return kind if available and torch.is_autocast_enabled(kind) else None


def cast(operand: Operand, device_type: str) -> Operand:
    """Cast as torch's autocast casts the operands of its convolutions: all floats but float64."""
    if not isinstance(operand, Tensor) or not operand.is_floating_point() or operand.dtype == torch.float64:
        return operand
    lower: Operand = operand.to(torch.get_autocast_dtype(device_type))  # type: ignore[assignment]
    return lower
