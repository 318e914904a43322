"""Checks of the statistics of a trial's gradients: equality with sums over windows by a loop in NumPy.

They use the trial's convolution, transposed or not, and its tensors; the trial's slot does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.autograd import gradcheck

from ndconv import curvature, functional, grad
from ndconv._statistics import covariances, norms
from ndconv._statistics.prices import Ways
from ndconv._tensors.dtypes import wide_dtype
from ndconv.testing._cases import EXACT, Case, Ints
from ndconv.testing._compare import NotApplicableError, UnmetError, limited, needs_numbers, same
from ndconv.testing._oracle import Array, shares, windows
from ndconv.testing._space import INTEGERS
from ndconv.testing._subject import Subject

# Roles of tensors that no other check uses.
_ROLE, _OTHER = 5, 6
_VECTORS = 2
_MOST_ELEMENTS = 24
# Largest number of rows or columns of a matrix whose singular values are checked.
_MOST_ROWS = 150
_NORM = 2e-3
_LARGEST = 3


def _shared(case: Case, transposed: bool) -> tuple[str, dict[str, Any]]:
    """Prefix of a convolution's functions, transposed or not, and the arguments that all of them take."""
    how: dict[str, Any] = {"stride": case.stride, "padding": case.padding, "dilation": case.dilation}
    how |= {"groups": case.groups, "padding_mode": case.mode}
    if transposed:
        return "conv_transposend", {**how, "output_padding": case.remainder}
    return "convnd", how


class _Summed:
    """A trial's convolution, its tensors as statistics take them, and their windows.

    Args:
        subject: The trial.
        quartic: Whether results are of degree four in the tensors' numbers, not two.
    """

    def __init__(self, subject: Subject, quartic: bool = True) -> None:
        needs_numbers(subject)
        trial = subject.trial
        if trial.dtype in INTEGERS:
            raise NotApplicableError("integers would wrap around")
        # The lowering of the trial does not matter either.
        self.subject, self.case = subject.altered(lowering="auto"), trial.case
        self.transposed = trial.operation == "transposed"
        self.input, self.grad = ("y", "x") if self.transposed else ("x", "y")
        self.dtype = wide_dtype(trial.torch_dtype)
        self.real = self.dtype.to_real() if self.dtype.is_complex else self.dtype
        self.bound = self._bound(quartic)
        if not self.bound:
            raise NotApplicableError(f"{self.dtype} holds no sum of so many products exactly")

    def _bound(self, quartic: bool) -> int:
        """The largest number for which sums are exact, 0 if there is none."""
        case, parts = self.case, 2 if self.dtype.is_complex else 1
        shown = math.prod(1 + lo + hi for lo, hi in case.padding) if case.mode != "zeros" else 1
        positions, samples = math.prod((*case.output_size, shown)), case.batch + 1
        if not quartic:
            terms = samples * parts * max(positions, math.prod(case.input_size)) ** 2
            return min(_LARGEST, math.isqrt(EXACT[self.dtype] // terms))
        terms = (parts * positions) ** 2 * parts * math.prod(case.weight_shape) * samples * 6
        return min(_LARGEST, math.isqrt(math.isqrt(EXACT[self.dtype] // terms)))

    def numbers(self, name: str, role: int = _ROLE) -> Array:
        """Numbers of a tensor, batched."""
        values = self.subject.numbers(name, role, self.bound)
        return values if name == "w" or not self.unbatched else values[None]

    @property
    def unbatched(self) -> bool:
        """Whether the only sample comes without a batch axis."""
        return self.subject.trial.batch == "unbatched"

    def tensor(self, values: Array) -> Tensor:
        """Values of `numbers` as a tensor on the device."""
        return self.subject.tensor(values[0] if self.unbatched else values, "contiguous")

    def tensors(self, role: int = _ROLE) -> tuple[Tensor, Tensor]:
        """The operation's input and the gradient of its output, in the trial's memory format."""
        first, second = (self.subject.numbers(name, role, self.bound) for name in (self.input, self.grad))
        return self.subject.tensor(first), self.subject.tensor(second)

    def operands(self, role: int = _ROLE) -> tuple[Array, Array]:
        """Windows ``[n, g, c, k, o]`` of the convolution's input, and its output ``[n, g, d, o]``."""
        columns, y = windows(self.case, self.numbers("x", role)), self.numbers("y", role)
        shape = *columns.shape[:3], math.prod(self.case.kernel), math.prod(self.case.output_size)
        return columns.reshape(shape), y.reshape(len(y), self.case.groups, self.case.features, shape[-1])

    def gradients(self, role: int = _ROLE) -> Array:
        """Per-sample weight gradients, ``[n, g, d, c, k]``."""
        found: Array = np.einsum("ngcko,ngdo->ngdck", *self.operands(role))
        return found

    def flat(self, role: int = _ROLE) -> Array:
        """`gradients` as vectors."""
        return self.gradients(role).reshape(self.case.batch, math.prod(self.case.weight_shape))

    def sources(self) -> Array:
        """Windows of the operation's input as columns, ``[n, g, a, p]``."""
        columns = shares(self.case, self.numbers("y")) if self.transposed else windows(self.case, self.numbers("x"))
        rows = columns.shape[2] * math.prod(self.case.kernel)
        return columns.reshape(*columns.shape[:2], rows, math.prod(columns.shape[3 + self.case.ndim :]))

    def call(self, home: Any, name: str, *tensors: Any, **keywords: Any) -> Any:
        """Call a statistic's function on tensors."""
        prefix, shared = _shared(self.case, self.transposed)
        return getattr(home, f"{prefix}_{name}")(*tensors, **shared, **keywords)

    def same(self, what: str, got: Tensor, want: Array, *, real: bool = False, samples: bool = False) -> None:
        """Compare; with ``samples``, the first axis is the batch, which unbatched results lack."""
        if samples and self.unbatched:
            want = want[0]
        same(what, got, np.real(want) if real else want, self.subject, self.real if real else self.dtype)


def _squared(values: Array) -> Array:
    squares: Array = (values * values.conj()).real
    return squares


@contextmanager
def _chosen(module: Any, function: str, name: str) -> Iterator[None]:
    """Force one method for a statistic, if it exists."""
    ways: Callable[..., Ways] = getattr(module, function)

    def only(*arguments: Any) -> Ways:
        found = ways(*arguments)
        return Ways(found.statistic, {name: found.found[name]}) if name in found.found else found

    with patch.object(module, function, only):
        yield


def weight_norms(subject: Subject) -> None:
    """Norms, inner products and Gram matrices of per-sample gradients, by each method, at once and in chunks."""
    sums = _Summed(subject)
    first, second = sums.tensors()
    size, grads = sums.case.weight_shape, sums.flat()
    for limit in (2**28, 1):
        with limited(limit):
            for method in ("auto", *norms.METHODS):
                got = sums.call(grad, "weight_sqnorm", first, size, second, method=method)
                sums.same(f"sqnorm by {method!r}", got, _squared(grads).sum(1), real=True, samples=True)
            vector = sums.numbers("w")
            got = sums.call(grad, "weight_dot", first, subject.tensor(vector, "contiguous"), second)
            sums.same("dot", got, grads.conj() @ vector.ravel(), samples=True)
            pair, others = sums.tensors(_OTHER), sums.flat(_OTHER)
            for method in norms.METHODS:
                with _chosen(norms, "gram_ways", method):
                    got = sums.call(grad, "weight_gram", first, size, second)
                    want = grads.conj() @ grads.T
                    sums.same(f"gram by {method!r}", got, want[0] if sums.unbatched else want, samples=True)
                    got = sums.call(grad, "weight_gram", first, size, second, other=pair)
                    want = grads.conj() @ others.T
                    sums.same(f"gram with others by {method!r}", got, want[0] if sums.unbatched else want, samples=True)


def weight_squares(subject: Subject) -> None:
    """Sums of squared gradients, over one and over several vectors, and gradients projected from both sides."""
    sums = _Summed(subject)
    case, grads = sums.case, sums.gradients()
    first, second = sums.tensors()
    want = _squared(grads).sum(0).reshape(case.weight_shape)
    for limit in (2**28, 1):
        with limited(limit):
            sums.same(
                "square", sums.call(curvature, "weight_square", first, case.weight_shape, second), want, real=True
            )
            several = torch.stack([second, -second][:_VECTORS])
            got = sums.call(curvature, "weight_square", first, case.weight_shape, several)
            sums.same("square of several vectors", got, _VECTORS * want, real=True)
    inner, outer = (case.features, case.channels) if sums.transposed else (case.channels, case.features)
    generator = np.random.default_rng(0)
    left = generator.integers(-1, 2, (case.groups, 2, inner, *case.kernel))
    right = generator.integers(-1, 2, (case.groups, 3, outer))
    apart = np.swapaxes(grads, 2, 3) if sums.transposed else grads
    apart = apart.reshape(case.batch, case.groups, outer, inner * math.prod(case.kernel))
    want = np.einsum("ngab,gpb,gqa->ngqp", apart, left.reshape(case.groups, 2, -1), right)
    sides = (subject.tensor(each, "contiguous") for each in (left, right))
    sums.same("projection", sums.call(curvature, "weight_project", first, *sides, second), want, samples=True)


def window_covariances(subject: Subject) -> None:
    """Covariances of windows, both kinds, with and without a bias, by columns and by lags; and those of outputs."""
    sums = _Summed(subject, quartic=False)
    case, (first, second) = sums.case, sums.tensors()
    for bias in (False, True):
        columns = sums.sources()
        if bias:
            columns = np.concatenate([columns, np.ones_like(columns[:, :, :1])], 2)
        want = np.einsum("ngap,ngbp->gab", columns, columns.conj())
        for way, limit in ((covariances.COLUMNS, 2**28), (covariances.LAGS, 2**28), (covariances.LAGS, 1)):
            with _chosen(covariances, "expand_ways", way), limited(limit):
                got = sums.call(curvature, "input_covariance", first, case.kernel, bias=bias)
                sums.same(f"input covariance by {way}", got, want)
        total = columns.sum(3)
        got = sums.call(curvature, "input_covariance", first, case.kernel, bias=bias, kind="reduce")
        sums.same("reduced input covariance", got, np.einsum("nga,ngb->gab", total, total.conj()))
    values = sums.numbers(sums.grad)
    values = values.reshape(len(values), case.groups, values.shape[1] // case.groups, math.prod(values.shape[2:]))
    batched = second.unsqueeze(0) if sums.unbatched else second
    kinds: dict[curvature.Kind, Array] = {"expand": values, "reduce": values.sum(3, keepdims=True)}
    for kind, each in kinds.items():
        got = curvature.convnd_output_covariance(batched, case.groups, kind=kind)
        sums.same(f"output covariance, {kind}", got, np.einsum("ngdo,ngeo->gde", each, each.conj()))


def explicit_matrix(subject: Subject) -> None:
    """The sparse matrix gives the convolution's result, and its largest singular value lies between both bounds."""
    needs_numbers(subject)
    subject = subject.altered(lowering="auto", slot="output", bias="unbiased")
    trial, case, transposed = subject.trial, subject.trial.case, subject.trial.operation == "transposed"
    name = "y" if transposed else "x"
    size: Ints = subject.shapes[name] if trial.batch == "unbatched" else subject.shapes[name][1:]
    prefix, how = _shared(case, transposed)
    role = 1
    weight = subject.tensor(subject.numbers("w", role), "contiguous")
    matrix = getattr(functional, f"{prefix}_matrix")(weight, size, **how)
    dense = matrix.to_dense().cpu().to(torch.complex128 if trial.torch_dtype.is_complex else torch.float64).numpy()
    operands = subject.filled(role)
    values = operands[name] if trial.batch == "batched" else operands[name][None]
    want = subject.expected(subject.open, operands)
    got = np.rint((values.reshape(len(values), dense.shape[1]) @ dense.T).view(float)).view(dense.dtype)
    wrapped = got.astype(np.int64).astype(trial.dtype) if trial.dtype in INTEGERS else got
    if not np.array_equal(wrapped.reshape(want.shape), want.astype(wrapped.dtype)):
        raise UnmetError("the convolution's matrix gives another result")
    if trial.dtype in INTEGERS or min(dense.shape) > _MOST_ROWS:
        return
    norm = float(np.linalg.norm(dense, 2))
    value, lower, upper = map(float, getattr(curvature, f"{prefix}_operator_norm")(weight, size, **how))
    slack = 1e-5 * norm
    if not (lower <= norm + slack and norm <= upper + slack and abs(value - norm) <= _NORM * norm):
        raise UnmetError(f"the operator norm is {norm}, but found was {value} between {lower} and {upper}")


def statistics_jacobian(subject: Subject) -> None:
    """Gradcheck of norms and products with a step of 1: they have degree two, so a central difference is exact."""
    double = subject.altered(dtype="complex128" if subject.trial.torch_dtype.is_complex else "float64")
    sums = _Summed(double)
    tensors, case = sums.tensors(), sums.case
    if sum(tensor.numel() for tensor in tensors) > _MOST_ELEMENTS or case.batch == 0:
        raise NotApplicableError(
            f"a Jacobian takes two calls per element, of which there are more than {_MOST_ELEMENTS}"
        )
    leaves = tuple(tensor.clone(memory_format=torch.contiguous_format).requires_grad_() for tensor in tensors)
    vector = double.tensor(sums.numbers("w"), "contiguous")
    for method in norms.METHODS:
        gradcheck(
            lambda a, b: sums.call(grad, "weight_sqnorm", a, case.weight_shape, b, method=method),  # noqa: B023
            leaves, eps=1.0, atol=0, rtol=0,
        )  # fmt: skip
        with _chosen(norms, "gram_ways", method):
            gradcheck(
                lambda a, b: sums.call(grad, "weight_gram", a, case.weight_shape, b), leaves, eps=1.0, atol=0, rtol=0
            )
    gradcheck(lambda a, b: sums.call(grad, "weight_dot", a, vector, b), leaves, eps=1.0, atol=0, rtol=0)


STATISTICS: dict[str, Callable[[Subject], None]] = {
    "weight norms": weight_norms,
    "weight squares": weight_squares,
    "window covariances": window_covariances,
    "explicit matrix": explicit_matrix,
    "Jacobian of statistics": statistics_jacobian,
}
