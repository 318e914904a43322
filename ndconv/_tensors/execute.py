"""The one way from a form and two operands to a result: look a program up or compile it, and run it."""

from __future__ import annotations

import itertools
import linecache
import weakref
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad
from torch.compiler import is_compiling, is_dynamo_compiling
from torch.nn import Parameter

from ndconv._form.cache import cached, memory
from ndconv._form.geometry import Derivatives, Form, Geometry, Ints, Problem, Slot
from ndconv._lowerings import LOWERINGS, Lowering
from ndconv._lowerings.native import arguments
from ndconv._machine.target import target_of
from ndconv._machine.timings import DECISIONS, chosen, count_call, is_settled, key_of, may_measure, measure, torch_wins
from ndconv._planner.choice import AUTO, FASTEST, Setting, automatic, cheapest, choose, refusal
from ndconv._planner.computed import computed, exact_float, is_integer, problem_of
from ndconv._planner.exact import get_exact
from ndconv._planner.recorded import recorded
from ndconv._planner.workspace import get_workspace_limit
from ndconv._tensors.autocast import autocast_device
from ndconv._tensors.direct import Direct
from ndconv._tensors.dtypes import computed_in, is_emulated, name_of, wide_dtype
from ndconv._tensors.layout import is_channels_last

# "fastest" does not try inexact lowerings whose estimate is this many times the least one: they may take seconds.
_HOPELESS = 20.0
# Classes that hold numbers and override nothing.
_PLAIN = {Tensor, Parameter}
_TITLES = {Slot.INPUT: "grad_input", Slot.WEIGHT: "grad_weight", Slot.OUTPUT: "output"}

_counter = itertools.count()
_programs = memory()


class Program(NamedTuple):
    """A form compiled for operands of one kind.

    Args:
        form: The form.
        run: The function.
        source: Its text.
        lowerings: The lowerings in it.
        derivatives: `Form.derivatives` for such operands.
    """

    form: Form
    run: Callable[[Tensor, Tensor], Tensor]
    source: str
    lowerings: tuple[str, ...]
    derivatives: Derivatives

    def compute(self, first: Tensor, second: Tensor) -> Tensor:
        """Run it on operands of that kind."""
        try:
            result = self.run(first, second)
        except RuntimeError as error:
            problem, dtype, kind = problem_for(self.form, first, second), first.dtype, first.device.type
            if not is_integer(name_of(dtype)) or exact_float(problem, name_of(dtype), kind) is not None:
                raise
            raise NotImplementedError(
                f"convolution of {dtype} with sums of {problem.terms} products on {kind}: its matrix product lacks the "
                f"dtype, and no float there holds such sums exactly"
            ) from error
        # A view made inside a Function cannot be written to; detached from its base, it is no view.
        return result.detach() if result._is_view() else result


def wants_exact(dtype: torch.dtype) -> bool:
    """Whether a convolution of this dtype is for exact lowerings only: integers are, whatever `set_exact` says."""
    return get_exact() or not (dtype.is_floating_point or dtype.is_complex)


def execute(form: Form, first: Tensor, second: Tensor) -> Tensor:
    """Compute the open slot from its two operands; groups are folded into channels, as torch lays tensors out.

    Args:
        form: The form and its open slot.
        first: Operand ``form.slot.operands[0]``.
        second: Operand ``form.slot.operands[1]``.

    Returns:
        The tensor of the open slot, channels-last if an operand is: ``(n, g*c, *I)``, ``(g*d, c, *K)`` or
        ``(n, g*d, *O)``.

    Raises:
        NotImplementedError: If the device can neither multiply such integers nor hold their sums in a float.
    """
    if (kind := autocast_device(first)) is not None:
        with torch.autocast(kind, enabled=False):
            return execute(form, first, second)
    if is_compiling() or type(first) not in _PLAIN or type(second) not in _PLAIN:
        return _at_once(form, first.resolve_conj().resolve_neg(), second.resolve_conj().resolve_neg())
    if first.is_conj() or first.is_neg() or second.is_conj() or second.is_neg():
        first, second = first.resolve_conj().resolve_neg(), second.resolve_conj().resolve_neg()
    if form.lowering == FASTEST:
        count_call()
        form = _fastest(form, first, second)
    return program_of(form, first, second).compute(first, second)


def is_simple(first: Tensor, second: Tensor, bias: Tensor | None) -> bool:
    """Whether operands are plain dense tensors with the same number of dimensions, and so batched; the bias plain."""
    return (
        type(first) in _PLAIN
        and type(second) in _PLAIN
        and (bias is None or type(bias) in _PLAIN)
        and first.layout is second.layout is torch.strided
        and first.dim() == second.dim()
    )


def _is_alone(first: Tensor, second: Tensor) -> bool:
    """Whether operands hold numbers, and nothing watches or transforms them: then a program is all there is to run."""
    return not (
        is_compiling()
        or type(first) not in _PLAIN
        or type(second) not in _PLAIN
        or torch._C._is_any_autocast_enabled()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._are_functorch_transforms_active()
        or torch._C._get_tracing_state() is not None
        or forward_ad._current_level >= 0
        or first.is_conj()
        or first.is_neg()
        or second.is_conj()
        or second.is_neg()
        or is_legacy_batchedtensor(first)
        or is_legacy_batchedtensor(second)
    )


def ready(wanted: Any, first: Tensor, second: Tensor, *form_of: Any) -> Program | None:
    """`program_of` if a program is all there is to run, else None."""
    return program_of(wanted, first, second, *form_of) if _is_alone(first, second) else None


def fastest(
    wanted: Any,
    first: Tensor,
    second: Tensor,
    bias: Tensor | None = None,
    form_of: Callable[..., Form] | None = None,
    *arguments: Any,
) -> Program | tuple[Any, ...] | None:
    """`ready` under ``"fastest"``: a decision made before for such operands is one look-up.

    Args:
        wanted: The form, or a key that determines it.
        first: Operand ``form.slot.operands[0]``.
        second: Operand ``form.slot.operands[1]``.
        bias: The bias of a user's call.
        form_of: As in `program_of`; given for a user's call, where torch's operator may take over.
        arguments: Its further arguments.

    Returns:
        The program, or the arguments from `torchs_own`; None if there is more to run.
    """
    if not _is_alone(first, second):
        return None
    count_call()
    needs = torch.is_grad_enabled() and (
        first.requires_grad, second.requires_grad, bias is not None and bias.requires_grad,
    )  # fmt: skip
    key = _key(wanted, first, second), torch.get_num_threads(), is_settled(), needs
    found = DECISIONS.answers.get(key)
    if found is not None:
        decision: Program | tuple[Any, ...] = found[0]
        return decision
    form = form_of(first, second, *arguments) if form_of else wanted
    own = torchs_own(form, first, second, bias) if form_of else None
    named = form if own else _fastest(form, first, second)
    if own is None:
        derivatives = form.derivatives(is_channels_last(first), is_channels_last(second))
        own = program_of(named, first, second)._replace(derivatives=derivatives)
    if named.lowering != AUTO or is_settled():
        DECISIONS.keep(key, own)
    return own


def program_of(
    wanted: Any, first: Tensor, second: Tensor, form_of: Callable[..., Form] | None = None, *arguments: Any
) -> Program:
    """The program for such operands, compiled now if it was not before.

    Args:
        wanted: The form, or a key that determines it.
        first: Operand ``form.slot.operands[0]``.
        second: Operand ``form.slot.operands[1]``.
        form_of: Makes the form from the operands and further arguments, if ``wanted`` is a key.
        arguments: Its further arguments.

    Returns:
        The program.
    """
    key = _key(wanted, first, second)
    found = _programs.answers.get(key)
    if found is not None:
        program: Program = found[0]
        return program
    form = form_of(first, second, *arguments) if form_of else wanted
    operands = [(tuple(tensor.shape), tensor.stride()) for tensor in (first, second)]
    program = compiled(form, operands, first.dtype, first.device)
    _programs.keep(key, program)
    return program


def _key(wanted: Any, first: Tensor, second: Tensor) -> tuple[Any, ...]:
    """The cache key of a program: all that it depends on."""
    return (
        wanted, first.shape, first.stride(), second.shape, second.stride(),
        first.dtype, first.device,
        get_exact(), get_workspace_limit(), torch._C._get_mkldnn_enabled(),
    )  # fmt: skip


def compiled(
    form: Form, operands: Iterable[tuple[Ints, Ints | None]], dtype: torch.dtype, device: torch.device
) -> Program:
    """Compile a form for operands of these shapes and strides; None for contiguous ones."""
    name = f"conv{form.geometry.ndim}d_{_TITLES[form.slot]}"
    found = recorded(form, operands, setting_of(dtype, form.wide, device), name)
    derivatives = form.derivatives(*found.channels_last)
    return Program(form, _load(found.text), found.text, found.lowerings, derivatives)


def setting_of(dtype: torch.dtype, wide: bool, device: torch.device) -> Setting:
    """What a choice depends on beside the problem, as currently set."""
    return Setting(name_of(dtype), wide, wants_exact(dtype), target_of(device))


def _load(text: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The function that a program's text defines; tracebacks show its lines."""
    file = f"ndconv program {next(_counter)}"  # `linecache` skips names in angle brackets
    namespace: dict[str, Any] = {}
    exec(compile(text, file, "exec"), namespace)
    run: Callable[[Tensor, Tensor], Tensor] = [*namespace.values()][-1]
    linecache.cache[file] = (lambda: text,)
    weakref.finalize(run, linecache.cache.pop, file, None)
    return run


def _at_once(form: Form, first: Tensor, second: Tensor) -> Tensor:
    """Run the steps on the tensors themselves, which may be symbolic or of a subclass."""
    setting = setting_of(first.dtype, form.wide, first.device)
    wanted = AUTO if form.lowering == FASTEST else form.lowering
    result: Tensor = computed(
        Direct(setting.target.kind, setting.target.emulated), form, lambda problem: _traced(problem, wanted, setting),
        first, second,
    )  # fmt: skip
    return result if is_compiling() else result.detach()


def _traced(problem: Problem, wanted: str, setting: Setting) -> Lowering:
    """A choice that holds for all sizes of an exported program; costs are compared at the sizes of the export."""
    names = [*automatic(LOWERINGS)]
    if not is_dynamo_compiling():  # Dynamo has no numbers for its symbols
        example = _with_hints(problem)
        costs = {
            name: cheapest(name, example, setting)[0].nanoseconds
            for name in names
            if refusal(name, example, setting.exact, symbolic=True) is None
        }
        names = sorted(costs, key=costs.__getitem__)
    names = names if wanted == AUTO else [wanted, *names]
    return LOWERINGS[next(each for each in names if refusal(each, problem, setting.exact, symbolic=True) is None)]


def _with_hints(value: Any) -> Any:
    """A problem with the current numbers behind its symbols; makes no guard."""
    if isinstance(value, torch.SymInt):
        return value.node.hint if value.node.has_hint() else 1
    if isinstance(value, tuple):
        return tuple(map(_with_hints, value))
    if isinstance(value, Problem | Geometry):
        return type(value)(*(_with_hints(getattr(value, each.name)) for each in fields(value)))
    return value


@cached
def _problem(form: Form, first: Ints, second: Ints, itemsize: int) -> Problem:
    return problem_of(form, first, second, itemsize)


def problem_for(form: Form, first: Tensor, second: Tensor) -> Problem:
    """The problem of two operands, in the dtype of its computation."""
    itemsize = computed_in(first.dtype, first.device, form.wide).itemsize
    return _problem(form, first.shape, second.shape, itemsize)


def _fastest(form: Form, first: Tensor, second: Tensor) -> Form:
    """The form with the quickest lowering; all are measured now if they were not before and may be measured."""
    if first.is_meta or first.numel() == 0 or second.numel() == 0:
        return _named(form, AUTO)  # computing without numbers takes no time
    last = form.gives_channels_last(is_channels_last(first), is_channels_last(second))
    problem, exact = problem_for(form, first, second), wants_exact(first.dtype)
    key = key_of(problem, first, last)
    name = chosen(key, exact)
    if name is None and may_measure(key):
        choice = choose(problem, FASTEST, setting_of(first.dtype, form.wide, first.device))
        least = min(choice.estimates.values())
        hopeful = [name for name, each in choice.estimates.items() if each < _HOPELESS * least or LOWERINGS[name].exact]
        hopeful.sort(key=choice.estimates.__getitem__)
        with torch.no_grad():
            measure(key, {name: partial(execute, _named(form, name), first, second) for name in hopeful})
        name = chosen(key, exact)
    return _named(form, name or AUTO)


@cached
def _named(form: Form, lowering: str) -> Form:
    return replace(form, lowering=lowering)


def torch_takes_over(problem: Problem, slots: Iterable[Slot], dtype: torch.dtype, device: str) -> bool:
    """Whether torch's operator replaces the Function, and so differentiates itself.

    It does where ``"fastest"`` has measured the slots and torch's kernel wins them all, unless torch lacks the dtype or
    rounds partial sums.
    """
    if not dtype.is_floating_point or is_emulated(dtype, torch.device(device)):
        return False
    return torch_wins(problem, tuple(slots), dtype, device)


def torchs_own(form: Form, first: Tensor, second: Tensor, bias: Tensor | None) -> tuple[Any, ...] | None:
    """Arguments of ``torch.convolution`` after the bias if `torch_takes_over` an OUTPUT or INPUT; else None.

    torch's operator keeps both operands alive whichever gradient is needed, so it runs only if all are needed, or none.
    """
    if is_compiling() or not {type(first), type(second)} <= _PLAIN or torch._C._are_functorch_transforms_active():
        return None
    if is_channels_last(first) or is_channels_last(second):
        return None
    if form.wide and wide_dtype(first.dtype) != first.dtype:
        return None  # torch may round before the bias
    problem = _problem(form, first.shape, second.shape, computed_in(first.dtype, first.device).itemsize)
    slots = [form.slot]
    if torch.is_grad_enabled():
        if first.requires_grad and second.requires_grad:
            slots += form.slot.operands
        elif any(tensor is not None and tensor.requires_grad for tensor in (first, second, bias)):
            return None
    return arguments(problem) if torch_takes_over(problem, slots, first.dtype, first.device.type) else None
