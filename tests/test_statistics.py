"""Statistics of gradients against gradients sample by sample, on small integers, by equality."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn import functional

import ndconv
from ndconv import curvature
from ndconv._rules import Asked
from ndconv._statistics import covariances, norms
from ndconv._statistics.operands import _CACHED, Operands
from ndconv.testing import Case, sample

MODES = ("zeros", "reflect", "replicate", "circular")
CASES = sample(20, (1, 2, 3, 4), seed=3, modes=MODES)
# Kernels, strides, borders and groups that make many lags with many ends.
CASES += [
    Case.parse("n3g2c2d3-k3x2-s1x1-p2.1x0.1-d1x2-i7x6"),
    Case.parse("n2g1c3d2-k3x3-s1x2-p1.1x1.1-d1x1-i6x7-circular"),
    Case.parse("n2g3c1d1-k5-s1-p2.2-d1-i9-reflect"),
]


class Subject:
    """A convolution or its transposed one, with operands, and the gradients by a loop over samples."""

    def __init__(self, case: Case, transposed: bool, dtype: torch.dtype) -> None:
        self.case, self.transposed, self.dtype = case, transposed, dtype
        x, w, y = case.operands(torch.float64)
        if dtype.is_complex:
            x, w, y = (torch.complex(each, torch.randint(-2, 3, each.shape).double()) for each in (x, w, y))
        self.input, self.weight, self.grad = (y, w, x) if transposed else (x, w, y)
        self.groups, self.kernel = case.groups, case.kernel

    @property
    def options(self) -> dict[str, Any]:
        case = self.case
        found = {"stride": case.stride, "padding": case.padding, "dilation": case.dilation, "groups": case.groups}
        more = {"output_padding": case.remainder} if self.transposed else {}
        return {**found, **more, "padding_mode": case.mode}

    def __call__(self, home: Any, name: str) -> Callable[..., Any]:
        prefix = "conv_transposend" if self.transposed else "convnd"
        return partial(getattr(home, f"{prefix}_{name}" if name else prefix), **self.options)

    @cached_property
    def gradients(self) -> Tensor:
        """``(n, *weight)``, each from a call of its own."""
        weight = self(ndconv.grad, "weight")
        pairs = zip(self.input, self.grad, strict=True)
        found = [weight(x[None], self.weight.shape, y[None]) for x, y in pairs]
        return torch.stack(found) if found else self.weight.new_zeros(0, *self.weight.shape)

    @property
    def squares(self) -> Tensor:
        grads = self.gradients
        return grads.real.square() + grads.imag.square() if grads.is_complex() else grads.square()

    @property
    def matrices(self) -> Tensor:
        """Gradients as ``(n, g, result's channels, window)``."""
        grads: Tensor = self.gradients.unflatten(1, (self.groups, -1))
        return (grads.transpose(2, 3) if self.transposed else grads).flatten(3)

    @cached_property
    def windows(self) -> Tensor:
        """``(n, g, a, positions)``, by kernels with a single 1."""
        convolve = self(ndconv.functional, "")
        channels = self.input.shape[1] // self.groups
        found = []
        for c, *k in itertools.product(range(channels), *map(range, self.kernel)):
            kernel = self.weight.new_zeros(
                self.groups, *((channels, 1) if self.transposed else (1, channels)), *self.kernel
            )
            places: tuple[Any, ...] = (slice(None), c, 0, *k) if self.transposed else (slice(None), 0, c, *k)
            kernel[places] = 1
            found.append(convolve(self.input, kernel.flatten(0, 1)))
        return torch.stack(found, 2).flatten(3)

    @cached_property
    def operands(self) -> Operands:
        asked = Asked("test", None, self.transposed, **self.options)
        return Operands(asked.convolution(self.input.shape, self.weight.shape, ("x", "w")), self.transposed)


def subjects() -> Iterator[Any]:
    for case, transposed in itertools.product(CASES, (False, True)):
        dtype = torch.complex128 if CASES.index(case) % 2 else torch.float64  # every other case is complex
        name = f"{case.id}-{'transposed' if transposed else 'plain'}-{str(dtype).removeprefix('torch.')}"
        yield pytest.param((case, transposed, dtype), id=name)


@pytest.fixture(params=list(subjects()))
def subject(request: pytest.FixtureRequest) -> Subject:
    return Subject(*request.param)


def same(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=0, atol=0)


def check_products(subject: Subject) -> None:
    """Norms, inner products and Gram matrices of gradients, by every way to compute them."""
    x, y, shape = subject.input, subject.grad, subject.weight.shape
    flat, own = subject.gradients.flatten(1), subject(ndconv.grad, "weight_gram")
    for method in ("auto", *norms.METHODS):
        same(subject(ndconv.grad, "weight_sqnorm")(x, shape, y, method=method), subject.squares.flatten(1).sum(1))
    same(subject(ndconv.grad, "weight_dot")(x, subject.weight, y), (flat.conj() * subject.weight.flatten()).sum(1))
    same(own(x, shape, y), flat.conj() @ flat.mT)
    same(own(x, shape, y, other=(x[:1], y[:1])), flat.conj() @ flat[:1].mT)
    ordered = subject.operands.ordered(x, y)
    for way in (norms._products_by_gram, norms._products_by_gradient):
        same(way(subject.operands, *ordered, *ordered), flat.conj() @ flat.mT)


def check_squares(subject: Subject) -> None:
    x, y, shape = subject.input, subject.grad, subject.weight.shape
    square = subject(curvature, "weight_square")
    same(square(x, shape, y), subject.squares.sum(0))
    same(square(x, shape, torch.stack([y, 2 * y, -y])), 6 * subject.squares.sum(0))
    (channels, features), groups = (each.shape[1] // subject.groups for each in (x, y)), subject.groups
    left = torch.randint(-2, 3, (groups, 2, channels, *subject.kernel)).to(subject.dtype)
    right = torch.randint(-2, 3, (groups, 3, features)).to(subject.dtype)
    want = torch.einsum("ngda,gpa,gqd->ngqp", subject.matrices, left.flatten(2), right)
    same(subject(curvature, "weight_project")(x, left, right, y), want)


def check_covariances(subject: Subject) -> None:
    windows, y = subject.windows, subject.grad.unflatten(1, (subject.groups, -1)).flatten(3)
    covariance = subject(curvature, "input_covariance")
    for bias in (False, True):
        rows = torch.cat([windows, torch.ones_like(windows[:, :, :1])], 2) if bias else windows
        sums = rows.sum(3)
        want = {"expand": torch.einsum("ngap,ngbp->gab", rows, rows.conj())}
        want["reduce"] = torch.einsum("nga,ngb->gab", sums, sums.conj())
        for kind in ("expand", "reduce"):
            same(covariance(subject.input, subject.kernel, kind=kind, bias=bias), want[kind])
    expanded = torch.einsum("ngap,ngbp->gab", windows, windows.conj())
    same(covariances._by_columns(subject.operands, subject.input), expanded)
    if not subject.transposed or subject.case.mode == "zeros":
        same(covariances._by_lags(subject.operands, subject.input), expanded)
    output = partial(curvature.convnd_output_covariance, subject.grad, subject.groups)
    same(output(), torch.einsum("ngdo,ngeo->gde", y, y.conj()))
    same(output(kind="reduce"), torch.einsum("ngd,nge->gde", y.sum(3), y.sum(3).conj()))


CHECKS = pytest.mark.parametrize(
    "check", [check_products, check_squares, check_covariances], ids=lambda one: one.__name__
)


@CHECKS
def test_by_loop(subject: Subject, check: Callable[[Subject], None]) -> None:
    check(subject)


@CHECKS
@pytest.mark.parametrize("transposed", [False, True])
def test_a_tiny_workspace_gives_the_same(
    check: Callable[[Subject], None], transposed: bool, tiny_workspace: None
) -> None:
    ndconv.set_workspace_limit(1)
    for case, dtype in zip(CASES[-3:], (torch.float64, torch.complex128, torch.float64), strict=True):
        check(Subject(case, transposed, dtype))


@CHECKS
@pytest.mark.parametrize("transposed", [False, True])
def test_an_empty_batch(check: Callable[[Subject], None], transposed: bool) -> None:
    check(Subject(Case.parse("n0g2c2d3-k3x2-s1x1-p1.1x0.1-d1x2-i5x6"), transposed, torch.float64))


def test_unbatched(subject: Subject) -> None:
    x, y, shape = subject.input, subject.grad, subject.weight.shape
    if not len(x):
        return
    flat, (one, other) = subject.gradients.flatten(1), (x[0], y[0])
    of_norms = partial(subject(ndconv.grad, "weight_sqnorm"), one, shape, other)
    for method in norms.METHODS:
        same(of_norms(method=method), subject.squares[0].sum())
    same(subject(ndconv.grad, "weight_dot")(one, subject.weight, other), flat[0].conj() @ subject.weight.flatten())
    gram = partial(subject(ndconv.grad, "weight_gram"), one, shape, other)
    same(gram(), flat[0].conj() @ flat[0])
    same(gram(other=(x, y)), flat[0].conj() @ flat.mT)
    same(gram(other=(one, other)), flat[0].conj() @ flat[0])
    same(subject(ndconv.grad, "weight_gram")(x, shape, y, other=(one, other)), flat.conj() @ flat[0])
    square = partial(subject(curvature, "weight_square"), one, shape)
    same(square(other), subject.squares[0])
    same(square(torch.stack([other, other])), 2 * subject.squares[0])
    covariance = subject(curvature, "input_covariance")
    same(covariance(one, subject.kernel), covariance(x[:1], subject.kernel))


# Its vmap takes no empty batch.
SYMMETRIC = [case for case in sample(16, (1, 2, 3), seed=8, symmetric=True) if case.batch]


@pytest.mark.parametrize("case", SYMMETRIC, ids=lambda case: case.id)
def test_against_vmap_of_grad_of_torchs(case: Case) -> None:
    x, w, y = case.operands(torch.float64)
    names = "stride", "padding", "dilation", "groups"
    options = dict(zip(names, (case.stride, case.symmetric_padding, case.dilation, case.groups), strict=True))
    convolve: Any = (functional.conv1d, functional.conv2d, functional.conv3d)[case.ndim - 1]

    def loss(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
        products: Tensor = convolve(x[None], w, **options) * y[None]
        return products.sum()

    def own(home: Any, name: str) -> Tensor:
        result: Tensor = getattr(home, f"conv{case.ndim}d_{name}")(x, w.shape, y, **options)
        return result

    flat = vmap(grad(loss), (None, 0, 0))(w, x, y).flatten(1)
    same(own(ndconv.grad, "weight_sqnorm"), flat.square().sum(1))
    same(own(ndconv.grad, "weight_gram"), flat @ flat.mT)
    same(own(curvature, "weight_square"), flat.square().sum(0).view(w.shape))


def test_blocks_of_samples_are_put_together() -> None:
    x, w, y = (
        torch.randint(-2, 3, (64, 64, 12, 12)).float(),
        (64, 1, 5, 5),
        torch.randint(-2, 3, (64, 64, 8, 8)).float(),
    )
    operands = Operands(Asked("test", None, False, groups=64).convolution(x.shape, w, ("x", "w")), False)
    assert 64 * operands.gradient_elements(64, 64) * 4 > _CACHED
    grads = ndconv.grad.conv2d_weight(x, w, y, groups=64, per_sample=True)
    for method in norms.METHODS:
        same(ndconv.grad.conv2d_weight_sqnorm(x, w, y, groups=64, method=method), grads.square().flatten(1).sum(1))
    same(curvature.conv2d_weight_square(x, w, y, groups=64), grads.square().sum(0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_sum_in_float32(dtype: torch.dtype) -> None:
    x, w, y = torch.full((2, 4, 6, 6), 256, dtype=dtype), (6, 2, 3, 3), torch.full((2, 6, 4, 4), 64, dtype=dtype)
    exact = x.double(), w, y.double()
    for method in ("auto", *norms.METHODS):
        norm = ndconv.grad.conv2d_weight_sqnorm(x, w, y, groups=2, method=method)
        torch.testing.assert_close(norm, ndconv.grad.conv2d_weight_sqnorm(*exact, groups=2).float())
        assert norm.min() > torch.finfo(torch.float16).max
    for got, want in [
        (ndconv.grad.conv2d_weight_gram(x, w, y, groups=2), ndconv.grad.conv2d_weight_gram(*exact, groups=2)),
        (
            ndconv.grad.conv2d_weight_dot(x, torch.ones(w, dtype=dtype), y, groups=2),
            ndconv.grad.conv2d_weight_dot(exact[0], torch.ones(w).double(), exact[2], groups=2),
        ),
        (curvature.conv2d_weight_square(x, w, y, groups=2), curvature.conv2d_weight_square(*exact, groups=2)),
        (curvature.conv2d_input_covariance(x, 3, groups=2), curvature.conv2d_input_covariance(exact[0], 3, groups=2)),
        (curvature.conv2d_output_covariance(y, 2), curvature.conv2d_output_covariance(exact[2], 2)),
    ]:
        torch.testing.assert_close(got, want.float())
        assert got.abs().max() > torch.finfo(torch.float16).max
        assert got.isfinite().all()


# Of these the derivative is one of a quadratic form: a finite difference of double precision is near enough.
@pytest.mark.gradcheck
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("method", norms.METHODS)
def test_norms_are_differentiable(transposed: bool, method: str) -> None:
    subject = Subject(Case.parse("n2g2c1d2-k2x2-s1x2-p1.0x0.1-d1x1-i3x4-circular"), transposed, torch.float64)
    x, y = (each.clone().requires_grad_() for each in (subject.input, subject.grad))
    norm = subject(ndconv.grad, "weight_sqnorm")
    assert torch.autograd.gradcheck(lambda x, y: norm(x, subject.weight.shape, y, method=method), (x, y))


@pytest.mark.gradcheck
@pytest.mark.parametrize("transposed", [False, True])
def test_products_are_differentiable(transposed: bool) -> None:
    subject = Subject(Case.parse("n2g2c1d2-k2x2-s1x2-p1.0x0.1-d1x1-i3x4"), transposed, torch.float64)
    x, w, y = (each.clone().requires_grad_() for each in (subject.input, subject.weight, subject.grad))
    assert torch.autograd.gradcheck(subject(ndconv.grad, "weight_dot"), (x, w, y))
    gram = subject(ndconv.grad, "weight_gram")
    assert torch.autograd.gradcheck(lambda x, y: gram(x, w.shape, y), (x, y))
    assert torch.autograd.gradcheck(lambda x, y: gram(x, w.shape, y, other=(2 * x[:1], y[:1])), (x, y))


@pytest.mark.gradcheck
@pytest.mark.parametrize("options", [{"padding": 1}, {"padding": 1, "padding_mode": "circular"}, {"stride": 2}])
def test_an_operator_norm_is_differentiable(options: dict[str, Any]) -> None:
    w = torch.randn(2, 1, 2, 3, dtype=torch.float64, requires_grad=True)
    norm = partial(curvature.conv2d_operator_norm, input_size=(1, 5, 4), tolerance=1e-9, **options)
    assert torch.autograd.gradcheck(lambda w: norm(w).value, (w,), atol=1e-4)


def explicit(subject: Subject) -> Tensor:
    """The linear map as a matrix."""
    shape = subject.input.shape[1:]
    eye = torch.eye(math.prod(shape), dtype=subject.dtype)
    image: Tensor = subject(ndconv.functional, "")(eye.view(-1, *shape), subject.weight)
    return image.flatten(1)


def test_an_operator_norm_is_between_its_bounds(subject: Subject) -> None:
    matrix = explicit(subject)
    if matrix.numel() > 2**19:
        return
    sigma = float(torch.linalg.matrix_norm(matrix, 2))
    found = subject(curvature, "operator_norm")(subject.weight, subject.input.shape[1:])
    assert float(found.lower) <= sigma * (1 + 1e-9)
    assert float(found.upper) >= sigma * (1 - 1e-9)
    assert float(found.value) == pytest.approx(sigma, rel=2e-3)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("mode", ["circular", "zeros"])
def test_an_upper_bound_is_tight_where_a_layer_is_large(groups: int, mode: str) -> None:
    w = torch.randn(8, 8 // groups, 3, 3)
    found = curvature.conv2d_operator_norm(w, (8, 32, 32), padding=1, groups=groups, padding_mode=mode)
    assert found.lower <= found.upper <= 1.05 * found.value


def test_an_operator_norm_of_nothing_is_zero() -> None:
    assert [float(each) for each in curvature.conv1d_operator_norm(torch.zeros(2, 3, 3), (3, 8))] == [0, 0, 0]


ones = torch.ones
X, Y, SHAPE = ones(2, 4, 5, 5), ones(2, 6, 3, 3), (6, 4, 3, 3)

REFUSED: list[tuple[Callable[[], object], type[Exception], str]] = [
    (
        lambda: ndconv.grad.conv2d_weight_sqnorm(X, SHAPE, Y, method="ghost"),
        ValueError,
        "conv2d_weight_sqnorm: method must be one of 'auto', 'gram', 'gradient', but is 'ghost'",
    ),
    (
        lambda: ndconv.grad.conv2d_weight_sqnorm(X.long(), SHAPE, Y.long()),
        NotImplementedError,
        "conv2d_weight_sqnorm: dtype must be floating or complex, but input has torch.int64",
    ),
    (
        lambda: ndconv.grad.conv2d_weight_sqnorm(X, SHAPE, Y.double()),
        RuntimeError,
        "conv2d_weight_sqnorm: input has dtype torch.float32, but grad_output has torch.float64",
    ),
    (
        lambda: ndconv.grad.conv2d_weight_sqnorm(X, (6, 3, 3, 3), Y),
        RuntimeError,
        "conv2d_weight_sqnorm: input has 4 channels, but weight_size expects groups * weight_size[1] = 1 * 3 = 3",
    ),
    (
        lambda: ndconv.grad.conv2d_weight_gram(X, SHAPE, Y, other=X),
        TypeError,
        "conv2d_weight_gram: other must be two Tensors, but is a Tensor",
    ),
    (
        lambda: ndconv.grad.conv2d_weight_gram(X, SHAPE, Y, other=(ones(2, 4, 6, 6), ones(2, 6, 4, 4))),
        RuntimeError,
        "conv2d_weight_gram: other must have samples of the input's size (5, 5), but has (6, 6)",
    ),
    (
        lambda: curvature.conv2d_input_covariance(X, 3, kind="both"),
        ValueError,
        "conv2d_input_covariance: kind must be one of 'expand', 'reduce', but is 'both'",
    ),
    (
        lambda: curvature.conv2d_input_covariance(X, 3, groups=3),
        RuntimeError,
        "conv2d_input_covariance: input must have a positive number of channels that groups divides, but has 4 with "
        "groups = 3",
    ),
    (
        lambda: curvature.convnd_output_covariance(Y, 4),
        RuntimeError,
        "convnd_output_covariance: grad_output must have a positive number of channels that groups divides, but has 6 "
        "with groups = 4",
    ),
    (
        lambda: curvature.conv2d_output_covariance(ones(6)),
        RuntimeError,
        "conv2d_output_covariance: grad_output must have 3 (unbatched) or 4 dimensions, but has 1: (6,)",
    ),
    (
        lambda: curvature.conv2d_weight_project(X, ones(1, 2, 4, 3), ones(1, 2, 6), Y),
        RuntimeError,
        "conv2d_weight_project: left must have 5 dimensions (groups, p, channels, *K), but has 4: (1, 2, 4, 3)",
    ),
    (
        lambda: curvature.conv2d_weight_project(X, ones(1, 2, 4, 3, 3), ones(2, 2, 3), Y),
        RuntimeError,
        "conv2d_weight_project: right must have 1 groups, but has shape (2, 2, 3)",
    ),
    (
        lambda: curvature.conv2d_operator_norm(ones(SHAPE), (4, 5, 5), tolerance=1.0),
        ValueError,
        "conv2d_operator_norm: tolerance must be between 0 and 1, but is 1.0",
    ),
    (
        lambda: curvature.conv2d_operator_norm(ones(SHAPE), (4, 5, 5), tolerance="0.1"),
        TypeError,
        "conv2d_operator_norm: tolerance must be a number, but is '0.1'",
    ),
    (
        lambda: curvature.conv2d_operator_norm(ones(SHAPE), (2, 4, 5, 5)),
        RuntimeError,
        "conv2d_operator_norm: input_size must have no batch, but is (2, 4, 5, 5)",
    ),
    (
        lambda: curvature.record(torch.nn.Conv2d(1, 1, 1), "norm").__enter__(),
        ValueError,
        "record: a statistic must be one of 'weight_sqnorm', 'weight_square', 'bias_sqnorm', 'bias_square', "
        "'input_covariance', 'output_covariance', but is 'norm'",
    ),
    (
        lambda: curvature.record(torch.ones, "weight_sqnorm").__enter__(),  # type: ignore[arg-type]
        TypeError,
        "record: model must be a Module, but is builtin_function_or_method",
    ),
]


@pytest.mark.parametrize(("call", "exception", "text"), REFUSED, ids=[text for *_, text in REFUSED])
def test_message(call: Callable[[], object], exception: type[Exception], text: str) -> None:
    with pytest.raises(exception) as caught:
        call()
    assert type(caught.value) is exception
    assert str(caught.value) == text
