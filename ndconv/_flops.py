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

from ndconv._geometry import Form, Geometry, Ints, Slot
from ndconv._plan import execute, problem_of

# In older releases the counter is the mode itself.
_COUNTER = getattr(flop_counter, "_FlopCounterMode", flop_counter.FlopCounterMode)

_library = torch.library.Library("ndconv", "DEF")
_library.define(
    "trilinear(Tensor first, Tensor second, str slot, int[] kernel, int[] stride, int[] lo, int[] hi, int[] dilation, "
    "int groups, int[] input_size, str lowering, bool wide, bool? channels_last) -> "
    "Tensor"
)


def compute(form: Form, first: Tensor, second: Tensor) -> Tensor:
    """`ndconv._plan.execute`, by way of the operator if a counter watches."""
    if is_compiling() or not _is_counted():
        return execute(form, first, second)
    geometry = form.geometry
    lo, hi = ([pair[side] for pair in geometry.padding] for side in (0, 1))
    result: Tensor = torch.ops.ndconv.trilinear(
        first, second, form.slot.value, geometry.kernel, geometry.stride, lo, hi, geometry.dilation, geometry.groups,
        form.input_size, form.lowering, form.wide, form.channels_last,
    )  # fmt: skip
    return result


def _is_counted() -> bool:
    if not torch._C._len_torch_dispatch_stack():
        return False
    return any(isinstance(mode, _COUNTER) for mode in _get_current_dispatch_mode_stack())


def _form(
    slot: str, kernel: Any, stride: Any, lo: Any, hi: Any, dilation: Any, groups: int, input_size: Any, *how: Any
) -> Form:
    """The operator's arguments put together again."""
    padding = tuple(zip(lo, hi, strict=True))
    geometry = Geometry(tuple(kernel), tuple(stride), padding, tuple(dilation), groups)
    return Form(Slot(slot), geometry, tuple(input_size), *how)


@torch.library.impl(_library, "trilinear", "CompositeExplicitAutograd")
def _trilinear(first: Tensor, second: Tensor, *arguments: Any) -> Tensor:
    return execute(_form(*arguments), first, second)


@flop_counter.register_flop_formula(torch.ops.ndconv.trilinear)
def _flops(first: Ints, second: Ints, *arguments: Any, **_: Any) -> int:
    return 2 * problem_of(_form(*arguments), first, second, 1).multiply_adds
