"""What programs may count on, by what torch says of the device and what is set for the process."""

from __future__ import annotations

from functools import lru_cache

import torch

from ndconv._machine.matmul import is_quicker
from ndconv._planner.workspace import get_workspace_limit
from ndconv._programs.target import Target

# How torch asks whether oneDNN multiplies a half type on this processor. A torch that does not ask: it does not.
_QUERIES = {"float16": "_is_mkldnn_fp16_supported", "bfloat16": "_is_mkldnn_bf16_supported"}
_LACKING = tuple(dtype for dtype, query in _QUERIES.items() if not getattr(torch.ops.mkldnn, query, bool)())


def target_of(device: torch.device) -> Target:
    """What programs may count on there, at the moment."""
    return _target(device, get_workspace_limit(), torch.backends.mkldnn.enabled)


@lru_cache(maxsize=256)
def _target(device: torch.device, limit: int, mkldnn: bool) -> Target:
    if device.type != "cpu":
        return Target(str(device), limit)
    # Without oneDNN a half type's matrix product takes 10 to 40 times as long as that of float32, and torch's
    # convolution rounds partial sums.
    return Target("cpu", limit, onednn=mkldnn and is_quicker(), emulated=_LACKING if mkldnn else tuple(_QUERIES))
