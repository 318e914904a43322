"""`plan`: what a convolution and its two gradients will run, as an object that prints itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ndconv import _rules
from ndconv._form.geometry import Convolution, Geometry, Ints, Problem, Slot
from ndconv._form.written import address, written
from ndconv._machine.profile import profile_of
from ndconv._machine.timings import devices, recall
from ndconv._planner.choice import AUTO, FASTEST, Choice, Setting, choose
from ndconv._planner.plans import SlotPlan, formatted, slot_plan, slots
from ndconv._planner.selection import resolve
from ndconv._rules import IntOrInts, Padding
from ndconv._statistics import covariances, norms
from ndconv._statistics.operands import Operands
from ndconv._statistics.prices import Ways
from ndconv._tensors import tensor_rules
from ndconv._tensors.dtypes import wide_dtype
from ndconv._tensors.execute import setting_of, torch_takes_over


@dataclass(frozen=True)
class ConvPlan:
    """The plans of a convolution, transposed or not, and its two gradients.

    ``print(plan)`` shows a table, and ``print(f"{plan:source}")`` adds the three programs below it. ``see it`` is the
    address of a page that draws this convolution.

    Args:
        transposed: Whether the output is the open slot INPUT.
        convolution: The convolution, or the one whose input gradient the transposed convolution is.
        input_shape: ``(batch, in_channels, *space)``.
        weight_shape: Shape of the weight, as torch lays it out.
        output_shape: ``(batch, out_channels, *space)``.
        dtype: Element type, by name.
        profile: Name of the rates used for costs: built-in, or measured by `ndconv.calibrate`.
        output: Plan of the operation itself.
        grad_input: Plan of the input gradient.
        grad_weight: Plan of the weight gradient.
        shards: What processes send one another, if the input is a DTensor. The three plans are then this process's.
    """

    transposed: bool
    convolution: Convolution
    input_shape: Ints
    weight_shape: Ints
    output_shape: Ints
    dtype: str
    profile: str
    output: SlotPlan
    grad_input: SlotPlan
    grad_weight: SlotPlan
    shards: Any = None

    @property
    def geometry(self) -> Geometry:
        """Kernel, stride, padding with zeros, dilation and groups."""
        return self.convolution.geometry

    @property
    def address(self) -> str:
        """Address of a page that shows this convolution, its programs and its index pattern along each axis."""
        arguments = written(self.convolution, self.transposed, self.input_shape, self.weight_shape)
        wanted, kind = self.output.choice.wanted, self.profile.partition("(")[2].partition(")")[0]
        further = {"lowering": AUTO if wanted == FASTEST else wanted, "dtype": self.dtype, "profile": kind or "avx2"}
        return address(arguments | further)

    @property
    def statistics(self) -> Statistics:
        """How statistics of its gradients would be computed, and why: a mapping that prints itself."""
        operands, shape = Operands(self.convolution, self.transposed), (self.input_shape, self.output_shape)
        element = torch.empty((), dtype=getattr(torch, self.dtype), device=self.output.setting.target.device)
        source, grad = (element.expand(sizes) for sizes in shape)  # expanded, so they take no memory
        pair = operands.ordered(source, grad)
        ways = (
            norms.sqnorm_ways(operands, *pair),
            norms.gram_ways(operands, *pair, *pair),
            covariances.expand_ways(operands, source),
        )
        return Statistics({each.statistic: each for each in ways})

    def __format__(self, spec: str) -> str:
        return formatted(self, spec, (self.output, self.grad_input, self.grad_weight))

    def __str__(self) -> str:
        geometry, mode = self.geometry, self.convolution.mode
        border = "" if mode == "zeros" else f"  {mode} border {self.convolution.border}"
        header = [
            f"{geometry.ndim}-D {'transposed ' * self.transposed}convolution  {self.input_shape} * {self.weight_shape} "
            f"-> {self.output_shape}  {self.dtype}",
            f"stride {geometry.stride}  padding {geometry.padding}{border}  dilation {geometry.dilation}  "
            f"groups {geometry.groups}",
            f"profile {self.profile}",
            f"see it  {self.address}",
            *([] if self.shards is None else [str(self.shards)]),
        ]
        return "\n".join([*header, *map(str, (self.output, self.grad_input, self.grad_weight))])


class Statistics(dict[str, Ways]):
    """The methods for each statistic of a convolution's gradients, with their costs; ``print`` it."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.values()))


def plan(
    input: Tensor | Sequence[int],
    weight: Tensor | Sequence[int],
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    transposed: bool = False,
    output_padding: IntOrInts = 0,
    padding_mode: str = "zeros",
    lowering: str | None = None,
    dtype: torch.dtype | None = None,
) -> ConvPlan:
    """Explain what a convolution will run: equations, lowerings and why, matrix products, multiply-adds and memory.

    Modules have a method ``plan(input)`` that does the same with their own arguments. ``plan(...).statistics`` tells
    how `ndconv.grad` and `ndconv.curvature` would compute norms and covariances.

    Args:
        input: The input or its shape, batched or not. For a DTensor the plan also tells what processes send.
        weight: The weight or its shape.
        stride: As in `ndconv.functional`, like all further arguments.
        padding: Likewise.
        dilation: Likewise.
        groups: Likewise.
        transposed: Whether to explain `ndconv.functional.conv_transposend`.
        output_padding: As in `ndconv.functional.conv_transposend`.
        padding_mode: As in `ndconv.functional`.
        lowering: Likewise.
        dtype: Element type if neither operand is a tensor; None for torch's default dtype.

    Returns:
        A printable, picklable `ConvPlan`.

    Raises:
        RuntimeError: If shapes or hyper-parameters do not fit.
        TypeError: If an argument has the wrong type.
        ValueError: If there is no such lowering.

    Example:
        >>> import ndconv
        >>> print(ndconv.plan((8, 3, 32, 32), (64, 3, 4, 4), stride=4).grad_weight)
        grad weight
          equation        ngcopkl,ngdop->gdckl
          lowering        reshape
          matmuls         1 x (64, 512) @ (512, 48)
          multiply-adds   1.573 M  (1.573 M in the sum)
          bytes moved     684 KiB
          workspace       224 KiB
          not taps        estimated at ... times the cost
          not columns     estimated at ... times the cost
          not window      estimated at ... times the cost
          not fourier     estimated at ... times the cost, and not exact
          not winograd    no axis has stride 1, dilation 1 and a kernel of 2 to 5 elements
        >>> print(ndconv.plan((2, 3, 6), (4, 3, 1), lowering="reshape").output.source)
        import torch
        <BLANKLINE>
        <BLANKLINE>
        def conv1d(x, w):  # x (2, 3, 6), w (4, 3, 1)
            return torch.bmm(w.as_strided((2, 4, 3), (0, 3, 1)), x)  # (2, 4, 6)
        <BLANKLINE>
    """
    wanted = resolve("plan", lowering)
    for operand in (weight, input):
        dtype = operand.dtype if isinstance(operand, Tensor) else dtype
    dtype = dtype or torch.get_default_dtype()
    device = next((each.device for each in (input, weight) if isinstance(each, Tensor)), torch.get_default_device())
    x_shape, w_shape = (
        _rules.sizes("plan", name, tuple(operand.shape) if isinstance(operand, Tensor) else operand)
        for name, operand in (("input", input), ("weight", weight))
    )
    asked = _rules.Asked("plan", None, transposed, stride, padding, dilation, groups, output_padding, padding_mode)
    convolution = asked.convolution(x_shape, w_shape, ("input", "weight"))
    if len(x_shape) < len(w_shape):
        x_shape, input = (1, *x_shape), input.unsqueeze(0) if isinstance(input, Tensor) else input
    share, shards, samples = None, None, x_shape[0]
    if isinstance(input, Tensor) and tensor_rules.is_shared_out(input):
        from ndconv._sharded.convolution import traffic

        tensor_rules.placed("plan", len(w_shape) - 2, {}, input=input)
        share, shards = traffic(convolution, wanted, input, w_shape, transposed)
        samples = shards.input.shape[0]
    setting = setting_of(dtype, False, device)
    plans: dict[str, Any] = {}
    for title, slot in slots(transposed).items():
        local = share.convolution_of(slot) if share else None
        geometry, size = local or (convolution.geometry, convolution.framed_size)
        counts = samples, w_shape[1], w_shape[0] // geometry.groups
        plans[title.replace(" ", "_")] = slot_plan(
            title, transposed, geometry, size, counts, setting, partial(_choice, wanted, dtype, setting)
        )
    shapes = x_shape, w_shape, asked.result_shape(convolution, x_shape, w_shape)
    return ConvPlan(
        transposed, convolution, *shapes, setting.dtype, profile_of(device.type).title, **plans, shards=shards
    )


def _choice(wanted: str, dtype: torch.dtype, setting: Setting, problem: Problem, seen: Problem) -> Choice:
    """The choice by the planner and, under "fastest", by measurements."""
    wide = replace(seen, itemsize=wide_dtype(dtype).itemsize)
    measured, seconds = recall(seen, dtype) or recall(wide, dtype) or (seen, {})
    choice = choose(seen, wanted, setting, seconds)
    if measured not in (seen, wide):
        choice = replace(choice, relative=measured)
    if wanted == FASTEST and any(torch_takes_over(problem, Slot, dtype, kind) for kind in devices()):
        choice = replace(choice, name="native")
    return choice
