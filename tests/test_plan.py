"""The lowering that runs: the planner's choice, the user's choice, and the explanation of both."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import ndconv
from ndconv.testing import sample

LOWERINGS = ("window", "columns", "taps", "reshape")
OVERLAPPING = ((2, 4, 9, 9), (6, 4, 3, 3))


def test_every_slot_is_explained() -> None:
    text = str(ndconv.plan(*OVERLAPPING, stride=2, padding=1))
    for line in ("ngcopkl,gdckl->ngdop", "gdckl,ngdop->ngcopkl", "ngcopkl,ngdop->gdckl", "(2, 6, 5, 5)", "float32"):
        assert line in text
    assert text.count("not reshape     windows overlap: they span (3, 3) and the stride is (2, 2)") == 3
    for label in ("equation", "lowering", "matmuls", "multiply-adds", "bytes moved", "workspace"):
        assert text.count(f"  {label} ") == 3


def test_multiply_adds_are_those_of_the_sum() -> None:
    plan = ndconv.plan(*OVERLAPPING, groups=1, lowering="window")
    for slot in (plan.output, plan.grad_input, plan.grad_weight):
        assert slot.multiply_adds == slot.problem.multiply_adds == 2 * 6 * 4 * 9 * 49


@pytest.mark.parametrize("name", LOWERINGS)
def test_a_wanted_lowering_runs_where_it_applies(name: str) -> None:
    assert ndconv.plan((2, 4, 9, 9), (6, 4, 3, 3), stride=3, lowering=name).output.lowering == name


def test_a_wanted_lowering_that_does_not_apply_gives_way() -> None:
    plan = ndconv.plan(*OVERLAPPING, lowering="reshape")
    assert plan.output.lowering != "reshape"
    assert plan.output.lowering == ndconv.plan(*OVERLAPPING).output.lowering
    assert f"lowering        {plan.output.lowering}, as reshape does not apply" in str(plan)
    assert "does not apply" not in str(ndconv.plan(*OVERLAPPING, lowering="taps"))


def test_patches_and_pointwise_kernels_are_reshaped() -> None:
    for shapes, stride in ((((8, 3, 64, 64), (96, 3, 16, 16)), 16), (((8, 64, 28, 28), (64, 64, 1, 1)), 1)):
        plan = ndconv.plan(*shapes, stride=stride)
        assert {slot.lowering for slot in (plan.output, plan.grad_input, plan.grad_weight)} == {"reshape"}


def test_tensors_shapes_and_modules_agree() -> None:
    x, w = torch.empty(2, 4, 9, 9), torch.empty(6, 4, 3, 3)
    assert ndconv.plan(x, w) == ndconv.plan(x.shape, w.shape) == ndconv.Conv2d(4, 6, 3).plan(x)
    assert ndconv.plan(x.double(), w.double()) == ndconv.plan(x.shape, w.shape, dtype=torch.float64)
    assert ndconv.plan(x[0], w) == ndconv.plan(x[:1], w)


def test_a_plan_pickles() -> None:
    plan = ndconv.plan(*OVERLAPPING)
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_an_empty_batch_has_a_plan() -> None:
    assert "(0, 6, 7, 7)" in str(ndconv.plan((0, 4, 9, 9), (6, 4, 3, 3)))


def test_the_context_restores_the_lowering() -> None:
    assert ndconv.get_lowering() == "auto"
    with ndconv.lowering("taps"):
        with ndconv.lowering("window"):
            assert ndconv.get_lowering() == "window"
        assert ndconv.get_lowering() == "taps"
    with pytest.raises(KeyError), ndconv.lowering("taps"):
        raise KeyError
    assert ndconv.get_lowering() == "auto"


class Lowerings(TorchDispatchMode):
    """Records the computed slots and the lowerings named for them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.ndconv.trilinear.default:
            *_, lowering, _, _ = args
            self.seen.append((args[2], lowering))
        return func(*args, **kwargs or {})


def test_the_backward_pass_keeps_the_lowering_of_the_forward_pass() -> None:
    x, w = torch.randn(2, 4, 9, 9, requires_grad=True), torch.randn(6, 4, 3, 3, requires_grad=True)
    for name in ("taps", "window"):
        with ndconv.lowering(name):
            y = ndconv.functional.conv2d(x, w)
        with Lowerings() as lowerings:
            y.sum().backward()
        assert lowerings.seen == [("input", name), ("weight", name)]


def _results(lowering: str) -> list[Tensor]:
    found = []
    for case in sample(60, (0, 1, 2, 3, 4), seed=30):
        x, w, y = case.operands(torch.float64)
        rest = case.stride, case.padding, case.dilation, case.groups
        found += [
            ndconv.functional.convnd(x, w, None, *rest, lowering=lowering),
            ndconv.grad.convnd_input(case.input_shape, w, y, *rest, lowering=lowering),
            ndconv.grad.convnd_weight(x, case.weight_shape, y, *rest, lowering=lowering),
        ]
    return found


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_chunks_do_not_change_results(lowering: str, request: pytest.FixtureRequest) -> None:
    whole = _results(lowering)
    request.getfixturevalue("tiny_workspace")
    for a, b in zip(whole, _results(lowering), strict=True):
        assert torch.equal(a, b)


def test_chunks_bound_the_workspace(tiny_workspace: None) -> None:
    # The windows at one position are the least that window can take: 4 channels, 9 kernel elements; beside these its
    # einsum may copy the weight, and has the 6 products twice.
    assert ndconv.plan(*OVERLAPPING, lowering="window").output.workspace == 4 * (4 * 9 + 6 * 4 * 9 + 2 * 6)


def test_a_transposed_convolution_is_the_input_slot() -> None:
    plan = ndconv.plan((2, 6, 4, 4), (6, 4, 3, 3), 2, 1, transposed=True, output_padding=1)
    assert plan.transposed
    assert plan.output_shape == (2, 4, 8, 8)
    assert plan.output.equation == "gdckl,ngdop->ngcopkl"
    assert plan.grad_input.equation == "ngcopkl,gdckl->ngdop"
    assert str(plan).startswith("2-D transposed convolution  (2, 6, 4, 4) * (6, 4, 3, 3) -> (2, 4, 8, 8)")
    assert [line for line in str(plan).splitlines() if line[0] != " "][4:] == ["output", "grad input", "grad weight"]
    assert ndconv.ConvTranspose2d(6, 4, 3, 2, 1, 1).plan((2, 6, 4, 4)) == plan


def test_a_border_is_shown() -> None:
    plan = ndconv.plan(*OVERLAPPING, padding=1, padding_mode="reflect")
    assert "padding ((0, 0), (0, 0))  reflect border ((1, 1), (1, 1))" in str(plan)
    assert plan == ndconv.Conv2d(4, 6, 3, padding=1, padding_mode="reflect").plan(OVERLAPPING[0])


def test_kernels_of_very_many_taps_are_not_weighed_tap_by_tap() -> None:
    plan = ndconv.plan((1, 1, 10**6), (1, 1, 10**5))
    assert plan.output.choice.refusals["taps"] == "the kernel has 100000 taps, more than 16384"
