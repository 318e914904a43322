"""The lowering by Fourier transforms: its grid, where it runs, and the switch that forbids it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import ndconv
from ndconv._form.geometry import Geometry, Problem, Slot
from ndconv._lowerings.fourier import Grid, _smooth, grid
from ndconv.testing import Case, sample

LONG = ((2, 8, 2048), (8, 8, 1024))


@pytest.mark.parametrize(
    ("kernel", "padding", "size", "length"),
    [
        (7, (3, 3), 14, 18),  # 17 has no small factors; with all of its padding the input has 20
        (31, (15, 15), 28, 45),
        (7, (6, 0), 30, 36),
        (5, (-2, -3), 30, 25),
        (9, (4, 4), 1, 9),  # no shorter than the kernel
        (1, (3, 4), 2, 9),  # nor than the windows are many
    ],
)
def test_padding_on_one_side_serves_both(kernel: int, padding: tuple[int, int], size: int, length: int) -> None:
    geometry = Geometry((kernel,), (1,), (padding,), (1,))
    problem = Problem(Slot.OUTPUT, geometry, 1, 1, 1, (size,), geometry.output_size((size,)), 4)
    assert grid(problem).length == (length,)


def test_lengths_have_small_factors() -> None:
    smooth = sorted(2**a * 3**b * 5**c * 7**d for a in range(11) for b in range(7) for c in range(5) for d in range(4))
    for length in range(1, 1000):
        assert _smooth(length) == next(number for number in smooth if number >= length)
    assert _smooth(2**40 + 1) < 1.01 * 2**40  # found, not searched for number by number


def test_no_two_places_are_tied_by_going_round() -> None:
    """By hand, for every small geometry of one axis: the ties on the cyclic grid are those of the form."""
    for case in sample(400, (1,), seed=41):
        for geometry, size in (
            (Geometry(case.kernel, case.stride, case.padding, case.dilation), case.input_size),
            (_cropped(case), (case.input_size[0] + 1,)),
        ):
            outputs = geometry.output_size(size)
            found = grid(Problem(Slot.OUTPUT, geometry, 1, 1, 1, size, outputs, 4))
            if found.axes:
                assert _ties_on(found, size[0]) == _ties_of(geometry, size[0], outputs[0])


def _cropped(case: Case) -> Geometry:
    """A geometry that crops one element on the high side."""
    padding = tuple((lo, hi - 1) for lo, hi in case.padding)
    return Geometry(case.kernel, case.stride, padding, case.dilation, case.groups)


def _ties_of(geometry: Geometry, size: int, outputs: int) -> set[tuple[int, int, int]]:
    (kernel,), (stride,), ((lo, _),), (dilation,) = (
        geometry.kernel, geometry.stride, geometry.padding, geometry.dilation,
    )  # fmt: skip
    tied = {(stride * o + dilation * k - lo, k, o) for k in range(kernel) for o in range(outputs)}
    return {(i, k, o) for i, k, o in tied if 0 <= i < size}


def _ties_on(found: Grid, size: int) -> set[tuple[int, int, int]]:
    (length,), (seen,) = found.length, found.seen
    places = {slot: range(length)[found.places[slot][0]] for slot in Slot}
    elements = range(size)[seen]
    assert len(elements) == len(places[Slot.INPUT])
    return {
        (i, k, o)
        for i, x in zip(elements, places[Slot.INPUT], strict=True)
        for k, w in enumerate(places[Slot.WEIGHT])
        for o, y in enumerate(places[Slot.OUTPUT])
        if (x - w - y) % length == 0
    }


def test_axes_without_windows_are_samples() -> None:
    geometry = Geometry((1, 64), (1, 1), ((0, 0), (32, 32)), (1, 1))
    found = grid(Problem(Slot.OUTPUT, geometry, 16, 1, 8, (22, 256), (22, 257), 4))
    assert (found.axes, found.plain, found.length) == ((1,), (0,), (288,))
    for shape, kernel in (((2, 3), (4, 3)), ((2, 3, 5, 5), (4, 3, 1, 1))):
        plan = ndconv.plan(shape, kernel, lowering="fourier")
        assert plan.output.lowering != "fourier"
        assert "not fourier     no axis has a window of several elements, a stride or padding" in str(plan)


def test_chunks_bound_the_workspace(tiny_workspace: None) -> None:
    # A sample of one group, and its kernel: two tensors and a third on a grid of 9 points, with 5 frequencies.
    assert ndconv.plan((4, 6, 9), (6, 1, 3), padding=0, groups=6, lowering="fourier").output.workspace <= 3 * 19 * 4


def test_integers_are_planned_for_another() -> None:
    plan = ndconv.plan(*LONG, lowering="fourier", dtype=torch.int64)
    assert plan.output.lowering == ndconv.plan(*LONG, dtype=torch.int64).output.lowering == "columns"


def fractions(lowering: str, device: str) -> list[Tensor]:
    """Fractional parts of all slots' results on integers; few results of a transform have none."""
    x, w = (torch.randint(-3, 4, shape, device=device).float() for shape in LONG)
    y = ndconv.functional.conv1d(x.requires_grad_(), w.requires_grad_(), lowering=lowering)
    grads = torch.autograd.grad(y, (x, w), torch.randint_like(y, -3, 4))
    return [tensor.detach() - tensor.detach().round() for tensor in (y, *grads)]


def test_a_long_kernel_is_transformed_if_asked_for(device: str) -> None:
    assert all(bool(rest.any()) for rest in fractions("fourier", device))
    assert not any(bool(rest.any()) for rest in fractions("auto", device))


@pytest.fixture
def exact() -> Iterator[None]:
    ndconv.set_exact(True)
    yield
    ndconv.set_exact(False)


@pytest.mark.parametrize("lowering", ["auto", "fastest", "fourier"])
def test_the_switch_forbids_it(lowering: str, exact: None, device: str) -> None:
    assert not any(bool(rest.any()) for rest in fractions(lowering, device))


def test_what_was_planned_or_measured_before_does_not_outlive_the_switch(device: str) -> None:
    for lowering in ("auto", "fastest", "fourier"):
        fractions(lowering, device)
    ndconv.set_exact(True)
    try:
        for lowering in ("auto", "fastest", "fourier"):
            assert not any(bool(rest.any()) for rest in fractions(lowering, device))
    finally:
        ndconv.set_exact(False)
    assert all(bool(rest.any()) for rest in fractions("fourier", device))


def test_the_plan_tells_the_refusal(exact: None) -> None:
    plan = str(ndconv.plan(*LONG, lowering="fourier"))
    assert plan.count("lowering        columns, as fourier does not apply") == 3
    assert plan.count("not fourier     it rounds sums of integers, and only exact ones are asked for") == 3


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_more_axes_than_a_transform_takes(dtype: torch.dtype, device: str) -> None:
    x, w = (
        torch.randn(2, 1, *[3] * 9, dtype=dtype, device=device),
        torch.randn(1, 1, *[2] * 9, dtype=dtype, device=device),
    )
    got: list[Tensor] = []
    want: list[Tensor] = []
    for name, results in (("fourier", got), ("taps", want)):
        y = ndconv.functional.convnd(x.requires_grad_(), w.requires_grad_(), lowering=name)
        results += [y, *torch.autograd.grad(y.abs().sum(), (x, w))]
    torch.testing.assert_close(got, want)


def test_nan_reaches_its_sample_and_no_other(device: str) -> None:
    x, w = torch.randn(3, 2, 9, device=device), torch.randn(2, 1, 3, device=device)
    x[1, 0, 4] = math.nan
    y = ndconv.functional.conv1d(x, w, groups=2, lowering="fourier")
    assert y[1, 0].isnan().all()
    assert y.isnan().sum() == y[1, 0].numel()
