"""When "fastest" measures: problems that recur, not sizes that change at every step, and no more than pays off."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ndconv
from ndconv._form.geometry import Geometry, Problem, Slot
from ndconv._machine import budget as _budget
from ndconv._machine import timings as _timings
from ndconv._machine.budget import Budget
from ndconv._tensors import execute as _execute
from ndconv.testing._checks import ran_lowerings

Measured = list[str]


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> Budget:
    """A new budget, and an empty table."""
    monkeypatch.setattr(_timings, "_table", {})
    monkeypatch.setattr(_timings, "_budget", new := Budget())
    _timings.reconsider()
    return new


@pytest.fixture
def measured(budget: Budget, monkeypatch: pytest.MonkeyPatch) -> Measured:
    """The open slots of the measured problems, in order; measuring takes no time."""
    found: Measured = []

    def measure(key: Any, contenders: Mapping[str, Callable[[], object]]) -> None:
        found.append(key.problem.slot.value)
        _timings._remember({key: {name: float(name != "taps") + 1e-3 for name in contenders}})
        _timings._budget.spend(1.0)

    monkeypatch.setattr(_execute, "measure", measure)
    return found


def network(layers: int) -> nn.Module:
    """Equal layers, which meet each problem once per layer in every step."""
    return nn.Sequential(*(ndconv.Conv1d(2, 2, 3, padding=1, lowering="fastest") for _ in range(layers)))


def train(model: nn.Module, size: int) -> None:
    model(torch.ones(1, 2, size, requires_grad=True)).sum().backward()


layered = pytest.mark.parametrize("layers", [1, 10])


@layered
def test_a_loop_of_one_size_is_measured_in_its_fourth_step(measured: Measured, layers: int) -> None:
    model, counts = network(layers), []
    for size in (9, 10, 11):  # another size is a loop of its own
        for _ in range(5):
            train(model, size)
            counts.append(len(measured))
    assert counts == [0, 0, 0, 3, 3, 3, 3, 3, 6, 6, 6, 6, 6, 9, 9]
    assert set(measured) == {"output", "input", "weight"}


@layered
@pytest.mark.parametrize("again", [1, 2, 3])
def test_a_size_of_its_own_at_every_step_is_never_measured(measured: Measured, layers: int, again: int) -> None:
    """Nor where each size comes several times, nor where all come again later."""
    model = network(layers)
    for _ in range(5):
        for size in range(9, 40):
            for _ in range(again):
                train(model, size)
    assert measured == []
    for _ in range(4):  # where sizes settle after all
        train(model, 9)
    assert len(measured) == 3


def test_sizes_drawn_from_many_are_not_measured_by_coincidence(measured: Measured) -> None:
    model, sizes = network(2), torch.randint(9, 100, (200,)).tolist()
    assert len(set(sizes)) < 90
    for size in sizes:
        train(model, size)
    assert measured == []


def test_where_one_part_of_a_network_has_new_sizes_the_other_is_measured(measured: Measured) -> None:
    fixed, varying = network(2), network(2)
    for size in range(10, 30):
        (fixed(torch.ones(1, 2, 9)).sum() + varying(torch.ones(1, 2, size)).sum()).backward()
    assert sorted(measured) == ["input", "output", "weight"]


def test_networks_that_are_trained_in_turn_are_measured(measured: Measured) -> None:
    networks = network(1), network(1), network(1)
    for _ in range(4):
        for size, model in enumerate(networks):
            train(model, 9 + size)
    assert len(measured) == 9


def test_without_a_backward_so_many_calls_are_a_step(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_budget, "_CALLS", 5)
    model = network(3)
    with torch.no_grad():
        for size in range(9, 30):
            model(torch.ones(1, 2, size))
        assert measured == []
        for _ in range(7):
            model(torch.ones(1, 2, 30))
    assert measured == ["output"]


def test_saved_times_are_kept_to_from_the_first_call_on(
    measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(1)
    for _ in range(4):
        train(model, 9)
    ndconv.save_timings(tmp_path / "timings.json")
    _timings._table.clear()
    monkeypatch.setattr(_timings, "_budget", Budget())
    _timings.reconsider()
    ndconv.load_timings(tmp_path / "timings.json")
    assert ndconv.plan((1, 2, 9), (2, 2, 3), padding=1, lowering="fastest").output.lowering == "taps"
    for _ in range(4):
        train(model, 9)
    assert len(measured) == 3


@pytest.fixture
def seconds() -> Iterator[Callable[[float], None]]:
    """Sets the budget, and restores the default afterwards."""
    before = ndconv.get_measuring_budget()
    yield ndconv.set_measuring_budget
    ndconv.set_measuring_budget(before)


def lowerings_of(size: int, batch: int = 1) -> list[str]:
    """The lowerings that run in the three slots of a problem."""
    plan = ndconv.plan((batch, 2, size), (2, 2, 3), padding=1, lowering="fastest")
    return [each.lowering for each in (plan.output, plan.grad_input, plan.grad_weight)]


def test_when_the_budget_is_spent_a_warning_says_so_once(measured: Measured, seconds: Callable[[float], None]) -> None:
    seconds(3)
    model = network(1)
    for _ in range(3):
        train(model, 9)
    with pytest.warns(UserWarning, match="measures no more.*ndconv.set_measuring_budget") as warned:
        train(model, 9)
    assert len(warned) == 1
    for size in (11, 13):
        for _ in range(6):
            train(model, size)
    assert len(measured) == 3
    seconds(4)
    for _ in range(4):
        train(model, 15)
    assert len(measured) == 4  # and no further warning, which would be an error here


def test_a_budget_of_nothing_measures_nothing_and_a_boundless_one_everything(
    measured: Measured, budget: Budget, seconds: Callable[[float], None]
) -> None:
    seconds(0)
    model = network(1)
    for _ in range(6):
        train(model, 9)
    assert measured == []
    seconds(math.inf)
    budget.spend(1e9)
    for _ in range(4):
        train(model, 9)
    assert len(measured) == 3


def test_what_is_new_then_takes_the_choice_of_its_nearest_relative(
    budget: Budget, seconds: Callable[[float], None]
) -> None:
    seconds(math.inf)
    model, auto = network(1), ndconv.plan((1, 2, 64), (2, 2, 3), padding=1).output.lowering
    others = [name for name in ("taps", "columns", "window") if name != auto][:2]
    for size, name in zip((8, 64), others, strict=True):
        for slot in Slot:
            problem = Problem(slot, Geometry((3,), (1,), ((1, 1),), (1,)), 1, 2, 2, (size,), (size,), 4)
            key = _timings.Key(problem, torch.float32, "cpu", torch.get_num_threads(), False)
            _timings._remember({key: {"native": 1.0, name: 0.5}})
    assert lowerings_of(20) == [auto] * 3
    budget._spent = math.inf
    for size, batch, place in ((8, 1, 0), (20, 1, 0), (8, 2, 0), (24, 1, 1), (20, 2, 1), (8, 3, 1), (500, 1, 1)):
        assert lowerings_of(size, batch) == [others[place]] * 3
        x = torch.ones(batch, 2, size, requires_grad=True)
        with ran_lowerings() as ran:
            model(x).sum().backward()
        assert ran == {others[place]}
    assert ", as was measured for (1, 2, 64)" in str(
        ndconv.plan((1, 2, 500), (2, 2, 3), padding=1, lowering="fastest").output
    )
    for other in ({"padding": 0}, {"stride": 2, "padding": 1}, {"padding": 1, "dtype": torch.float64}):  # no relatives
        plan = ndconv.plan((1, 2, 20), (2, 2, 3), lowering="fastest", **other)
        assert "fastest has not measured it yet" in str(plan.output)


def test_a_relative_is_sought_once_for_each_size(
    budget: Budget, seconds: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds(0)
    sought: list[Any] = []
    monkeypatch.setattr(_timings, "_measured", lambda key, related: sought.append(key))
    model = network(3)
    for size in (9, 9, 10, 9, 10):
        train(model, size)
    assert len(sought) == 2 * len(set(sought)) == 2 * 2 * len(Slot)  # for the lowering, and for torch's operator


def test_what_was_met_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_budget, "_REMEMBERED", 3)
    account = Budget()
    for key in (1, 2, 3, 1, 4):
        assert not account.allows(key)
    assert list(account._met) == [3, 1, 4]
