"""The dtype in which a lowering computes: wide enough that partial sums lose nothing.

Half types are summed in float32 and rounded once. Integers go through floats that hold every sum exactly: few devices
multiply integer matrices, and none does it nearly as fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ndconv._geometry import Problem, Slot
from ndconv._lowerings import Lowering
from ndconv._workspace import chunks

_WIDE = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.complex32: torch.complex64}
# Integers up to this size are exact in the dtype.
_EXACT = {torch.float32: 2**24, torch.float64: 2**53}
# How torch asks whether oneDNN multiplies a half type on this processor. A torch that does not ask: it does not.
_QUERIES = {torch.float16: "_is_mkldnn_fp16_supported", torch.bfloat16: "_is_mkldnn_bf16_supported"}
_MULTIPLIED = {dtype for dtype, query in _QUERIES.items() if getattr(torch.ops.mkldnn, query, bool)()}
_DIGIT = 16
"""Bits of a digit: integers of more are multiplied like written numbers."""


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which sums of this dtype are taken, itself unless it is a half type."""
    return _WIDE.get(dtype, dtype)


def is_emulated(dtype: torch.dtype, on_cpu: bool) -> bool:
    """Whether torch has no products of a half type on this processor, and makes do without.

    Its matrix product then takes 10 to 40 times as long as that of float32, and its convolution rounds partial sums.
    """
    return on_cpu and dtype in _QUERIES and not (dtype in _MULTIPLIED and torch.backends.mkldnn.enabled)


def computed_in(dtype: torch.dtype, on_cpu: bool, wide: bool = False) -> torch.dtype:
    """The dtype in which a lowering gets operands of this one, if it does not ask for `wide_dtype` itself.

    Args:
        dtype: Of the operands.
        on_cpu: Whether they are there.
        wide: Whether the result is wanted in `wide_dtype`.
    """
    if dtype in _WIDE and (dtype.is_complex or (wide and on_cpu) or is_emulated(dtype, on_cpu)):
        return _WIDE[dtype]
    return dtype


def run(lowering: Lowering, problem: Problem, a: Tensor, b: Tensor, *, wide: bool = False) -> Tensor:
    """Run a lowering on operands of any dtype.

    Args:
        lowering: What computes.
        problem: What to compute.
        a: Operand ``problem.slot.operands[0]``, groups apart.
        b: Operand ``problem.slot.operands[1]``.
        wide: Whether to leave the result of half types in `wide_dtype`.

    Returns:
        The open slot's tensor in the operands' dtype; integers wrap around.

    Raises:
        NotImplementedError: If the device can neither multiply such integers nor hold their sums in a float.
    """
    if a.dtype in _WIDE:
        # Where products of half types are fast they sum in float32 themselves, and lose no more than one rounding.
        large, result = _WIDE[a.dtype], _WIDE[a.dtype] if wide else a.dtype
        if computed_in(a.dtype, a.is_cpu, wide) is not large and not lowering.accumulates(problem):
            return lowering.run(problem, a, b).to(result)
        return _by_samples(
            problem, a, b, (large, result), lambda part, a, b: lowering.run(part, a.to(large), b.to(large))
        )
    if a.is_floating_point() or a.is_complex():
        return lowering.run(problem, a, b)

    exact = _float(problem, a)
    if exact is not None:
        return _by_samples(
            problem, a, b, (torch.int64, a.dtype), lambda part, a, b: _digit_by_digit(lowering, part, a, b, exact)
        )
    try:
        return lowering.run(problem, a, b)
    except RuntimeError as error:
        raise NotImplementedError(
            f"convolution of {a.dtype} with sums of {problem.terms} products on {a.device.type}: its matrix product "
            f"lacks the dtype, and no float there holds such sums exactly"
        ) from error


def _float(problem: Problem, a: Tensor) -> torch.dtype | None:
    """The smallest float that holds every sum of products of digits, if the device has one."""
    bits = min(_DIGIT, 8 * a.itemsize)
    unsigned = a.itemsize * 8 > _DIGIT or not a.dtype.is_signed
    largest = problem.terms * 2 ** (2 * bits - (0 if unsigned else 2))
    floats = [torch.float32] if a.device.type == "mps" else list(_EXACT)
    return next((dtype for dtype in floats if largest <= _EXACT[dtype]), None)


def _digits(tensor: Tensor) -> list[Tensor]:
    """Digits from the lowest on; all but the highest are non-negative."""
    count = max(1, 8 * tensor.itemsize // _DIGIT)
    shifted = [tensor >> (_DIGIT * place) for place in range(count)]
    return [digit & (2**_DIGIT - 1) for digit in shifted[:-1]] + shifted[-1:]


def _digit_by_digit(lowering: Lowering, problem: Problem, a: Tensor, b: Tensor, exact: torch.dtype) -> Tensor:
    """Products of all digits that the result still shows, each exact."""
    high, low = ([digit.to(exact) for digit in _digits(operand)] for operand in (a, b))
    total = torch.zeros(problem.shape(problem.slot), dtype=torch.int64, device=a.device)
    for i, first in enumerate(high):
        for j, second in enumerate(low[: len(low) - i]):
            total += lowering.run(problem, first, second).to(torch.int64) << (_DIGIT * (i + j))
    return total


def _by_samples(
    problem: Problem,
    a: Tensor,
    b: Tensor,
    dtypes: tuple[torch.dtype, torch.dtype],
    compute: Callable[[Problem, Tensor, Tensor], Tensor],
) -> Tensor:
    """Compute as many samples at a time as fit the workspace in the first dtype, and round once, to the second."""
    large, dtype = dtypes
    operands = tuple(zip(problem.slot.operands, (a, b), strict=True))
    each = sum(math.prod(problem.shape(slot)[1:]) for slot in (Slot.INPUT, Slot.OUTPUT)) * large.itemsize
    parts = chunks(problem.batch, each)
    if len(parts) == 1:
        return compute(problem, a, b).to(dtype)

    def part(samples: slice) -> Tensor:
        some = [tensor if slot is Slot.WEIGHT else tensor[samples] for slot, tensor in operands]
        return compute(replace(problem, batch=samples.stop - samples.start), *some)

    if problem.slot is Slot.WEIGHT:
        return sum(map(part, parts[1:]), part(parts[0])).to(dtype)
    result = a.new_empty(problem.shape(problem.slot), dtype=dtype)
    for samples in parts:
        result[samples] = part(samples)
    return result
