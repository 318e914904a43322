"""The gradient of the input as convolutions of the output: one for each phase of the stride.

Input index ``i`` is tied to ``o`` and ``k`` by ``i + lo = S*o + D*k``. With ``P = S / gcd(S, D)``, the kernel indices
that reach the residue ``i + lo = S*t + r`` are ``k0, k0 + P, ...``, and ``o`` falls by ``E = D / gcd(S, D)`` from each
to the next. So the elements of one residue are a convolution of the output with stride 1, dilation E and these kernel
indices in reverse. No zeros are inserted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

from ndconv._form.cache import cached
from ndconv._form.geometry import Geometry, Problem, Slot
from ndconv._programs.values import Array, Steps

_LEAD = (slice(None),) * 3
# Up to so many phases are recorded one by one for a price.
_LISTED = 16
MOST_PHASES = 64
"""More phases would make a program that takes seconds to write and is too long to read."""


class Phase(NamedTuple):
    """The input elements of one residue per axis.

    Args:
        elements: Their slice of each axis of the input.
        taps: Kernel indices that reach them, per axis, before they are reversed.
        problem: The convolution that computes them; its input is the output, and its features are the channels.
    """

    elements: tuple[slice, ...]
    taps: tuple[slice, ...]
    problem: Problem

    def weight(self, w: Array) -> Array:
        """The weight of `problem`: ``w[g,d,c,*k] -> [g,c,d,*k]``."""
        return w[_LEAD + self.taps].flip([*range(3, w.dim())]).transpose(1, 2)

    def of(self, x: Array) -> Array:
        """View of these elements of the input: ``x[n,g,c,*i]``."""
        return x[_LEAD + self.elements]


def gathered(
    b: Steps, problem: Problem, w: Array, y: Array, output: Callable[[Steps, Problem, Array, Array], Array]
) -> Array:
    """The gradient of the input; ``output`` computes each phase as a convolution."""
    if b.prices and math.prod(problem.geometry.stride) > _LISTED:
        return _priced(b, problem, w, y, output)
    parts = phases(problem)
    if len(parts) == math.prod(problem.geometry.stride) == 1:
        return output(b, parts[0].problem, y, b.named("flipped", parts[0].weight(w)))
    x = b.named("x", b.new_result(y, problem.shape(Slot.INPUT), "zeros"))
    for part in parts:
        part.of(x).copy_(output(b, part.problem, y, b.named("flipped", part.weight(w))))
    return x


def _priced(
    b: Steps, problem: Problem, w: Array, y: Array, output: Callable[[Steps, Problem, Array, Array], Array]
) -> Array:
    """`gathered` for a price: one phase of each kind stands for all of that kind."""
    geometry, x = problem.geometry, b.new_result(y, problem.shape(Slot.INPUT), "zeros")
    steps = tuple(s // math.gcd(s, d) for s, d in zip(geometry.stride, geometry.dilation, strict=True))
    for times, kind in kinds(problem):
        for _ in b.table(("phase",), times, ()):
            elements, taps = (
                tuple(slice(0, step * (size - 1) + 1, step) for size, step in zip(sizes, apart, strict=True))
                for sizes, apart in ((kind.output_size, geometry.stride), (kind.geometry.kernel, steps))
            )
            part = Phase(elements, taps, kind)
            part.of(x).copy_(output(b, kind, y, part.weight(w)))
    return x


class _Axis(NamedTuple):
    elements: slice
    taps: slice
    kernel: int
    padding: tuple[int, int]
    dilation: int
    size: int


@cached
def phases(problem: Problem) -> tuple[Phase, ...]:
    """The phases of a gradient of the input that have elements and taps; all other elements are 0.

    Example:
        >>> geometry = Geometry(kernel=(3,), stride=(2,), padding=((1, 1),), dilation=(1,))
        >>> for phase in phases(Problem(Slot.INPUT, geometry, 1, 1, 1, (8,), (4,), 4)):
        ...     print(phase.elements, phase.taps, phase.problem.geometry.padding)
        (slice(1, 8, 2),) (slice(0, 3, 2),) ((0, 1),)
        (slice(0, 8, 2),) (slice(1, 3, 2),) ((0, 0),)
    """
    found = []
    for parts in product(*_axes(problem)):
        elements, taps, kernel, padding, dilation, size = zip(*parts, strict=True) if parts else ((),) * 6
        whole = Geometry(kernel, (1,) * len(kernel), padding, dilation, problem.geometry.groups)
        counts = problem.batch, problem.features, problem.channels
        found.append(
            Phase(elements, taps, Problem(Slot.OUTPUT, whole, *counts, problem.output_size, size, problem.itemsize))
        )
    return tuple(found)


def kinds(problem: Problem) -> list[tuple[int, Problem]]:
    """The number of phases of each size, and the problem of one. Phases are not listed: there may be thousands.

    The padding of these problems has the right sum, split in the middle.

    Example:
        >>> geometry = Geometry(kernel=(5,), stride=(3,), padding=((1, 1),), dilation=(1,))
        >>> for times, kind in kinds(Problem(Slot.INPUT, geometry, 1, 1, 1, (10,), (3,), 4)):
        ...     print(times, kind.geometry.kernel, kind.output_size)
        1 (2,) (4,)
        1 (2,) (3,)
        1 (1,) (3,)
    """
    geometry, found = problem.geometry, []
    for parts in product(*_axis_kinds(problem)):
        times, kernel, size = zip(*parts, strict=True) if parts else ((),) * 3
        dilation = tuple(map(_spread, geometry.stride, geometry.dilation))
        axes = zip(kernel, size, dilation, problem.output_size, strict=True)
        total = [count - positions + (taps - 1) * spread for taps, count, spread, positions in axes]
        padding = tuple((both - both // 2, both // 2) for both in total)
        whole = Geometry(kernel, (1,) * len(kernel), padding, dilation, geometry.groups)
        counts = problem.batch, problem.features, problem.channels
        kind = Problem(Slot.OUTPUT, whole, *counts, problem.output_size, size, problem.itemsize)
        found.append((math.prod(times), kind))
    return found


def _window_elements(problem: Problem) -> int:
    """Elements in the windows of all phases, for one channel.

    Example:
        >>> geometry = Geometry(kernel=(3,), stride=(2,), padding=((1, 1),), dilation=(1,))
        >>> _window_elements(Problem(Slot.INPUT, geometry, 1, 1, 1, (8,), (4,), 4))  # 4 of two and 4 of one
        12
    """
    return math.prod(sum(times * taps * count for times, taps, count in kinds) for kinds in _axis_kinds(problem))


def _axis_kinds(problem: Problem) -> list[list[tuple[int, int, int]]]:
    """For every axis ``(number of residues, kernel indices of each, elements of each)``."""
    geometry, found = problem.geometry, []
    for kernel, stride, (lo, _), dilation, size in zip(
        geometry.kernel, geometry.stride, geometry.padding, geometry.dilation, problem.input_size, strict=True
    ):
        step = stride // math.gcd(stride, dilation)
        (taps, longer), (count, more) = divmod(kernel, step), divmod(size, stride)
        kinds = []
        for start, stop, indices in ((0, longer, taps + 1), (longer, min(step, kernel), taps)):
            # Sizes of residues differ by one element: those that start among the first ``more`` elements have one more.
            early = _count_below(more, stop, stride, dilation, -lo) - _count_below(more, start, stride, dilation, -lo)
            kinds += [(early, indices, count + 1), (stop - start - early, indices, count)]
        found.append([kind for kind in kinds if all(kind)])
    return found


def _count_below(bound: int, number: int, modulus: int, factor: int, shift: int) -> int:
    """How many ``i`` below ``number`` have ``(factor * i + shift) % modulus < bound``, for a bound up to modulus.

    Example:
        >>> _count_below(3, number=4, modulus=5, factor=2, shift=1)  # 1, 3, 0, 2
        3
    """
    return _floor_sum(number, modulus, factor, shift) - _floor_sum(number, modulus, factor, shift - bound)


def _floor_sum(number: int, modulus: int, factor: int, shift: int) -> int:
    """Sum of ``(factor * i + shift) // modulus`` for ``i`` below ``number``, in the steps of Euclid's algorithm."""
    total = 0
    while number:
        total += number * (number - 1) // 2 * (factor // modulus) + number * (shift // modulus)
        factor, shift = factor % modulus, shift % modulus
        number, shift = divmod(factor * number + shift, modulus)
        factor, modulus = modulus, factor
    return total


def _axes(problem: Problem) -> list[list[_Axis]]:
    """The residues of every axis."""
    geometry = problem.geometry
    fields = geometry.kernel, geometry.stride, geometry.padding, geometry.dilation
    return [*map(_residues, *fields, problem.input_size, problem.output_size)]


def taps_by_residue(kernel: int, stride: int, dilation: int) -> tuple[list[range], int]:
    """Kernel indices of one axis by the residue they reach, and the fall of the output index from each to the next.

    Example:
        >>> taps_by_residue(kernel=5, stride=4, dilation=6)
        ([range(0, 5, 2), range(1, 5, 2)], 3)
    """
    step = stride // math.gcd(stride, dilation)
    return [range(first, kernel, step) for first in range(min(step, kernel))], _spread(stride, dilation)


def _spread(stride: int, dilation: int) -> int:
    """The fall of the output index from a kernel index to the next of its residue."""
    return dilation // math.gcd(stride, dilation)


def _residues(
    kernel: int, stride: int, padding: tuple[int, int], dilation: int, size: int, positions: int
) -> list[_Axis]:
    (lo, _), (residues, spread) = padding, taps_by_residue(kernel, stride, dilation)
    found = []
    for indices in residues:
        first, taps = indices.start, len(indices)
        residue = dilation * first % stride
        start = (residue - lo) % stride
        count = max(0, -((start - size) // stride))
        if count:
            # The lowest output index that the first of these elements is tied to, by its last tap.
            before = (taps - 1) * spread - (start + lo - dilation * first) // stride
            after = count + (taps - 1) * spread - before - positions
            elements = slice(start, size, stride)
            found.append(_Axis(elements, slice(first, kernel, indices.step), taps, (before, after), spread, count))
    return found
