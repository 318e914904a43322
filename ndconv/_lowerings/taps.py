"""One matrix product per kernel tap on a shifted flat view of the input: no window is ever copied.

Write the input as a matrix ``X`` of channels by flat positions. Shifting a window by a kernel index moves the flat
position by a constant, so the operand of a tap is a slice of the same memory. A stride S first splits every axis into S
phase images, ``i = S*m + r``; on these each tap has stride 1 again, and no product with an inserted zero is formed.
With ``Y`` the output on the same flat positions, the three slots are one loop:

    OUTPUT    Y[:, :L]             += W[t]    @ X[rows, s : s+L]
    INPUT     X[rows, s : s+L]     += W[t].T  @ Y[:, :L]
    WEIGHT    W[t]                 += Y[:, :L] @ X[rows, s : s+L].T

Every axis ends in a gap of zeros. It is the padding on the high side and, as the end of the row before, that on the low
side of the next row, so that both are there once. What OUTPUT and INPUT add up in gaps is cut off with them; ``Y`` has
zeros there. Where these may have met a NaN or an infinity, `columns` computes INPUT and WEIGHT once more. Taps that
share a shift and lie in neighbouring phases are one product with a longer reduction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ndconv._cache import cached
from ndconv._geometry import Geometry, Ints, Pairs, Problem, Slot
from ndconv._lowerings._base import Cost, Lowering
from ndconv._lowerings._finite import is_finite
from ndconv._lowerings._runs import Runs, count_runs, ravel, runs
from ndconv._lowerings.columns import COLUMNS
from ndconv._windows import merge, narrow, pad, split, unflatten, unpad
from ndconv._workspace import chunks, per_chunk

# Packed operands of about this size stay in a cache while the taps pass over them.
_CACHE_BYTES = 8 * 2**20
# Factors of so few elements in each of many groups are multiplied one column at a time.
_THIN = 16
# Of more than this many products, even starting them would take longer than the convolution by other means.
_MOST_TAPS = 2**14


class Layout(NamedTuple):
    """Where everything lies on the flat positions of a chunk of samples.

    Args:
        image: Size of a phase image, per axis.
        pitch: That and its gap.
        lead: Flat positions before the first sample, the padding on its low sides.
        tail: Flat positions at the end that start no window.
    """

    image: Ints
    pitch: Ints
    lead: int
    tail: int


@cached
def layout(geometry: Geometry, input_size: Ints) -> Layout:
    """Phase images and gaps of a geometry: the kernel reads from ``o + lowest`` to ``o + highest`` of a phase image.

    Example:
        >>> layout(Geometry(kernel=(3,), stride=(2,), padding=((1, 1),), dilation=(1,)), (8,))
        Layout(image=(4,), pitch=(5,), lead=1, tail=0)
    """
    stride, lo = geometry.stride, tuple(lo for lo, _ in geometry.padding)
    lowest = tuple(min(0, -low // s) for low, s in zip(lo, stride, strict=True))
    highest = tuple((e - 1 - low) // s for e, low, s in zip(geometry.extent, lo, stride, strict=True))
    image = tuple(-(-size // s) for size, s in zip(input_size, stride, strict=True))
    # What windows see of the padding on either side; where they see nothing else, their results need room as well.
    gap = tuple(
        max(-low, -(-max(0, hi) // s)) + max(0, -high)
        for low, high, (_, hi), s in zip(lowest, highest, geometry.padding, stride, strict=True)
    )
    pitch = tuple(size + zeros for size, zeros in zip(image, gap, strict=True))
    lead, tail = -ravel(lowest, pitch), ravel(tuple(max(0, high) for high in highest), pitch)
    return Layout(image, pitch, lead, tail)


_runs = cached(runs)


def _layout(problem: Problem) -> Layout:
    return layout(problem.geometry, problem.input_size)


def _listed(problem: Problem) -> Runs:
    return _runs(problem.geometry, _layout(problem).pitch)


def _framed(problem: Problem) -> tuple[Problem, Pairs]:
    """The problem, and padding to apply first: all of it under a compiler, which could not compare it to make gaps."""
    if not is_compiling():
        return problem, ()
    geometry, ndim = problem.geometry, problem.geometry.ndim
    axes = zip(problem.output_size, geometry.extent, geometry.stride, strict=True)
    size = tuple(s * (o + (e - 1) // s) for o, e, s in axes)
    bare = geometry.padded(((0, 0),) * ndim)
    counts = problem.batch, problem.channels, problem.features
    framed = Problem(problem.slot, bare, *counts, size, problem.output_size, problem.itemsize)
    return framed, geometry.fit(problem.input_size, size)


class Taps(Lowering):
    """Shifted flat views, one matrix product per run of taps. Buffers are the size of the operands, not times K."""

    name = "taps"

    def refusal(self, problem: Problem) -> str | None:
        taps = math.prod(problem.geometry.kernel)
        return f"the kernel has {taps} taps, more than {_MOST_TAPS}" if taps > _MOST_TAPS else None

    def cost(self, problem: Problem) -> Cost:
        geometry, plan = problem.geometry, _layout(problem)
        groups, image, taps = geometry.groups, math.prod(plan.pitch), math.prod(geometry.kernel)
        runs, longest = count_runs(geometry)
        columns = problem.batch * image
        packed_x = groups * problem.channels * math.prod(geometry.stride) * columns
        packed_y = groups * problem.features * columns
        x, w, y = (math.prod(problem.shape(slot)) for slot in Slot)
        read = groups * problem.channels * taps * columns
        each = _elements_per_sample(problem, plan)
        samples = per_chunk(problem.batch, problem.itemsize * each, _CACHE_BYTES)
        rows = longest * problem.channels
        height, terms, width = {
            Slot.OUTPUT: (problem.features, rows, samples * image),
            Slot.INPUT: (rows, problem.features, samples * image),
            Slot.WEIGHT: (problem.features, samples * image, rows),
        }[problem.slot]
        # Every run reads its two operands and, except for the small weight, its result. It writes that too, in a second
        # pass unless it goes element by element, which takes as many passes as there are terms.
        thin, passed = groups > 1 and _is_thin(height, terms), packed_y * runs
        passes = terms if thin else 2
        again = {
            Slot.OUTPUT: read + passes * passed,
            Slot.INPUT: passes * read + passed,
            # Products of a few rows and columns come from long sums, of which a group at a time is slow.
            Slot.WEIGHT: (read + passed) * (2 if groups > 1 and problem.channels * problem.features <= _THIN else 1),
        }
        parts = -(-problem.batch // samples)
        calls = terms if thin else 1 + (groups - 1) / 4
        return Cost(
            multiply_adds=groups * problem.channels * problem.features * taps * columns,
            elements_moved=x + w + y + packed_x + packed_y,
            elements_cached=again[problem.slot],
            workspace=samples * each,
            matmuls=f"{groups * runs * parts} x ({height}, {terms}) @ ({terms}, {width})",
            calls=parts * (runs * calls + 20),
            dense=thin,
        )

    def output(self, problem: Problem, x: Tensor, w: Tensor) -> Tensor:
        problem, frame = _framed(problem)
        plan, found, x = _layout(problem), _listed(problem), pad(x, frame)
        taps, y = _pack_weight(w, found.order), x.new_empty(problem.shape(Slot.OUTPUT))
        for part in _parts(problem, plan):
            source = _pack_input(x[part], problem, plan)
            target = source.new_empty(source.shape[0], problem.features, source.shape[2] - plan.lead)
            for index, (tap, shifted) in enumerate(_tied(found, plan, problem.channels, taps, source)):
                _accumulate(target[:, :, : shifted.shape[2]], tap, shifted, fresh=index == 0)
            y[part] = _unpack_output(target, problem, plan)
        return y

    def input(self, problem: Problem, w: Tensor, y: Tensor) -> Tensor:
        problem, frame = _framed(problem)
        plan, found = _layout(problem), _listed(problem)
        taps, x = _pack_weight(w, found.order), y.new_empty(problem.shape(Slot.INPUT))
        height = math.prod(problem.geometry.stride) * problem.channels
        for part in _parts(problem, plan):
            source = _pack_output(y[part], problem, plan)
            target = source.new_zeros(source.shape[0], height, plan.lead + source.shape[2])
            for tap, shifted in _tied(found, plan, problem.channels, taps, target):
                _accumulate(shifted, tap.mT, source[:, :, : shifted.shape[2]])
            x[part] = _unpack_input(target, problem, plan)
        # Weights have multiplied the zeros in the gaps of Y.
        return unpad(x, frame) if is_finite(w, x) else COLUMNS.added(problem, w, y)

    def weight(self, problem: Problem, x: Tensor, y: Tensor) -> Tensor:
        problem, frame = _framed(problem)
        plan, found, x = _layout(problem), _listed(problem), pad(x, frame)
        taps = x.new_zeros(problem.geometry.groups, problem.features, len(found.order) * problem.channels)
        for part in _parts(problem, plan):
            source, target = _pack_input(x[part], problem, plan), _pack_output(y[part], problem, plan)
            for tap, shifted in _tied(found, plan, problem.channels, taps, source):
                _accumulate(tap, target[:, :, : shifted.shape[2]], shifted.mT)
        # And here elements of X have that no tap ties to what is there.
        return _unpack_weight(taps, problem, found.order) if is_finite(taps, x) else COLUMNS.weight(problem, x, y)


def _tied(found: Runs, plan: Layout, channels: int, taps: Tensor, packed: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Views ``W[t]`` of the packed weight and ``X[rows, s : s+L]`` of the packed input, run by run."""
    length = packed.shape[2] - plan.lead - plan.tail
    for (start, stop), phase, shift in zip(pairwise(found.starts), found.phases, found.shifts, strict=True):
        tap, first = taps[:, :, start * channels : stop * channels], plan.lead + shift
        rows = slice(phase * channels, (phase + stop - start) * channels)
        yield tap, packed[:, rows, first : first + length]


def _accumulate(target: Tensor, first: Tensor, second: Tensor, *, fresh: bool = False) -> None:
    """``target += first @ second`` in place, or ``=`` if fresh."""
    if target.shape[0] == 1:
        # One group goes the shorter way of a plain product.
        target, first, second = target[0], first[0], second[0]
        target.addmm_(first, second, beta=0 if fresh else 1)
    elif is_compiling() or not _is_thin(first.shape[1], first.shape[2]):
        target.baddbmm_(first, second, beta=0 if fresh else 1)
    else:
        # A product of a column and a row is one operation for all groups, where baddbmm calls a product for each.
        for term in range(first.shape[2]):
            column, row = first[:, :, term : term + 1], second[:, term : term + 1]
            if fresh and term == 0:
                torch.mul(column, row, out=target)
            else:
                target.addcmul_(column, row)


def _is_thin(rows: int, terms: int) -> bool:
    """Whether a group's factor is better multiplied column by column."""
    return terms == 1 or rows * terms <= _THIN


def _elements_per_sample(problem: Problem, plan: Layout) -> int:
    height = math.prod(problem.geometry.stride) * problem.channels + problem.features
    return problem.geometry.groups * height * math.prod(plan.pitch)


def _parts(problem: Problem, plan: Layout) -> list[slice]:
    return chunks(problem.batch, problem.itemsize * _elements_per_sample(problem, plan), _CACHE_BYTES)


def _cells(packed: Tensor, problem: Problem, plan: Layout) -> Tensor:
    """View of packed input as ``[n, g, c, *m, *r]``, without lead and gaps."""
    stride, ndim = problem.geometry.stride, problem.geometry.ndim
    whole = packed[:, :, plan.lead :].view(packed.shape[0], *stride, problem.channels, -1, *plan.pitch)
    cells = whole.permute(ndim + 2, 0, ndim + 1, *range(ndim + 3, 2 * ndim + 3), *range(1, ndim + 1))
    return narrow(cells, plan.image)


def _fit(problem: Problem, plan: Layout) -> Pairs:
    """What the input lacks of whole phases."""
    axes = zip(plan.image, problem.geometry.stride, problem.input_size, strict=True)
    return tuple((0, m * s - size) for m, s, size in axes)


def _pack_input(x: Tensor, problem: Problem, plan: Layout) -> Tensor:
    """``x[n,g,c,*i] -> [g, *r c, lead + n *m]``: split into phase images, flat, zeros in the gaps."""
    stride = problem.geometry.stride
    length = plan.lead + x.shape[0] * math.prod(plan.pitch)
    packed = x.new_zeros(x.shape[1], math.prod(stride) * problem.channels, length)
    _cells(packed, problem, plan).copy_(split(pad(x, _fit(problem, plan)), 3, stride))
    return packed


def _unpack_input(packed: Tensor, problem: Problem, plan: Layout) -> Tensor:
    """Adjoint of `_pack_input`."""
    return unpad(merge(_cells(packed, problem, plan), 3, problem.geometry.ndim), _fit(problem, plan))


def _pack_output(y: Tensor, problem: Problem, plan: Layout) -> Tensor:
    """``y[n,g,d,*o] -> [g, d, n *m]``: zeros past every row's end."""
    packed = y.new_zeros(y.shape[1], y.shape[2], y.shape[0] * math.prod(plan.pitch))
    _unpack_output(packed, problem, plan).copy_(y)
    return packed


def _unpack_output(packed: Tensor, problem: Problem, plan: Layout) -> Tensor:
    """Adjoint of `_pack_output`, as a view."""
    whole = packed.view(*packed.shape[:2], -1, *plan.pitch)
    return narrow(whole.permute(2, 0, 1, *range(3, whole.dim())), problem.output_size)


def _pack_weight(w: Tensor, order: Ints) -> Tensor:
    """``w[g,d,c,*k] -> [g, d, t c]``, taps in the order of the runs."""
    taps = w.flatten(3) if w.dim() > 3 else w.unsqueeze(3)
    return _reorder(taps, order).transpose(2, 3).flatten(2)


def _unpack_weight(packed: Tensor, problem: Problem, order: Ints) -> Tensor:
    """Adjoint of `_pack_weight`."""
    taps = unflatten(packed, 2, (len(order), problem.channels)).transpose(2, 3)
    inverse = tuple(sorted(range(len(order)), key=order.__getitem__))
    return _reorder(taps, inverse).reshape(problem.shape(Slot.WEIGHT))


def _reorder(taps: Tensor, order: Ints) -> Tensor:
    if order == tuple(range(len(order))):
        return taps
    return taps.index_select(3, torch.tensor(order, device=taps.device))
