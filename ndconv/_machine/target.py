"""The target of programs: what torch says of the device, and the settings of the process."""

from __future__ import annotations

from typing import Any

import torch

from ndconv._form.cache import cached
from ndconv._machine.profile import profile_of
from ndconv._machine.rates import slow_dtypes
from ndconv._planner.workspace import get_workspace_limit
from ndconv._programs.target import Target

_ONEDNN: Any = torch.ops.mkldnn
# torch's functions that tell whether oneDNN multiplies a half type on this processor. Without them it does not.
_QUERIES = {"float16": "_is_mkldnn_fp16_supported", "bfloat16": "_is_mkldnn_bf16_supported"}
# Products of half types that give float32, since torch 2.8.
_WIDENING = torch.version.hip is None and "dtype" in torch.ops.aten.mm.overloads()
_LACKING = {dtype for dtype, query in _QUERIES.items() if not getattr(_ONEDNN, query, bool)()}


def target_of(device: torch.device) -> Target:
    """The target of programs on a device, with the current settings."""
    return _target(device, get_workspace_limit(), torch.backends.mkldnn.enabled)


@cached
def _target(device: torch.device, limit: int, mkldnn: bool) -> Target:
    rates = profile_of(device.type).rates
    slow = slow_dtypes(rates)
    if device.type != "cpu":
        widening = _WIDENING and device.type == "cuda"
        return Target(str(device), limit, rates, emulated=tuple(sorted(slow)), widening=widening)
    # Without oneDNN's products torch rounds partial sums of half types.
    lacking = _LACKING if mkldnn else {*_QUERIES}
    onednn = mkldnn and torch.backends.mkldnn.is_available() and hasattr(_ONEDNN, "_linear_pointwise")
    return Target("cpu", limit, rates, onednn, tuple(sorted(slow | lacking)))
