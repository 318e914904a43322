"""Lowerings of your own: functions that build the program of a convolution and of its gradients.

A lowering is registered once, under a name. Every function and module then takes it as ``lowering="mine"``, and
`ndconv.plan` shows its program and cost. It has derivatives of every order, as each is the same trilinear form with
another slot open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from ndconv._form import cache
from ndconv._form.geometry import Geometry, Pairs, Problem, Slot
from ndconv._lowerings import LOWERINGS, Lowering
from ndconv._machine.timings import forget
from ndconv._planner.choice import names as _words
from ndconv._planner.selection import get_lowering
from ndconv._programs.windows import fold, kernel_first, windows

__all__ = [
    "Builder",
    "Geometry",
    "Problem",
    "Slot",
    "fold",
    "kernel_first",
    "names",
    "register",
    "unregister",
    "windows",
]

Array = Any
"""An operand or result while a program is recorded: it has a shape and a tensor's view methods, but no values. It is a
tensor where the steps are computed at once."""
Build = Callable[[Any, Problem, Array, Array], Array]


class Builder(Protocol):
    """The operations that a lowering's function may use, beside the methods of its operands.

    These methods are `shape`, `dim`, `numel`, `view`, `reshape`, `flatten`, `permute`, `transpose`, `mT`, `movedim`,
    `unsqueeze`, `squeeze`, `expand`, `unfold`, `narrow`, `flip`, `unbind`, indices and slices; also `contiguous`,
    `new_zeros`, `new_empty`, `copy_` and ``+=``, each as in torch. All steps are recorded, and computed whenever the
    program runs. For exporters and tensor subclasses they are computed at once.

    Example:
        >>> from ndconv.lowerings import Builder, Problem
        >>> def pointwise(b: Builder, problem: Problem, x, w):
        ...     return b.matmul(w.flatten(2), x.flatten(3)).view(*problem.shape(problem.slot))
    """

    @property
    def symbolic(self) -> bool:
        """Whether sizes may be symbolic, as for an exporter; these must not be compared."""

    def pad(self, value: Array, amounts: Pairs, name: str = "padded") -> Array:
        """Pad the last axes with zeros, ``(lo, hi)`` for each; negative amounts crop."""

    def unpad(self, value: Array, amounts: Pairs) -> Array:
        """Adjoint of `pad`: crop what it added and put zeros where it cropped."""

    def matmul(self, first: Array, second: Array, name: str = "product") -> Array:
        """``first @ second`` for every item of a batch: ``(b, i, j)`` and ``(*a, b, j, k)`` give ``(*a, b, i, k)``."""

    def accumulate(self, total: Array, first: Array, second: Array, *, fresh: bool = False) -> None:
        """``total += first @ second``, or ``=`` if fresh: ``(b, i, k)``, ``(b, i, j)`` and ``(b, j, k)``."""

    def einsum(self, equation: str, first: Array, second: Array) -> Array:
        """`torch.einsum` of two operands, with a letter for every axis: ``"ngcp,gdc->ngdp"``."""

    def cat(self, values: Sequence[Array], axis: int, name: str = "joined") -> Array:
        """`torch.cat`."""

    def summed(self, value: Array, axes: Sequence[int]) -> Array:
        """Sum over axes, which are removed."""

    def copied(self, value: Array) -> Array:
        """A contiguous copy."""

    def named(self, name: str, value: Array) -> Array:
        """The value, under this name in the printed program."""

    def dtype(self, value: Array) -> str:
        """Element type, by torch's name."""

    def cast(self, value: Array, dtype: str) -> Array:
        """The value with another element type."""

    def each(self, length: int, name: str, start: int = 0) -> Iterator[Any]:
        """Loop over the indices of an axis; while recorded, its body runs once."""

    def chunks(self, length: int, bytes_each: int, target: int | None = None, name: str = "n") -> Iterator[Any]:
        """Slices of an axis of ``length`` items, each short enough for `ndconv.set_workspace_limit`."""


class _Registered(Lowering):
    def __init__(
        self, name: str, build: Build, exact: bool, automatic: bool, symbolic: bool, accumulates: bool,
        refusal: Callable[[Problem], str | None] | None, rounding: Callable[[Problem], float] | None,
    ) -> None:  # fmt: skip
        self.name, self.exact, self.automatic, self.symbolic = name, exact, automatic, symbolic
        self._build, self._accumulates, self._refusal, self._rounding = build, accumulates, refusal, rounding

    def refusal(self, problem: Problem) -> str | None:
        return self._refusal(problem) if self._refusal else None

    def rounding(self, problem: Problem) -> float:
        return self._rounding(problem) if self._rounding else 0.0

    def accumulates(self, b: Any, problem: Problem) -> bool:
        return self._accumulates

    def output(self, b: Any, problem: Problem, x: Array, w: Array) -> Array:
        return self.build(b, problem, x, w)

    def input(self, b: Any, problem: Problem, w: Array, y: Array) -> Array:
        return self.build(b, problem, w, y)

    def weight(self, b: Any, problem: Problem, x: Array, y: Array) -> Array:
        return self.build(b, problem, x, y)

    def build(self, b: Any, problem: Problem, first: Array, second: Array) -> Array:
        result = self._build(b, problem, first, second)
        if b.symbolic:
            return result
        shape, wanted = getattr(result, "shape", None), problem.shape(problem.slot)
        if shape != wanted:
            what = f"a {type(result).__name__}" if shape is None else f"one of shape {tuple(shape)}"
            raise ValueError(
                f"lowering {self.name!r}: what it builds for the slot {problem.slot.name} must be a tensor of shape "
                f"{wanted}, but is {what}"
            )
        return result if result.variable.owned else b.copied(result)  # no result shares memory with an operand


def register(
    name: str, build: Build, *, exact: bool = True, automatic: bool = False, symbolic: bool = True,
    accumulates: bool = True, refusal: Callable[[Problem], str | None] | None = None,
    rounding: Callable[[Problem], float] | None = None,
) -> None:  # fmt: skip
    """Register a lowering under a name, for the whole process.

    ``build(b, problem, first, second)`` computes the open slot ``problem.slot`` from the two operands, those of the
    slots ``problem.slot.operands``, with the methods of a `Builder` ``b`` and of the operands. Groups ``g`` have an
    axis of their own:

    ========  ===============  ===============  ===============
    slot      first            second           result
    ========  ===============  ===============  ===============
    OUTPUT    x[n,g,c,*i]      w[g,d,c,*k]      y[n,g,d,*o]
    INPUT     w[g,d,c,*k]      y[n,g,d,*o]      x[n,g,c,*i]
    WEIGHT    x[n,g,c,*i]      y[n,g,d,*o]      w[g,d,c,*k]
    ========  ===============  ===============  ===============

    ``build`` is called once for all operands of the same sizes and kind, and once more to price its program, so it must
    have no side effects. It sees floating and complex dtypes only: integers are converted before. Register before
    several threads compute. ``"fastest"`` tries the lowering on problems that it has not measured yet.

    Args:
        name: What to call it: an identifier that no other lowering has.
        build: Builds the program.
        exact: Whether sums of integers held in floats come out without rounding. A lowering that is not exact never
            runs for integer dtypes, nor under `ndconv.set_exact`.
        automatic: Whether ``"auto"`` may pick it, by the price of its program.
        symbolic: Whether its steps are the same for all sizes, so that it can be exported with symbolic sizes;
            otherwise an exporter takes another lowering.
        accumulates: Whether it adds partial sums in the operands' dtype, as by ``+=``; half types are then widened to
            float32 first, and rounded once.
        refusal: Function of a problem that returns why the lowering does not apply, or None if it does. Where it does
            not, the cheapest exact one runs.
        rounding: Function of a problem that returns a bound of the rounding error beyond that of a plain sum, in units
            of ``eps * norm(first) * norm(second)``, for `ndconv.testing`. None is a bound of 0.

    Raises:
        TypeError: If ``name`` is no string, or ``build``, ``refusal`` or ``rounding`` cannot be called.
        ValueError: If the name is no identifier or is taken, or ``"auto"`` is to pick a lowering that is not exact.

    Example:
        >>> import torch, ndconv
        >>> from ndconv.lowerings import Slot, register, unregister, windows
        >>> letters = {Slot.OUTPUT: "ngcok,gdck->ngdo", Slot.WEIGHT: "ngcok,ngdo->gdck"}
        >>> def line(b, problem, x, other):
        ...     return b.einsum(letters[problem.slot], windows(x, problem.geometry), other)
        >>> def refusal(problem):
        ...     if problem.slot is Slot.INPUT or problem.geometry.ndim != 1 or any(problem.geometry.padding[0]):
        ...         return "it is for one axis without padding, and not for the gradient of the input"
        >>> register("line", line, refusal=refusal)
        >>> x, w = torch.arange(5.0).view(1, 1, 5), torch.tensor([[[1.0, 0.0, -1.0]]])
        >>> ndconv.functional.conv1d(x, w, lowering="line")
        tensor([[[-2., -2., -2.]]])
        >>> ndconv.plan(x, w, lowering="line").grad_weight.lowering
        'line'
        >>> unregister("line")
    """
    if not isinstance(name, str):
        raise TypeError(f"register: name must be a string, but is {name!r}")
    if not name.isidentifier():
        raise ValueError(f"register: name must be an identifier, but is {name!r}")
    if name in _words():
        raise ValueError(f"register: name must be a new one, but there is a lowering {name!r} already")
    for title, function, needed in (("build", build, True), ("refusal", refusal, False), ("rounding", rounding, False)):
        if not callable(function) and (needed or function is not None):
            raise TypeError(f"register: {title} must be a function, but is {function!r}")
    if automatic and not exact:
        raise ValueError(f'register: "auto" picks exact lowerings only, but {name!r} is said not to be')
    cache.clear()  # choices, prices and programs made without it
    LOWERINGS[name] = _Registered(name, build, exact, automatic, symbolic, accumulates, refusal, rounding)


def unregister(name: str) -> None:
    """Remove a lowering that `register` has added.

    Args:
        name: Its name.

    Raises:
        ValueError: If it is not registered, is one of the library's own, or is the current one.

    Example:
        >>> from ndconv.lowerings import names, register, unregister
        >>> register("mine", lambda b, problem, first, second: first)
        >>> unregister("mine")
        >>> "mine" in names()
        False
    """
    if not isinstance(LOWERINGS.get(name), _Registered):
        raise ValueError(f"unregister: name must be one that was registered, but is {name!r}")
    if get_lowering() == name:
        raise ValueError(f"unregister: {name!r} is the current lowering; set another one first")
    del LOWERINGS[name]
    cache.clear()
    forget(name)


def names() -> tuple[str, ...]:
    """The names of all lowerings, the library's own first.

    Returns:
        The names that `ndconv.set_lowering` takes, apart from ``"auto"`` and ``"fastest"``.

    Example:
        >>> from ndconv.lowerings import names
        >>> names()
        ('reshape', 'taps', 'columns', 'window', 'winograd', 'fourier', 'native')
    """
    return tuple(LOWERINGS)
