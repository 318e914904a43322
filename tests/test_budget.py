"""When "fastest" measures: what comes again, not what changes at every step, and no more than is repaid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ndconv
from ndconv._machine import budget as _budget
from ndconv._machine import timings as _timings
from ndconv._machine.budget import Budget
from ndconv._tensors import execute as _execute

Measured = list[str]


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> Budget:
    """A new one, and an empty table."""
    monkeypatch.setattr(_timings, "_table", {})
    monkeypatch.setattr(_timings, "_budget", new := Budget())
    _timings.wins.cache_clear()  # type: ignore[attr-defined]
    return new


@pytest.fixture
def measured(budget: Budget, monkeypatch: pytest.MonkeyPatch) -> Measured:
    """The open slot of every problem that is measured, in turn, without taking the time."""
    found: Measured = []

    def measure(key: Any, contenders: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        found.append(key.problem.slot.value)
        seconds = {name: float(name != "taps") + 1e-3 for name in contenders}
        _timings._remember({key: seconds})
        _timings._budget.spend(sum(seconds.values()))
        return seconds

    monkeypatch.setattr(_execute, "measure", measure)
    return found


def network(layers: int) -> nn.Module:
    """Layers that are all alike, and so meet each problem as many times a step."""
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
    """Nor where each comes some times, nor where they all come again later."""
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
    _timings.wins.cache_clear()  # type: ignore[attr-defined]
    ndconv.load_timings(tmp_path / "timings.json")
    assert ndconv.plan((1, 2, 9), (2, 2, 3), padding=1, lowering="fastest").output.lowering == "taps"
    for _ in range(4):
        train(model, 9)
    assert len(measured) == 3


def test_after_the_first_ones_measuring_is_repaid_before_it_goes_on(measured: Measured, budget: Budget) -> None:
    budget._free = 3
    one, other = network(1), network(1)
    for _ in range(4):
        train(one, 9)
    assert len(measured) == 3
    for _ in range(20):
        train(other, 10)
        train(one, 9)
    assert len(measured) == 4
    budget.earn(budget._owed / _budget._SHARE)
    train(other, 10)
    assert len(measured) == 5


def test_the_account() -> None:
    account = Budget()
    for _ in range(_budget._FREE):
        account.spend(1.0)
    assert account._owed == 0
    account.spend(1.0)
    account.earn(0.5 / _budget._SHARE)
    assert account._owed == pytest.approx(0.5)
    account.earn(10.0 / _budget._SHARE)
    assert account._owed == 0


def test_what_was_met_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_budget, "_REMEMBERED", 3)
    account = Budget()
    for key in (1, 2, 3, 1, 4):
        assert not account.allows(key)
    assert list(account._met) == [3, 1, 4]
