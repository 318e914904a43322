"""Derivatives against a Jacobian of step 1: the form is linear in each operand, so the step makes no error."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import ndconv
from ndconv.testing import Case

pytestmark = pytest.mark.gradcheck

# One to four axes with strides, dilation, uneven padding, groups and rows that no window reads.
OVERLAPPING = [
    "n2g1c2d2-k3-s1-p1.1-d1-i5",
    "n1g2c2d1-k3-s2-p2.0-d2-i8",
    "n2g1c2d1-k2x3-s2x1-p1.0x1.1-d1x2-i4x5",
    "n1g3c1d2-k2x2-s1x3-p0.1x0.0-d2x1-i4x6",
    "n1g2c1d2-k2x1x3-s1x2x2-p0.1x0.0x1.1-d1x1x1-i3x2x4",
    "n1g1c1d2-k2x2x1x2-s1x1x2x1-p0.0x1.0x0.0x0.0-d1x2x1x1-i2x3x2x2",
]
SEPARATE = [
    "n2g2c1d2-k1-s1-p0.0-d1-i4",
    "n2g1c2d2-k3-s3-p1.1-d1-i9",
    "n1g2c1d2-k2x2-s3x5-p0.1x1.0-d2x3-i6x8",
    "n2g1c2d1-k3x2-s1x1-p0.0x0.0-d1x1-i3x2",
    "n1g1c2d1-k2x1x2-s2x2x3-p0.0x0.0x1.0-d1x1x1-i4x3x5",
    "n1g1c1d2-k2x1x2x1-s2x1x2x2-p0.0x0.0x0.0x0.0-d1x1x1x1-i2x2x3x2",
]
CASES = [(Case.parse(id), name) for id in OVERLAPPING for name in ("window", "columns", "taps")]
CASES += [(Case.parse(id), "reshape") for id in SEPARATE]
IDS = [f"{case.id}-{name}" for case, name in CASES]


def _slots(case: Case, lowering: str) -> list[tuple[Any, int, int]]:
    rest = (case.stride, case.padding, case.dilation, case.groups)

    def output(x: Tensor, w: Tensor) -> Tensor:
        return ndconv.functional.convnd(x, w, None, *rest, lowering=lowering)

    def grad_input(w: Tensor, y: Tensor) -> Tensor:
        return ndconv.grad.convnd_input(case.input_shape, w, y, *rest, lowering=lowering)

    def grad_weight(x: Tensor, y: Tensor) -> Tensor:
        return ndconv.grad.convnd_weight(x, case.weight_shape, y, *rest, lowering=lowering)

    return [(output, 0, 1), (grad_input, 1, 2), (grad_weight, 0, 2)]


@pytest.mark.parametrize("slot", [0, 1, 2], ids=["output", "grad_input", "grad_weight"])
@pytest.mark.parametrize(("case", "lowering"), CASES, ids=IDS)
def test_derivatives_are_exact(case: Case, lowering: str, slot: int, device: str) -> None:
    function, first, second = _slots(case, lowering)[slot]
    tensors = case.operands(torch.float64, device)
    operands = tensors[first].requires_grad_(), tensors[second].requires_grad_()
    assert gradcheck(function, operands, eps=1.0, atol=0, rtol=0, check_forward_ad=True)
    # Its derivative is linear in each operand too. Left to itself, gradgradcheck draws a fractional output gradient.
    grad = tensors[({0, 1, 2} - {first, second}).pop()].requires_grad_()
    assert gradgradcheck(function, operands, grad, eps=1.0, atol=0, rtol=0, check_fwd_over_rev=True)


@pytest.mark.parametrize("lowering", ["window", "columns", "taps", "reshape"])
def test_complex_derivatives_conjugate_the_other_operand(lowering: str, device: str) -> None:
    stride = 3 if lowering == "reshape" else 2

    def function(x: Tensor, w: Tensor) -> Tensor:
        # conj() is lazy: the Function sees tensors with a conjugate bit.
        return ndconv.functional.conv2d(
            x.conj(), w.conj(), None, (stride, 3), ((1, 0), (0, 1)), 1, 2, lowering=lowering
        )

    x = torch.randn(1, 4, 3, 4, dtype=torch.complex128, device=device, requires_grad=True)
    w = torch.randn(2, 2, 2, 2, dtype=torch.complex128, device=device, requires_grad=True)
    assert gradcheck(function, (x, w), check_forward_ad=True)
    assert gradgradcheck(function, (x, w))


def test_third_derivative_equals_torch(device: str) -> None:
    x = torch.randint(-2, 3, (2, 2, 5, 4), device=device).double().requires_grad_()
    w = torch.randint(-2, 3, (2, 2, 3, 2), device=device).double().requires_grad_()

    def third(convolution: Any) -> Tensor:
        y = convolution(x, w, stride=(2, 1), padding=1)
        (first,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((first**2).sum(), w, create_graph=True)
        (result,) = torch.autograd.grad((second**2).sum(), x)
        return result

    assert torch.equal(third(ndconv.functional.conv2d), third(torch.nn.functional.conv2d))
