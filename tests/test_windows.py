"""Views and their adjoints, on integers: <A u, v> == <u, A* v>."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ndconv._form.geometry import Geometry
from ndconv._programs.windows import fold, kernel_first, merge, split, windows
from ndconv._tensors.direct import Direct
from ndconv._tensors.direct import pad as pad_at_once
from ndconv._tensors.direct import unpad as unpad_at_once
from ndconv.testing import Case, sample
from tests.programs import recorded

Amounts = tuple[tuple[int, int], ...]

AT_ONCE = Direct("cpu", ())

OVERLAPPING = sample(40, (1, 2, 3, 4), seed=5)
SEPARATE = sample(40, (1, 2, 3, 4), seed=6, overlap=False)


def integers(*shape: int) -> Tensor:
    return torch.randint(-4, 5, shape)


def pad(x: Tensor, amounts: Amounts) -> Tensor:
    """The padding of a program, equal to the direct one."""
    padded = recorded(lambda b, x: b.pad(x, amounts), x)
    assert torch.equal(padded, pad_at_once(x, amounts))
    return padded


def unpad(x: Tensor, amounts: Amounts) -> Tensor:
    """The adjoint of `pad`, compared likewise."""
    cropped = recorded(lambda b, x: b.unpad(x, amounts), x)
    assert torch.equal(cropped, unpad_at_once(x, amounts))
    return cropped


def _geometry(case: Case) -> Geometry:
    return Geometry(case.kernel, case.stride, case.padding, case.dilation, case.groups)


@pytest.mark.parametrize("case", OVERLAPPING + SEPARATE, ids=lambda case: case.id)
def test_fold_is_the_adjoint_of_windows(case: Case) -> None:
    geometry = _geometry(case)
    x = integers(2, 1, 3, *geometry.reach(case.output_size))
    view = windows(x, geometry)
    assert view.shape == (2, 1, 3, *case.output_size, *case.kernel)
    assert view.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    columns = integers(*view.shape)
    folded = fold(AT_ONCE, kernel_first(columns, case.ndim), geometry)
    assert folded.shape == x.shape
    assert (view * columns).sum() == (x * folded).sum()
    # A program's view is the same, and what it adds up.
    assert torch.equal(recorded(lambda b, x: windows(x, geometry), x), view)
    assert torch.equal(
        recorded(lambda b, columns: fold(b, kernel_first(columns, case.ndim), geometry), columns), folded
    )


@pytest.mark.parametrize("case", SEPARATE, ids=lambda case: case.id)
def test_writing_to_windows_is_fold_where_they_share_nothing(case: Case) -> None:
    geometry = _geometry(case)
    columns = integers(2, 2, 1, *case.output_size, *case.kernel)
    x = columns.new_zeros(2, 2, 1, *geometry.reach(case.output_size))
    windows(x, geometry).copy_(columns)
    assert torch.equal(x, fold(AT_ONCE, kernel_first(columns, case.ndim), geometry))


@pytest.mark.parametrize("amounts", [((1, 2),), ((0, 3), (2, 0)), ((-1, 2), (0, -2)), ((0, 0), (0, 0))], ids=str)
def test_unpad_is_the_adjoint_of_pad(amounts: Amounts) -> None:
    x = integers(2, *(5,) * len(amounts))
    padded = pad(x, amounts)
    assert padded.shape[1:] == tuple(5 + lo + hi for lo, hi in amounts)
    y = integers(*padded.shape)
    assert unpad(y, amounts).shape == x.shape
    assert (padded * y).sum() == (x * unpad(y, amounts)).sum()


@pytest.mark.parametrize("steps", [(3,), (2, 3), (1, 2, 4)], ids=str)
def test_merge_undoes_split(steps: tuple[int, ...]) -> None:
    x = integers(2, 3, *(4 * step for step in steps))
    apart = split(x, 2, steps)
    assert apart.shape == (2, 3, *(4,) * len(steps), *steps)
    assert torch.equal(merge(apart, 2, len(steps)), x)
    assert torch.equal(recorded(lambda b, x: split(x, 2, steps), x), apart)
    assert torch.equal(recorded(lambda b, apart: merge(apart, 2, len(steps)), apart), x)
    first, second = (0, 0, *(1,) * len(steps), *(0,) * len(steps)), (0, 0, *steps)
    assert apart[first] == x[second]


def test_padding_makes_up_for_what_is_cropped_on_the_other_side() -> None:
    """As in a phase of ``n1g2c1d1-k4x4x2x1-s4x2x3x1-p1.0x10.0x0.1x0.1-d2x3x1x3-i7x1x9x2`` that reads zeros only."""
    x = torch.arange(1.0, 3.0).view(1, 1, 1, 2)
    assert pad(x, ((-3, 4),)).tolist() == [[[[0, 0, 0]]]]
    assert pad(x, ((5, -4),)).tolist() == [[[[0, 0, 0]]]]
    assert pad(x, ((-1, 2),)).tolist() == [[[[2, 0, 0]]]]
    assert pad(x.view(1, 1, 1, 1, 2), ((-2, 3), (1, -1))).tolist() == [[[[[0, 0], [0, 0]]]]]
