"""Covariances of windows and of outputs, one per group: plain sums, without division.

``A[a, b] = sum over n, o of X_n[a, o] * conj(X_n[b, o])`` with ``a = (c, k)``, either by all windows as columns
(im2col), or by lags: for two kernel elements the terms are products of input elements at a fixed distance, the lag,
which many pairs of kernel elements share (see `ndconv._form.lags`). Nothing is subtracted, so every sum has its own
terms and no others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ndconv._form.lags import Lag, lags, sources
from ndconv._statistics.operands import Operands, block_length, blocks, wide
from ndconv._statistics.prices import Meter, Ways

COLUMNS, LAGS = "columns", "lags"
# Number of parts that the rows of a symmetric product are cut into, and least rows of each. Only the parts on the
# diagonal are computed below it as well.
_PARTS, _LEAST = 8, 64
# Lags are not tried with more sums than this: their call overhead exceeds what they save.
_MOST_SUMS = 4096

_ALL: Any = slice(None)

Combination = tuple[Lag, ...]


def expand(operands: Operands, source: Tensor) -> Tensor:
    """The covariance of windows, positions treated as samples: the factor of KFC (Grosse and Martens, 2016).

    Args:
        operands: The convolution.
        source: The operation's input, batched, without border.

    Returns:
        ``(g, a, a)``.
    """
    way = expand_ways(operands, source).chosen.name
    return _by_lags(operands, source) if way == LAGS else _by_columns(operands, source)


def reduced(operands: Operands, source: Tensor) -> Tensor:
    """The sum of each sample's windows over positions.

    Args:
        operands: The convolution.
        source: The operation's input, batched, without border.

    Returns:
        ``(n, g, a)``.
    """
    sums = wide(source) if operands.transposed else operands.framed(source)
    for axis in range(operands.ndim):
        # The kernel axis of a finished axis comes after earlier kernel axes and before the remaining spatial axes.
        lead, runs = (_ALL,) * (2 + axis), sources(operands.convolution, operands.transposed, axis)
        taps = [sums[(*lead, _slice(run))].sum(2 + axis) for run in runs]
        sums = torch.stack(taps, 2 + axis)
    groups = operands.geometry.groups
    return sums.reshape(len(source), groups, source.shape[1] // groups * operands.taps)


def outer(matrices: Tensor) -> Tensor:
    """``sum over n of V_n @ V_n^H``.

    Args:
        matrices: ``(n, g, a, p)``.

    Returns:
        ``(g, a, a)``.
    """
    total = matrices.new_zeros(matrices.shape[1], matrices.shape[2], matrices.shape[2])
    _add_outer(total, matrices)
    return _mirrored(total)


def outputs(source: Tensor, groups: int) -> Tensor:
    """The covariance of a gradient ``(n, g*d, *O)``, positions treated as samples: ``(g, d, d)``."""
    count, space = source.shape[1] // groups, math.prod(source.shape[2:])
    total = wide(source[:0]).new_zeros(groups, count, count)
    for some in blocks(len(source), 2 * source.shape[1] * space * total.element_size()):
        _add_outer(total, wide(source[some]).reshape(-1, groups, count, space))
    return _mirrored(total)


def _slice(run: range) -> slice:
    return slice(run.start, run.start + run.step * (len(run) - 1) + 1, run.step) if run else slice(0, 0)


def _add_outer(total: Tensor, matrices: Tensor) -> None:
    """Add ``sum over n of V_n @ V_n^H``, complete only on and above the diagonal."""
    joined = matrices.permute(1, 2, 0, 3).flatten(2)
    for some in _parts(joined.shape[1]):
        total[:, some, some.start :].baddbmm_(joined[:, some], joined[:, some.start :].mH)


def _count_parts(count: int) -> int:
    return max(1, min(_PARTS, count // _LEAST))


def _parts(count: int) -> list[slice]:
    number = _count_parts(count)
    return [slice(i * count // number, (i + 1) * count // number) for i in range(number)]


def _mirrored(upper: Tensor) -> Tensor:
    """Complete a Hermitian matrix from its upper triangle, in place."""
    for some in _parts(upper.shape[1]):
        upper[:, some.stop :, some] = upper[:, some, some.stop :].mH
    return upper


def _share(count: int) -> float:
    """The fraction of a symmetric product that is computed."""
    number = _count_parts(count)
    return (number + 1) / (2 * number)


def _window(operands: Operands, source: Tensor) -> int:
    return source.shape[1] // operands.geometry.groups * operands.taps


def expand_ways(operands: Operands, source: Tensor) -> Ways:
    """The cost of each method; lags of a transposed convolution need a padding of zeros."""
    groups, window = operands.geometry.groups, _window(operands, source)
    channels, samples, found = source.shape[1] // groups, max(1, len(source)), {}
    meter, positions = Meter(source.dtype, source.device), operands.results
    each = groups * window * positions
    at_once = block_length(samples, each * meter.itemsize)
    meter.copies(at_once * each, operands.row, times=samples / at_once)
    rows = max(1, int(window * _share(window)))
    meter.products(groups, rows, at_once * positions, window, times=samples / at_once)
    meter.copies(3 * groups * window**2, window)
    found[COLUMNS] = meter.way(COLUMNS, at_once * each + groups * window**2)

    if (operands.transposed and operands.asked.mode != "zeros") or _count_sums(operands) > _MOST_SUMS:
        return Ways("input covariance", found)
    each = 3 * groups * channels * math.prod(operands.source_size)
    at_once = block_length(samples, each * meter.itemsize)
    times = samples / at_once
    meter.copies(at_once * each // 3, 1, times=times)
    held = 0
    for combination in _combinations(operands):
        for segments in product(*(lag.segments for lag in combination)):
            terms = at_once * math.prod(map(len, segments))
            row = channels * len(segments[-1]) if segments and segments[-1].step == 1 else channels
            meter.copies(2 * groups * channels * terms, row, times=times, again=True)
            meter.products(groups, channels, terms, channels, times=times)
            held += 1
        meter.copies(2 * groups * channels**2 * math.prod(len(lag.pairs) for lag in combination), channels)
    meter.copies(groups * window**2, 1)
    found[LAGS] = meter.way(LAGS, at_once * each + held * groups * channels**2)
    return Ways("input covariance", found)


def _count_sums(operands: Operands) -> int:
    return math.prod(sum(len(lag.segments) for lag in axis) for axis in lags(operands.convolution, operands.transposed))


def _combinations(operands: Operands) -> Iterator[Combination]:
    """Combinations of a lag per axis, one of each pair of opposite ones."""
    for combination in product(*lags(operands.convolution, operands.transposed)):
        distances = tuple(lag.distance for lag in combination)
        if distances >= (0,) * len(distances):
            yield combination


def _by_columns(operands: Operands, source: Tensor) -> Tensor:
    groups, window = operands.geometry.groups, _window(operands, source)
    total = wide(source[:0]).new_zeros(groups, window, window)
    for some in blocks(len(source), groups * window * operands.results * total.element_size()):
        part = source[some]
        columns = operands.shares(wide(part)) if operands.transposed else operands.windows(operands.framed(part))
        _add_outer(total, columns)
    return _mirrored(total)


def _by_lags(operands: Operands, source: Tensor) -> Tensor:
    groups, kernel, ndim = operands.geometry.groups, operands.geometry.kernel, operands.ndim
    channels, empty = source.shape[1] // groups, wide(source[:0])
    combinations = [*_combinations(operands)]
    sums = [
        empty.new_zeros(*(len(lag.segments) for lag in combination), groups, channels, channels)
        for combination in combinations
    ]
    each = 3 * source.shape[1] * math.prod(operands.source_size) * empty.element_size()
    for some in blocks(len(source), each):
        part = wide(source[some]) if operands.transposed else operands.framed(source[some])
        # Channels last: copying a segment then moves rows, and the product's matrices need no transpose.
        image = part.unflatten(1, (groups, channels)).permute(1, 0, *range(3, 3 + ndim), 2).contiguous()
        for combination, total in zip(combinations, sums, strict=True):
            _add(image, combination, total)

    # Blocks of channels are written contiguously, and reordered in one copy.
    result = empty.new_zeros(*kernel, *kernel, groups, channels, channels)
    for combination, total in zip(combinations, sums, strict=True):
        _place(result, combination, total)
    taps = operands.taps
    apart = result.view(taps, taps, groups, channels, channels).permute(2, 3, 0, 4, 1)
    return apart.reshape(groups, channels * taps, channels * taps)


def _add(image: Tensor, combination: Combination, total: Tensor) -> None:
    """Add the products of one lag, segment by segment."""
    groups, channels, whole = image.shape[0], image.shape[-1], (_ALL,) * 2
    for place in product(*(range(len(lag.segments)) for lag in combination)):
        runs = [lag.segments[i] for lag, i in zip(combination, place, strict=True)]
        others = [
            range(run.start + lag.distance, run.stop + lag.distance, run.step)
            for lag, run in zip(combination, runs, strict=True)
        ]
        first, second = (image[(*whole, *map(_slice, each))].reshape(groups, -1, channels) for each in (runs, others))
        total[place] += first.mT @ second.conj()


def _place(result: Tensor, combination: Combination, total: Tensor) -> None:
    """Add segments to the sum of each pair of kernel elements, and write it at both places of the pair."""
    for axis, lag in enumerate(combination):
        if len(lag.segments) == len(lag.pairs) == 1:
            continue
        apart = total.unbind(axis)
        total = torch.stack([torch.stack([apart[i] for i in parts]).sum(0) for parts in lag.parts], axis)
    first, second = ([[pair[side] for pair in lag.pairs] for lag in combination] for side in (0, 1))
    mirrored = any(lag.distance for lag in combination)
    for place in product(*(range(len(lag.pairs)) for lag in combination)):
        k, j = ([numbers[i] for numbers, i in zip(side, place, strict=True)] for side in (first, second))
        result[(*k, *j)] = total[place]
        if mirrored:
            result[(*j, *k)] = total[place].mH
