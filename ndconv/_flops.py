"""What `torch.utils.flop_counter.FlopCounterMode` sees: one operator that costs what the mathematics says.

Left to itself the counter misses products in place and counts columns that a lowering throws away. While it watches,
and only then, a slot is computed by an operator with a formula of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.utils import flop_counter
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from ndconv._geometry import Geometry, Ints, Slot
from ndconv._plan import execute, problem_of

# Up to torch 2.4 the counter was the mode itself.
_COUNTER = getattr(flop_counter, "_FlopCounterMode", flop_counter.FlopCounterMode)

_library = torch.library.Library("ndconv", "DEF")
_library.define(
    "trilinear(Tensor first, Tensor second, str slot, int[] kernel, int[] stride, int[] lo, int[] hi, int[] dilation, "
    "int groups, int[] input_size, str lowering) -> Tensor"
)


def compute(slot: Slot, geometry: Geometry, input_size: Ints, lowering: str, first: Tensor, second: Tensor) -> Tensor:
    """`ndconv._plan.execute`, by way of the operator if a counter watches."""
    if is_compiling() or not any(isinstance(mode, _COUNTER) for mode in _get_current_dispatch_mode_stack()):
        return execute(slot, geometry, input_size, lowering, first, second)
    lo, hi = ([pair[side] for pair in geometry.padding] for side in (0, 1))
    result: Tensor = torch.ops.ndconv.trilinear(
        first, second, slot.value, geometry.kernel, geometry.stride, lo, hi, geometry.dilation, geometry.groups,
        input_size, lowering,
    )  # fmt: skip
    return result


def _geometry(kernel: Any, stride: Any, lo: Any, hi: Any, dilation: Any, groups: int) -> Geometry:
    return Geometry(tuple(kernel), tuple(stride), tuple(zip(lo, hi, strict=True)), tuple(dilation), groups)


@torch.library.impl(_library, "trilinear", "CompositeExplicitAutograd")
def _trilinear(first: Tensor, second: Tensor, slot: str, *arguments: Any) -> Tensor:
    *geometry, input_size, lowering = arguments
    return execute(Slot(slot), _geometry(*geometry), tuple(input_size), lowering, first, second)


@flop_counter.register_flop_formula(torch.ops.ndconv.trilinear)
def _flops(first: Ints, second: Ints, slot: str, *arguments: Any, **_: Any) -> int:
    *geometry, input_size, _ = arguments
    return 2 * problem_of(Slot(slot), _geometry(*geometry), tuple(input_size), first, second, 1).multiply_adds
