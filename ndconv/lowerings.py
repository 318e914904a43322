"""Lowerings of your own: a function that turns a problem into steps, and runs wherever a lowering can be named.

A lowering is registered once, under a name: ``lowering="mine"`` then takes it in every function and module,
`ndconv.plan` shows what it runs and what that costs, and it has derivatives of every order, as they are the same form
with another slot open.
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
"""An operand or result while a program is recorded: it has the methods of a tensor that make views, and knows integers
only. It is a tensor where the steps are computed at once."""
Build = Callable[[Any, Problem, Array, Array], Array]


class Builder(Protocol):
    """What a lowering's function is given to compute with; views it takes by the operands' own methods.

    These are `shape`, `dim`, `numel`, `view`, `reshape`, `flatten`, `permute`, `transpose`, `mT`, `movedim`,
    `unsqueeze`, `squeeze`, `expand`, `unfold`, `narrow`, `flip`, `unbind`, indices and slices; besides `contiguous`,
    `new_zeros`, `new_empty`, `copy_` and ``+=``, each as torch has it. All of it is recorded, and computed later, as
    often as the program is run; for an exporter and for tensors of other classes it is computed at once.

    Example:
        >>> from ndconv.lowerings import Builder, Problem
        >>> def pointwise(b: Builder, problem: Problem, x, w):
        ...     return b.matmul(w.flatten(2), x.flatten(3)).view(*problem.shape(problem.slot))
    """

    @property
    def symbolic(self) -> bool:
        """Whether sizes may be symbols, which must not be compared."""

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
        """Sum over axes, which are gone then."""

    def copied(self, value: Array) -> Array:
        """A contiguous copy."""

    def named(self, name: str, value: Array) -> Array:
        """The value; the printed program calls it so."""

    def dtype(self, value: Array) -> str:
        """Element type, by torch's name."""

    def cast(self, value: Array, dtype: str) -> Array:
        """The value with another element type."""

    def each(self, length: int, name: str, start: int = 0) -> Iterator[Any]:
        """Every index of an axis: a loop, which runs its body once while it is recorded."""

    def chunks(self, length: int, bytes_each: int, target: int | None = None, name: str = "n") -> Iterator[Any]:
        """Slices of an axis of so many items, each of so few that they fit `ndconv.set_workspace_limit`."""


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
    """Add a lowering to those that can be named, for the whole process.

    ``build(b, problem, first, second)`` computes the slot that ``problem.slot`` leaves open from the two others,
    ``problem.slot.operands``, by the methods of a `Builder` ``b`` and of the operands. Groups are apart:

    ========  ===============  ===============  ===============
    slot      first            second           result
    ========  ===============  ===============  ===============
    OUTPUT    x[n,g,c,*i]      w[g,d,c,*k]      y[n,g,d,*o]
    INPUT     w[g,d,c,*k]      y[n,g,d,*o]      x[n,g,c,*i]
    WEIGHT    x[n,g,c,*i]      y[n,g,d,*o]      w[g,d,c,*k]
    ========  ===============  ===============  ===============

    The function is called once for all operands of one kind, and once to learn what its program costs, so it must do
    nothing but build. It sees floats and complex numbers; integers are taken apart before. Register before several
    threads compute. ``"fastest"`` tries the lowering on problems that it has not measured yet.

    Args:
        name: What to call it: an identifier that no other lowering has.
        build: Builds the program.
        exact: Whether sums of integers in floats come out without rounding. One that is not never runs for integer
            dtypes, nor under `ndconv.set_exact`.
        automatic: Whether ``"auto"`` may pick it, by the price of its program.
        symbolic: Whether its steps are the same for all sizes, so that they can be exported with symbols for them;
            otherwise an exporter takes another lowering.
        accumulates: Whether it adds partial sums in the operands' dtype, as by ``+=``; half types are then widened to
            float32 first, and rounded once.
        refusal: Tells why it does not apply to a problem, None if it does. Where it does not, the cheapest exact one
            runs.
        rounding: How far an element can be off beside what a plain sum loses, in ``eps * norm(first) * norm(second)``,
            for `ndconv.testing`; 0 if it is None.

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
    cache.clear()  # of what was chosen, priced and compiled with other lowerings
    LOWERINGS[name] = _Registered(name, build, exact, automatic, symbolic, accumulates, refusal, rounding)


def unregister(name: str) -> None:
    """Take a lowering away that `register` has added.

    Args:
        name: Its name.

    Raises:
        ValueError: If there is none, it is one of the library's own, or it is the current one.

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
        What `ndconv.set_lowering` takes, apart from ``"auto"`` and ``"fastest"``.

    Example:
        >>> from ndconv.lowerings import names
        >>> names()
        ('reshape', 'taps', 'columns', 'window', 'winograd', 'fourier', 'native')
    """
    return tuple(LOWERINGS)
