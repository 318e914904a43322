"""A slot as one registered operator, ``torch.ops.ndconv.trilinear``, for everything that looks at operators.

Dispatch modes (a flop counter, a checkpoint policy, `make_fx`, fake tensors), compilers and torch's older vmap see this
operator, and nothing of the lowering behind it. It has the shape, the derivative and the cost of the mathematics. The
lowering is chosen when the operator runs, by the sizes at that moment.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch.compiler import is_compiling
from torch.utils import flop_counter

from ndconv._form.cache import cached
from ndconv._form.geometry import Form, Geometry, Ints, Slot
from ndconv._planner.computed import problem_of
from ndconv._programs.values import layout_strides
from ndconv._tensors.dtypes import wide_dtype
from ndconv._tensors.execute import execute
from ndconv._tensors.layout import is_channels_last
from ndconv._tensors.tracing import is_exporting

LIBRARY = torch.library.Library("ndconv", "DEF")
NAME = "ndconv::trilinear"

LIBRARY.define(
    "trilinear(Tensor first, Tensor second, str slot, SymInt[] kernel, SymInt[] stride, SymInt[] lo, SymInt[] hi, "
    "SymInt[] dilation, SymInt groups, SymInt[] input_size, str lowering, bool wide, bool? channels_last) -> Tensor"
)


def compute(form: Form, first: Tensor, second: Tensor) -> Tensor:
    """`ndconv._tensors.execute.execute`, through the operator if anything watches."""
    return operator(form, first, second) if _is_watched(first, second) else execute(form, first, second)


def operator(form: Form, first: Tensor, second: Tensor) -> Tensor:
    """The operator, with the form as plain arguments."""
    geometry = form.geometry
    lo, hi = ([pair[side] for pair in geometry.padding] for side in (0, 1))
    result: Tensor = torch.ops.ndconv.trilinear(
        first, second, form.slot.value, geometry.kernel, geometry.stride, lo, hi, geometry.dilation, geometry.groups,
        form.input_size, form.lowering, form.wide, form.channels_last,
    )  # fmt: skip
    return result


def form_of(*arguments: Any) -> Form:
    """The form that the operator's arguments after the tensors describe."""
    return _form(*(tuple(each) if isinstance(each, list) else each for each in arguments))


@cached
def _form(
    slot: str, kernel: Ints, stride: Ints, lo: Ints, hi: Ints, dilation: Ints, groups: int, input_size: Ints, *how: Any
) -> Form:
    geometry = Geometry(kernel, stride, tuple(zip(lo, hi, strict=True)), dilation, groups)
    return Form(Slot(slot), geometry, input_size, *how)


def _is_watched(first: Tensor, second: Tensor) -> bool:
    if is_compiling():
        return not is_exporting()  # what is exported must run without this library
    if torch._C._len_torch_dispatch_stack():
        return True
    return _functorch.is_legacy_batchedtensor(first) or _functorch.is_legacy_batchedtensor(second)


@torch.library.impl(LIBRARY, "trilinear", "CompositeExplicitAutograd")
def _run(first: Tensor, second: Tensor, *arguments: Any) -> Tensor:
    return execute(form_of(*arguments), first, second)


@torch.library.register_fake(NAME, lib=LIBRARY)  # type: ignore[untyped-decorator]
def _without_numbers(first: Tensor, second: Tensor, *arguments: Any) -> Tensor:
    form = form_of(*arguments)
    folded = problem_of(form, first.shape, second.shape, first.itemsize).folded_shape(form.slot)
    last = form.gives_channels_last(is_channels_last(first), is_channels_last(second))
    dtype = wide_dtype(first.dtype) if form.wide else first.dtype
    return torch.empty_strided(folded, layout_strides(folded, last), dtype=dtype, device=first.device)


@flop_counter.register_flop_formula(torch.ops.ndconv.trilinear)
def _flops(first: Ints, second: Ints, *arguments: Any, **_: Any) -> int:
    return 2 * problem_of(form_of(*arguments), first, second, 1).multiply_adds
