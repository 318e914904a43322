"""The lowering by short convolutions: its matrices, its tiles, and where it runs."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import ndconv
from ndconv._form import cache
from ndconv._form.geometry import Geometry, Problem, Slot
from ndconv._lowerings import LOWERINGS
from ndconv._lowerings._cook_toom import MOST, growth, matrices, transforms
from ndconv._lowerings._tiles import tiling
from tests.programs import run

WINOGRAD = LOWERINGS["winograd"]
SIZES = [(m, k) for k in range(2, MOST) for m in range(2, MOST + 2 - k)]


@pytest.mark.parametrize(("m", "k"), SIZES)
def test_the_matrices_make_a_convolution(m: int, k: int) -> None:
    """The form itself, element by element and in fractions: 1 where ``i = o + k`` and 0 elsewhere."""
    before, kernel, after = matrices(m, k)
    assert [(len(rows), len(rows[0])) for rows in (before, kernel, after)] == [
        (m + k - 1, n) for n in (m + k - 1, k, m)
    ]
    for i, tap, o in product(range(m + k - 1), range(k), range(m)):
        terms = (x[i] * w[tap] * y[o] for x, w, y in zip(before, kernel, after, strict=True))
        assert sum(terms, Fraction()) == (i == o + tap)


@pytest.mark.parametrize(("m", "k"), SIZES)
def test_inputs_meet_integers_only(m: int, k: int) -> None:
    before, _, after = matrices(m, k)
    assert all(value.denominator == 1 for rows in (before, after) for row in rows for value in row)


def test_axes_are_combined_before_rounding() -> None:
    """A program's matrices are products of fractions, rounded once to its dtype, up to the rounding of float64."""
    assert transforms((4, 1, 2), (3, 1, 3))[1] == tuple(matrices(m, 3)[1] for m in (4, 2))
    plan = ndconv.plan((1, 1, 8, 6), (1, 1, 3, 3), lowering="winograd", dtype=torch.float32)
    constants: dict[str, torch.Tensor] = {}
    exec(plan.output.source, constants)
    first, second = (matrices(m, 3)[1] for m in tiling(plan.output.problem).m)
    for a, b, i, j in product(range(len(first)), range(len(second)), range(3), range(3)):
        exact = torch.tensor(float(first[a][i] * second[b][j]))
        assert constants["kernel"][len(second) * a + b, 3 * i + j] == exact


def test_growth_bounds_a_tile_of_ones() -> None:
    """A tile's error is at most that of its own largest products, each rounded once."""
    for m, k in SIZES:
        before, kernel, after = matrices(m, k)
        for o in range(m):
            most = sum(
                abs(y[o]) * sum(map(abs, x)) * sum(map(abs, w)) for x, w, y in zip(before, kernel, after, strict=True)
            )
            assert float(most) <= growth(m, k) * math.sqrt((m + k - 1) * k)


def posed(
    kernel: tuple[int, ...],
    size: tuple[int, ...],
    slot: Slot = Slot.OUTPUT,
    stride: tuple[int, ...] | None = None,
    dilation: tuple[int, ...] | None = None,
) -> Problem:
    ones, padding = (1,) * len(kernel), tuple((k // 2, k // 2) for k in kernel)
    geometry = Geometry(kernel, stride or ones, padding, dilation or ones)
    return Problem(slot, geometry, 2, 16, 16, size, geometry.output_size(size), 8)


@pytest.mark.parametrize(
    ("problem", "m"),
    [
        (posed((3, 3), (56, 56)), (4, 4)),
        (posed((3, 3), (5, 56)), (3, 4)),  # two tiles of three instead of four: 10 products, not 12
        (posed((3, 3, 3), (8, 8, 8)), (4, 4, 1)),  # two axes at most, the first of those alike
        (posed((3, 3, 3), (8, 5, 8)), (4, 1, 4)),  # those that save the most
        (posed((3, 3), (56, 56), stride=(2, 1)), (1, 4)),
        (posed((3, 3), (56, 56), dilation=(1, 3)), (4, 1)),
        (posed((5, 2), (56, 56)), (2, 5)),
        (posed((7, 3), (56, 56)), (1, 4)),  # no points for 7
        (posed((1, 3), (56, 1)), (1, 2)),  # nothing saved, and yet it applies
    ],
    ids=str,
)
def test_axes_and_tiles_are_those_that_save_the_most(problem: Problem, m: tuple[int, ...]) -> None:
    assert tiling(problem).m == m


def test_it_takes_fewer_products() -> None:
    problem = posed((3, 3), (56, 56))
    found = tiling(problem)
    assert 4 * found.of(2 * found.tiles).multiply_adds == problem.multiply_adds


def test_what_is_left_is_a_convolution_along_the_other_axes() -> None:
    found = tiling(posed((3, 3, 3), (9, 8, 8), stride=(2, 1, 1)))
    left = found.problem
    assert (left.geometry.kernel, left.geometry.stride, left.geometry.groups) == ((3, 1), (2, 1), 36)
    assert (left.input_size, left.output_size) == ((9, 4), (5, 4))
    rows = tiling(posed((3, 3, 3), (8, 8, 16))).problem
    assert (rows.geometry.kernel, rows.output_size) == ((1, 3), (4, 16))  # long enough to be copied as they lie


@pytest.mark.parametrize(
    "problem",
    [
        posed((1, 7), (9, 9)),
        posed((3, 3), (9, 9), stride=(2, 2)),
        posed((3, 3), (9, 9), dilation=(2, 2)),
        posed((6,), (9,)),
        posed((), ()),
    ],
    ids=str,
)
def test_where_it_does_not_apply(problem: Problem) -> None:
    assert WINOGRAD.refusal(problem) == "no axis has stride 1, dilation 1 and a kernel of 2 to 5 elements"


@pytest.mark.parametrize("slot", Slot, ids=str)
def test_a_nan_reaches_no_further_than_its_tiles(slot: Slot) -> None:
    problem = posed((3, 3), (16, 16), slot)
    first, second = (torch.randn(problem.shape(filled), dtype=torch.float64) for filled in slot.operands)
    sampled = second if slot is Slot.INPUT else first
    sampled[1, 0, 0, 8, 8] = math.nan
    result = run("winograd", problem, first, second)
    if slot is Slot.WEIGHT:
        assert result[:, :, 0].isnan().all()
        assert not result[:, :, 1:].isnan().any()
    else:
        assert not result[0].isnan().any()
        assert not result[1, ..., :4].isnan().any()
        assert result[1, 0, 0, 8, 8].isnan()


def test_what_stands_for_tensors_leaves_nothing_behind() -> None:
    cache.clear()
    x, w = torch.randn(2, 3, 9, 8), torch.randn(4, 3, 3, 3)
    for _ in range(2):
        with FakeTensorMode() as mode:
            fake = ndconv.functional.conv2d(mode.from_tensor(x), mode.from_tensor(w), lowering="winograd")
        real = ndconv.functional.conv2d(x, w, lowering="winograd")
        assert fake.shape == real.shape
        assert type(real) is torch.Tensor
