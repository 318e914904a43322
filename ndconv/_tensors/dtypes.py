"""The dtype in which sums are taken, and whether torch multiplies a dtype at all on this processor."""

from __future__ import annotations

import torch

from ndconv._machine.target import target_of
from ndconv._planner import computed as _computed
from ndconv._programs import values

_CPU = torch.device("cpu")


def name_of(dtype: torch.dtype) -> str:
    """Torch's name of a dtype, without the module's."""
    return str(dtype).removeprefix("torch.")


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which sums of this dtype are taken, itself unless it is a half type."""
    wide: torch.dtype = getattr(torch, values.wide_dtype(name_of(dtype)))
    return wide


def is_emulated(dtype: torch.dtype, on_cpu: bool) -> bool:
    """Whether torch has no products of a half type on this processor, and makes do without."""
    return on_cpu and name_of(dtype) in target_of(_CPU).emulated


def computed_in(dtype: torch.dtype, on_cpu: bool, wide: bool = False) -> torch.dtype:
    """The dtype in which a lowering gets operands of this one: `ndconv._planner.computed.computed_in`."""
    emulated = target_of(_CPU).emulated if on_cpu else ()
    found: torch.dtype = getattr(torch, _computed.computed_in(name_of(dtype), emulated, on_cpu, wide))
    return found
