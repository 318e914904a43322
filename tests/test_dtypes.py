"""Integers are exact and wrap around, half types lose no more than torch's, complex halves work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import ndconv
from ndconv.testing import sample

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
LOWERINGS = ("auto", "window", "columns", "taps", "reshape")


def anything(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Integers of the dtype's whole range, so that sums wrap around."""
    info = torch.iinfo(dtype)
    return torch.randint(info.min, info.max, shape, dtype=torch.int64).to(dtype)


def modulo(sums: Tensor, dtype: torch.dtype, device: str) -> Tensor:
    return sums.to(dtype).to(device)


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_wrap_around(dtype: torch.dtype, lowering: str, device: str) -> None:
    """In all slots, against int64 modulo two to the bits; int64 itself wraps in torch's own loop."""
    for case in sample(12, (1, 2, 3), seed=50, symmetric=True, overlap=lowering != "reshape"):
        x, w, y = (anything(shape, dtype) for shape in (case.input_shape, case.weight_shape, case.output_shape))
        rest: Any = case.stride, case.symmetric_padding, case.dilation, case.groups
        long = [operand.to(torch.int64) for operand in (x, w, y)]
        conv, back = ((F.conv1d, F.conv_transpose1d), (F.conv2d, F.conv_transpose2d), (F.conv3d, F.conv_transpose3d))[
            case.ndim - 1
        ]
        want = conv(long[0], long[1], None, *rest)
        got = ndconv.functional.convnd(x.to(device), w.to(device), None, *rest, lowering=lowering)
        assert torch.equal(got, modulo(want, dtype, device))
        arguments: Any = case.stride, case.symmetric_padding, case.remainder, case.groups, case.dilation
        want = back(long[2], long[1], None, *arguments)
        got = ndconv.functional.conv_transposend(y.to(device), w.to(device), None, *arguments, lowering=lowering)
        assert torch.equal(got, modulo(want, dtype, device))
        sizes = case.weight_shape, y.to(device)
        in_parts = ndconv.grad.convnd_weight(x.to(device), *sizes, *rest, lowering=lowering)
        windows = ndconv.functional.unfoldnd(long[0], case.kernel, case.dilation, rest[1], case.stride)
        apart = windows.unflatten(1, (case.groups, -1))
        want = torch.einsum("ngdl,ngrl->gdr", long[2].flatten(2).unflatten(1, (case.groups, -1)), apart)
        assert torch.equal(in_parts, modulo(want.reshape(case.weight_shape), dtype, device))


def test_integer_bias(device: str) -> None:
    x, w, b = (torch.ones(shape, dtype=torch.int8, device=device) for shape in ((1, 3, 5), (2, 3, 3), (2,)))
    assert ndconv.functional.conv1d(x, w, b * 7).tolist() == [[[16] * 3] * 2]
    assert ndconv.functional.conv1d(x, w, b * 120).tolist() == [[[120 + 9 - 256] * 3] * 2]


def test_long_sums_of_small_integers_change_to_a_wider_float(device: str) -> None:
    """A sum of 70000 products of -128 with -128 needs more than the 24 bits of float32."""
    x = torch.full((1, 1, 70000), -128, dtype=torch.int8, device=device)
    assert ndconv.functional.conv1d(x, x).item() == 0
    assert ndconv.functional.conv1d(x, x - x + 1).item() == (-128 * 70000 + 128) % 256 - 128
    wide, odd = x.to(torch.int32) * 255 + 1, torch.full_like(x, 3, dtype=torch.int32)
    assert ndconv.functional.conv1d(wide, odd).item() == (70000 * 3 * (-128 * 255 + 1) + 2**31) % 2**32 - 2**31


def test_sums_that_no_float_holds_need_integer_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than 2**21 products of 32-bit integers: exact on a device that multiplies such matrices, else refused."""
    x = torch.full((1, 1, 2**21 + 1), 2**31 - 1, dtype=torch.int32)
    assert ndconv.functional.conv1d(x, x).item() == (2**21 + 1) * (2**31 - 1) ** 2 % 2**32

    def lacking(*args: object, **kwargs: object) -> Tensor:
        raise RuntimeError("not implemented for 'Int'")

    monkeypatch.setattr(torch.Tensor, "__matmul__", lacking)
    monkeypatch.setattr(torch, "bmm", lacking)
    with pytest.raises(NotImplementedError, match=r"torch.int32 with sums of 2097153 products on cpu: its matrix"):
        ndconv.functional.conv1d(x, x)


@pytest.mark.parametrize("limit", [1 << 28, 1 << 10], ids=["whole", "by samples"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int16, torch.int32], ids=str)
def test_widening_by_samples_changes_nothing(dtype: torch.dtype, limit: int, device: str) -> None:
    before = ndconv.get_workspace_limit()
    x, w, y = (torch.randint(-3, 4, s, device=device).to(dtype) for s in ((5, 4, 9), (6, 4, 3), (5, 6, 7)))
    ndconv.set_workspace_limit(limit)
    try:
        results = (
            ndconv.functional.conv1d(x, w, lowering="taps"),
            ndconv.grad.conv1d_input(x.shape, w, y, lowering="taps"),
            ndconv.grad.conv1d_weight(x, w.shape, y, lowering="taps"),
        )
    finally:
        ndconv.set_workspace_limit(before)
    x, w, y = x.double(), w.double(), y.double()
    wants = (
        ndconv.functional.conv1d(x, w),
        ndconv.grad.conv1d_input(x.shape, w, y),
        ndconv.grad.conv1d_weight(x, w.shape, y),
    )
    for got, want in zip(results, wants, strict=True):
        assert got.dtype == dtype
        assert torch.equal(got.double(), want)


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("transposed", [False, True], ids=["conv", "transposed"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
def test_half_types_lose_no_more_than_torchs(dtype: torch.dtype, transposed: bool, lowering: str, device: str) -> None:
    """Error of output and gradients against float64, on the same data, with a bias."""
    stride = 3 if lowering == "reshape" else 1
    x, w, b = torch.randn(4, 32, 13, 13), torch.randn(32, 32, 3, 3) / 17, torch.randn(32)
    name = "conv_transpose2d" if transposed else "conv2d"
    ours, theirs = getattr(ndconv.functional, name), getattr(F, name)
    halves = [operand.to(device, dtype) for operand in (x, w, b)]
    grad = torch.randn_like(theirs(*halves, stride=stride))

    def step(function: Any, dtype: torch.dtype, **how: Any) -> list[Tensor]:
        leaves = [operand.to(dtype).requires_grad_() for operand in halves]
        output = function(*leaves, stride=stride, **how)
        return [output.detach(), *torch.autograd.grad(output, leaves, grad.to(dtype))]

    for got, reference, exact in zip(
        step(ours, dtype, lowering=lowering), step(theirs, dtype), step(theirs, torch.float64), strict=True
    ):
        error, theirs_error = ((result.double() - exact).square().mean().sqrt() for result in (got, reference))
        assert error <= theirs_error * (1 + 1e-3)


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")
@pytest.mark.parametrize("lowering", LOWERINGS)
def test_complex_halves_are_summed_in_complex_floats(lowering: str, device: str) -> None:
    x, w = (torch.randn(s, dtype=torch.complex64, device=device).to(torch.complex32) for s in ((2, 4, 9), (3, 4, 3)))
    got = ndconv.functional.conv1d(x, w, stride=3, lowering=lowering)
    want = ndconv.functional.conv1d(x.to(torch.complex64), w.to(torch.complex64), stride=3)
    assert got.dtype == torch.complex32
    torch.testing.assert_close(torch.view_as_real(got).float(), torch.view_as_real(want), rtol=2**-10, atol=1e-3)
