"""Lowerings that are not exact: their error, their chunks, their derivatives, and that integers never run by them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import ndconv
from ndconv._form.geometry import Geometry, Problem, Slot
from ndconv._lowerings import LOWERINGS
from ndconv.testing import Case, sample
from tests.programs import run

inexact = pytest.mark.parametrize("name", [name for name, lowering in LOWERINGS.items() if not lowering.exact])


def cropped(case: Case) -> Geometry:
    """The geometry with its padding cut off and more: two elements on one side, one on the other."""
    padding = tuple((lo - 2 * (axis % 2), hi - 1) for axis, (lo, hi) in enumerate(case.padding))
    return Geometry(case.kernel, case.stride, padding, case.dilation, case.groups)


def posed(name: str, dtype: torch.dtype, device: str) -> Iterator[tuple[Problem, Tensor, Tensor]]:
    """Normal random numbers for all slots of problems over one to four axes, padded and cropped."""
    for case in sample(80, (1, 2, 3, 4), seed=40):
        whole = Geometry(case.kernel, case.stride, case.padding, case.dilation, case.groups)
        larger = tuple(n + 1 + 2 * (axis % 2) for axis, n in enumerate(case.input_size))
        for geometry, size in ((whole, case.input_size), (cropped(case), larger)):
            for slot in Slot:
                counts = max(1, case.batch), case.channels, case.features
                problem = Problem(slot, geometry, *counts, size, geometry.output_size(size), dtype.itemsize)
                if LOWERINGS[name].refusal(problem) is None:
                    first, second = (torch.randn(problem.shape(filled)).to(dtype) for filled in slot.operands)
                    yield problem, first.to(device), second.to(device)


def norms(problem: Problem, first: Tensor, second: Tensor) -> Tensor:
    """Product of the norms of both operands in a result's sum, for every pair of channels and every sample."""
    a, b = (tensor.abs().double().square().flatten(3).sum(3) for tensor in (first, second))
    if problem.slot is Slot.OUTPUT:
        squares = a.sum(2)[:, :, None] * b.sum(2)
    elif problem.slot is Slot.INPUT:
        squares = b.sum(2)[:, :, None] * a.sum(1)
    else:
        squares = b.sum(0)[:, :, None] * a.sum(0)[:, None]
    return squares.sqrt()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128], ids=str)
@inexact
def test_the_error_is_within_the_stated_bound(name: str, dtype: torch.dtype, device: str) -> None:
    tried, worst = 0, 0.0
    for problem, first, second in posed(name, dtype, device):
        got = run(name, problem, first, second)
        wide = torch.complex128 if dtype.is_complex else torch.float64
        error = (got - run("window", problem, first.to(wide), second.to(wide))).abs().flatten(3).amax(3)
        most = LOWERINGS[name].rounding(problem) * torch.finfo(dtype).eps * norms(problem, first, second)
        assert (got.dtype, got.shape) == (dtype, problem.shape(problem.slot))
        assert (error <= most).all()
        worst = max(worst, float((error / most.clamp_min(1e-300)).max()))
        tried += 1
    assert tried > 60
    assert worst > 0.02  # or the bound would be no news


@inexact
def test_chunks_give_the_same_but_for_rounding(name: str, tiny_workspace: None, device: str) -> None:
    for problem, first, second in posed(name, torch.float64, device):
        torch.testing.assert_close(run(name, problem, first, second), run("window", problem, first, second))


@inexact
def test_integers_are_exact(name: str, device: str) -> None:
    for dtype in (torch.int8, torch.int64):
        for case in sample(20, (1, 2), seed=42):
            x, w, _ = (tensor.to(dtype) for tensor in case.operands(torch.float64, device))
            rest: Any = None, case.stride, case.padding, case.dilation, case.groups
            got, want = (ndconv.functional.convnd(x, w, *rest, lowering=each) for each in (name, "window"))
            assert torch.equal(got, want)


GEOMETRIES = [
    "n2g1c2d3-k3-s2-p1.2-d2-i7",
    "n2g2c1d1-k2x3-s1x2-p0.1x2.0-d1x1-i4x3",
    "n1g1c2d1-k2x1x2-s1x1x2-p1.0x0.0x1.1-d1x1x1-i3x2x3",
]


@pytest.mark.parametrize("id", GEOMETRIES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@inexact
def test_gradients(name: str, id: str, dtype: torch.dtype, device: str) -> None:
    case = Case.parse(id)
    x, w, _ = (tensor.requires_grad_() for tensor in case.operands(dtype, device))

    def function(x: Tensor, w: Tensor) -> Tensor:
        rest: Any = case.stride, case.padding, case.dilation, case.groups
        return ndconv.functional.convnd(x, w, None, *rest, lowering=name)

    assert gradcheck(function, (x, w), check_forward_ad=True)
    assert gradgradcheck(function, (x, w))


@pytest.mark.compiler
@pytest.mark.parametrize(("name", "dynamic"), [("fourier", False), ("fourier", True), ("winograd", False)])
def test_a_compiler_traces_it(name: str, dynamic: bool, device: str) -> None:
    torch.compiler.reset()
    x, w = torch.randn(2, 4, 9, 8, device=device), torch.randn(6, 2, 3, 2, device=device)
    compiled = torch.compile(ndconv.functional.conv2d, backend="eager", fullgraph=True, dynamic=dynamic)
    rest: Any = None, (1, 2), (2, 1), 1, 2
    want = ndconv.functional.conv2d(x, w, *rest, lowering="window")
    torch.testing.assert_close(compiled(x, w, *rest, lowering=name), want)
