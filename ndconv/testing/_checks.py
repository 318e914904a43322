"""The checks of every trial, one function per property; each raises if the property fails or does not apply.

All but one compare for equality, unless the trial names a lowering that is not exact. The subject makes new tensors
whenever a check asks for them, so no check sees changes by another.
"""

from __future__ import annotations

import builtins
import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ndconv._form.cache import Memory
from ndconv._lowerings import LOWERINGS
from ndconv._machine.budget import Budget
from ndconv._planner.choice import AUTO, FASTEST, NATIVE
from ndconv._tensors import execute as _execute
from ndconv._tensors.execute import Program, program_of
from ndconv.testing._cases import Case
from ndconv.testing._compare import (
    NotApplicableError,
    UnmetError,
    differentiated,
    laid_out,
    limited,
    needs_numbers,
    outer,
    same,
    same_gradients,
    same_second_gradients,
    tolerance,
    unequal,
)
from ndconv.testing._oracle import Array
from ndconv.testing._space import INTEGERS, is_exact
from ndconv.testing._subject import Subject

# Error of a result of random numbers, in units of the dtype's epsilon times the sum of the absolute products plus the
# smallest normal number: a sum's own rounding errors, and for half types one rounding at the end.
TOLERANCE = {"float64": 4.0, "float32": 4.0, "complex128": 4.0, "complex64": 4.0, "float16": 0.51, "bfloat16": 0.51}

# The largest sum that a half type holds, rounded, and that float32 holds exactly.
_LARGEST_SUM = {"float16": 65504, "bfloat16": 2**24}
_BY_ONEDNN = {"float32", *_LARGEST_SUM}
_OTHER_DTYPE = {
    "float64": "float32",
    "float32": "float64",
    "float16": "float32",
    "bfloat16": "float32",
    "complex128": "complex64",
    "complex64": "complex128",
    "int64": "int8",
    "int8": "int64",
}
_MOST_ELEMENTS = 120
_WIDTH = 120
# A problem in which winograd or Fourier transforms would take the least time, axes multiplied together.
_LONG_KERNEL, _MANY_WINDOWS, _MANY_CHANNELS = 1025, 20_000, 64


def forward(subject: Subject) -> None:
    """The result equals a loop in NumPy that shares no code with the library."""
    same("the result", subject.call(*subject.tensors(), subject.bias()), subject.grown(subject.result()), subject)


def gradients(subject: Subject) -> None:
    """Gradients equal that loop too, twice from the same graph; operands that need none have none."""
    tensors, chosen = differentiated(subject)
    bias = subject.bias()
    if bias is not None and chosen:
        bias.requires_grad_()
    result = subject.call(*tensors, bias)
    if not chosen:
        if result.requires_grad:
            raise UnmetError("no operand needs a gradient, but the result does")
        raise NotApplicableError("no operand needs a gradient")
    same_gradients("", result, chosen, subject, keep=True)
    same_gradients(", taken again,", result, chosen, subject, keep=True)
    if bias is not None:
        numbers, grad = outer(subject)
        channels = numbers.ndim - subject.trial.case.ndim - 1
        total = numbers.sum(tuple(axis for axis in range(numbers.ndim) if axis != channels))
        same("the gradient of the bias", torch.autograd.grad(result, bias, grad)[0], total, subject)


def other_notations(subject: Subject) -> None:
    """Arguments given as lists, NumPy arrays or integer tensors mean the same as tuples and integers."""
    for write in (_as_lists, np.array, torch.tensor):
        got = subject.call(*subject.tensors(), subject.bias(), write=write)
        same("the result of arguments in other notation", got, subject.grown(subject.result()), subject)


def _as_lists(value: Any) -> Any:
    return [*map(_as_lists, value)] if isinstance(value, tuple) else value


def adjoint_identity(subject: Subject) -> None:
    """The three slots, each paired with its own tensor, give one number; this needs no oracle."""
    needs_numbers(subject)
    dtype = subject.trial.dtype
    values = {name: subject.numbers(name) for name in "xwy"}
    products = {}
    for slot in ("output", "input", "weight"):
        one = subject.altered(slot=slot, bias="unbiased")
        got = one.call(*one.tensors(values)).cpu()
        wide = torch.complex128 if got.is_complex() else torch.int64 if dtype in INTEGERS else torch.float64
        pairing = (got.to(wide).numpy() * values[one.open]).sum()
        # Integer results wrap around, so the number must too.
        products[slot] = pairing.astype(dtype) if dtype in INTEGERS else pairing
    most = 2 * tolerance(subject) * max(float(np.abs(numbers).sum()) for numbers in values.values())
    if any(abs(pairing - products["output"]) > most for pairing in products.values()):
        told = ", ".join(f"{slot} {value}" for slot, value in products.items())
        raise UnmetError(f"paired with its open tensor each slot must give one number, but they give {told}")


def equals_torch(subject: Subject) -> None:
    """The result equals torch's own, by its convolution or that one's gradients in double precision on the CPU."""
    needs_numbers(subject)
    trial, case = subject.trial, subject.trial.case
    if case.ndim > 3:
        raise NotApplicableError("torch has no convolution with more than three axes")
    if trial.dtype in INTEGERS:
        raise NotApplicableError("torch differentiates no integers")
    if case.batch == 0 and case.mode != "zeros":
        raise NotApplicableError("torch fills no border of an empty batch")
    double = torch.complex128 if trial.torch_dtype.is_complex else torch.float64
    lacking = {name for name in "xy" if trial.batch == "unbatched"}
    x, w, y = (
        torch.from_numpy(np.array(subject.numbers(name))).to(double)[None if name in lacking else ...] for name in "xwy"
    )
    mode = {"zeros": "constant"}.get(case.mode, case.mode)
    sides = [side for pair in reversed(case.padding) for side in pair]

    def convolve(x: Tensor, w: Tensor) -> Tensor:
        convolution: Any = (F.conv1d, F.conv2d, F.conv3d)[case.ndim - 1]
        result: Tensor = convolution(F.pad(x, sides, mode), w, None, case.stride, 0, case.dilation, case.groups)
        return result

    if subject.open == "y":
        want = convolve(x, w)
    else:
        # torch's gradient conjugates the other operand, the form does not.
        place = x.requires_grad_() if subject.open == "x" else w.requires_grad_()
        result = convolve(x, w.conj()) if subject.open == "x" else convolve(x.conj(), w)
        (want,) = torch.autograd.grad(result, place, y)
    got = subject.call(*subject.tensors()).cpu().to(double)
    want = want[0] if subject.open in lacking else want
    different = int(unequal(got, want, tolerance(subject)).sum())
    if got.shape != want.shape or different:
        raise UnmetError(f"the result differs from torch's in {different} of {got.numel()} elements")


def other_lowerings(subject: Subject) -> None:
    """Every other lowering that applies computes the same result and the same gradients."""
    for name, refusal in subject.refusals().items():
        # torch's kernels decide what they make of a NaN, and a transform spreads it.
        promised = subject.spoilt is None or (is_exact(name) and name != "native")
        if refusal is None and promised and name != subject.trial.lowering:
            other = subject.altered(lowering=name)
            tensors, chosen = differentiated(other)
            result = other.call(*tensors, other.bias())
            same(f"the result by {name!r}", result, other.grown(other.result()), other)
            same_gradients(f" by {name!r}", result, chosen, other)


def named_lowering(subject: Subject) -> None:
    """The named lowering runs, in the gradients too, and it applies where it should."""
    wanted, case = subject.trial.lowering, subject.trial.case
    if not all(map(_ties, *_axes(case))):
        raise NotApplicableError("no kernel element is tied to the input, so none computes")
    refusal = subject.refusals().get(wanted)
    if wanted not in LOWERINGS:
        raise NotApplicableError(f"{wanted} is not one of them")
    if refusal is not None and _ought_to_apply(subject):
        raise UnmetError(f"{wanted} ought to apply, but says: {refusal}")
    if refusal is not None:
        raise NotApplicableError(f"{wanted} falls back to another: {refusal}")
    if case.batch == 0:
        raise NotApplicableError("an empty sum is computed by none")
    tensors, chosen = differentiated(subject)
    with ran_lowerings() as ran:
        result = subject.call(*tensors)
        if chosen:
            torch.autograd.grad(result, chosen, outer(subject)[1])
    if ran != {wanted}:
        raise UnmetError(f"{wanted} was asked for, but what ran was {', '.join(sorted(ran)) or 'none'}")


@contextmanager
def _programs(seen: Callable[[Program], Program]) -> Iterator[None]:
    """Run ``seen`` of each program instead of the program, inside the block."""
    anew = patch.object(_execute, "DECISIONS", Memory())  # else earlier decisions would be reused
    with anew, patch.object(_execute, "program_of", lambda *operands: seen(program_of(*operands))):
        yield


@contextmanager
def ran_lowerings() -> Iterator[set[str]]:
    """The names of the lowerings that run inside the block, filled in as they run."""
    ran: set[str] = set()

    def seen(program: Program) -> Program:
        ran.update(program.lowerings)
        return program

    with _programs(seen):
        yield ran


def printed_source(subject: Subject) -> None:
    """Every program that runs, of the result and the gradients, gives the same bits from its text alone."""
    needs_numbers(subject)
    ran: list[str] = []

    def seen(program: Program) -> Program:
        ran.append(program.source)
        return program._replace(run=partial(_run_twice, program, _alone(program.source)))

    with _programs(seen):
        tensors, chosen = differentiated(subject)
        result = subject.call(*tensors, subject.bias())
        if chosen:
            torch.autograd.grad(result, chosen, outer(subject)[1])
    if not ran:
        raise NotApplicableError("no program runs")


def _alone(text: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The function of a printed program, which may import nothing but torch and the standard library."""
    if "ndconv" in text:
        raise UnmetError("a printed program names ndconv")
    longest = max(map(len, text.splitlines()))
    if longest > _WIDTH:
        raise UnmetError(f"a printed program has a line of {longest} characters, and may have {_WIDTH}")
    namespace: dict[str, Any] = {"__builtins__": {**vars(builtins), "__import__": _import}}
    exec(text, namespace)
    (name,) = re.findall(r"^def (\w+)\(", text, re.MULTILINE)
    run: Callable[[Tensor, Tensor], Tensor] = namespace[name]
    return run


def _import(name: str, *rest: Any) -> Any:
    if name not in ("torch", "math"):
        raise UnmetError(f"a printed program imports {name}")
    return __import__(name, *rest)


def _run_twice(program: Program, alone: Callable[[Tensor, Tensor], Tensor], first: Tensor, second: Tensor) -> Tensor:
    got, again = program.run(first, second), alone(first, second)
    for what in ("shape", "dtype", "device"):
        if getattr(got, what) != getattr(again, what):
            raise UnmetError(f"from its text a program gives {what} {getattr(again, what)}, not {getattr(got, what)}")
    if got.stride() != again.stride():
        raise UnmetError(f"from its text a program gives strides {again.stride()}, not {got.stride()}")
    if not torch.equal(_bits(got), _bits(again)):
        raise UnmetError("from its text a program gives other bits")
    return got


def _bits(tensor: Tensor) -> Tensor:
    """The bytes of a tensor, with one bit pattern for all NaN."""
    parts = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    if parts.is_floating_point():
        parts = parts.masked_fill(parts.isnan(), math.nan)
    return parts.flatten().contiguous().view(torch.uint8)


def _ought_to_apply(subject: Subject) -> bool:
    """Whether one of the library's own lowerings should apply by its documentation, from the sizes."""
    case, name = subject.trial.case, subject.trial.lowering
    axes, floats = [*map(_seen, *_axes(case))], subject.trial.dtype not in INTEGERS
    rules = {
        "reshape": all(o == 1 or s > d * (k - 1) for k, o, s, _, d, _ in zip(*_axes(case), strict=True)),
        "native": case.ndim in (1, 2, 3),
        "winograd": floats and any(s == d == 1 and 2 <= k <= 5 for k, s, d, _ in axes),
        "fourier": floats and any(k > 1 or s > 1 or any(sides) for k, s, _, sides in axes),
    }
    return rules.get(name, name in ("window", "columns", "taps"))


def exact_by_default(subject: Subject) -> None:
    """Lowerings that "auto" picks are exact: here, and for larger sizes where inexact ones would be quicker."""
    if subject.trial.lowering != AUTO:
        raise NotApplicableError(f"{subject.trial.lowering} is asked for by name")
    for case in (subject.trial.case, *_larger(subject.trial.case)):
        for name, step in subject.altered(case=case).steps().items():
            if not LOWERINGS[step.lowering].exact:
                raise UnmetError(f"auto takes {step.lowering} for {name} of {case.id}, which is not exact")


def _larger(case: Case) -> tuple[Case, Case]:
    """The same with many windows, and a long kernel or many channels."""
    kernel, windows = (round(count ** (1 / case.ndim)) for count in (_LONG_KERNEL, _MANY_WINDOWS))
    channels, features = _MANY_CHANNELS * case.channels, _MANY_CHANNELS * case.features
    long = tuple(max(kernel, k) for k in case.kernel)
    found = replace(case, kernel=long), replace(case, channels=channels, features=features)
    first, second = (
        replace(
            one,
            input_size=tuple(s * windows + d * k for s, d, k in zip(one.stride, one.dilation, one.kernel, strict=True)),
        )
        for one in found
    )
    return first, second


def _axes(case: Case) -> tuple[Any, ...]:
    """Sizes of each axis; a border that copies the input counts as input."""
    size, padding = case.input_size, case.padding
    if case.mode != "zeros":
        size, padding = tuple(n + sum(sides) for n, sides in zip(size, padding, strict=True)), ((0, 0),) * case.ndim
    return case.kernel, case.output_size, case.stride, padding, case.dilation, size


def _ties(
    kernel: int, positions: int, stride: int, padding: tuple[int, int], dilation: int, size: int
) -> list[tuple[int, int]]:
    """Kernel and output indices of an axis that are tied to the input."""
    pairs = product(range(kernel), range(positions))
    return [(k, o) for k, o in pairs if 0 <= stride * o + dilation * k - padding[0] < size]


def _seen(*axis: Any) -> tuple[int, int, int, tuple[int, int]]:
    """Kernel, stride, dilation and padding of an axis, without ends that read zeros only."""
    _, _, stride, (lo, _), dilation, size = axis
    taps, outputs = (sorted(indices) for indices in zip(*_ties(*axis), strict=True))
    kernel, span = taps[-1] - taps[0] + 1, outputs[-1] - outputs[0]
    before = lo - stride * outputs[0] - dilation * taps[0]
    after = stride * span + dilation * (kernel - 1) + 1 - size - before
    return kernel, 1 if span == 0 and stride > size else stride, dilation, (before, after)


def small_workspace(subject: Subject) -> None:
    """With a workspace limit of one byte, and so the smallest chunks, result and gradients are the same."""
    with limited(1):
        tensors, chosen = differentiated(subject)
        result = subject.call(*tensors, subject.bias())
        same("the result in chunks", result, subject.grown(subject.result()), subject)
        same_gradients(" in chunks", result, chosen, subject)


def saved_tensors(subject: Subject) -> None:
    """The graph saves one operand for each gradient that is needed, and none for the others."""
    tensors, chosen = differentiated(subject)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):  # type: ignore[func-returns-value]
        subject.call(*tensors, subject.bias())
    if len(kept) != len(chosen):
        raise UnmetError(f"{len(chosen)} operands need a gradient, but {len(kept)} tensors are saved")


def torchs_operator(subject: Subject) -> None:
    """Where "fastest" runs torch's operator, results are the same, and no more tensors are saved."""
    refusal = subject.refusals()["native"]
    if refusal is not None:
        raise NotApplicableError(refusal)
    other = subject.altered(lowering=FASTEST)
    with (
        patch("ndconv._tensors.execute.torch_wins", return_value=True),
        patch("ndconv._machine.timings._budget", Budget()),
    ):
        tensors, chosen = differentiated(other)
        result = other.call(*tensors, other.bias())
        same("the result by torch's operator", result, other.grown(other.result()), other)
        same_gradients(" by torch's operator", result, chosen, other)
        saved_tensors(other)


def same_bits(subject: Subject) -> None:
    """The same call gives the same bits, whatever geometry, dtype, memory format or device was computed in between."""
    before = subject.call(*subject.tensors(), subject.bias())
    for what, neighbour in neighbours(subject).items():
        got = neighbour.call(*neighbour.tensors(), neighbour.bias())
        same(f"the result with {what}, computed next,", got, neighbour.grown(neighbour.result()), neighbour)
    expected = subject.result()
    other = subject.altered(dtype=_OTHER_DTYPE[subject.trial.dtype])
    dtype = other.trial.torch_dtype
    between = other.call(*subject.tensors(dtype=dtype))
    same(f"the result in {other.trial.dtype}, computed next,", between, expected, subject, dtype)

    format = _other_format(subject)
    tensors = subject.tensors(format=format)
    between = subject.call(*tensors)
    same(f"the result of {format} operands, computed next,", between, expected, subject)
    if subject.trial.case.batch:
        laid_out(f"the result of {format} operands, computed next,", between, tensors)

    first, second = subject.tensors()
    if not subject.call(first.to("meta"), second.to("meta")).is_meta:
        raise UnmetError("the result of operands on meta, computed next, is elsewhere")

    after = subject.call(*subject.tensors(), subject.bias())
    if (after.dtype, after.device, after.stride()) != (before.dtype, before.device, before.stride()):
        raise UnmetError("the second call's result has another dtype, device or layout")
    if not after.is_meta and not torch.equal(after, before):
        raise UnmetError("the second call's result has other bits")


def neighbours(subject: Subject) -> dict[str, Subject]:
    """Trials that differ in one number, and so in input size, and must not share cached results."""
    case = subject.trial.case
    found = {}
    for name, growing in (("stride", case.output_size), ("dilation", case.kernel)):
        size = tuple(n + count - 1 for n, count in zip(case.input_size, growing, strict=True))
        changes: Any = {"input_size": size, name: tuple(number + 1 for number in getattr(case, name))}
        found[f"a larger {name}"] = subject.altered(case=replace(case, **changes), padding="pairs")
    return found


def _other_format(subject: Subject) -> str:
    trial = subject.trial
    knows = trial.case.ndim in (2, 3) and trial.batch == "batched" and trial.format not in ("channels_last", "mixed")
    return "channels_last" if knows else "contiguous"


def memory_format(subject: Subject) -> None:
    """The result is channels-last if an operand is, as is the input gradient; a weight gradient is if the weight is."""
    if subject.trial.case.batch == 0:
        raise NotApplicableError("an empty tensor lies nowhere")
    tensors, chosen = differentiated(subject)
    result = subject.call(*tensors, subject.bias())
    laid_out("the result", result, tensors)
    if chosen:
        _, grad = outer(subject)
        named = dict(zip(subject.operands, tensors, strict=True))
        for name, found in zip(subject.needed, torch.autograd.grad(result, chosen, grad), strict=True):
            laid_out(f"the gradient of {name}", found, [named["w"]] if name == "w" else tensors)


def operands_untouched(subject: Subject) -> None:
    """Neither call nor gradient writes to an operand, and no result shares memory with one."""
    tensors, chosen = differentiated(subject)
    bias = subject.bias()
    _, grad = outer(subject)
    watched = [*tensors, grad, *([] if bias is None else [bias])]
    copies, versions = [tensor.detach().clone() for tensor in watched], [tensor._version for tensor in watched]
    result = subject.call(*tensors, bias)
    found = [result.detach(), *(torch.autograd.grad(result, chosen, grad) if chosen else ())]
    if versions != [tensor._version for tensor in watched]:
        raise UnmetError("an operand, the bias or the result's gradient was written to")
    for tensor in found:
        tensor.add_(1)
    if not result.is_meta and not all(map(torch.equal, watched, copies)):
        raise UnmetError("a result or gradient shares memory with an operand, or wrote to one")


def written_to(subject: Subject) -> None:
    """Results and gradients may be changed in place, and later steps see the change, as in torch."""
    tensors, chosen = differentiated(subject)
    result = subject.call(*tensors, subject.bias()).neg_()
    same("the result, negated in place,", result, -subject.grown(subject.result()), subject)
    if not chosen:
        return
    numbers, grad = outer(subject)
    found = [each.neg_() for each in torch.autograd.grad(result, chosen, grad, create_graph=True)]
    for name, got in zip(subject.needed, found, strict=True):
        want = subject.gradient(name, subject.filled(), numbers)
        same(f"the gradient of {name}, both it and the result negated in place,", got, want, subject)
    if len(chosen) == 2:
        steps = subject.filled(role=1)
        second = torch.autograd.grad(found, chosen, [subject.tensor(steps[name]) for name in subject.needed])
        same_second_gradients(" of what was negated in place", second, steps, numbers, subject)


class _Slots(TorchDispatchMode):
    """Records the slots that are computed inside the block."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ran: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.ndconv.trilinear.default:
            self.ran.append(args[2])
        return func(*args, **kwargs or {})


def asked_for(subject: Subject) -> None:
    """If both operands need a gradient and only one is asked for, only that one is computed."""
    if subject.trial.needs != "both":
        raise NotApplicableError("there are not two gradients to choose from")
    tensors, chosen = differentiated(subject)
    result, (_, grad) = subject.call(*tensors, subject.bias()), outer(subject)
    slots = {"x": "input", "w": "weight", "y": "output"}
    for name, operand in zip(subject.needed, chosen, strict=True):
        with _Slots() as slots_of:
            torch.autograd.grad(result, operand, grad, retain_graph=True)
        if slots_of.ran != [slots[name]]:
            raise UnmetError(f"the gradient of {name} was asked for, but what ran was {slots_of.ran}")


def jacobian(subject: Subject) -> None:
    """Gradcheck with a step of 1: the function is linear in each operand, so a finite difference is exact."""
    gradcheck(*differentiable(subject), eps=1.0, atol=tolerance(subject), rtol=0, check_forward_ad=True)


def differentiable(subject: Subject) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """A function of the operands that need a gradient, and these, in double precision; if a Jacobian is feasible."""
    needs_numbers(subject)
    if not subject.needed:
        raise NotApplicableError("no operand needs a gradient")
    subject = subject.altered(dtype="complex128" if subject.trial.torch_dtype.is_complex else "float64")
    trial = subject.trial
    if subject.spoilt is not None:
        raise NotApplicableError("there is no step from a NaN or an infinity")
    if trial.format == "repeated":
        raise NotApplicableError("a step in one element of a repeated operand is a step in many")
    if trial.case.batch == 0:
        raise NotApplicableError("an empty tensor has no element to step in")
    if sum(math.prod(subject.shapes[name]) for name in "xwy") > _MOST_ELEMENTS:
        raise NotApplicableError(f"a Jacobian takes a call per element, of which there are more than {_MOST_ELEMENTS}")
    bias = subject.bias()
    (first, second), chosen = differentiated(subject)
    functions: dict[str, Callable[..., Tensor]] = {
        "both": lambda first, second: subject.call(first, second, bias),
        "first": lambda first: subject.call(first, second, bias),
        "second": lambda second: subject.call(first, second, bias),
    }
    return functions[trial.needs], tuple(chosen)


def large_numbers(subject: Subject, names: Iterable[str]) -> tuple[dict[str, Array], int]:
    """Numbers by name whose sums exceed a half type, and their bound."""
    needs_numbers(subject)
    dtype = subject.trial.dtype
    if dtype not in _LARGEST_SUM:
        raise NotApplicableError(f"{dtype} is no half type")
    if not is_exact(subject.trial.lowering):
        raise NotApplicableError(f"{subject.trial.lowering} rounds its sums before that")
    if _rounds_twice(subject, subject.trial.lowering):
        raise NotApplicableError("torch's kernel rounds before it adds a bias there")
    most = min(256, math.isqrt(_LARGEST_SUM[dtype] // (2 * subject.trial.case.longest_sum)))
    # All of one sign, so that every sum is large.
    return {name: np.abs(subject.numbers(name, bound=most)) for name in names}, most


def _rounds_twice(subject: Subject, lowering: str) -> bool:
    """Whether it is torch's kernel with half types as they are: widening them, as on CPUs, costs all of its speed."""
    return lowering == NATIVE and subject.trial.dtype in _LARGEST_SUM and torch.device(subject.device).type != "cpu"


def one_rounding(subject: Subject) -> None:
    """Half types: every exact lowering rounds large sums, bias included, only once."""
    values, most = large_numbers(subject, subject.operands)
    want = subject.grown(subject.expected(subject.open, values), most)
    for name, refusal in {subject.trial.lowering: None, **subject.refusals()}.items():
        if refusal is None and is_exact(name) and not _rounds_twice(subject, name):
            got = subject.call(*subject.tensors(values), subject.bias(most), lowering=name)
            same(f"the result of large numbers by {name!r}", got, want, subject)


def without_onednn(subject: Subject) -> None:
    """Without oneDNN's products, as on processors that lack instructions, result and gradients are the same.

    So one machine tries both of torch's code paths: torch's other products round partial sums.
    """
    if torch.device(subject.device).type != "cpu":
        raise NotApplicableError("oneDNN multiplies on CPUs")
    if subject.trial.dtype not in _BY_ONEDNN:
        raise NotApplicableError(f"oneDNN does not multiply {subject.trial.dtype}")
    mkldnn: Any = torch.backends.mkldnn
    before, mkldnn.enabled = mkldnn.enabled, False
    try:
        for check in (forward, gradients, one_rounding):
            with suppress(NotApplicableError):
                check(subject)
    finally:
        mkldnn.enabled = before


def random_numbers(subject: Subject) -> None:
    """Normal numbers: the error against the loop in double precision stays within `TOLERANCE`."""
    needs_numbers(subject)
    dtype = subject.trial.dtype
    if dtype not in TOLERANCE:
        raise NotApplicableError(f"{dtype} has no fractions")
    values = {name: subject.fractions(name) for name in subject.operands}
    got = subject.call(*subject.tensors(values)).cpu()
    wide = got.to(torch.complex128 if got.is_complex() else torch.float64).numpy()
    error = np.abs(wide - subject.expected(subject.open, values))
    size = subject.expected(subject.open, {name: np.abs(numbers) for name, numbers in values.items()})
    kind = torch.finfo(subject.trial.torch_dtype)
    first, second = (float(np.linalg.norm(numbers)) for numbers in values.values())
    roundings = TOLERANCE[dtype] * (1 + _rounds_twice(subject, subject.trial.lowering))
    most = roundings * kind.eps * (size + kind.smallest_normal) + tolerance(subject, norms=first * second)
    if (error > most).any():
        worst = float((error / np.where(size > 0, size, 1)).max())
        usual = f"{roundings} x {kind.eps:.2g}"
        raise UnmetError(f"random numbers are off by {worst:.2g} of the absolute sum, {dtype} may be by {usual}")


# In this order.
ALWAYS: dict[str, Callable[[Subject], None]] = {
    "forward": forward,
    "gradients": gradients,
    "other notations": other_notations,
    "adjoint identity": adjoint_identity,
    "equals torch": equals_torch,
    "other lowerings": other_lowerings,
    "named lowering": named_lowering,
    "printed source": printed_source,
    "exact by default": exact_by_default,
    "small workspace": small_workspace,
    "saved tensors": saved_tensors,
    "torch's operator": torchs_operator,
    "same bits": same_bits,
    "memory format": memory_format,
    "operands untouched": operands_untouched,
    "written to in place": written_to,
    "only what is asked for": asked_for,
    "Jacobian of step 1": jacobian,
    "one rounding": one_rounding,
    "without oneDNN": without_onednn,
    "random numbers": random_numbers,
}
