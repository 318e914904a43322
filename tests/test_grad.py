"""Gradients without autograd: per sample, of biases, all in one call, of transposed convolutions."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import ndconv
from ndconv.testing import Case, sample

MODES = ("zeros", "reflect", "replicate", "circular")
CASES = sample(40, (1, 2, 3, 4, 5), seed=40, modes=MODES)
IDS = [case.id for case in CASES]


def _arguments(case: Case) -> tuple[Any, ...]:
    return case.stride, case.padding, case.dilation, case.groups


def _back(case: Case) -> tuple[Any, ...]:
    return case.stride, case.padding, case.remainder, case.groups, case.dilation


@pytest.mark.parametrize("lowering", ["auto", "window", "columns", "taps"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_per_sample_gradients_are_those_of_single_samples(case: Case, lowering: str, device: str) -> None:
    x, w, y = case.operands(torch.float64, device)
    how: Any = {"padding_mode": case.mode, "lowering": lowering}
    single, back = ndconv.grad.convnd_weight, ndconv.grad.conv_transposend_weight
    each = single(x, w.shape, y, *_arguments(case), per_sample=True, **how)
    transposed = back(y, w.shape, x, *_back(case), per_sample=True, **how)
    assert each.shape == transposed.shape == (case.batch, *w.shape)
    for n in range(case.batch):
        want = single(x[n : n + 1], w.shape, y[n : n + 1], *_arguments(case), **how)
        assert torch.equal(each[n], want)
        assert torch.equal(transposed[n], want)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_all_gradients_in_one_call(case: Case, device: str) -> None:
    x, w, y = case.operands(torch.float64, device)
    bias = torch.zeros(w.shape[0], dtype=torch.float64, device=device, requires_grad=True)
    leaves = x.requires_grad_(), w.requires_grad_(), bias
    output = ndconv.functional.convnd(x, w, bias, *_arguments(case), padding_mode=case.mode)
    wanted = torch.autograd.grad(output, leaves, y)
    x, w = x.detach(), w.detach()
    got = ndconv.grad.convnd_backward(x, w, y, *_arguments(case), padding_mode=case.mode)
    for a, b in zip(got, wanted, strict=True):
        assert a is not None
        assert torch.equal(a, b)

    bias = torch.zeros(case.groups * w.shape[1], dtype=torch.float64, device=device, requires_grad=True)
    leaves = y.requires_grad_(), w.requires_grad_(), bias
    output = ndconv.functional.conv_transposend(y, w, bias, *_back(case), padding_mode=case.mode)
    wanted = torch.autograd.grad(output, leaves, x)
    y, w = y.detach(), w.detach()
    got = ndconv.grad.conv_transposend_backward(y, w, x, *_back(case), padding_mode=case.mode)
    for a, b in zip(got, wanted, strict=True):
        assert a is not None
        assert torch.equal(a, b)


def test_the_mask_leaves_out(device: str) -> None:
    x, w, y = (torch.randn(2, 3, 6, device=device) for _ in range(3))
    w, y = w[:, :, :3], y[:, :2, :4]
    for mask in ((True, False, False), (False, True, False), (False, False, True), (False, False, False)):
        got = ndconv.grad.convnd_backward(x, w, y, output_mask=mask)
        assert tuple(grad is not None for grad in got) == mask
    _, weight, bias = ndconv.grad.convnd_backward(x, w, y, per_sample=True)
    assert weight is not None
    assert bias is not None
    assert (weight.shape, bias.shape) == ((2, 2, 3, 3), (2, 2))


@pytest.mark.parametrize("ndim", [0, 1, 2, 3, 4])
def test_bias_gradients(ndim: int, device: str) -> None:
    y = torch.randint(-3, 4, (4, 3, *(2,) * ndim), device=device).double()
    total, each = y.transpose(0, 1).flatten(1).sum(1), y.flatten(2).sum(2) if ndim else y
    assert torch.equal(ndconv.grad.convnd_bias(y), total)
    assert torch.equal(ndconv.grad.convnd_bias(y, per_sample=True), each)
    own = {1: ndconv.grad.conv1d_bias, 2: ndconv.grad.conv2d_bias, 3: ndconv.grad.conv3d_bias}.get(ndim)
    if own is not None:
        assert torch.equal(own(y), total)
        assert torch.equal(own(y[0]), each[0])
        assert torch.equal(own(y, per_sample=True), each)


class Largest(TorchDispatchMode):
    """The elements of the largest result of an operator, and the multiply-adds of all operators."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = self.multiply_adds = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        if isinstance(result, Tensor):
            self.elements = max(self.elements, result.numel())
        if func.overloadpacket.__name__ in ("bmm", "mm"):
            self.multiply_adds += args[0].numel() * args[1].shape[-1]
        return result


@pytest.mark.usefixtures("inside")
def test_per_sample_gradients_of_groups_waste_nothing(device: str) -> None:
    """Other libraries multiply every group with every other and keep the diagonal: here 16 times the work."""
    x, w, y = (
        torch.randn(4, 32, 9, 9, device=device),
        (32, 2, 3, 3),
        torch.randn(4, 32, 7, 7, device=device),
    )
    with Largest() as seen:
        ndconv.grad.conv2d_weight(x, w, y, groups=16, per_sample=True, lowering="columns")
    assert seen.multiply_adds == 4 * 32 * 2 * 9 * 49
    # The largest tensor is that of all windows.
    assert seen.elements == 4 * 32 * 9 * 49


@pytest.mark.parametrize("name", ["convnd", "conv_transposend"])
def test_per_sample_gradients_are_differentiable(name: str, device: str) -> None:
    x, y = (torch.randint(-2, 3, (2, 4, n), device=device).double().requires_grad_() for n in (6, 4))
    first, second = (x, y) if name == "convnd" else (y, x)

    def function(a: Tensor, b: Tensor) -> Tensor:
        result: Tensor = getattr(ndconv.grad, f"{name}_weight")(a, (4, 2, 3), b, groups=2, per_sample=True)
        return result

    assert torch.autograd.gradcheck(function, (first, second), eps=1.0, atol=0, rtol=0, check_forward_ad=True)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_transposed_gradients_equal_autograd_of_torch(ndim: int, device: str) -> None:
    y, w = (
        torch.randint(-3, 4, shape, device=device).double().requires_grad_()
        for shape in ((2, 4, *(3,) * ndim), (4, 3, *(2,) * ndim))
    )
    arguments: Any = 2, 1, 1, 2, 2
    output = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[ndim - 1](y, w, None, *arguments)
    x = torch.randint_like(output, -3, 4)
    by_input, by_weight = torch.autograd.grad(output, (y, w), x)
    module = ndconv.grad
    for names in (f"conv_transpose{ndim}d", "conv_transposend"):
        assert torch.equal(getattr(module, f"{names}_input")(y.shape, w, x, *arguments), by_input)
        assert torch.equal(getattr(module, f"{names}_weight")(y, w.shape, x, *arguments), by_weight)
        one = getattr(module, f"{names}_input")(y.shape[1:], w, x[0], *arguments)
        assert torch.equal(one, by_input[0])


class Peak(TorchDispatchMode):
    """Peak bytes of live storages that operators made."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, weakref.ref[Any]] = {}
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        if isinstance(result, Tensor):
            storage = result.untyped_storage()
            self.live[storage.data_ptr()] = weakref.ref(storage)
        self.live = {pointer: alive for pointer, alive in self.live.items() if alive() is not None}
        self.bytes = max(self.bytes, sum(alive().nbytes() for alive in self.live.values()))  # type: ignore[union-attr]
        return result


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize("lowering", ["window", "columns", "taps"])
def test_both_gradients_use_one_workspace_in_turn(lowering: str) -> None:
    x, w, y = torch.randn(2, 8, 30, 30), torch.randn(8, 8, 3, 3), torch.randn(2, 8, 28, 28)
    peaks = []
    for mask in ((True, False, False), (False, True, False), (True, True, False)):
        with Peak() as peak:
            ndconv.grad.convnd_backward(x, w, y, output_mask=mask, lowering=lowering)
        peaks.append(peak.bytes)
    results = 4 * (x.numel() + w.numel())
    assert peaks[2] <= max(peaks[:2]) + results < sum(peaks[:2])
