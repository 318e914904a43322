"""Forward and both gradients equal torch's own, bit for bit, for N = 1, 2, 3 and every lowering."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torch.nn.grad as nn_grad

import ndconv
from ndconv.testing import Case, sample

OVERLAPPING = sample(310, (1, 2, 3), seed=1, symmetric=True)
SEPARATE = sample(310, (1, 2, 3), seed=2, symmetric=True, overlap=False)
CASES = [(case, name) for case in OVERLAPPING for name in ("window", "columns", "taps")]
CASES += [(case, "reshape") for case in SEPARATE]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])
@pytest.mark.parametrize(("case", "lowering"), CASES, ids=[f"{case.id}-{name}" for case, name in CASES])
def test_equals_torch(case: Case, lowering: str, dtype: torch.dtype, device: str) -> None:
    x, w, grad = case.operands(dtype, device)
    x, w = x.requires_grad_(), w.requires_grad_()
    theirs = (F.conv1d, F.conv2d, F.conv3d)[case.ndim - 1]
    ours = (ndconv.functional.conv1d, ndconv.functional.conv2d, ndconv.functional.conv3d)[case.ndim - 1]
    bias = torch.arange(case.weight_shape[0], dtype=dtype, device=device)
    padding = case.symmetric_padding
    assert padding is not None

    expected = theirs(x, w, bias, case.stride, padding, case.dilation, case.groups)
    output = ours(x, w, bias, case.stride, padding, case.dilation, case.groups, lowering=lowering)
    assert torch.equal(output, expected)
    for got, want in zip(
        torch.autograd.grad(output, (x, w), grad), torch.autograd.grad(expected, (x, w), grad), strict=True
    ):
        assert torch.equal(got, want)


SLOTS = ((1, "conv1d"), (2, "conv2d"), (3, "conv3d"))


@pytest.mark.parametrize(("ndim", "name"), SLOTS, ids=[name for _, name in SLOTS])
def test_grad_module_equals_torch_nn_grad(ndim: int, name: str, device: str) -> None:
    for case in sample(40, (ndim,), seed=3, symmetric=True):
        x, w, grad = case.operands(torch.float64, device)
        rest: Any = case.stride, case.symmetric_padding, case.dilation, case.groups
        for suffix, args in (("input", (case.input_shape, w, grad)), ("weight", (x, case.weight_shape, grad))):
            ours = getattr(ndconv.grad, f"{name}_{suffix}")(*args, *rest)
            theirs = getattr(nn_grad, f"{name}_{suffix}")(*args, *rest)
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_unbatched_input_equals_torch(ndim: int, device: str) -> None:
    theirs = (F.conv1d, F.conv2d, F.conv3d)[ndim - 1]
    for case in sample(20, (ndim,), seed=4, symmetric=True):
        x, w, _ = case.operands(torch.float64, device)
        if case.batch == 0:
            continue
        rest: Any = case.stride, case.symmetric_padding, case.dilation, case.groups
        output = ndconv.functional.convnd(x[0], w, None, *rest)
        assert torch.equal(output, theirs(x[0], w, None, *rest))
        grad = torch.ones_like(output)
        one = case.input_shape[1:]
        assert ndconv.grad.convnd_input(one, w, grad, *rest).shape == one
        batched = ndconv.grad.convnd_weight(x[:1], w.shape, grad[None], *rest)
        assert torch.equal(ndconv.grad.convnd_weight(x[0], w.shape, grad, *rest), batched)


def test_same_padding_equals_torch_at_stride_one(device: str) -> None:
    for kernel in ((3, 3), (3, 5), (1, 7)):
        x = torch.randint(-3, 4, (2, 3, 9, 10), device=device).double()
        w = torch.randint(-3, 4, (4, 3, *kernel), device=device).double()
        assert torch.equal(ndconv.functional.conv2d(x, w, padding="same"), F.conv2d(x, w, padding="same"))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
def test_same_padding_of_even_kernels_puts_the_extra_element_high(device: str) -> None:
    x = torch.randint(-3, 4, (2, 3, 9), device=device).double()
    w = torch.randint(-3, 4, (4, 3, 4), device=device).double()
    ours = ndconv.functional.conv1d(x, w, padding="same", dilation=3)
    assert torch.equal(ours, F.conv1d(x, w, padding="same", dilation=3))
    assert torch.equal(ours, F.conv1d(F.pad(x, (4, 5)), w, dilation=3))


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kernel", [1, 2, 3, 6])
def test_strided_same_has_ceil_outputs_padded_as_tensorflow_does(stride: int, kernel: int, device: str) -> None:
    for size in range(1, 14):
        x = torch.arange(1.0, size + 1, device=device).double().view(1, 1, size)
        w = torch.arange(1.0, kernel + 1, device=device).double().view(1, 1, kernel)
        output = ndconv.functional.conv1d(x, w, stride=stride, padding="same")
        count = -(-size // stride)
        total = max((count - 1) * stride + kernel - size, 0)
        padded = F.pad(x, (total // 2, total - total // 2))
        assert output.shape[2] == count
        assert torch.equal(output, F.conv1d(padded, w, stride=stride))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_causal_outputs_see_no_later_input(stride: int, device: str) -> None:
    x = torch.randint(1, 4, (1, 1, 8, 9), device=device).double()
    w = torch.randint(1, 4, (1, 1, 3, 2), device=device).double()
    before = ndconv.functional.conv2d(x, w, stride=stride, padding="causal", dilation=2)
    changed = x.clone()
    changed[..., 6:, 6:] += 1
    after = ndconv.functional.conv2d(changed, w, stride=stride, padding="causal", dilation=2)
    first = -(-6 // stride)
    assert torch.equal(before[..., :first, :], after[..., :first, :])
    assert torch.equal(before[..., :, :first], after[..., :, :first])
    assert not torch.equal(before, after)
    assert before.shape[2:] == (-(-8 // stride), -(-9 // stride))
