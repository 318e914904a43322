"""The meaning of padding by name, by pairs and in every mode, for convolutions and transposed ones."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ndconv
from ndconv.functional import conv_transpose1d, conv_transpose2d, conv_transposend, convnd

MODES = ("reflect", "replicate", "circular")


def integers(*shape: int, device: str) -> Tensor:
    return torch.randint(-3, 4, shape, device=device).double()


@pytest.mark.parametrize("mode", ["zeros", *MODES])
@pytest.mark.parametrize("padding", ["same", "valid", ((1, 0), (0, 2)), 1], ids=str)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_is_the_adjoint_of_the_convolution_of_the_same_arguments(
    stride: int, padding: Any, mode: str, device: str
) -> None:
    y, w = integers(2, 6, 4, 3, device=device), integers(6, 2, 3, 2, device=device)
    arguments: dict[str, Any] = {"stride": stride, "padding": padding, "groups": 2, "dilation": 2}
    x = conv_transpose2d(y, w, **arguments, padding_mode=mode)
    leaf = torch.zeros_like(x, requires_grad=True)
    output = convnd(leaf, w, **arguments, padding_mode=mode)
    assert output.shape == y.shape
    assert torch.equal(torch.autograd.grad(output, leaf, y)[0], x)


@pytest.mark.parametrize(("stride", "kernel", "dilation"), list(product((1, 2, 3, 5), (1, 2, 3, 4), (1, 2))))
def test_transposed_same_and_causal_are_stride_times_as_large(
    stride: int, kernel: int, dilation: int, device: str
) -> None:
    y, w = integers(2, 3, 6, device=device), integers(3, 2, kernel, device=device)
    whole = conv_transpose1d(y, w, stride=stride, dilation=dilation)
    extent = dilation * (kernel - 1) + 1
    for name, lo in (("same", max(0, extent - stride) // 2), ("causal", 0)):
        x = conv_transpose1d(y, w, stride=stride, dilation=dilation, padding=name)
        assert torch.equal(x, F.pad(whole, (0, 6 * stride))[..., lo : lo + 6 * stride])


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_causal_transposed_outputs_see_no_later_input(stride: int, device: str) -> None:
    y, w = torch.randn(1, 2, 8, device=device), torch.randn(2, 2, 4, device=device)
    before = conv_transpose1d(y, w, stride=stride, padding="causal", dilation=2)
    y[..., 5:] += 1
    after = conv_transpose1d(y, w, stride=stride, padding="causal", dilation=2)
    assert torch.equal(before[..., : 5 * stride], after[..., : 5 * stride])
    assert not torch.equal(before[..., 5 * stride], after[..., 5 * stride])


def test_output_size_goes_with_every_padding(device: str) -> None:
    y = integers(2, 3, 5, 4, device=device)
    for padding, sizes in (
        (1, ((13, 10), (15, 12))),
        (((1, 0), (0, 1)), ((14, 11), (16, 13))),
        ("same", ((13, 10), (15, 12))),
        ("causal", ((13, 10), (15, 12))),
    ):
        layer = ndconv.ConvTranspose2d(3, 2, 3, stride=3, padding=padding, dtype=torch.float64, device=device)
        for size in product(*zip(*sizes, strict=True)):
            assert layer(y, output_size=size).shape == (2, 2, *size)
            assert layer(y[0], output_size=(2, *size)).shape == (2, *size)
        with pytest.raises(ValueError, match=r"output_size must be from \(1[34], 1[01]\) to"):
            layer(y, output_size=(sizes[0][0] - 1, sizes[0][1]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_modes_are_those_of_torch(ndim: int, mode: str, device: str) -> None:
    x, w = integers(2, 2, *(5,) * ndim, device=device), integers(3, 2, *(3,) * ndim, device=device)
    padded = F.pad(x, (2, 1) * ndim, mode)
    assert torch.equal(convnd(x, w, padding=((2, 1),) * ndim, padding_mode=mode), convnd(padded, w))
    assert torch.equal(convnd(x[0], w, padding=((2, 1),) * ndim, padding_mode=mode), convnd(padded[0], w))


@pytest.mark.parametrize("mode", MODES)
def test_modes_of_many_axes_are_those_of_fewer(mode: str, device: str) -> None:
    """With kernels of one element on some axes, five axes are a batch of planes."""
    x, w = integers(1, 2, 4, 3, 2, 4, 3, device=device), integers(3, 2, 3, 1, 1, 2, 3, device=device)
    y = convnd(x, w, padding=(1, 0, 0, 2, 1), padding_mode=mode)
    planes = x.permute(0, 3, 4, 1, 2, 5, 6).reshape(6, 2, 4, 4, 3)
    want = convnd(planes, w.reshape(3, 2, 3, 2, 3), padding=(1, 2, 1), padding_mode=mode)
    assert torch.equal(y.permute(0, 3, 4, 1, 2, 5, 6).reshape(want.shape), want)


def test_causal_replicate_sees_no_later_input(device: str) -> None:
    x, w = torch.randn(1, 1, 8, device=device), torch.randn(1, 1, 4, device=device)
    before = convnd(x, w, padding="causal", padding_mode="replicate")
    x[..., 5:] += 1
    after = convnd(x, w, padding="causal", padding_mode="replicate")
    assert torch.equal(before[..., :5], after[..., :5])
    assert not torch.equal(before[..., 5], after[..., 5])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("transposed", [False, True], ids=["conv", "transposed"])
def test_derivatives_through_a_border(transposed: bool, mode: str, device: str) -> None:
    x, w = integers(1, 2, 4, 5, device=device).requires_grad_(), integers(2, 2, 3, 2, device=device).requires_grad_()
    function = conv_transposend if transposed else convnd

    def output(x: Tensor, w: Tensor) -> Tensor:
        return function(x, w, stride=2, padding=1, padding_mode=mode)

    grad = torch.randint_like(output(x, w), -2, 3, requires_grad=True)
    exact: dict[str, Any] = {"eps": 1.0, "atol": 0, "rtol": 0}
    assert torch.autograd.gradcheck(output, (x, w), check_forward_ad=True, **exact)
    assert torch.autograd.gradgradcheck(output, (x, w), grad, check_fwd_over_rev=True, **exact)


def test_a_mode_has_no_atomics_on_any_device(device: str) -> None:
    """`torch.nn.functional.pad` refuses a deterministic gradient of a reflected border on CUDA."""
    layer = ndconv.Conv2d(2, 2, 3, padding=1, padding_mode="reflect", device=device)
    torch.use_deterministic_algorithms(True)
    try:
        x = torch.randn(2, 2, 6, 6, device=device, requires_grad=True)
        first, second = (torch.autograd.grad(layer(x).square().sum(), x)[0] for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(first, second)


def test_modules_pad_as_functions_do(device: str) -> None:
    x = torch.randn(2, 3, 6, 5, device=device)
    layer = ndconv.ConvTransposeNd(2, 3, 4, (3, 2), 2, ((1, 0), (0, 1)), 1, padding_mode="circular", device=device)
    want = conv_transpose2d(x, layer.weight, layer.bias, 2, ((1, 0), (0, 1)), 1, padding_mode="circular")
    assert torch.equal(layer(x), want)
    assert "padding_mode=circular" in repr(layer)
    assert isinstance(layer, nn.modules.conv._ConvTransposeNd)
