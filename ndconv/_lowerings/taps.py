"""One matrix product per kernel tap on a shifted flat view of the input: no window is ever copied.

Write the input as a matrix ``X`` of channels by flat positions. Shifting a window by a kernel index moves the flat
position by a constant, so the operand of a tap is a slice of the same memory. A stride S first splits every axis into S
phase images, ``i = S*m + r``; on these each tap has stride 1 again, and no product with an inserted zero is formed.
With ``Y`` the output on the same flat positions, the three slots are one loop:

    OUTPUT    Y[:, :L]             += W[t]    @ X[rows, s : s+L]
    INPUT     X[rows, s : s+L]     += W[t].T  @ Y[:, :L]
    WEIGHT    W[t]                 += Y[:, :L] @ X[rows, s : s+L].T

Every axis ends in a gap of zeros. It is the padding on the high side of its row and on the low side of the next row.
Sums of OUTPUT and INPUT in the gaps are cut off with them; ``Y`` has zeros there. If these zeros may have met a NaN or
an infinity, `columns` computes INPUT and WEIGHT once more. Taps that share a shift and lie in neighbouring phases are
one product with a longer reduction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import groupby, pairwise
from typing import NamedTuple

from ndconv._form.cache import cached
from ndconv._form.geometry import Geometry, Ints, Pairs, Problem, Slot
from ndconv._lowerings._base import Lowering
from ndconv._lowerings._runs import count_runs, lie_in_order, ravel, runs
from ndconv._lowerings.columns import COLUMNS
from ndconv._programs.steps import Copied, Product, Work
from ndconv._programs.values import Array, Steps
from ndconv._programs.windows import merge, narrow, split, unflatten

# Packed operands of about this size stay in a cache while the taps pass over them.
_CACHE_BYTES = 8 * 2**20
# Factors with at most so many elements per group are multiplied one column at a time.
_THIN = 16
# With more products than this, their call overhead alone exceeds the time of other lowerings.
_MOST_TAPS = 2**14
# Up to so many taps are listed for a price.
_LISTED = 2**8


class Layout(NamedTuple):
    """The layout of the flat positions of a chunk of samples.

    Args:
        image: Size of a phase image, per axis.
        pitch: Size of a phase image with its gap, per axis.
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
    # The padding that windows see on either side, and room for the results of windows that see padding alone.
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


def _framed(b: Steps, problem: Problem) -> tuple[Problem, Pairs]:
    """The problem, and the padding to apply first: all of it where sizes are symbols, which cannot be compared."""
    if not b.symbolic:
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

    def output(self, b: Steps, problem: Problem, x: Array, w: Array) -> Array:
        problem, frame = _framed(b, problem)
        plan, x = _layout(problem), b.pad(x, frame)
        taps, y = _pack_weight(b, w, problem), b.named("y", x.new_empty(problem.shape(Slot.OUTPUT)))
        for part in _parts(b, problem, plan):
            source = _pack_input(b, x[part], problem, plan)
            shape = source.shape[0], problem.features, source.shape[2] - plan.lead
            target = b.named("sums", source.new_empty(shape))
            for index, (tap, shifted) in enumerate(_tied(b, problem, plan, taps, source, apart=True)):
                _accumulate(b, target[:, :, : shifted.shape[2]], tap, shifted, fresh=index == 0)
            y[part] = _unpack_output(target, problem, plan)
        return y

    def input(self, b: Steps, problem: Problem, w: Array, y: Array) -> Array:
        problem, frame = _framed(b, problem)
        plan = _layout(problem)
        taps, x = _pack_weight(b, w, problem), b.named("x", y.new_empty(problem.shape(Slot.INPUT)))
        height = math.prod(problem.geometry.stride) * problem.channels
        for part in _parts(b, problem, plan):
            source = _pack_output(b, y[part], problem, plan)
            target = b.named("sums", source.new_zeros(source.shape[0], height, plan.lead + source.shape[2]))
            for tap, shifted in _tied(b, problem, plan, taps, target):
                _accumulate(b, shifted, tap.mT, source[:, :, : shifted.shape[2]])
            x[part] = _unpack_input(b, target, problem, plan)
        # Weights were multiplied by the zeros in the gaps of Y.
        return b.unless_finite((w, x), b.unpad(x, frame), partial(COLUMNS.added, b, problem), w, y)

    def weight(self, b: Steps, problem: Problem, x: Array, y: Array) -> Array:
        problem, frame = _framed(b, problem)
        plan, padded = _layout(problem), b.pad(x, frame)
        number = math.prod(problem.geometry.kernel)
        taps = b.named("w", x.new_zeros(problem.geometry.groups, problem.features, number * problem.channels))
        for part in _parts(b, problem, plan):
            source, target = _pack_input(b, padded[part], problem, plan), _pack_output(b, y[part], problem, plan)
            for tap, shifted in _tied(b, problem, plan, taps, source):
                _accumulate(b, tap, target[:, :, : shifted.shape[2]], shifted.mT)
        # Elements of X were multiplied by the zeros in the gaps of Y too.
        w = _unpack_weight(b, taps, problem)
        return b.unless_finite((taps, x), w, partial(COLUMNS.weight, b, problem), x, y)


def _tied(
    b: Steps, problem: Problem, plan: Layout, taps: Array, packed: Array, *, apart: bool = False
) -> Iterator[tuple[Array, Array]]:
    """Views ``W[t]`` of the packed weight and ``X[rows, s : s+L]`` of the packed input, run by run."""
    length, channels = packed.shape[2] - plan.lead - plan.tail, problem.channels

    def views(size: int, start: object, row: object, place: object) -> tuple[Array, Array]:
        some = b.span(row, size * channels)
        return taps[:, :, b.span(start, size * channels)], packed[:, some, b.span(place, length)]

    names = "tap", "row", "place"
    if b.prices and math.prod(problem.geometry.kernel) > _LISTED:
        number, longest = count_runs(problem.geometry)
        yield from (views(longest, *places) for places in b.table(names, number, ()))
        return
    found = _runs(problem.geometry, plan.pitch)
    rows = [
        (stop - start, (start * channels, phase * channels, plan.lead + shift))
        for (start, stop), phase, shift in zip(pairwise(found.starts), found.phases, found.shifts, strict=True)
    ]
    if apart:
        size, row = rows.pop(0)
        yield views(size, *row)
    for size, group in groupby(sorted(rows, key=lambda row: row[0]), key=lambda row: row[0]):
        some = [row for _, row in group]
        yield from (views(size, *places) for places in b.table(names, len(some), some))


def _accumulate(b: Steps, target: Array, first: Array, second: Array, *, fresh: bool = False) -> None:
    """``target += first @ second`` in place, or ``=`` if fresh."""
    if b.symbolic or target.shape[0] == 1 or not _is_thin(first.shape[1], first.shape[2]):
        b.accumulate(target, first, second, fresh=fresh)
        return
    # A product of a column and a row is one operation for all groups, where baddbmm calls a product for each.
    (groups, rows, terms), columns = first.shape, target.shape[2]
    work = Work(Copied.plain(3 * groups * rows * columns), Product(1, groups * rows, 1, columns, None))
    if fresh:
        b.change("torch.mul({1}, {2}, out={0})", target, first[:, :, :1], second[:, :1], work=work)
    for term in b.each(terms, "term", start=int(fresh)):
        column, row = first[:, :, b.span(term, 1)], second[:, b.span(term, 1)]
        b.change("{0}.addcmul_({1}, {2})", target, column, row, work=work)


def _is_thin(rows: int, terms: int) -> bool:
    """Whether a group's factor is better multiplied one column at a time."""
    return terms == 1 or rows * terms <= _THIN


def _elements_per_sample(problem: Problem, plan: Layout) -> int:
    height = math.prod(problem.geometry.stride) * problem.channels + problem.features
    return problem.geometry.groups * height * math.prod(plan.pitch)


def _parts(b: Steps, problem: Problem, plan: Layout) -> Iterator[Array]:
    yield from b.chunks(problem.batch, problem.itemsize * _elements_per_sample(problem, plan), _CACHE_BYTES)


def _cells(packed: Array, problem: Problem, plan: Layout) -> Array:
    """View of packed input as ``[n, g, c, *m, *r]``, without lead and gaps."""
    stride, ndim = problem.geometry.stride, problem.geometry.ndim
    whole = packed[:, :, plan.lead :].view(packed.shape[0], *stride, problem.channels, -1, *plan.pitch)
    cells = whole.permute(ndim + 2, 0, ndim + 1, *range(ndim + 3, 2 * ndim + 3), *range(1, ndim + 1))
    return narrow(cells, plan.image)


def _fit(problem: Problem, plan: Layout) -> Pairs:
    """The padding that completes the phase images."""
    axes = zip(plan.image, problem.geometry.stride, problem.input_size, strict=True)
    return tuple((0, m * s - size) for m, s, size in axes)


def _pack_input(b: Steps, x: Array, problem: Problem, plan: Layout) -> Array:
    """``x[n,g,c,*i] -> [g, *r c, lead + n *m]``: split into phase images, flat, zeros in the gaps."""
    stride = problem.geometry.stride
    length = plan.lead + x.shape[0] * math.prod(plan.pitch)
    packed = b.named("packed", x.new_zeros(x.shape[1], math.prod(stride) * problem.channels, length))
    _cells(packed, problem, plan).copy_(split(b.pad(x, _fit(problem, plan)), 3, stride))
    return packed


def _unpack_input(b: Steps, packed: Array, problem: Problem, plan: Layout) -> Array:
    """Adjoint of `_pack_input`."""
    return b.unpad(merge(_cells(packed, problem, plan), 3, problem.geometry.ndim), _fit(problem, plan))


def _pack_output(b: Steps, y: Array, problem: Problem, plan: Layout) -> Array:
    """``y[n,g,d,*o] -> [g, d, n *m]``: zeros past every row's end."""
    shape = y.shape[1], y.shape[2], y.shape[0] * math.prod(plan.pitch)
    packed = b.named("packed", y.new_zeros(shape))
    _unpack_output(packed, problem, plan).copy_(y)
    return packed


def _unpack_output(packed: Array, problem: Problem, plan: Layout) -> Array:
    """Adjoint of `_pack_output`, as a view."""
    whole = packed.view(*packed.shape[:2], -1, *plan.pitch)
    return narrow(whole.permute(2, 0, 1, *range(3, whole.dim())), problem.output_size)


def _order(problem: Problem, plan: Layout) -> Ints:
    """The kernel element of every tap in the order of the runs; empty if taps are in this order already."""
    return () if lie_in_order(problem.geometry) else _runs(problem.geometry, plan.pitch).order


def _pack_weight(b: Steps, w: Array, problem: Problem) -> Array:
    """``w[g,d,c,*k] -> [g, d, t c]``, taps in the order of the runs."""
    taps = w.flatten(3) if w.dim() > 3 else w.unsqueeze(3)
    order = _order(problem, _layout(problem))
    taps = b.take(taps, 3, order) if order else taps
    return b.named("taps", taps.transpose(2, 3).flatten(2))


def _unpack_weight(b: Steps, packed: Array, problem: Problem) -> Array:
    """Adjoint of `_pack_weight`."""
    order = _order(problem, _layout(problem))
    taps = unflatten(packed, 2, (math.prod(problem.geometry.kernel), problem.channels)).transpose(2, 3)
    if order:
        taps = b.take(taps, 3, tuple(sorted(range(len(order)), key=order.__getitem__)))
    return taps.reshape(problem.shape(Slot.WEIGHT))
