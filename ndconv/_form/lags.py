"""Which pairs of source elements two kernel elements meet, and which sums the pairs of kernel elements share.

The source of a convolution is its input; the source of a transposed one is the convolution's output. Each kernel
element meets a run of the source. Two kernel elements of one window meet source elements at a fixed distance, the
*lag*. With stride 1 the lag depends on the difference of the kernel indices alone, and the runs of all pairs with one
lag differ only at their ends. So the products of a lag are summed once for the common part, and once for each end.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from ndconv._form.cache import cached
from ndconv._form.geometry import Convolution


class Lag(NamedTuple):
    """The pairs of kernel elements of an axis that meet source elements at one distance.

    Args:
        distance: From the first kernel element's source element to the second one's.
        segments: Disjoint runs of the first one's source elements; every pair sums over some of them.
        pairs: The two kernel indices of each pair.
        parts: For each pair, the segments that its run consists of.
    """

    distance: int
    segments: tuple[range, ...]
    pairs: tuple[tuple[int, int], ...]
    parts: tuple[tuple[int, ...], ...]


def tied(convolution: Convolution, axis: int) -> list[range]:
    """For each kernel element of an axis the window positions at which it meets an input element.

    Example:
        >>> from ndconv._form.geometry import Geometry
        >>> same = Convolution.of(Geometry((3,), (1,), ((1, 1),), (1,)), (5,), ((1, 1),), "zeros")
        >>> tied(same, 0)
        [range(1, 5), range(0, 5), range(0, 4)]
    """
    geometry, size = convolution.geometry, convolution.framed_size[axis]
    stride, dilation, (lo, _) = geometry.stride[axis], geometry.dilation[axis], geometry.padding[axis]
    positions = convolution.output_size[axis]
    found = []
    for k in range(geometry.kernel[axis]):
        start = lo - dilation * k  # start <= S*o < start + size
        first, last = max(0, -(-start // stride)), min(positions, -(-(start + size) // stride))
        found.append(range(first, max(first, last)))
    return found


def sources(convolution: Convolution, transposed: bool, axis: int) -> list[range]:
    """For each kernel element of an axis the source elements that it meets."""
    found = tied(convolution, axis)
    if transposed:
        return found
    return [_input(convolution, axis, k, positions) for k, positions in enumerate(found)]


def _input(convolution: Convolution, axis: int, k: int, positions: range) -> range:
    """The input elements that a kernel element meets at some positions."""
    geometry = convolution.geometry
    stride, first = geometry.stride[axis], geometry.dilation[axis] * k - geometry.padding[axis][0]
    return range(stride * positions.start + first, stride * positions.stop + first, stride)


@cached
def lags(convolution: Convolution, transposed: bool) -> tuple[tuple[Lag, ...], ...]:
    """The lags of each axis."""
    return tuple(tuple(_lags(convolution, transposed, axis)) for axis in range(convolution.geometry.ndim))


def _lags(convolution: Convolution, transposed: bool, axis: int) -> list[Lag]:
    geometry, met = convolution.geometry, tied(convolution, axis)
    stride, dilation = geometry.stride[axis], geometry.dilation[axis]
    found: dict[int, dict[tuple[int, int], range]] = {}
    for k, first in enumerate(met):
        for j, second in enumerate(met):
            if transposed:
                # Both contribute to one input element: S*o + D*k = S*o' + D*j.
                lag, rest = divmod(dilation * (k - j), stride)
                run = range(max(first.start, second.start - lag), min(first.stop, second.stop - lag))
                run = range(0) if rest else run
            else:
                lag = dilation * (j - k)
                both = range(max(first.start, second.start), min(first.stop, second.stop))
                run = _input(convolution, axis, k, both)
            if run:
                found.setdefault(lag, {})[k, j] = run
    return [_shared(lag, pairs) for lag, pairs in sorted(found.items())]


def _shared(lag: int, pairs: dict[tuple[int, int], range]) -> Lag:
    """Cut the runs of all pairs at the ends of the others."""
    step = next(iter(pairs.values())).step
    ends: dict[int, set[int]] = {}
    for run in pairs.values():
        ends.setdefault(run.start % step, set()).update((run.start, run.start + step * len(run)))
    segments = [range(a, b, step) for cuts in ends.values() for a, b in pairwise(sorted(cuts))]
    parts = tuple(tuple(i for i, each in enumerate(segments) if each.start in run) for run in pairs.values())
    used = sorted({i for each in parts for i in each})
    place = {i: new for new, i in enumerate(used)}
    parts = tuple(tuple(place[i] for i in each) for each in parts)
    return Lag(lag, tuple(segments[i] for i in used), tuple(pairs), parts)
