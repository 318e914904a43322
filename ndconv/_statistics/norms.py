"""Norms, inner products and Gram matrices of per-sample weight gradients.

``G_n[d, c, k] = sum over o of X_n[c, o, k] * y_n[d, o]`` in each group, so that

    |G_n|^2 = sum over o, o' of <X_n[o], X_n[o']> * <y_n[o], y_n[o']>

either from the gradients of a few samples at a time, or from the two Gram matrices over positions (the *ghost norm* of
Goodfellow, 2015, `arXiv:1510.01799 <https://arxiv.org/abs/1510.01799>`_, for convolutions Bu et al., 2022,
`arXiv:2205.10683 <https://arxiv.org/abs/2205.10683>`_). A group has Gram matrices of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ndconv._autograd.convolution import compute_input, compute_output
from ndconv._form.geometry import Slot
from ndconv._planner.choice import AUTO
from ndconv._statistics.operands import Operands, block_length, blocks, parts, real, squares, wide
from ndconv._statistics.prices import Meter, Ways

GRAM, GRADIENT = "gram", "gradient"
METHODS = GRAM, GRADIENT


def sqnorm(operands: Operands, x: Tensor, y: Tensor, method: str = AUTO) -> Tensor:
    """Squared norm of every sample's gradient.

    Args:
        operands: The convolution.
        x: Its input, batched, without border.
        y: The gradient of its output, batched.
        method: ``"gram"``, ``"gradient"``, or ``"auto"`` for the cheaper one.

    Returns:
        ``(n,)``, real.
    """
    if method == AUTO:
        method = sqnorm_ways(operands, x, y).chosen.name
    compute = _norms_by_gram if method == GRAM else _norms_by_gradient
    return torch.cat([compute(operands, x[some], y[some]) for some in _samples(operands, x, y, method)])


def _samples(operands: Operands, x: Tensor, y: Tensor, method: str) -> list[slice]:
    """Slices of samples that are processed at a time; one empty slice if there are no samples."""
    return parts(len(x), _elements(operands, x, y)[method] * wide(x[:0]).element_size())


def _counts(operands: Operands, x: Tensor, y: Tensor) -> tuple[int, int, int]:
    """Groups, channels and features of a group."""
    groups = operands.geometry.groups
    return groups, x.shape[1] // groups, y.shape[1] // groups


def _elements(operands: Operands, x: Tensor, y: Tensor) -> dict[str, int]:
    """Elements that each method holds per sample."""
    (groups, channels, _), positions = _counts(operands, x, y), operands.positions
    window = channels * operands.taps
    return {
        GRAM: groups * positions * (window + 2 * min(positions, _rows(operands, x, y))),
        GRADIENT: operands.gradient_elements(x.shape[1], y.shape[1]),
    }


def _rows(operands: Operands, x: Tensor, y: Tensor) -> int:
    """Rows of a sample's Gram matrices that are held at a time."""
    groups, positions = operands.geometry.groups, operands.positions
    return block_length(positions, 2 * groups * positions * wide(x[:0]).element_size())


def sqnorm_ways(operands: Operands, x: Tensor, y: Tensor) -> Ways:
    """The cost of both methods."""
    (groups, channels, features), positions = _counts(operands, x, y), operands.positions
    samples, window, meter = max(1, len(x)), channels * operands.taps, Meter(x.dtype, x.device)
    held, found = _elements(operands, x, y), {}

    at_once = block_length(samples, held[GRAM] * meter.itemsize)
    times = samples / at_once
    meter.copies(at_once * groups * window * positions, operands.row, times=times)
    meter.products(at_once * groups, positions, window, positions, times=times)
    meter.products(at_once * groups, positions, features, positions, times=times)
    meter.passes(4 * at_once * groups * positions**2, times=times)
    found[GRAM] = meter.way(GRAM, at_once * held[GRAM])

    at_once = block_length(samples, held[GRADIENT] * meter.itemsize)
    times, size = samples / at_once, operands.asked.framed_size
    apart = operands.geometry.grouped(at_once * groups)
    meter.slot(Slot.WEIGHT, apart, (1, channels, features), size, times=times)
    meter.passes(4 * at_once * groups * window * features, times=times)
    found[GRADIENT] = meter.way(GRADIENT, at_once * held[GRADIENT])
    return Ways("weight sqnorm", found)


def _norms_by_gram(operands: Operands, x: Tensor, y: Tensor) -> Tensor:
    columns = operands.windows(operands.framed(x))
    grads = operands.matrices(y)
    total = columns.new_zeros(len(x))
    rows = _rows(operands, x, y)
    for start in range(0, operands.positions, rows):
        some = slice(start, start + rows)
        inner = columns[..., some].mH @ columns
        outer = grads[..., some].mH @ grads
        total = total + (inner * outer).sum((1, 2, 3))
    return real(total)


def _norms_by_gradient(operands: Operands, x: Tensor, y: Tensor) -> Tensor:
    x, y = operands.framed(x), wide(y)
    total = squares(x.new_zeros(len(x)))
    for part in _features(operands, x, y):
        total = total + squares(operands.gradients(x, part)).flatten(1).sum(1)
    return total


def _features(operands: Operands, x: Tensor, y: Tensor) -> list[Tensor]:
    """The output gradients in blocks of features, whose weight gradients fit the workspace."""
    groups, channels, features = _counts(operands, x, y)
    each = max(1, len(x)) * groups * channels * operands.taps * x.element_size()
    if block_length(features, each, cached=False) == features:
        return [y]
    apart = y.unflatten(1, (groups, features))
    return [apart[:, :, some].flatten(1, 2) for some in blocks(features, each, cached=False)]


def dot(operands: Operands, x: Tensor, vector: Tensor, y: Tensor) -> Tensor:
    """``<G_n, vector>``, the first conjugated, for a vector shaped as the weight: one convolution, and no gradient.

    Args:
        operands: The convolution.
        x: Its input, batched, without border.
        vector: ``(g*d, c, *K)``.
        y: The gradient of its output, batched.

    Returns:
        ``(n,)``.
    """
    vector = wide(vector)
    of_input = operands.transposed  # the forward operation, with the vector as its weight
    each = sum(tensor[:1].numel() for tensor in (x, y)) * vector.element_size()
    found = []
    for some in parts(len(x), 2 * each):
        inputs, grads = operands.framed(x[some]).conj().resolve_conj(), wide(y[some]).conj().resolve_conj()
        if of_input:
            products = compute_input(operands.convolution, AUTO, vector, grads) * inputs
        else:
            products = compute_output(operands.convolution, AUTO, inputs, vector) * grads
        found.append(products.flatten(1).sum(1))
    return torch.cat(found)


def gram(operands: Operands, x: Tensor, y: Tensor, others: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """``<G_n, H_m>``, the first conjugated, of the gradients of samples and of others.

    Args:
        operands: The convolution.
        x: Its input, batched, without border.
        y: The gradient of its output, batched.
        others: ``x`` and ``y`` of the other samples; None for the samples themselves.

    Returns:
        ``(n, m)``.
    """
    pairs = x, y, *(others or (x, y))
    by_gram = gram_ways(operands, *pairs).chosen.name == GRAM
    return _products_by_gram(operands, *pairs) if by_gram else _products_by_gradient(operands, *pairs)


def _pair_elements(operands: Operands) -> int:
    return 2 * operands.geometry.groups * operands.positions**2


def gram_ways(operands: Operands, x: Tensor, y: Tensor, x_other: Tensor, y_other: Tensor) -> Ways:
    """The cost of both methods."""
    (groups, channels, features), positions = _counts(operands, x, y), operands.positions
    n, m, window, meter = max(1, len(x)), max(1, len(x_other)), channels * operands.taps, Meter(x.dtype, x.device)
    pairs, found = n * m, {}

    for count in (n, m):
        meter.copies(count * groups * window * positions, operands.row)
    at_once = block_length(pairs, _pair_elements(operands) * meter.itemsize)
    side = max(1, int(at_once**0.5))
    meter.products(groups, side * positions, window, side * positions, times=pairs / side**2)
    meter.products(groups, side * positions, features, side * positions, times=pairs / side**2)
    meter.passes(4 * groups * (side * positions) ** 2, times=pairs / side**2)
    found[GRAM] = meter.way(GRAM, at_once * _pair_elements(operands))

    each = (n + m) * groups * window
    at_once = block_length(features, each * meter.itemsize)
    for count in (n, m):
        apart = operands.geometry.grouped(count * groups)
        meter.slot(Slot.WEIGHT, apart, (1, channels, at_once), operands.asked.framed_size, times=features / at_once)
    meter.products(1, n, groups * at_once * window, m, times=features / at_once)
    found[GRADIENT] = meter.way(GRADIENT, at_once * each)
    return Ways("weight gram", found)


def _products_by_gradient(operands: Operands, x: Tensor, y: Tensor, x_other: Tensor, y_other: Tensor) -> Tensor:
    """As many features of all samples at a time as fit a cache; each gradient is computed once."""
    groups, channels, features = _counts(operands, x, y)
    same = x is x_other and y is y_other
    each = (len(x) + len(x_other)) * groups * channels * operands.taps
    first, second = (wide(tensor).unflatten(1, (groups, features)) for tensor in (y, y_other))
    mine, its = operands.framed(x), operands.framed(x_other)
    total = mine.new_zeros(len(x), len(x_other))
    for some in blocks(features, each * mine.element_size()):
        grads = operands.gradients(mine, first[:, :, some].flatten(1, 2)).flatten(1)
        others = grads if same else operands.gradients(its, second[:, :, some].flatten(1, 2)).flatten(1)
        total = total + grads.conj() @ others.mT
    return total


def _products_by_gram(operands: Operands, x: Tensor, y: Tensor, x_other: Tensor, y_other: Tensor) -> Tensor:
    """By Gram matrices between the positions of two blocks of samples."""
    item, positions = wide(x[:0]).element_size(), operands.positions
    side = max(1, int(block_length(len(x) * len(x_other), _pair_elements(operands) * item) ** 0.5))
    rows = []
    for start in range(0, len(x), side):
        mine = _joined(operands, x[start : start + side], y[start : start + side])
        row = []
        for other in range(0, len(x_other), side):
            its = _joined(operands, x_other[other : other + side], y_other[other : other + side])
            (a, b), (e, f) = mine, its
            products = (a.mH @ e) * (b.mH @ f)
            apart = products.unflatten(2, (-1, positions)).unflatten(1, (-1, positions))
            row.append(apart.sum((0, 2, 4)))
        rows.append(torch.cat(row, 1) if row else mine[0].new_zeros(side, 0))
    return torch.cat(rows) if rows else wide(x).new_zeros(0, len(x_other))


def _joined(operands: Operands, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Windows ``(g, a, n*o)`` and gradients ``(g, d, n*o)`` of all samples side by side."""
    columns, grads = operands.windows(operands.framed(x)), operands.matrices(y)
    first, second = (tensor.permute(1, 2, 0, 3).flatten(2) for tensor in (columns, grads))
    return first, second
