"""The plan of one operation (output, input gradient or weight gradient), as an object that prints itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ndconv._form.geometry import Form, Geometry, Ints, Problem, Slot
from ndconv._form.subscripts import equation
from ndconv._lowerings import LOWERINGS, Lowering
from ndconv._planner.choice import AUTO, FASTEST, Choice, Setting
from ndconv._planner.computed import computed_in
from ndconv._planner.recorded import recorded
from ndconv._planner.ties import ties
from ndconv._programs.values import ITEMSIZES


@dataclass(frozen=True)
class SlotPlan:
    """What one operation will run, and why; ``print`` it, or ``print(f"{plan:source}")`` with its program below.

    Args:
        title: ``"output"``, ``"grad input"`` or ``"grad weight"``.
        problem: Sizes of the operation.
        choice: The lowering that runs, the cost of each that applies, and why the others do not.
        form: What is computed, as a trilinear form with an open slot.
        function: Name of the function in `source`.
        setting: What the choice depends on beside the problem.
    """

    title: str
    problem: Problem
    choice: Choice
    form: Form
    function: str
    setting: Setting = field(compare=False, repr=False)

    @property
    def equation(self) -> str:
        """The einsum equation over windows of the input."""
        return equation(self.problem.geometry.ndim, self.problem.slot)

    @property
    def lowering(self) -> str:
        """Name of the lowering that runs."""
        return self.choice.name

    @property
    def source(self) -> str:
        """The program that runs, as the text of a Python function that needs torch but not ndconv.

        The function is called ``conv2d``, ``conv2d_grad_input`` or ``conv2d_grad_weight``; for a transposed convolution
        ``conv_transpose2d`` and so on. Its arguments are the operands of `equation` in this order, contiguous and in
        torch's layout, with groups folded into channels. ``x`` is the convolution's input, or the transposed
        convolution's output; ``w`` the weight; ``y`` the third tensor. With a padding mode other than zeros, ``x`` is
        already padded. For operands with other strides another program runs.
        """
        return recorded(self.form, ((shape, None) for shape in self.shapes), self.setting, self.function).text

    @property
    def shapes(self) -> tuple[Ints, Ints]:
        """Shapes of the operands, in the order of the equation, with groups folded into channels."""
        one, other = self.form.slot.operands
        problem = replace(self.problem, geometry=self.form.geometry)
        return problem.folded_shape(one), problem.folded_shape(other)

    @property
    def matmuls(self) -> str:
        """Number and shape of the matrix products."""
        return self.choice.costs[self.lowering].matmuls

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds that the lowering computes."""
        return self.choice.costs[self.lowering].multiply_adds

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written."""
        return self.choice.costs[self.lowering].bytes_moved

    @property
    def workspace(self) -> int:
        """Bytes of buffers beside operands and result."""
        return self.choice.costs[self.lowering].workspace

    def __format__(self, spec: str) -> str:
        return formatted(self, spec, (self,))

    def __str__(self) -> str:
        wanted, seconds, relative = self.choice.wanted, self.choice.seconds, self.choice.relative
        measured = "" if relative is None else f", as was measured for {relative.folded_shape(Slot.INPUT)}"
        notes = {AUTO: "", self.lowering: "", FASTEST: measured if seconds else ", fastest has not measured it yet"}
        lines = [
            self.title,
            f"  equation        {self.equation}",
            f"  lowering        {self.lowering}" + notes.get(wanted, f", as {wanted} does not apply"),
            f"  matmuls         {self.matmuls}",
            f"  multiply-adds   {in_units(self.multiply_adds)}  ({in_units(self.problem.multiply_adds)} in the sum)",
            f"  bytes moved     {in_bytes(self.bytes_moved)}",
            f"  workspace       {in_bytes(self.workspace)}",
        ]
        estimates = self.choice.estimates
        reasons = {
            name: f"measured at {seconds[name] / seconds[self.lowering]:.3g} times the time"
            if name in seconds
            else f"estimated at {estimate / estimates[self.lowering]:.3g} times the cost"
            + _unless_picked(LOWERINGS[name])
            for name, estimate in estimates.items()
            if name != self.lowering and (name in seconds or LOWERINGS[name].compared)
        } | self.choice.refusals
        lines += [f"  not {name:<11} {reason}" for name, reason in reasons.items()]
        return "\n".join(lines)


def slots(transposed: bool) -> dict[str, Slot]:
    """The open slots of a convolution's three operations, transposed or not, by their titles in a plan."""
    forward, backward = (Slot.INPUT, Slot.OUTPUT) if transposed else (Slot.OUTPUT, Slot.INPUT)
    return {"output": forward, "grad input": backward, "grad weight": Slot.WEIGHT}


def slot_plan(
    title: str,
    transposed: bool,
    geometry: Geometry,
    input_size: Ints,
    counts: tuple[int, int, int],
    setting: Setting,
    choose: Callable[[Problem, Problem], Choice],
) -> SlotPlan:
    """The plan of one operation.

    Args:
        title: One of `slots`.
        transposed: Whether the convolution is transposed.
        geometry: The convolution.
        input_size: Spatial size of its input, border included.
        counts: ``(n, c, d)``.
        setting: What the choice depends on.
        choose: The choice for a problem and the part of it that is computed.

    Returns:
        The plan.
    """
    slot, target = slots(transposed)[title], setting.target
    itemsize = ITEMSIZES[computed_in(setting.dtype, target.emulated)]
    problem = Problem(slot, geometry, *counts, input_size, geometry.output_size(input_size), itemsize)
    choice = choose(problem, _seen(problem))
    name = f"conv{'_transpose' * transposed}{geometry.ndim}d_{title.replace(' ', '_')}"
    form = Form(slot, geometry, input_size, choice.name)
    return SlotPlan(title, problem, choice, form, name.removesuffix("_output"), setting)


def _seen(problem: Problem) -> Problem:
    """The part of a problem that is computed: what reads the input, and of several parts the first."""
    parts = ties(Form(problem.slot, problem.geometry, problem.input_size, AUTO))
    if not parts:
        return problem
    geometry = parts[0].form.geometry
    return replace(problem, geometry=geometry, output_size=geometry.output_size(problem.input_size))


def formatted(plan: object, spec: str, slots: Sequence[SlotPlan]) -> str:
    """The table, and the programs below it if the format is "source"."""
    if spec not in ("", "source"):
        raise ValueError(f'the format of a plan must be "" or "source", but is {spec!r}')
    return "\n\n\n".join([str(plan), *(slot.source.rstrip() for slot in slots if spec)])


def _unless_picked(lowering: Lowering) -> str:
    """Why "auto" would not pick a lowering even if it were the cheapest."""
    if not lowering.exact:
        return ", and not exact"
    return "" if lowering.automatic else ", and not automatic"


def _scaled(number: float, base: int, units: tuple[str, ...]) -> str:
    """``number`` in the largest unit it fills, four digits."""
    power = 0
    while number >= base and power < len(units) - 1:
        number, power = number / base, power + 1
    return f"{number:.4g} {units[power]}".rstrip()


def in_units(number: float) -> str:
    """A number with k, M, G or T behind it."""
    return _scaled(number, 1000, ("", "k", "M", "G", "T", "P", "E"))


def in_bytes(number: float) -> str:
    """Bytes with their unit."""
    return _scaled(number, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
