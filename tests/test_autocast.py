"""Under autocast a convolution computes in the autocast dtype, and gradients come back in the parameters' own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

import ndconv


@pytest.mark.parametrize("lowering", ["window", "columns", "taps", "reshape"])
def test_dtypes_are_those_of_torch(lowering: str, device: str) -> None:
    x = torch.randint(-2, 3, (2, 3, 9, 9), device=device).float().requires_grad_()
    w = torch.randint(-1, 2, (4, 3, 3, 3), device=device).float().requires_grad_()
    bias = torch.arange(4.0, device=device, requires_grad=True)
    results = []
    convolution: Any
    for convolution in (ndconv.functional.conv2d, F.conv2d):
        keywords: dict[str, Any] = {"lowering": lowering} if convolution is ndconv.functional.conv2d else {}
        with torch.autocast(device, dtype=torch.bfloat16):
            y = convolution(x, w, bias, stride=3, **keywords)
        results.append((y, *torch.autograd.grad(y.sum(), (x, w, bias))))
    for got, want in zip(*results, strict=True):
        assert got.dtype == want.dtype
        assert torch.equal(got, want)
    assert results[0][0].dtype == torch.bfloat16


def test_operands_of_two_dtypes_meet_in_the_autocast_dtype(device: str) -> None:
    layer = ndconv.Conv2d(3, 4, 3, device=device)
    with torch.autocast(device, dtype=torch.bfloat16):
        assert layer(torch.ones(1, 3, 5, 5, dtype=torch.bfloat16, device=device)).dtype == torch.bfloat16
        assert layer.double()(torch.ones(1, 3, 5, 5, dtype=torch.float64, device=device)).dtype == torch.float64


def test_it_compiles(device: str) -> None:
    torch._dynamo.reset()
    layer = ndconv.Conv2d(3, 4, 3, device=device)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.ones(2, 3, 5, 5, device=device, requires_grad=True)
    with torch.autocast(device, dtype=torch.bfloat16):
        got, want = compiled(x), layer(x)
    assert torch.equal(got, want)
    assert torch.autograd.grad(got.sum(), layer.weight)[0].dtype == torch.float32
