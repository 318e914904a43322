"""The dtype of sums, and the dtype of products."""

from __future__ import annotations

import torch

from ndconv._machine.target import target_of
from ndconv._planner import computed as _computed
from ndconv._programs import values


def name_of(dtype: torch.dtype) -> str:
    """Torch's name of a dtype, without the module's."""
    return str(dtype).removeprefix("torch.")


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """The accumulation dtype of this one: itself, unless it is a half type."""
    wide: torch.dtype = getattr(torch, values.wide_dtype(name_of(dtype)))
    return wide


def is_emulated(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether products of a half type are computed in another dtype there."""
    return name_of(dtype) in target_of(device).emulated


def computed_in(dtype: torch.dtype, device: torch.device, wide: bool = False) -> torch.dtype:
    """The dtype in which a lowering gets operands of this one: `ndconv._planner.computed.computed_in`."""
    target = target_of(device)
    found = _computed.computed_in(name_of(dtype), target.emulated, wide and not target.widening)
    named: torch.dtype = getattr(torch, found)
    return named
