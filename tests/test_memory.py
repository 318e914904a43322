"""Tensors that autograd keeps, memory formats, and tensors of more than 2**31 elements."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ndconv

FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}


def held_bytes(module: Any, *, frozen: str) -> int:
    """Bytes that autograd saves for ten layers, parameters aside."""
    layers: list[nn.Module] = []
    for _ in range(10):
        layers += [module(16, 16, 3, padding=1)]
    network = nn.Sequential(*layers).requires_grad_(frozen == "nothing")
    known = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    held: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = torch.randn(2, 16, 32, 32, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(x)
    output.sum().backward()
    assert x.grad is not None
    return sum(held.values())


@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d"])
def test_ten_frozen_layers_keep_nothing_alive(name: str) -> None:
    activations = 10 * 2 * 16 * 32 * 32 * 4
    assert held_bytes(getattr(ndconv, name), frozen="all") == 0
    assert held_bytes(getattr(nn, name), frozen="all") == activations
    assert held_bytes(getattr(ndconv, name), frozen="nothing") == activations


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("which", ["input", "weight", "both"])
@pytest.mark.parametrize("name", ["Conv2d", "Conv3d", "ConvTranspose2d", "ConvTranspose3d"])
def test_channels_last_is_kept(name: str, which: str, kernel: int, dtype: torch.dtype, device: str) -> None:
    """Output and input gradient are channels-last if an operand is; the weight gradient has the weight's layout."""
    layer = getattr(ndconv, name)(4, 6, kernel, dtype=dtype, device=device)
    format = FORMATS[len(layer.kernel_size)]
    x = torch.randn(2, 4, *(5,) * len(layer.kernel_size), dtype=dtype, device=device)
    x = (x if which == "weight" else x.to(memory_format=format)).requires_grad_()
    layer = layer if which == "input" else layer.to(memory_format=format)
    output = layer(x)
    grad_input, grad_weight, grad_bias = torch.autograd.grad(output.sum(), (x, layer.weight, layer.bias))
    assert output.is_contiguous(memory_format=format)
    assert grad_input.is_contiguous(memory_format=format)
    assert grad_weight.stride() == layer.weight.stride()
    assert grad_bias.stride() == (1,)


@pytest.mark.parametrize("which", ["input", "weight", "both"])
@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d"])
def test_channels_last_is_kept_where_torch_keeps_it(name: str, which: str, device: str) -> None:
    """In float32 and on images on any processor; in three dimensions and half types it depends on the processor."""
    strides = []
    for lib in (ndconv, nn):
        layer = getattr(lib, name)(4, 6, 3, device=device)
        x = torch.randn(2, 4, 5, 5, device=device)
        x = (x if which == "weight" else x.to(memory_format=torch.channels_last)).requires_grad_()
        layer = layer if which == "input" else layer.to(memory_format=torch.channels_last)
        output = layer(x)
        strides.append((output.stride(), *(g.stride() for g in torch.autograd.grad(output.sum(), (x, layer.bias)))))
    assert strides[0] == strides[1]


@pytest.mark.parametrize("lowering", ["window", "columns", "taps", "reshape"])
def test_memory_format_does_not_change_results(lowering: str, device: str) -> None:
    x, w = torch.randint(-3, 4, (2, 4, 7, 8), device=device).double(), torch.randn(6, 2, 3, 3, device=device).double()
    for transposed in (False, True):
        convolve: Any = ndconv.functional.conv_transpose2d if transposed else ndconv.functional.conv2d
        weight = w.reshape(4, 3, 3, 3) if transposed else w
        want = convolve(x, weight, stride=3, groups=2, lowering=lowering)
        got = convolve(x.to(memory_format=torch.channels_last), weight, stride=3, groups=2, lowering=lowering)
        assert torch.equal(got, want)


HUGE = 2**31 + 2**20


@pytest.mark.parametrize("lowering", ["window", "columns", "taps", "reshape"])
def test_sizes_beyond_32_bits_on_meta(lowering: str) -> None:
    """Shapes are Python integers; a tensor, its windows or a batch may have more than 2**31 elements."""
    for x_shape, w_shape, stride in (
        ((1, 1, HUGE), (1, 1, 3), 3),
        ((2**9, 3, 2**11, 2**11), (4, 3, 3, 3), 3),
        ((1, 2, 2**11, 2**11, 2**10), (2, 1, 2, 2, 2), 2),
    ):
        x = torch.empty(x_shape, device="meta", requires_grad=True)
        w = torch.empty(w_shape, device="meta", requires_grad=True)
        groups = x_shape[1] // w_shape[1]
        y = ndconv.functional.convnd(x, w, stride=stride, groups=groups, lowering=lowering)
        assert y.shape == (
            x_shape[0], w_shape[0],
            *((i - k) // stride + 1 for i, k in zip(x_shape[2:], w_shape[2:], strict=True)),
        )  # fmt: skip
        assert [grad.shape for grad in torch.autograd.grad(y.sum(), (x, w))] == [x_shape, w_shape]
    plan = ndconv.plan((1, 1, 2**40), (1, 1, 3))
    assert plan.output.multiply_adds >= 3 * (2**40 - 2)
    assert ndconv.functional.unfoldnd(torch.empty(1, 1, 2**33, device="meta"), 3).shape == (1, 3, 2**33 - 2)


def test_more_than_2_to_the_31_elements_in_memory() -> None:
    """2 GiB of int8. Only the last element of each row and the last row of all are not zero."""
    rows, length = 2**11 + 1, 2**20
    x = torch.zeros(rows, 1, length, dtype=torch.int8)
    assert x.numel() > 2**31
    x[:, 0, -1] = torch.arange(rows, dtype=torch.int64).to(torch.int8)
    x[-1] = 3
    w = torch.tensor([[[1, 2]]], dtype=torch.int8)
    y = ndconv.functional.conv1d(x, w, stride=length - 2)
    assert torch.equal(y[:-1, 0, 0], torch.zeros(rows - 1, dtype=torch.int8))
    assert torch.equal(y[:-1, 0, 1], (torch.arange(rows - 1) * 2).to(torch.int8))
    assert torch.equal(y[-1, 0], torch.tensor([9, 9], dtype=torch.int8))


def test_more_than_2_to_the_31_virtual_elements() -> None:
    """The window view of 2**26 elements with a kernel of 64 has 2**32 elements."""
    x = torch.zeros(1, 1, 2**26)
    x[..., -1], x[..., 2**25] = 1, 2
    w = torch.arange(1.0, 65.0).view(1, 1, 64)
    y = ndconv.functional.conv1d(x, w, stride=1, lowering="columns")
    assert y[0, 0, -2:].tolist() == [0, 64]
    assert torch.equal(y[0, 0, 2**25 - 63 : 2**25 + 1], 2 * torch.arange(64.0, 0.0, -1.0))
    assert y.sum() == 64 + 64 * 65
