"""The winner of a contest: paired rounds, an order drawn anew, and a margin; on simulated clocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from ndconv._machine import contest as _contest
from ndconv._machine.contest import contest
from ndconv._planner.choice import MARGIN, quickest


class Machine:
    """A clock that each call advances by its own time, times the other load in the round."""

    def __init__(self, seconds: Mapping[str, Any], busy: Callable[[int], float] = lambda _: 1.0) -> None:
        self.ran: list[str] = []
        self._seconds, self._busy = seconds, busy

    def run(self) -> dict[str, float]:
        """Seconds of the contest."""
        return contest({name: lambda name=name: self._take(name) for name in self._seconds}, lambda run: run())  # type: ignore[misc, arg-type, return-value]

    def _take(self, name: str) -> float:
        self.ran.append(name)
        seconds = self._seconds[name]
        taken: float = seconds() if callable(seconds) else seconds
        return taken * self._busy(Counter(self.ran)[name])


@pytest.mark.parametrize(("taps", "winner"), [(0.5, "taps"), (0.94, "taps"), (0.97, "native"), (1.0, "native")])
def test_torchs_kernel_is_left_for_what_beats_it_by_the_margin(taps: float, winner: str) -> None:
    assert quickest(Machine({"taps": 1e-3 * taps, "native": 1e-3, "window": 1.5e-3}).run()) == winner


def test_without_torchs_kernel_the_quickest_wins() -> None:
    assert quickest(Machine({"taps": 1e-3, "columns": 0.99e-3}).run()) == "columns"
    assert contest({}, lambda run: 1.0) == {}


@pytest.mark.parametrize("seed", range(20))
def test_what_else_the_machine_does_meets_all_alike(seed: int) -> None:
    """Some rounds take ten times as long as others, and the least time of each would be a matter of luck."""
    draw = Random(seed)
    slowdowns = [draw.uniform(1, 10) for _ in range(200)]
    seconds = {name: lambda s=s: s * draw.uniform(0.97, 1.03) for name, s in (("taps", 0.9e-3), ("native", 1e-3))}
    assert quickest(Machine(seconds, slowdowns.__getitem__).run()) == "taps"


def test_a_single_lucky_time_proves_nothing() -> None:
    draw = Random(0)
    lucky = {"taps": lambda: 1e-3 * (0.5 if draw.random() < 0.1 else 1.02), "native": 1e-3}
    assert quickest(Machine(lucky).run()) == "native"


def test_the_order_is_drawn_anew_and_always_the_same() -> None:
    seconds = {"taps": 1.01e-3, "columns": 1e-3, "native": 10e-3}
    draws = [Random(0), Random(0)]

    def noisy(seconds: float, draw: Random) -> Callable[[], float]:
        return lambda: seconds * draw.uniform(0.9, 1.1)

    machines = [Machine({name: noisy(each, draw) for name, each in seconds.items()}) for draw in draws]
    assert machines[0].run() == machines[1].run()
    ran = machines[0].ran
    assert ran == machines[1].ran
    rounds = [tuple(ran[place : place + 3]) for place in range(0, len(ran), 3)]
    assert all(set(each) == set(seconds) for each in rounds[:3])
    assert len({*rounds[:6]}) > 2
    assert len({pair for each in rounds for pair in pairwise(each)}) == 6


def test_who_is_hopeless_drops_out_and_the_rival_stays() -> None:
    machine = Machine({"taps": 1e-3, "window": 11e-3, "columns": 4.1e-3, "fourier": 2.1e-3, "native": 5e-3})
    seconds = machine.run()
    assert Counter(machine.ran) == {"taps": 7, "native": 7, "fourier": 3, "columns": 2, "window": 1}
    assert seconds == pytest.approx(
        {"taps": 1e-3, "window": 11e-3, "columns": 4.1e-3, "fourier": 2.1e-3, "native": 5e-3}
    )


def test_the_contest_ends_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine({"taps": 1e-3, "columns": 1e-3, "native": 1e-3})  # never clear: each is level with the other
    monkeypatch.setattr(_contest, "MARGIN", 0.0)
    machine.run()
    assert Counter(machine.ran)["native"] == _contest._MOST
    slow = Machine({"taps": 1.0, "columns": 1.0, "native": 1.0})
    slow.run()
    assert Counter(slow.ran)["native"] == _contest._LEAST


def test_the_margin_is_what_two_measurements_differ_by() -> None:
    assert 0.03 <= MARGIN <= 0.05
