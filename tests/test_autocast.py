"""Under autocast a convolution computes in the autocast dtype, and gradients come back in the parameters' own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

import ndconv


@pytest.mark.parametrize("inside", [False, True], ids=["backward outside", "backward inside"])
@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
@pytest.mark.parametrize("lowering", ["window", "columns", "taps", "reshape"])
def test_dtypes_are_those_of_torch(lowering: str, name: str, inside: bool, device: str) -> None:
    x = torch.randint(-2, 3, (2, 3, 9, 9), device=device).float().requires_grad_()
    shape = (4, 3, 3, 3) if name == "conv2d" else (3, 4, 3, 3)
    w = torch.randint(-1, 2, shape, device=device).float().requires_grad_()
    bias = torch.arange(4.0, device=device, requires_grad=True)
    results = []
    for lib in (ndconv.functional, F):
        convolution: Any = getattr(lib, name)
        keywords: dict[str, Any] = {"lowering": lowering} if lib is ndconv.functional else {}
        with torch.autocast(device, dtype=torch.bfloat16):
            y = convolution(x, w, bias, stride=3, **keywords)
            with torch.autocast(device, dtype=torch.bfloat16, enabled=inside):
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


@pytest.mark.compiler
def test_it_compiles(device: str) -> None:
    torch._dynamo.reset()
    layer = ndconv.Conv2d(3, 4, 3, device=device)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.ones(2, 3, 5, 5, device=device, requires_grad=True)
    with torch.autocast(device, dtype=torch.bfloat16):
        got, want = compiled(x), layer(x)
    assert torch.equal(got, want)
    assert torch.autograd.grad(got.sum(), layer.weight)[0].dtype == torch.float32
