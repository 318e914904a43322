"""From a form and two operands to the open slot's tensor: groups, dtypes, tied elements, layout, and a lowering.

Half types are summed in float32 and rounded once. Integers are multiplied as floats that hold every sum exactly: few
devices multiply integer matrices, and none nearly as fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ndconv._form.geometry import Form, Problem, Slot
from ndconv._lowerings import Lowering
from ndconv._planner.ties import assembled, ties
from ndconv._programs.values import ITEMSIZES, Array, Steps, wide_dtype
from ndconv._programs.windows import ungroup

# Integers up to this size are exact in the dtype.
_EXACT = {"float32": 2**24, "float64": 2**53}
_DIGIT = 16
"""Bits of a digit: longer integers are multiplied digit by digit, as by hand."""


def computed_in(dtype: str, emulated: Sequence[str], wide: bool = False) -> str:
    """The dtype in which a lowering gets its operands, if it does not ask for a wide one itself.

    Args:
        dtype: Dtype of the operands.
        emulated: Half types that are not multiplied in their own dtype.
        wide: Whether it must be the dtype of sums, as the result is wanted in it and products would round.
    """
    return wide_dtype(dtype) if wide or dtype in emulated else dtype


def problem_of(form: Form, first: Sequence[int], second: Sequence[int], itemsize: int) -> Problem:
    """The problem that two operands pose, from their shapes with groups folded into channels."""
    sizes: dict[str, int] = {}
    groups = form.geometry.groups
    for filled, shape in zip(form.slot.operands, (first, second), strict=True):
        lead, axis = list(shape[:2]), filled.group_axis
        lead[axis : axis + 1] = groups, lead[axis] // groups
        sizes.update(zip(filled.indices, lead, strict=True))
    output_size = form.geometry.output_size(form.input_size)
    counts = sizes["n"], sizes["c"], sizes["d"]
    return Problem(form.slot, form.geometry, *counts, form.input_size, output_size, itemsize)


def computed(b: Steps, form: Form, choose: Callable[[Problem], Lowering], first: Array, second: Array) -> Array:
    """The tensor of the open slot from its two operands, in torch's layout.

    Args:
        b: What records the steps, or computes them at once.
        form: The form and its open slot.
        choose: Gives the lowering for a problem.
        first: Operand ``form.slot.operands[0]``, groups folded into channels.
        second: Operand ``form.slot.operands[1]``, likewise.

    Returns:
        ``(n, g*c, *I)``, ``(g*d, c, *K)`` or ``(n, g*d, *O)``, channels-last if the form or an operand is.
    """
    last = form.gives_channels_last(b.is_channels_last(first), b.is_channels_last(second))
    return b.laid_out(_folded(b, form, choose, first, second), last)


def _folded(b: Steps, form: Form, choose: Callable[[Problem], Lowering], first: Array, second: Array) -> Array:
    dtype, slot = b.dtype(first), form.slot
    itemsize = ITEMSIZES[computed_in(dtype, b.emulated, form.wide and not b.widening)]
    problem = problem_of(form, first.shape, second.shape, itemsize)
    if first.numel() == 0 or second.numel() == 0:
        # Operands without elements give an empty sum. Handled here, so that no lowering has to.
        return b.zeros(problem.folded_shape(slot), wide_dtype(dtype) if form.wide else dtype, first)
    parts = None if b.symbolic else ties(form)
    if parts is not None:
        return assembled(
            b,
            form,
            parts,
            (first, second),
            problem.folded_shape(slot),
            lambda *part: computed(b, part[0], choose, *part[1:]),
        )
    a, c = (
        ungroup(operand, each.group_axis, form.geometry.groups)
        for operand, each in zip((first, second), slot.operands, strict=True)
    )
    result = widened(b, choose(problem), problem, a, c, wide=form.wide)
    return result.flatten(slot.group_axis, slot.group_axis + 1)


def widened(b: Steps, lowering: Lowering, problem: Problem, a: Array, c: Array, *, wide: bool = False) -> Array:
    """Run a lowering on operands of any dtype.

    Args:
        b: What records the steps, or computes them at once.
        lowering: The lowering.
        problem: What to compute.
        a: Operand ``problem.slot.operands[0]``, groups apart.
        c: Operand ``problem.slot.operands[1]``, groups apart.
        wide: Whether to leave the result of half types in the dtype of its sums.

    Returns:
        The open slot's tensor in the operands' dtype; integers wrap around.
    """
    dtype = b.dtype(a)
    large = wide_dtype(dtype)
    if large != dtype:
        # Fast products of half types sum in float32 themselves, and lose no more than one rounding.
        result = large if wide else dtype
        keeps = computed_in(dtype, b.emulated, wide and not b.widening) != large
        if keeps and not lowering.accumulates(b, problem):
            with b.unrounded(wide):
                return b.cast(lowering.build(b, problem, a, c), result)
        return _by_samples(
            b, problem, a, c, (large, result),
            lambda part, a, c: lowering.build(b, part, b.cast(a, large), b.cast(c, large)),
        )  # fmt: skip
    exact = exact_float(problem, dtype, b.kind)
    if exact is None:
        return lowering.build(b, problem, a, c)
    return _by_samples(
        b, problem, a, c, ("int64", dtype), lambda part, a, c: _digit_by_digit(b, lowering, part, a, c, exact)
    )


def is_integer(dtype: str) -> bool:
    """Whether a dtype holds integers."""
    return "int" in dtype


def exact_float(problem: Problem, dtype: str, kind: str) -> str | None:
    """The smallest float dtype that is exact for every sum of products of digits, if the device has one."""
    if not is_integer(dtype):
        return None
    itemsize = ITEMSIZES[dtype]
    bits = min(_DIGIT, 8 * itemsize)
    unsigned = itemsize * 8 > _DIGIT or dtype.startswith("u")
    largest = problem.terms * 2 ** (2 * bits - (0 if unsigned else 2))
    floats = ["float32"] if kind == "mps" else list(_EXACT)
    return next((each for each in floats if largest <= _EXACT[each]), None)


def _digit_by_digit(b: Steps, lowering: Lowering, problem: Problem, a: Array, c: Array, exact: str) -> Array:
    """Multiply all digits that affect the result, each product exact."""
    count = max(1, 8 * ITEMSIZES[b.dtype(a)] // _DIGIT)
    high, low = ([b.digit(operand, place, count, _DIGIT, exact) for place in range(count)] for operand in (a, c))
    total = b.zeros(problem.shape(problem.slot), "int64", a)
    for i, first in enumerate(high):
        for j, second in enumerate(low[: len(low) - i]):
            b.add_digit(total, lowering.build(b, problem, first, second), _DIGIT * (i + j))
    return total


def _by_samples(
    b: Steps,
    problem: Problem,
    a: Array,
    c: Array,
    dtypes: tuple[str, str],
    compute: Callable[[Problem, Any, Any], Array],
) -> Array:
    """Compute as many samples at a time as fit the workspace in the first dtype; round once, to the second."""
    large, dtype = dtypes
    operands = tuple(zip(problem.slot.operands, (a, c), strict=True))
    each = sum(math.prod(problem.shape(slot)[1:]) for slot in (Slot.INPUT, Slot.OUTPUT)) * ITEMSIZES[large]
    if b.symbolic or b.per_chunk(problem.batch, each) >= problem.batch:
        return b.cast(compute(problem, a, c), dtype)
    weight = problem.slot is Slot.WEIGHT
    result = b.zeros(problem.shape(problem.slot), large if weight else dtype, a)
    for samples in b.chunks(problem.batch, each):
        some = [tensor if slot is Slot.WEIGHT else tensor[samples] for slot, tensor in operands]
        part = compute(replace(problem, batch=samples.length), *some)
        if weight:
            result += part
        else:
            result[samples] = part
    return b.cast(result, dtype)
