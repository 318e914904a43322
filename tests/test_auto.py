"""Results of "auto" are those of a direct sum, also where transforms would be quicker by far."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import ndconv


class Layer(NamedTuple):
    """A convolution of a kind for which winograd or Fourier transforms take less time."""

    input: tuple[int, ...]
    weight: tuple[int, ...]
    padding: int = 0
    groups: int = 1
    dtype: torch.dtype = torch.float32

    @property
    def arguments(self) -> dict[str, Any]:
        return {"padding": self.padding, "groups": self.groups}


LAYERS = {
    "FIR": Layer((1, 1, 20_000), (1, 1, 1025)),
    "long FIR": Layer((1, 1, 20_000), (1, 1, 8193)),
    "large depthwise kernel": Layer((1, 16, 48, 48), (16, 1, 21, 21), 10, 16),
    "dense float64": Layer((1, 64, 28, 28), (64, 64, 3, 3), 1, dtype=torch.float64),
    "dense volume in float64": Layer((1, 32, 10, 10, 10), (32, 32, 3, 3, 3), 1, dtype=torch.float64),
    "four axes": Layer((1, 8, 5, 5, 16, 16), (16, 8, 3, 3, 3, 3), 1),
    "five axes": Layer((1, 4, 5, 5, 5, 5, 5), (8, 4, 3, 3, 3, 3, 3), 1),
}
layers = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
NOT_EXACT = {"winograd", "fourier"}


def convolve(layer: Layer, x: Tensor, w: Tensor, lowering: str = "auto") -> Tensor:
    return ndconv.functional.convnd(x, w, **layer.arguments, lowering=lowering)


def operands(layer: Layer, device: str) -> tuple[Tensor, Tensor]:
    x, w = (torch.randn(shape, dtype=layer.dtype, device=device) for shape in (layer.input, layer.weight))
    return x, w / math.prod(layer.weight[1:])


def lowerings(layer: Layer, lowering: str) -> set[str]:
    plan = ndconv.plan(layer.input, layer.weight, **layer.arguments, dtype=layer.dtype, lowering=lowering)
    return {step.lowering for step in (plan.output, plan.grad_input, plan.grad_weight)}


@layers
def test_what_is_not_exact_runs_only_if_it_is_named(layer: Layer) -> None:
    assert not lowerings(layer, "auto") & NOT_EXACT
    assert lowerings(layer, "fourier") == {"fourier"}
    assert lowerings(layer, "winograd") == {"winograd"} or max(layer.weight[2:]) > 5


def test_the_plan_tells_what_auto_does_without() -> None:
    plan = ndconv.plan(LAYERS["long FIR"].input, LAYERS["long FIR"].weight)
    for step in (plan.output, plan.grad_input, plan.grad_weight):
        assert step.choice.estimates["fourier"] < step.choice.estimates[step.lowering]
        assert re.search(r"not fourier     estimated at 0\.\d+ times the cost, and not exact", str(step))


@pytest.mark.parametrize("name", sorted(NOT_EXACT))
def test_what_is_named_and_does_not_apply_gives_way_to_what_is_exact(name: str) -> None:
    """Neither applies to 1x1; winograd does not apply to long kernels, for which fourier would be the cheapest."""
    for shapes in (((2, 3, 8, 8), (4, 3, 1, 1)), (LAYERS["FIR"].input, LAYERS["FIR"].weight)):
        assert ndconv.plan(*shapes, lowering=name).output.lowering not in NOT_EXACT - {name}


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
@layers
def test_what_is_not_finite_stays_in_the_windows_that_read_it(layer: Layer, value: float, device: str) -> None:
    x, w = operands(layer, device)
    reads = torch.zeros_like(x)
    middle = (0, 0, *(n // 2 for n in layer.input[2:]))
    x[middle], reads[middle] = value, 1
    got = convolve(layer, x, w).isfinite().logical_not()
    assert torch.equal(got, convolve(layer, reads, torch.ones_like(w), "window") > 0)
    if len(layer.input) <= 5:
        assert torch.equal(got, convolve(layer, x, w, "native").isfinite().logical_not())


@pytest.mark.parametrize("what", ["a quiet half", "one that is large", "all large"])
@layers
def test_errors_are_relative_to_an_elements_own_products(layer: Layer, what: str, device: str) -> None:
    x, w = operands(layer, device)
    if what == "a quiet half":
        x[..., x.shape[-1] // 2 :] *= 1e-6  # 120 dB
    elif what == "one that is large":
        x[(0, 0, *(n // 2 for n in layer.input[2:]))] = 1e10
    else:
        x *= 1e36 if layer.dtype == torch.float32 else 1e306
    got = convolve(layer, x, w)
    assert got.isfinite().all()
    # float64 in units of its own largest number, so that the sums of the reference are finite too.
    unit = float(x.abs().max())
    want, size = (
        convolve(layer, *pair, "window")
        for pair in ((x.double() / unit, w.double()), (x.double().abs() / unit, w.double().abs()))
    )
    bound = 64 * torch.finfo(layer.dtype).eps * size
    assert ((got.double() / unit - want).abs() <= bound).all()


@layers
def test_non_negative_stays_non_negative(layer: Layer, device: str) -> None:
    x, w = (operand.abs() for operand in operands(layer, device))
    x[..., : x.shape[-1] // 2] = 0
    x, w = x.requires_grad_(), w.requires_grad_()
    y = convolve(layer, x, w)
    grad = torch.zeros_like(y)
    grad[..., -2:] = 1
    assert all(bool((result >= 0).all()) for result in (y, *torch.autograd.grad(y, (x, w), grad)))


@layers
def test_integers_are_integers(layer: Layer, device: str) -> None:
    x, w = (torch.randint(-3, 4, shape, device=device).to(layer.dtype) for shape in (layer.input, layer.weight))
    y = convolve(layer, x.requires_grad_(), w.requires_grad_())
    results = y, *torch.autograd.grad(y, (x, w), torch.randint_like(y, -3, 4))
    assert all(torch.equal(result, result.round()) for result in results)
