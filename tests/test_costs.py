"""What lowerings say they will spend: a worked example for each, and products counted while they run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from ndconv._plan import choose, estimate, problem_of
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ndconv._form.geometry import Form, Geometry, Problem, Slot
from ndconv._lowerings import LOWERINGS, Cost, columns
from ndconv._lowerings._phases import gathers
from ndconv._lowerings._samples import samples_last
from ndconv._planner.workspace import get_workspace_limit, set_workspace_limit
from ndconv._programs.windows import ungroup
from ndconv.testing import sample

# Two groups of 3 channels to 4, five samples of 9x8. One geometry has windows that overlap, the other has not.
OVERLAPPING = Geometry((3, 2), (2, 1), ((1, 1), (0, 2)), (1, 2), groups=2)
APART = Geometry((3, 2), (3, 2), ((0, 0), (0, 0)), (1, 1), groups=2)
X, W, Y, Y_APART = 5 * 6 * 72, 8 * 18, 5 * 8 * 40, 5 * 8 * 12
WINDOWS, WINDOWS_APART = 5 * 6 * 6 * 40, 5 * 6 * 6 * 12
PRODUCTS = WINDOWS * 4
# Rows of 8 windows are copied, and to start on one takes as long as to copy 18 elements.
COPIED = WINDOWS * (8 + 18) // 8
# The gradient of the input gathers from two phases, rows 1, 3, 5, 7 with four taps and the other five with two.
GATHERED = 5 * 8 * 4 * 32, 5 * 8 * 2 * 40
# With the samples last, rows of 8 follow each other.
GATHERING = 4 * Y + W + X + sum(GATHERED) * (40 + 18) // 40 + 5 * (X + Y)
# The phase images are 6x10, two of them: twelve phase channels, eight of the output, four runs of six taps.
FLAT = 5 * 6 * 10
PACKED, READ, PASSED = FLAT * (12 + 8), FLAT * 6 * 6, FLAT * 8 * 4
TAPS = (PRODUCTS // 40 * 60, X + W + Y + PACKED)

# On a grid of 10x10 for 5 samples of each two groups; no transform is of a whole number of elements.
GRIDS = 2 * (5 * 3 + 3 * 4 + 5 * 4)
TRANSFORMS = round(100 * GRIDS * (1 + 2 * (1.25 + 0.25 * math.log2(10) + 2.6) + 5))
SPECTRA = X + W + Y + TRANSFORMS + 2 * 60 * GRIDS
BUFFERS = 2 * (100 + 2 * 60) * (3 * 4 + 5 * (3 + 4))

COSTS = {
    "window": {
        Slot.INPUT: Cost(
            PRODUCTS, 2 * X + W + Y + 11 * COPIED // 2, 0, WINDOWS, "2 x (18, 4) @ (4, 200)", 22.05, dense=False
        ),
        Slot.WEIGHT: Cost(
            PRODUCTS, 2 * X + W + Y + 5 * COPIED, 0, WINDOWS, "2 x (4, 200) @ (200, 18)", 12.05, dense=False
        ),
        Slot.OUTPUT: Cost(
            PRODUCTS, 2 * X + W + Y + 5 * COPIED, 0, WINDOWS, "2 x (4, 18) @ (18, 200)", 12.05, dense=False
        ),
    },
    "columns": {
        Slot.INPUT: Cost(
            sum(GATHERED) * 3, GATHERING, 0, GATHERED[0], "2 x (3, 16) @ (16, 160), 2 x (3, 8) @ (8, 200)", 28.1
        ),
        Slot.WEIGHT: Cost(PRODUCTS, 2 * X + W + Y + COPIED, 0, WINDOWS, "2 x (4, 200) @ (200, 18)", 12.05),
        Slot.OUTPUT: Cost(PRODUCTS, 2 * X + W + Y + COPIED, 0, WINDOWS, "2 x (4, 18) @ (18, 200)", 12.05),
    },
    "taps": {
        Slot.INPUT: Cost(*TAPS, 2 * READ + PASSED, PACKED, "8 x (6, 4) @ (4, 300)", 25, dense=False),
        Slot.WEIGHT: Cost(*TAPS, 2 * (READ + PASSED), PACKED, "8 x (4, 300) @ (300, 6)", 25, dense=False),
        Slot.OUTPUT: Cost(*TAPS, READ + 2 * PASSED, PACKED, "8 x (4, 6) @ (6, 300)", 25, dense=False),
    },
    "fourier": {
        slot: Cost(4 * 120 * 60, SPECTRA, 6 * 120 * 60, BUFFERS, products, 21, dense=False)
        for slot, products in {
            Slot.INPUT: "120 x (5, 4) @ (4, 3)",
            Slot.WEIGHT: "120 x (4, 5) @ (5, 3)",
            Slot.OUTPUT: "120 x (5, 3) @ (3, 4)",
        }.items()
    },
    "reshape": {
        slot: Cost(WINDOWS_APART * 4, X + W + Y_APART + 2 * WINDOWS_APART, 0, WINDOWS_APART, products, 4.5)
        for slot, products in {
            Slot.INPUT: "10 x (18, 4) @ (4, 12)",
            Slot.WEIGHT: "2 x (4, 60) @ (60, 18)",
            Slot.OUTPUT: "10 x (4, 18) @ (18, 12)",
        }.items()
    },
}


def problem(slot: Slot, geometry: Geometry) -> Problem:
    return Problem(slot, geometry, 5, 3, 4, (9, 8), geometry.output_size((9, 8)), 8)


@pytest.mark.parametrize("slot", Slot)
@pytest.mark.parametrize("name", COSTS)
def test_worked_example(name: str, slot: Slot) -> None:
    assert LOWERINGS[name].cost(problem(slot, APART if name == "reshape" else OVERLAPPING)) == COSTS[name][slot]


def test_phases_of_one_shape_are_told_once() -> None:
    halved = Geometry((4,), (2,), ((1, 1),), (1,))
    cost = LOWERINGS["columns"].cost(Problem(Slot.INPUT, halved, 1, 4, 3, (64_000,), (32_000,), 4))
    assert cost.matmuls == "2 times 1 x (4, 6) @ (6, 32000)"
    assert cost.calls == 2 * (12 + 1 / 40)


def test_the_gradient_of_the_input_gathers_or_adds_up() -> None:
    """What is less, phases and slices counted; rows with gaps take longer to add up."""
    one = Problem(Slot.INPUT, Geometry((3,), (1,), ((1, 1),), (1,)), 1, 64, 64, (8000,), (8000,), 4)
    assert gathers(one)
    assert not gathers(replace(one, features=128))
    assert not gathers(replace(one, slot=Slot.OUTPUT))
    assert not gathers(replace(one, features=0))
    long = replace(one, geometry=Geometry((1024,), (1,), ((0, 0),), (1,)), output_size=(6977,), features=128)
    assert not gathers(long)
    assert gathers(replace(long, channels=1, features=2, input_size=(2047,), output_size=(1024,)))  # so many slices
    apart = replace(one, geometry=Geometry((3,), (2,), ((1, 1),), (1,)), output_size=(4000,), features=128)
    assert gathers(apart)
    assert not gathers(replace(apart, input_size=(80,), output_size=(40,)))  # too little for two phases
    assert not gathers(replace(apart, features=256))


@pytest.mark.parametrize("slot", Slot)
def test_samples_make_rows_of_small_images_longer(slot: Slot) -> None:
    kernel = Geometry((3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1))
    small = Problem(slot, kernel, 32, 32, 64, (6, 6), (4, 4), 4)
    moved, cost = samples_last(small), LOWERINGS["columns"].cost
    assert (moved.batch, moved.input_size, moved.output_size) == (1, (6, 6, 32), (4, 4, 32))
    assert moved.multiply_adds == small.multiply_adds
    assert cost(small).elements_moved == cost(moved).elements_moved + 5 * 32 * (32 * 36 + 64 * 16)
    assert columns._moves(small)
    assert not columns._moves(replace(small, batch=1))
    assert not columns._moves(replace(small, input_size=(58, 58), output_size=(56, 56)))  # long rows
    if slot is not Slot.INPUT:
        assert not columns._moves(replace(small, input_size=(3, 3), output_size=(1, 1)))  # windows as they lie


@pytest.fixture
def five_rows() -> Iterator[None]:
    """A workspace for 19 kB: a row of windows takes 2304 bytes, a sample of them 11520, packed for taps 9600."""
    limit = get_workspace_limit()
    set_workspace_limit(19_000)
    yield
    set_workspace_limit(limit)


def test_chunks_are_counted(five_rows: None) -> None:
    output = problem(Slot.OUTPUT, OVERLAPPING)
    for name, passes in (("window", 5), ("columns", 1)):
        cost = LOWERINGS[name].cost(output)
        assert (cost.workspace, cost.matmuls) == (19_000 // 8, "2 x (4, 18) @ (18, 200) in 4 chunks")
        assert cost.calls == 4 * (12 + 2 / 40)
        assert cost.elements_moved == 2 * X + 4 * W + Y + passes * COPIED
    cost = LOWERINGS["taps"].cost(output)
    assert (cost.workspace, cost.matmuls, cost.calls) == (PACKED // 5, "40 x (4, 6) @ (6, 60)", 5 * 25)


def test_a_product_in_place_moves_nothing_else() -> None:
    pointwise = Geometry((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1))
    cost = LOWERINGS["reshape"].cost(Problem(Slot.INPUT, pointwise, 5, 3, 4, (9, 8), (9, 8), 4))
    assert (cost.workspace, cost.elements_moved) == (0, 5 * (3 + 4) * 72 + 12)
    assert (cost.matmuls, cost.calls) == ("5 x (3, 4) @ (4, 72)", 4.25)
    cost = LOWERINGS["reshape"].cost(Problem(Slot.OUTPUT, APART, 5, 3, 4, (3, 2), (1, 1), 4))
    assert (cost.workspace, cost.matmuls) == (0, "2 x (4, 18) @ (18, 1)")


def test_estimate_is_computing_moving_and_starting() -> None:
    cost = Cost(multiply_adds=1400, elements_moved=165, elements_cached=425, workspace=0, matmuls="", calls=0.5)
    assert estimate(cost, 4) == pytest.approx(1400 / 110 + 20 + 20 + 2250)
    assert estimate(cost, 2) == pytest.approx(1.75 + 10 + 10 + 2250)
    assert estimate(cost, 2, widened=True) == estimate(cost, 1, widened=True) == estimate(cost, 4)
    assert estimate(cost, 8) == pytest.approx(50 + 40 + 40 + 2250)
    small, large = (replace(cost, workspace=2**22 + elements) for elements in (-1, 0))
    assert estimate(small, 8) == estimate(cost, 8)
    assert estimate(large, 8) == pytest.approx(estimate(cost, 8) + 2**25 / 4)  # memory fresh from the system
    assert estimate(cost, 16) == pytest.approx(200 + 80 + 80 + 2250)
    assert estimate(replace(cost, dense=False), 4) == pytest.approx(1400 / 58 + 20 + 20 + 2250)


def posed() -> Iterator[tuple[Problem, Tensor, Tensor]]:
    """Problems of all slots, with operands whose groups are apart."""
    for overlap in (True, False):
        for case in sample(15, (0, 1, 2, 3), seed=5, overlap=overlap):
            geometry = Geometry(case.kernel, case.stride, case.padding, case.dilation, case.groups)
            tensors = dict(zip((Slot.INPUT, Slot.WEIGHT, Slot.OUTPUT), case.operands(torch.float32), strict=True))
            for slot in Slot:
                first, second = (tensors[filled] for filled in slot.operands)
                form = Form(slot, geometry, case.input_size, "auto")
                apart = (ungroup(tensors[filled], filled.group_axis, case.groups) for filled in slot.operands)
                first_apart, second_apart = apart
                if first.numel() and second.numel():
                    yield problem_of(form, first.shape, second.shape, 4), first_apart, second_apart


POSED = list(posed())


def test_the_least_estimate_of_what_is_exact_is_chosen() -> None:
    for problem, _, _ in POSED:
        choice = choose(problem, "auto")
        exact = [name for name in choice.costs if LOWERINGS[name].exact and name != "native"]
        assert choice.name == min(exact, key=choice.estimates.__getitem__)
        assert choice.estimates == {name: estimate(cost, 4) for name, cost in choice.costs.items()}


@pytest.mark.parametrize("name", ["columns", "reshape"])
def test_products_are_counted_as_they_run(name: str) -> None:
    lowering, tried = LOWERINGS[name], 0
    for problem, first, second in POSED:
        if lowering.refusal(problem) is None:
            with FlopCounterMode(display=False) as counter:
                lowering.run(problem, first, second)
            assert counter.get_total_flops() == 2 * lowering.cost(problem).multiply_adds
            tried += 1
    assert tried > 20


@pytest.mark.parametrize("slot", Slot)
def test_thin_factors_take_a_call_for_each_column(slot: Slot) -> None:
    """Depthwise, a tap of every group is one operation; the gradient of the weight sums over positions."""
    depthwise = Geometry((3, 2), (1, 1), ((1, 1), (0, 2)), (1, 2), groups=50)
    cost = LOWERINGS["taps"].cost(Problem(slot, depthwise, 5, 1, 1, (9, 8), depthwise.output_size((9, 8)), 8))
    assert cost.calls == 6 * (1 + 49 / 4 if slot is Slot.WEIGHT else 1) + 20
    assert cost.dense == (slot is not Slot.WEIGHT)
    # Six taps on rows and columns with their gaps; long sums count double.
    assert cost.elements_cached == 6 * 2 * 50 * 5 * 10 * 10 * (2 if slot is Slot.WEIGHT else 1)
    wide = LOWERINGS["taps"].cost(Problem(slot, depthwise, 5, 4, 5, (9, 8), depthwise.output_size((9, 8)), 8))
    assert wide.calls == 6 * (1 + 49 / 4) + 20
