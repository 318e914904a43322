"""The choice of a lowering for a problem: the one asked for, or the cheapest by its program's price."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from ndconv._form.cache import cached
from ndconv._form.geometry import Problem, Slot
from ndconv._lowerings import LOWERINGS, Lowering
from ndconv._planner.computed import widened
from ndconv._programs.builder import Builder, TooDear
from ndconv._programs.price import Cost, price
from ndconv._programs.target import Target

AUTO, FASTEST, NATIVE = "auto", "fastest", "native"
MARGIN = 0.04
"""Share of its time by which torch's kernel must be beaten; two measurements of one program differ by as much."""
NAMES = {Slot.INPUT: "x", Slot.WEIGHT: "w", Slot.OUTPUT: "y"}
"""Name of a slot's tensor in a program."""


class Setting(NamedTuple):
    """What a choice depends on beside the problem.

    Args:
        dtype: Dtype of the operands.
        wide: Whether the result is wanted in the dtype of its sums.
        exact: Whether only exact lowerings may run.
        target: The device and its rates.
    """

    dtype: str
    wide: bool
    exact: bool
    target: Target


@dataclass(frozen=True)
class Choice:
    """The planner's answer for one problem.

    Args:
        name: The lowering that runs.
        wanted: The one that was asked for, ``"auto"`` or ``"fastest"``.
        costs: Estimated cost of each lowering that applies.
        refusals: Why the others do not apply.
        seconds: Measured seconds of each, if ``"fastest"`` has measured them.
        relative: The problem that was measured in place of this one, if it is another.
    """

    name: str
    wanted: str
    costs: dict[str, Cost]
    refusals: dict[str, str]
    seconds: Mapping[str, float] = field(default_factory=dict)
    relative: Problem | None = None

    @property
    def estimates(self) -> dict[str, float]:
        """Estimated nanoseconds of each lowering that applies."""
        return {name: cost.nanoseconds for name, cost in self.costs.items()}


def names() -> tuple[str, ...]:
    """All names that select a lowering: "auto", "fastest" and those of the lowerings."""
    return AUTO, FASTEST, *LOWERINGS


def refusal(name: str, problem: Problem, exact: bool, *, symbolic: bool = False) -> str | None:
    """Why a lowering does not apply, or may not run; None if it may."""
    if symbolic and not LOWERINGS[name].symbolic:
        return "its steps depend on sizes, and a compiler wants one graph for all"
    if exact and not LOWERINGS[name].exact:
        return "it rounds sums of integers, and only exact ones are asked for"
    return LOWERINGS[name].refusal(problem)


def quickest(seconds: Mapping[str, float]) -> str:
    """The lowering with the least time; torch's kernel, if it is among them and within `MARGIN` of that.

    Example:
        >>> quickest({"native": 1.0, "taps": 0.98, "window": 3.0}), quickest({"native": 1.0, "taps": 0.9})
        ('native', 'taps')
    """
    least = min(seconds, key=seconds.__getitem__)
    return NATIVE if seconds.get(NATIVE, math.inf) * (1 - MARGIN) <= seconds[least] else least


def automatic(names: Iterable[str]) -> Iterator[str]:
    """Those that "auto" picks from: exact lowerings that are marked automatic."""
    return (name for name in names if LOWERINGS[name].exact and LOWERINGS[name].automatic)


@cached
def cheapest(name: str, problem: Problem, setting: Setting) -> tuple[Cost, Lowering]:
    """The cost of a lowering for a problem, and its cheapest variant."""
    return _cheapest([name], problem, setting)


def _cheapest(names: Iterable[str], problem: Problem, setting: Setting) -> tuple[Cost, Lowering]:
    """The cheapest variant of some lowerings; pricing of a dearer one stops early."""
    found, least = [], math.inf
    for way in (way for name in names for way in LOWERINGS[name].ways(problem)):
        with suppress(TooDear):
            cost = _price(way, problem, setting, least)
            if cost.nanoseconds < least:
                found, least = [(cost, way)], cost.nanoseconds
    return found[0]


def _price(lowering: Lowering, problem: Problem, setting: Setting, most: float) -> Cost:
    builder = Builder(setting.target, prices=True, most=most)
    one, other = (
        builder.operand(NAMES[slot], problem.shape(slot), None, setting.dtype) for slot in problem.slot.operands
    )
    result = widened(builder, lowering, problem, one, other, wide=setting.wide)
    if not result.variable.opaque:  # else it may already lie as is wanted
        axis = problem.slot.group_axis
        result = builder.laid_out(result.flatten(axis, axis + 1), False)
    return price(builder, result)


def choose(problem: Problem, wanted: str, setting: Setting, seconds: Mapping[str, float] | None = None) -> Choice:
    """Compare the lowerings that apply; a wanted one that does not falls back to the cheapest exact one."""
    refusals = {name: reason for name in LOWERINGS if (reason := refusal(name, problem, setting.exact))}
    costs = {name: cheapest(name, problem, setting)[0] for name in LOWERINGS if name not in refusals}
    seconds = {name: taken for name, taken in (seconds or {}).items() if name in costs}
    if wanted == FASTEST and seconds:
        return Choice(quickest(seconds), wanted, costs, refusals, seconds)
    least = min(automatic(costs), key=lambda name: costs[name].nanoseconds)
    return Choice(wanted if wanted in costs else least, wanted, costs, refusals)


def pick(problem: Problem, wanted: str, setting: Setting) -> Lowering:
    """The lowering that `choose` decides for, in its cheapest variant."""
    if wanted in LOWERINGS and refusal(wanted, problem, setting.exact) is None:
        return cheapest(wanted, problem, setting)[1]
    return least(problem, setting)[1]


@cached
def least(problem: Problem, setting: Setting) -> tuple[Cost, Lowering]:
    """The cost of the cheapest lowering that "auto" picks from, and its variant."""
    applicable = (name for name in automatic(LOWERINGS) if refusal(name, problem, setting.exact) is None)
    return _cheapest(applicable, problem, setting)
