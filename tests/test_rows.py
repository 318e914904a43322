"""Copies of windows along longer rows, and along rows without gaps: always the same columns."""

from __future__ import annotations

import pytest
import torch

import ndconv
from ndconv._form.geometry import Geometry, Problem, Slot
from ndconv._lowerings import columns
from ndconv._lowerings._residues import by_residue, in_order, residues, windows_by_residue
from ndconv._lowerings._samples import move_back, move_last, samples_last
from ndconv._planner.computed import widened
from ndconv._planner.workspace import get_workspace_limit, set_workspace_limit
from ndconv._programs.builder import Builder
from ndconv._programs.target import Target
from ndconv._programs.windows import windows
from ndconv.testing import Case, sample
from tests.programs import RATES, recorded, run

CASES = [case for overlap in (True, False) for case in sample(60, (0, 1, 2, 3, 4), seed=9, overlap=overlap)]
TARGET = Target("cpu", 256 * 2**20, RATES)
B = Builder(TARGET)  # only asked what it is


def posed(case: Case, slot: Slot) -> Problem:
    geometry = Geometry(case.kernel, case.stride, case.padding, case.dilation, case.groups)
    return Problem(slot, geometry, 3, 2, 4, case.input_size, case.output_size, 8)


def integers(problem: Problem, slot: Slot) -> torch.Tensor:
    return torch.randint(-4, 5, problem.shape(slot)).double()


@pytest.mark.parametrize("slot", Slot)
@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("other", [True, False])
def test_columns_agree_with_the_reference_whichever_way(other: bool, moves: bool, slot: Slot) -> None:
    limit, taken = get_workspace_limit(), 0
    for case in CASES:
        problem = posed(case, slot)
        operands = [integers(problem, filled) for filled in slot.operands]
        expected = run("window", problem, *operands)
        for way in columns.COLUMNS.ways(problem):
            assert isinstance(way, columns.Columns)
            if (way.moves, way.parts or way.gathers) == (moves, other):
                taken += 1
                assert torch.equal(run(way, problem, *operands), expected)
                set_workspace_limit(500)
                assert torch.equal(run(way, problem, *operands), expected)
                set_workspace_limit(limit)
    assert taken > (10 if other and slot is not Slot.INPUT else 100)


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


@pytest.mark.parametrize("gathers", [True, False])
@pytest.mark.parametrize("moves", [True, False])
def test_half_types_round_once_whichever_way(moves: bool, gathers: bool) -> None:
    """Windows that are added up are partial sums, which must not be rounded to half types."""
    kernel = Geometry((3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1))
    problem = Problem(Slot.INPUT, kernel, 16, 8, 64, (6, 6), (4, 4), 2)
    way = columns.Columns(moves=moves, gathers=gathers)
    assert way.accumulates(B, problem) != gathers
    w, y = (7 * integers(problem, slot) for slot in problem.slot.operands)
    exact = run("window", problem, w, y)
    assert torch.equal(
        recorded(lambda b, w, y: widened(b, way, problem, w, y), w.bfloat16(), y.bfloat16()), exact.bfloat16()
    )


@pytest.mark.parametrize("samples", [slice(None), slice(3, 43)], ids=["all", "some"])
def test_large_transposed_matrices_are_copied_whatever_axes_they_have(samples: slice) -> None:
    x = torch.arange(48 * 5 * 8 * 2).view(48, 5, 8, 2)
    turned = x[samples].permute(1, 2, 3, 0)
    for shape in (turned.shape, (5, -1)):
        assert torch.equal(
            recorded(lambda b, x, to=shape: x[samples].permute(1, 2, 3, 0).reshape(*to), x), turned.reshape(shape)
        )
    assert torch.equal(recorded(lambda b, x: b.laid_out(x[samples].permute(1, 2, 3, 0), False), x), turned)


def test_results_of_many_samples_can_be_written_to() -> None:
    """They are views of transposed matrices, and views made within a Function may not be written to."""
    x, w = torch.randint(-3, 4, (64, 32, 6, 6)).float(), torch.randint(-3, 4, (64, 32, 3, 3)).float().requires_grad_()
    y, same = ndconv.functional.conv2d(x, w, lowering="columns").relu_(), torch.nn.functional.conv2d(x, w).relu()
    assert torch.equal(y, same)
    assert torch.equal(*(torch.autograd.grad(each.sum(), w)[0] for each in (y, same)))
