"""unfoldnd and foldnd: equal to torch's where torch has them, adjoint to each other, any dtype, second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import jacfwd, jacrev, vmap

from ndconv.functional import convnd, foldnd, unfoldnd
from ndconv.testing import Case, sample

CASES = [case for case in sample(60, (1, 2, 3, 4, 5), seed=30) if case.batch]
FLAT = [case for case in sample(60, (2,), seed=31, symmetric=True) if case.batch]


def _windows(case: Case) -> dict[str, Any]:
    return {"stride": case.stride, "padding": case.padding, "dilation": case.dilation}


@pytest.mark.parametrize("case", FLAT, ids=[case.id for case in FLAT])
def test_two_axes_equal_torch(case: Case, device: str) -> None:
    x = case.operands(torch.float64, device)[0]
    ours = unfoldnd(x, case.kernel, **_windows(case))
    theirs: Any = case.kernel, case.dilation, case.symmetric_padding, case.stride
    assert torch.equal(ours, F.unfold(x, *theirs))
    assert torch.equal(unfoldnd(x[0], case.kernel, **_windows(case)), F.unfold(x[0], *theirs))
    columns = torch.randint_like(ours, -3, 4)
    folded = foldnd(columns, case.input_size, case.kernel, **_windows(case))
    assert torch.equal(folded, F.fold(columns, case.input_size, *theirs))
    assert torch.equal(foldnd(columns[0], case.input_size, case.kernel, **_windows(case)), folded[0])


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_adjoint_and_a_convolution_is_a_product_with_it(case: Case, device: str) -> None:
    x, w, _ = case.operands(torch.float64, device)
    columns = unfoldnd(x, case.kernel, **_windows(case))
    other = torch.randint_like(columns, -3, 4)
    folded = foldnd(other, case.input_size, case.kernel, **_windows(case))
    assert folded.shape == x.shape
    assert (columns * other).sum() == (x * folded).sum()
    apart = columns.unflatten(1, (case.groups, -1))
    product = torch.einsum("gdr,ngrl->ngdl", w.reshape(case.groups, case.features, -1), apart)
    want = convnd(x, w, None, case.stride, case.padding, case.dilation, case.groups)
    assert torch.equal(product.reshape(want.shape), want)


TUPLES: list[dict[str, Any]] = [
    {"kernel_size": (3,)},
    {"kernel_size": [3]},
    {"kernel_size": torch.tensor([3])},
    {"kernel_size": 3, "stride": (2,)},
    {"kernel_size": 3, "dilation": (2,)},
    {"kernel_size": 3, "padding": (1,)},
    {"kernel_size": 3, "padding": ((0, 2),)},
    {"kernel_size": (3,), "stride": (2,), "dilation": (2,), "padding": (1,)},
]


@pytest.mark.parametrize("arguments", TUPLES, ids=str)
def test_a_tuple_of_one_is_one_axis(arguments: dict[str, Any], device: str) -> None:
    x = torch.randint(-3, 4, (2, 14), device=device).double()
    plain = {name: value if value in (3, ((0, 2),)) else int(value[0]) for name, value in arguments.items()}
    want = unfoldnd(x[None], **plain)
    assert torch.equal(unfoldnd(x, **arguments), want[0])
    assert torch.equal(unfoldnd(x[None], **arguments), want)
    assert torch.equal(foldnd(want, (14,), **arguments), foldnd(want, (14,), **plain))
    assert torch.equal(foldnd(want[0], (14,), **arguments), foldnd(want, (14,), **plain)[0])


def test_an_empty_tuple_is_no_axis(device: str) -> None:
    x = torch.randn(2, 3, device=device)
    assert torch.equal(unfoldnd(x, ()), x[..., None])
    assert torch.equal(foldnd(x[..., None], (), ()), x)


def test_integers_alone_count_the_input_as_batched(device: str) -> None:
    x = torch.randint(-3, 4, (2, 3, 9), device=device).double()
    assert torch.equal(unfoldnd(x, 3), unfoldnd(x, (3,)))
    assert unfoldnd(x, (3, 3)).shape == (2 * 9, 7)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool, torch.float16], ids=str
)
def test_any_dtype(dtype: torch.dtype, device: str) -> None:
    x = torch.randint(0, 2, (2, 3, 5, 4, 3), device=device).to(dtype)
    columns = unfoldnd(x, (2, 3, 2), padding=1)
    assert columns.dtype == dtype
    assert torch.equal(columns.double(), unfoldnd(x.double(), (2, 3, 2), padding=1))
    folded = foldnd(columns, (5, 4, 3), (2, 3, 2), padding=1)
    assert torch.equal(folded.double(), foldnd(columns.double(), (5, 4, 3), (2, 3, 2), padding=1).to(dtype).double())


@pytest.mark.parametrize("padding", ["same", "causal", "valid", ((1, 0), (0, 2))], ids=str)
def test_padding_as_in_convolutions(padding: Any, device: str) -> None:
    x = torch.randint(-3, 4, (2, 3, 5, 6), device=device).double()
    ones = torch.ones(3, 1, 2, 3, dtype=torch.float64, device=device)
    columns = unfoldnd(x, (2, 3), padding=padding, stride=2)
    want = convnd(x, ones, padding=padding, stride=2, groups=3)
    assert torch.equal(columns.view(2, 3, 6, -1).sum(2).view(want.shape), want)


def _unfolded(x: Tensor) -> Tensor:
    return unfoldnd(x, (2, 3), 1, 1, 2)


def _folded(x: Tensor) -> Tensor:
    return foldnd(x.flatten(2).repeat(1, 3, 1), (5, 6), (3, 2), padding=((0, 1), (0, 0)))


@pytest.mark.parametrize("function", [_unfolded, _folded])
def test_derivatives_of_every_kind(function: Callable[[Tensor], Tensor], device: str) -> None:
    x = torch.randint(-2, 3, (2, 2, 4, 5), device=device).double().requires_grad_()
    assert torch.autograd.gradcheck(function, x, check_forward_ad=True, eps=1.0, atol=0, rtol=0)
    assert torch.autograd.gradgradcheck(lambda x: function(x) ** 2, x, check_fwd_over_rev=True)
    assert torch.equal(jacrev(function)(x), jacfwd(function)(x))
    assert torch.equal(vmap(function)(torch.stack([x, 2 * x]))[1], 2 * function(x))


@pytest.mark.compiler
def test_it_compiles(device: str) -> None:
    torch._dynamo.reset()

    def function(x: Tensor) -> Tensor:
        return foldnd(unfoldnd(x, 3, stride=2) ** 2, (7, 7), 3, stride=2)

    x = torch.randn(2, 3, 7, 7, device=device, requires_grad=True)
    got, want = torch.compile(function, fullgraph=True, backend="aot_eager")(x), function(x)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(torch.autograd.grad(got.sum(), x), torch.autograd.grad(want.sum(), x))


def test_more_elements_than_a_float_can_count(device: str) -> None:
    """Index tensors in float32, as other libraries unfold, are wrong from 2**24 elements on."""
    size = 2**24 + 3
    x = torch.zeros(1, 1, size, dtype=torch.int8, device=device)
    x[..., -1], x[..., -2] = 5, 7
    assert foldnd(unfoldnd(x, (1,)), (size,), 1)[0, 0, -2:].tolist() == [7, 5]
    assert unfoldnd(x, 2, stride=size - 2)[0, :, -1].tolist() == [7, 5]
