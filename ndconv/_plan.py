"""Which lowering runs: the planner, the user's choice, and the one way from operands to a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_compiling, is_dynamo_compiling
from torch.nn import Parameter

from ndconv._autocast import autocast_device
from ndconv._cache import cached
from ndconv._exact import get_exact
from ndconv._geometry import Form, Geometry, Ints, Problem, Slot
from ndconv._layout import is_channels_last, lay_out
from ndconv._lowerings import LOWERINGS, Cost
from ndconv._lowerings.native import arguments
from ndconv._precision import computed_in, is_emulated, run, wide_dtype
from ndconv._ties import Part, assembled, ties
from ndconv._timings import key_of, lookup, may_measure, measure, wins
from ndconv._windows import ungroup

AUTO, FASTEST = "auto", "fastest"

# What two AVX-512 cores do in a nanosecond: multiply-adds of dense matrices and of others, by the bytes of an element;
# bytes moved, and bytes taken from a cache. Last the nanoseconds that starting an operation takes. Fitted to what all
# lowerings took on the workloads of `benchmarks`; only the ratios matter to a choice.
_MULTIPLY_ADDS = {2: (800.0, 800.0), 4: (110.0, 58.0), 8: (28.0, 28.0), 16: (7.0, 7.0)}
_BYTES, _CACHED_BYTES = 33.0, 85.0
_CALL = 4500.0
# Buffers of so many bytes or more are taken from the system and given back every time, at so many nanoseconds a byte.
_LARGE, _PAGES = 32 * 2**20, 0.25

# How many times the least estimate one must be for "fastest" not to try a lowering that may take seconds.
_HOPELESS = 20.0

# What holds numbers and does nothing else.
_PLAIN = {Tensor, Parameter}

_current = AUTO


def set_lowering(name: str) -> None:
    """Set the lowering of every convolution that is not given one, in all threads of the process.

    Where it does not apply to an operation (`reshape` to windows that overlap), the cheapest that does runs instead;
    `ndconv.plan` says so.

    Args:
        name: ``"auto"`` (picks the cheapest of the exact ones; the start), ``"window"``, ``"columns"``, ``"reshape"``,
            ``"taps"``, ``"winograd"`` and ``"fourier"`` (whose sums are rounded, those of integers in floats too: see
            `set_exact`), ``"native"`` (torch's own kernel) or ``"fastest"`` (measures all of them where sizes come
            again, and keeps the quickest, exact or not; until then, and for an exporter, it is "auto").

    Raises:
        ValueError: If there is no such lowering.

    Example:
        >>> import ndconv
        >>> ndconv.set_lowering("taps")
        >>> ndconv.get_lowering()
        'taps'
        >>> ndconv.set_lowering("auto")
    """
    global _current
    _current = resolve("set_lowering", str(name))


def get_lowering() -> str:
    """The name set by `set_lowering`."""
    return _current


@contextmanager
def lowering(name: str) -> Iterator[None]:
    """Use a lowering inside a ``with`` block; backward passes of what was computed inside use it too.

    It sets the process's lowering and sets it back, so blocks in several threads must not overlap; give functions and
    modules a ``lowering=`` there.

    Args:
        name: As in `set_lowering`.

    Raises:
        ValueError: If there is no such lowering.

    Example:
        >>> import ndconv
        >>> with ndconv.lowering("window"):
        ...     ndconv.get_lowering()
        'window'
    """
    global _current
    before, _current = _current, resolve("lowering", str(name))
    try:
        yield
    finally:
        _current = before


def names() -> tuple[str, ...]:
    """What a lowering may be called: "auto", "fastest" or by its name."""
    return AUTO, FASTEST, *LOWERINGS


def resolve(function: str, name: str | None) -> str:
    """The lowering to use: the one named, or the current one if None."""
    if name is None:
        return _current
    if name not in names():
        raise ValueError(f"{function}: lowering must be one of {', '.join(map(repr, names()))}, but is {name!r}")
    return name


@dataclass(frozen=True)
class Choice:
    """The planner's answer for one problem.

    Args:
        name: The lowering that runs.
        wanted: The one that was asked for, ``"auto"`` or ``"fastest"``.
        costs: What each lowering that applies would spend.
        estimates: The nanoseconds that the planner expects of it.
        refusals: Why the others do not apply.
        seconds: What each takes, if ``"fastest"`` has measured it.
    """

    name: str
    wanted: str
    costs: dict[str, Cost]
    estimates: dict[str, float]
    refusals: dict[str, str]
    seconds: Mapping[str, float] = field(default_factory=dict)


def estimate(cost: Cost, itemsize: int, widened: bool = False) -> float:
    """Nanoseconds of computing, moving, starting and large buffers together, with 4 bytes if half types are widened."""
    large = max(4 if widened else 2, itemsize)
    dense, others = _MULTIPLY_ADDS[large]
    computing = cost.multiply_adds / (dense if cost.dense else others)
    moving = cost.elements_moved / _BYTES + cost.elements_cached / _CACHED_BYTES
    buffers = cost.workspace * large
    paging = buffers * _PAGES if buffers >= _LARGE else 0.0
    return computing + moving * large + cost.calls * _CALL + paging


def wants_exact(dtype: torch.dtype) -> bool:
    """Whether a convolution of this dtype is for exact lowerings only: integers are, whatever `set_exact` says."""
    return get_exact() or not (dtype.is_floating_point or dtype.is_complex)


def _refusal(name: str, problem: Problem, exact: bool) -> str | None:
    """Why a lowering does not apply, or may not."""
    if exact and not LOWERINGS[name].exact:
        return "it rounds sums of integers, and only exact ones are asked for"
    return LOWERINGS[name].refusal(problem)


def _automatic(names: Iterable[str]) -> Iterator[str]:
    """Those that "auto" picks from: what computes as a direct sum does, and is ours."""
    return (name for name in names if LOWERINGS[name].exact and LOWERINGS[name].automatic)


def choose(problem: Problem, wanted: str, seconds: Mapping[str, float] | None = None, *, exact: bool = False) -> Choice:
    """Weigh the lowerings that apply; a wanted one that does not apply falls back to the cheapest exact one."""
    refusals = {name: reason for name in LOWERINGS if (reason := _refusal(name, problem, exact))}
    costs = {name: lowering.cost(problem) for name, lowering in LOWERINGS.items() if name not in refusals}
    estimates = {
        name: estimate(cost, problem.itemsize, LOWERINGS[name].accumulates(problem)) for name, cost in costs.items()
    }
    seconds = {name: taken for name, taken in (seconds or {}).items() if name in costs}
    if wanted == FASTEST and seconds:
        return Choice(min(seconds, key=seconds.__getitem__), wanted, costs, estimates, refusals, seconds)
    cheapest = min(_automatic(costs), key=estimates.__getitem__)
    return Choice(wanted if wanted in costs else cheapest, wanted, costs, estimates, refusals)


def _recorded(problem: Problem, wanted: str, exact: bool) -> str:
    """A choice that holds for every size that an exported program serves, weighed by those that it is exported with."""
    automatic = [*_automatic(LOWERINGS)]
    if not is_dynamo_compiling():  # which has no numbers for its symbols
        example = _with_hints(problem)
        automatic.sort(key=lambda name: estimate(LOWERINGS[name].cost(example), problem.itemsize))
    names = automatic if wanted in (AUTO, FASTEST) else (wanted, *automatic)
    return next(name for name in names if _refusal(name, problem, exact) is None)


def _with_hints(value: Any) -> Any:
    """A problem with the numbers that its symbols stand for at the moment; no guard is made."""
    if isinstance(value, torch.SymInt):
        return value.node.hint if value.node.has_hint() else 1
    if isinstance(value, tuple):
        return tuple(map(_with_hints, value))
    if isinstance(value, Problem | Geometry):
        return type(value)(*(_with_hints(getattr(value, each.name)) for each in fields(value)))
    return value


def _quickest(
    problem: Problem, tensor: Tensor, channels_last: bool, compute: Callable[[str], Tensor], otherwise: str
) -> str:
    """The lowering that took the least time, all measured now if they were not before and it is worth the while."""
    if tensor.is_meta or type(tensor) is not Tensor:
        return otherwise  # computing without numbers takes no time
    key, exact = key_of(problem, tensor, channels_last), wants_exact(tensor.dtype)
    seconds = lookup(key)
    if not seconds and may_measure(key):
        estimates = choose(problem, FASTEST).estimates
        least = min(estimates.values())
        hopeful = (name for name, each in estimates.items() if each < _HOPELESS * least or LOWERINGS[name].exact)
        seconds = measure(key, {name: partial(compute, name) for name in hopeful})
    contenders = (name for name in seconds if LOWERINGS[name].exact or not exact)
    return min(contenders, key=seconds.__getitem__, default=otherwise)


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


class _Prepared(NamedTuple):
    """What is known of a call from its shapes.

    Args:
        problem: What to compute.
        name: The lowering that was asked for or that costs the least.
        axes: The axis of the groups in both operands and in the result.
        parts: What of it is tied to the input, None if all is.
    """

    problem: Problem
    name: str
    axes: Ints
    parts: tuple[Part, ...] | None


@cached
def _prepared(form: Form, first: Ints, second: Ints, itemsize: int, exact: bool) -> _Prepared:
    problem, wanted = problem_of(form, first, second, itemsize), form.lowering
    one, other = form.slot.operands
    if is_compiling():  # it could not compare its sizes
        name, parts = _recorded(problem, wanted, exact), None
    else:
        parts = ties(form)
        name = choose(problem, wanted, exact=exact).name if parts is None else wanted
    return _Prepared(problem, name, (one.group_axis, other.group_axis, form.slot.group_axis), parts)


def torch_takes_over(problem: Problem, slots: Iterable[Slot], dtype: torch.dtype, device: str) -> bool:
    """Whether torch's operator had better take the place of the Function, and so differentiate itself.

    That is where ``"fastest"`` has measured the slots and torch's kernel wins them all, unless torch lacks the dtype or
    rounds partial sums.
    """
    if not dtype.is_floating_point or is_emulated(dtype, device == "cpu"):
        return False
    return wins("native", problem, tuple(slots), dtype, device, torch.get_num_threads())


def torchs_own(form: Form, first: Tensor, second: Tensor, bias: Tensor | None) -> tuple[Any, ...] | None:
    """Arguments of ``torch.convolution`` after the bias where `torch_takes_over` an OUTPUT or INPUT; None elsewhere.

    torch's operator keeps both operands for whichever gradient is needed, so it is only for those that need both.
    """
    if is_compiling() or not {type(first), type(second)} <= _PLAIN or torch._C._are_functorch_transforms_active():
        return None
    if is_channels_last(first) or is_channels_last(second):
        return None
    if form.wide and wide_dtype(first.dtype) != first.dtype:
        return None  # torch may round before the bias
    itemsize, exact = computed_in(first.dtype, first.is_cpu).itemsize, wants_exact(first.dtype)
    problem = _prepared(form, first.shape, second.shape, itemsize, exact).problem
    slots = [form.slot]
    if torch.is_grad_enabled():
        if first.requires_grad and second.requires_grad:
            slots += form.slot.operands
        elif any(tensor is not None and tensor.requires_grad for tensor in (first, second, bias)):
            return None
    return arguments(problem) if torch_takes_over(problem, slots, first.dtype, first.device.type) else None


def execute(form: Form, first: Tensor, second: Tensor) -> Tensor:
    """Compute the open slot from its two operands; groups are folded into channels, as torch lays tensors out.

    Args:
        form: The form and its open slot.
        first: Operand ``form.slot.operands[0]``.
        second: Operand ``form.slot.operands[1]``.

    Returns:
        The tensor of the open slot, channels-last if an operand is: ``(n, g*c, *I)``, ``(g*d, c, *K)`` or
        ``(n, g*d, *O)``.
    """
    kind = autocast_device(first)
    if kind is not None:
        with torch.autocast(kind, enabled=False):
            return execute(form, first, second)
    exact, groups, channels_last = wants_exact(first.dtype), form.geometry.groups, form.channels_last
    itemsize = computed_in(first.dtype, first.is_cpu, form.wide).itemsize
    problem, name, axes, parts = _prepared(form, first.shape, second.shape, itemsize, exact)
    if channels_last is None:
        channels_last = is_channels_last(first) or is_channels_last(second)
    a = ungroup(first.resolve_conj().resolve_neg(), axes[0], groups)
    b = ungroup(second.resolve_conj().resolve_neg(), axes[1], groups)

    def finished(result: Tensor) -> Tensor:
        result = lay_out(result.flatten(axes[2], axes[2] + 1), channels_last)
        # A view made inside a Function cannot be written to; detached from the tensor that it shows, it is none.
        return result if is_compiling() else result.detach()

    def compute(name: str) -> Tensor:
        return finished(run(LOWERINGS[name], problem, a, b, wide=form.wide))

    if a.numel() == 0 or b.numel() == 0:
        # Operands without elements are an empty sum. Seen to here, so that no lowering has to care about them.
        dtype = wide_dtype(a.dtype) if form.wide else a.dtype
        return finished(a.new_zeros(problem.shape(form.slot), dtype=dtype))
    if parts is not None:
        total = assembled(form, parts, (first, second), problem.folded_shape, execute)
        return lay_out(total, channels_last).detach()
    if form.lowering == FASTEST and not is_compiling():
        name = _quickest(problem, a, channels_last, compute, name)
    return compute(name)
