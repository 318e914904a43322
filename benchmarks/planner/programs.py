"""The programs that a slot may run, as plans print them and price them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

from torch import Tensor

from benchmarks.names import AUTO
from benchmarks.planner.results import Prediction
from benchmarks.slots import Call, Tensors
from benchmarks.workloads import Workload

EXACT = ("columns", "taps", "reshape", "window")
"""The lowerings that "auto" may pick."""
SLOTS = ("output", "grad input", "grad weight")
UNLIKELY = 8.0
"""Programs expected to take so many times the least are not timed."""


@dataclass(frozen=True)
class Priced:
    """The prediction of the current profile for a slot.

    Args:
        pick: The lowering that "auto" picks.
        nanoseconds: Expected time of each exact lowering that applies.
        sources: Programs of those that are not unlikely.
    """

    pick: str
    nanoseconds: dict[str, float]
    sources: dict[str, str]

    def times_the_least(self, lowering: str) -> float:
        """The expected time of a lowering by the least of all."""
        return self.nanoseconds[lowering] / min(self.nanoseconds.values())


def priced(workload: Workload, dtype: str) -> dict[str, Priced]:
    """The prediction for each slot."""
    auto = workload.plan(AUTO, dtype)
    plans = {lowering: workload.plan(lowering, dtype) for lowering in EXACT}
    found = {}
    for slot in SLOTS:
        attribute = slot.replace(" ", "_")
        choice = getattr(auto, attribute).choice
        nanoseconds = {name: choice.estimates[name] for name in EXACT if name in choice.estimates}
        one = Priced(choice.name, nanoseconds, {})
        for name in nanoseconds:
            if one.times_the_least(name) <= UNLIKELY:
                one.sources[name] = getattr(plans[name], attribute).source
        found[slot] = one
    return found


def predictions(found: Mapping[str, Priced]) -> tuple[dict[str, str], dict[str, Prediction]]:
    """Every program once, by its name, and the prediction of each profile."""
    names: dict[str, str] = {}
    said = {}
    for profile, one in found.items():
        for lowering, source in one.sources.items():
            names.setdefault(source, f"{lowering}, {profile}" if lowering in names.values() else lowering)
        microseconds = {names[source]: one.nanoseconds[name] / 1e3 for name, source in one.sources.items()}
        said[profile] = Prediction(names[one.sources[one.pick]], microseconds)
    return {name: source for source, name in names.items()}, said


def unlikely(found: Mapping[str, Priced]) -> dict[str, str]:
    """The programs that are not timed, and why."""
    factors = {
        name: min(one.times_the_least(name) for one in found.values())
        for name in dict.fromkeys(name for one in found.values() for name in one.nanoseconds)
        if not any(name in one.sources for one in found.values())
    }
    return {name: f"expected to take {factor:.3g} times the least" for name, factor in factors.items()}


def call(source: str, tensors: Mapping[str, Tensor]) -> Call:
    """A program as a call without arguments, on the tensors that its parameters name."""
    names: dict[str, Any] = {}
    exec(source, names)  # programs need torch and nothing else
    function = names[source.partition("\ndef ")[2].partition("(")[0]]
    bound: Callable[[], Tensor] = partial(function, *(tensors[name] for name in signature(function).parameters))
    return lambda: (bound(),)


def named(workload: Workload, operands: Tensors) -> dict[str, Tensor]:
    """Input, weight and gradient of the output, as programs name them: a transposed convolution's input is ``y``."""
    x, w, y = operands
    return {"x": y, "w": w, "y": x} if workload.transposed else {"x": x, "w": w, "y": y}
