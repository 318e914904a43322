"""What the copies of windows gain by longer rows, and by rows without gaps: always the same columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from ndconv._form.geometry import Geometry, Problem, Slot
from ndconv._lowerings import columns
from ndconv._lowerings._phases import gathers
from ndconv._lowerings._residues import by_residue, in_order, residues, windows_by_residue
from ndconv._lowerings._samples import move_back, move_last, samples_last
from ndconv._lowerings._windowed import window_elements
from ndconv._planner.choice import Setting
from ndconv._planner.choice import cost as priced
from ndconv._planner.computed import widened
from ndconv._planner.workspace import get_workspace_limit, set_workspace_limit
from ndconv._programs.builder import Builder
from ndconv._programs.target import Target
from ndconv._programs.windows import windows
from ndconv.testing import Case, sample
from tests.programs import recorded, run

CASES = [case for overlap in (True, False) for case in sample(60, (0, 1, 2, 3, 4), seed=9, overlap=overlap)]
COLUMNS = columns.COLUMNS
TARGET = Target("cpu", 256 * 2**20)
B = Builder(TARGET)  # only asked what it is


def posed(case: Case, slot: Slot) -> Problem:
    geometry = Geometry(case.kernel, case.stride, case.padding, case.dilation, case.groups)
    return Problem(slot, geometry, 3, 2, 4, case.input_size, case.output_size, 8)


def integers(problem: Problem, slot: Slot) -> torch.Tensor:
    return torch.randint(-4, 5, problem.shape(slot)).double()


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, int], None]]:
    """Pretend that something costs so much, and let that decide whether it is worth it."""
    decisions: list[Any] = [columns._parts_residues, columns._gains]

    def pretend(name: str, cost: int) -> None:
        monkeypatch.setattr(columns, name, cost)
        for decision in decisions:
            decision.cache_clear()

    yield pretend
    monkeypatch.undo()
    for decision in decisions:
        decision.cache_clear()


@pytest.mark.parametrize("slot", Slot)
@pytest.mark.parametrize("parts", [True, False])
@pytest.mark.parametrize("moves", [True, False])
def test_columns_agree_with_the_reference(
    cost: Callable[[str, int], None], moves: bool, parts: bool, slot: Slot
) -> None:
    cost("_RESIDUE", -(10**9) if parts else 10**9)
    cost("_MOVING", -(10**9) if moves else 10**9)
    parted, limit = 0, get_workspace_limit()
    for case in CASES:
        problem = posed(case, slot)
        operands = [integers(problem, filled) for filled in slot.operands]
        expected = run("window", problem, *operands)
        assert torch.equal(run(COLUMNS, problem, *operands), expected)
        set_workspace_limit(500)
        assert torch.equal(run(COLUMNS, problem, *operands), expected)
        set_workspace_limit(limit)
        assert columns._moves(B, problem) == moves
        parted += len(columns._residues(B, problem)) > 1
    assert (parted > 10) == (parts and slot is not Slot.INPUT)


@pytest.mark.parametrize("case", [case for case in CASES if case.kernel], ids=lambda case: case.id)
def test_residues_have_all_windows(case: Case) -> None:
    problem = posed(case, Slot.OUTPUT)
    geometry = problem.geometry
    padded = torch.randint(-4, 5, (2, 1, 3, *geometry.reach(case.output_size)))
    found = residues(geometry, case.output_size[-1])
    views = windows_by_residue(padded, found)
    assert {view.shape[3 : 3 + case.ndim] for view in views} == {case.output_size}
    assert torch.equal(in_order(torch.cat(views, -1), found), windows(padded, geometry))
    w = integers(problem, Slot.WEIGHT)
    assert torch.equal(recorded(lambda b, w: in_order(by_residue(b, w, found), found), w), w)
    assert all(each.geometry.stride[-1] == 1 for each in found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_samples_move_and_come_back(case: Case) -> None:
    problem = posed(case, Slot.OUTPUT)
    moved = samples_last(problem)
    for slot in Slot:
        tensor = integers(problem, slot)
        there = move_last(tensor, slot)
        assert there.shape == moved.shape(slot)
        assert torch.equal(move_back(there, slot), tensor)
        assert torch.equal(recorded(lambda b, tensor, slot=slot: move_last(tensor, slot), tensor), there)
        assert torch.equal(recorded(lambda b, there, slot=slot: move_back(there, slot), there), tensor)


def test_half_types_round_once_where_moving_samples_changes_the_way() -> None:
    """Gathered as they are, these windows are added up in long rows: partial sums, which half types must not have."""
    kernel = Geometry((3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1))
    problem = Problem(Slot.INPUT, kernel, 16, 8, 64, (6, 6), (4, 4), 2)
    assert columns._moves(B, problem)
    assert gathers(problem)
    assert not gathers(samples_last(problem))
    assert COLUMNS.accumulates(B, problem)
    w, y = (7 * integers(problem, slot) for slot in problem.slot.operands)
    exact = run("window", problem, w, y)
    assert torch.equal(
        recorded(lambda b, w, y: widened(b, COLUMNS, problem, w, y), w.bfloat16(), y.bfloat16()), exact.bfloat16()
    )


@pytest.mark.parametrize("slot", [Slot.OUTPUT, Slot.WEIGHT])
def test_an_input_is_taken_apart_if_that_saves_much(cost: Callable[[str, int], None], slot: Slot) -> None:
    """I3D's first layer, whose window elements are forty times as many as the input's."""
    stem = Geometry((7, 7, 7), (2, 2, 2), ((3, 3),) * 3, (1, 1, 1))
    first = Problem(slot, stem, 1, 3, 64, (16, 112, 112), (8, 56, 56), 4)
    assert len(columns._residues(B, first)) == 2
    input, elements = 3 * 16 * 112 * 112, 3 * 343 * 8 * 56 * 56
    assert window_elements(first) == elements
    for itemsize, apart in ((4, 3), (8, 1.5)):
        each = columns._copying(replace(first, itemsize=itemsize)) / elements
        assert each == pytest.approx(apart * input / elements + 1 + 18 / 56)

    def moved() -> int:
        priced.cache_clear()  # type: ignore[attr-defined]
        return priced("columns", first, Setting("float32", False, False, TARGET)).bytes_moved

    # Read off the steps it is less too: elements of a row with gaps count three times.
    taken_apart = moved()
    cost("_RESIDUE", 10**9)
    assert taken_apart < 0.8 * moved()
    cost("_RESIDUE", 60_000)
    # Nothing to gain: no stride, small images, a kernel larger than what is copied.
    assert not columns._residues(B, replace(first, geometry=replace(stem, stride=(2, 2, 1))))
    assert not columns._residues(B, replace(first, input_size=(8, 8, 8), output_size=(4, 4, 4)))
    assert not columns._residues(B, replace(first, features=100_000))
