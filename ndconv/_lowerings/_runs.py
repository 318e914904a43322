"""The matrix products of `taps`: counted without listing the taps, listed only when they run.

Along an axis kernel index ``k`` reads ``D*k - lo = S*q + r``, element ``o + q`` of phase image ``r``. Taps with the
same ``q`` on every axis share a shift. Taps that share a shift and lie in neighbouring phases are one product: a run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from ndconv._form.geometry import Geometry, Ints


class Runs(NamedTuple):
    """Runs in the order of their shifts, and the taps in the order of the runs.

    Args:
        starts: The first tap of each run, and the number of all taps.
        phases: The flat phase of that tap.
        shifts: The shift of each run, in flat positions.
        order: Flat kernel index of each tap; empty if taps are in this order already.
    """

    starts: Ints
    phases: Ints
    shifts: Ints
    order: Ints


def ravel(index: Ints, size: Ints) -> int:
    """The flat index in a tensor of this size."""
    flat = 0
    for i, n in zip(index, size, strict=True):
        flat = flat * n + i
    return flat


def runs(geometry: Geometry, pitch: Ints) -> Runs:
    """List all runs, for flat positions with ``pitch`` elements per axis.

    Example:
        >>> runs(Geometry(kernel=(3,), stride=(2,), padding=((1, 1),), dilation=(1,)), pitch=(5,))
        Runs(starts=(0, 1, 3), phases=(1, 0), shifts=(-1, 0), order=())
    """
    found: tuple[list[int], ...] = [], [], [], []
    starts, phases, shifts, order = found
    sides = (lo for lo, _ in geometry.padding)
    for group in product(*map(_by_shift, geometry.kernel, geometry.stride, geometry.dilation, sides)):
        shift, expected = ravel(tuple(q for q, _, _ in group), pitch), -1
        within = _flat([r for _, r, _ in group], geometry.stride), _flat([k for _, _, k in group], geometry.kernel)
        for phase, tap in zip(*within, strict=True):
            if phase != expected:
                starts.append(len(order))
                phases.append(phase)
                shifts.append(shift)
            order.append(tap)
            expected = phase + 1
    taps = () if lie_in_order(geometry) else tuple(order)
    return Runs((*starts, len(order)), tuple(phases), tuple(shifts), taps)


def lie_in_order(geometry: Geometry) -> bool:
    """Whether taps in the order of their shifts are in the order of their kernel indices.

    Along one axis shifts and kernel indices rise together. But once taps share a shift on one axis, no later axis may
    have several shifts: they would come first.

    Example:
        >>> lie_in_order(Geometry(kernel=(3, 3), stride=(2, 2), padding=((1, 1), (1, 1)), dilation=(1, 1)))
        False
        >>> lie_in_order(Geometry(kernel=(3, 3), stride=(1, 2), padding=((1, 1), (1, 1)), dilation=(1, 1)))
        True
    """
    shared = False
    for kernel, stride, dilation, (lo, _) in zip(
        geometry.kernel, geometry.stride, geometry.dilation, geometry.padding, strict=True
    ):
        shifts = min(kernel, (dilation * (kernel - 1) - lo) // stride - -lo // stride + 1)
        if shared and shifts > 1:
            return False
        shared = shared or shifts < kernel
    return True


def _flat(axes: Sequence[Ints], size: Ints) -> list[int]:
    """Flat indices, in a tensor of this size, of all combinations of indices along its axes."""
    found = [0]
    for indices, length in zip(axes, size, strict=True):
        found = [flat * length + index for flat in found for index in indices]
    return found


def _by_shift(kernel: int, stride: int, dilation: int, lo: int) -> list[tuple[int, Ints, Ints]]:
    """Every ``q`` of an axis in order, with its phases ``r`` and kernel indices."""
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for k in range(kernel):
        q, r = divmod(dilation * k - lo, stride)
        found[q].append((r, k))
    return [(q, *zip(*pairs, strict=True)) for q, pairs in found.items()]  # type: ignore[misc]


def count_runs(geometry: Geometry) -> tuple[int, int]:
    """How many runs there are, and the taps of the longest.

    Of two consecutive taps of a run, either the last axis goes from a phase to the next, or it wraps around from its
    last phase to its first while the axes before it go on. So pairs of consecutive taps add up over the axes, and the
    number of runs is the number of taps less that of pairs.

    Example:
        >>> count_runs(Geometry(kernel=(3, 3), stride=(2, 2), padding=((1, 1), (1, 1)), dilation=(1, 1)))
        (5, 4)
    """
    taps, pairs, longest = 1, 0, 1
    for kernel, stride, dilation, (lo, _) in zip(
        geometry.kernel, geometry.stride, geometry.dilation, geometry.padding, strict=True
    ):
        wraps, straight = _wraps(kernel, stride, dilation, lo), _straight(kernel, stride, dilation, lo)
        neighbours = kernel - 1 - _congruent(1, kernel, lo, stride) if dilation == 1 else 0
        taps, pairs = taps * kernel, pairs * wraps + taps * neighbours
        if straight == stride:
            longest *= stride
        else:
            longest = max(straight, 2 if wraps and longest > 1 else 1)
    return taps - pairs, longest


def _congruent(start: int, stop: int, residue: int, modulus: int) -> int:
    """How many numbers of ``range(start, stop)`` have this residue."""
    return max(0, (stop - 1 - residue) // modulus - (start - 1 - residue) // modulus)


def _wraps(kernel: int, stride: int, dilation: int, lo: int) -> int:
    """How many ``q`` of an axis have both the first phase and the last."""
    apart, rest = divmod(stride - 1, dilation)
    if rest or kernel <= apart:
        return 0
    return _congruent(0, kernel - apart, lo * pow(dilation, -1, stride), stride)


def _straight(kernel: int, stride: int, dilation: int, lo: int) -> int:
    """The most taps of an axis in neighbouring phases with the same ``q``."""
    if dilation > 1:
        return 1
    head = min(kernel, lo % stride)
    return min(stride, max(head, kernel - head))
