"""Fewer multiplications: short convolutions along some axes, another lowering along the others."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ndconv._form.geometry import Ints, Problem, Slot
from ndconv._lowerings._base import Lowering
from ndconv._lowerings._cook_toom import MOST, growth, transforms
from ndconv._lowerings._phases import MOST_PHASES, gathered, kinds
from ndconv._lowerings._tiles import Tiling, tiling
from ndconv._lowerings.columns import GATHERING
from ndconv._lowerings.reshape import RESHAPE
from ndconv._lowerings.taps import Taps
from ndconv._programs.values import Array, Span, Steps
from ndconv._programs.windows import merge, narrow, split

# Bytes of transformed elements that a chunk aims at, or more with a large weight, which every chunk reads again.
_CHUNK = 6 * 2**20
# Below so many products of a group at one place, copying windows for a matrix product does not pay.
_THIN = 16

_TAPS = Taps()


class Winograd(Lowering):
    """Cook and Toom's short convolutions, as Winograd and Lavin use them, along up to two axes.

    Along axes with stride and dilation 1 tensors are cut into tiles and transformed (`ndconv._lowerings._tiles`). For
    ``m`` outputs that leaves ``m + K - 1`` products of ``m * K``: a quarter for two axes of K = 3. Along the other axes
    `reshape`, `columns` or `taps` computes.

    Its transforms round, with integers too. An element's error is at most ``eps * norm(a) * norm(b)`` times the
    `growth` of both axes, 3 to 21 each. The norms are over all elements in the sums of its tile. Normal random numbers
    reach a fifth of the bound. A NaN or an infinity reaches all elements of a tile.

    Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), https://arxiv.org/abs/1509.09308
    """

    name = "winograd"
    exact = symbolic = False

    def refusal(self, problem: Problem) -> str | None:
        geometry = problem.geometry
        axes = zip(geometry.stride, geometry.dilation, geometry.kernel, strict=True)
        if not any(stride == dilation == 1 < kernel < MOST for stride, dilation, kernel in axes):
            return f"no axis has stride 1, dilation 1 and a kernel of 2 to {MOST - 1} elements"
        if problem.slot is Slot.INPUT and (phases := math.prod(geometry.stride)) > MOST_PHASES:
            return f"the stride has {phases} phases, more than {MOST_PHASES}"
        return None

    def rounding(self, problem: Problem) -> float:
        if problem.slot is Slot.INPUT:
            return max((self.rounding(kind) for _, kind in kinds(problem)), default=0.0)
        found = tiling(problem)
        return math.prod(growth(found.m[axis], found.k[axis]) for axis in found.cut)

    def input(self, b: Steps, problem: Problem, w: Array, y: Array) -> Array:
        return gathered(b, problem, w, y, self.output)

    def output(self, b: Steps, problem: Problem, x: Array, w: Array) -> Array:
        found, shape = tiling(problem), problem.shape(Slot.OUTPUT)
        before, kernel, after = _constants(b, found, x)
        view, weight = found.input(b, x), found.weight(b, w, kernel)

        def tiles(part: tuple[slice | Span, ...]) -> Array:
            some = view[part]
            operand = found.transformed(b, some, before)
            product = _left(found).output(b, found.of(operand.shape[3 + found.place]), operand, weight)
            counts = (some.shape[3 + axis] if m > 1 else shape[3 + axis] for axis, m in enumerate(found.m))
            return found.restored(b, product, after, (some.shape[0], *shape[1:3], *counts, *found.m))

        if not _is_cut(b, found, problem.batch):
            whole = merge(tiles((slice(None),)), 3, len(found.m))
        else:
            sizes = (count * m for count, m in zip(found.counts, found.m, strict=True))
            whole = b.named("y", x.new_empty(*shape[:3], *sizes))
            result = split(whole, 3, found.m)
            for part in _parts(b, found, problem.batch):
                result[part] = tiles(part)
        return narrow(whole, shape[3:])

    def weight(self, b: Steps, problem: Problem, x: Array, y: Array) -> Array:
        found = tiling(problem)
        before, kernel, after = _constants(b, found, x)
        views = (found.input(b, x), before), (found.output(b, y), after)

        def products(part: tuple[slice | Span, ...]) -> Array:
            first, second = (found.transformed(b, view[part], matrix) for view, matrix in views)
            return _left(found).weight(b, found.of(first.shape[3 + found.place]), first, second)

        if not _is_cut(b, found, problem.batch):
            total = products((slice(None),))
        else:
            total = x.new_zeros(found.problem.shape(Slot.WEIGHT))
            for part in _parts(b, found, problem.batch):
                total += products(part)
        return found.kernel(b, total, kernel, problem.shape(Slot.WEIGHT))


def _constants(b: Steps, found: Tiling, like: Array) -> tuple[Array, ...]:
    """The matrices of the transforms: of the input, the weight and the output."""
    names = "before", "kernel", "after"
    return tuple(b.kronecker(*each, like) for each in zip(names, transforms(found.m, found.k), strict=True))


def _left(found: Tiling) -> Lowering:
    """The lowering along the axes that are not cut."""
    if not RESHAPE.refusal(found.problem):
        return RESHAPE
    return _TAPS if found.problem.channels * found.problem.features < _THIN else GATHERING


def _per_tile(found: Tiling) -> Ints:
    """Elements of input and output at one place of a tile, over channels, groups and axes that are not cut."""
    problem, groups = found.problem, found.problem.geometry.groups // math.prod(found.p)
    sides = (problem.channels, problem.input_size), (problem.features, problem.output_size)
    return tuple(groups * channels * math.prod(size) // found.tiles for channels, size in sides)


def _chunk(found: Tiling) -> int:
    weight = found.problem.itemsize * math.prod(found.problem.shape(Slot.WEIGHT))
    return max(_CHUNK, 2 * weight)


def _each(found: Tiling) -> int:
    """Bytes of one transformed tile of the input and one of the output, over all channels."""
    return found.problem.itemsize * math.prod(found.p) * sum(_per_tile(found))


def _is_cut(b: Steps, found: Tiling, batch: int) -> bool:
    """Whether the tiles make several chunks."""
    return bool(_each(found) * batch * math.prod(found.counts[axis] for axis in found.cut) > b.aim(_chunk(found)))


def _parts(b: Steps, found: Tiling, batch: int) -> Iterator[tuple[slice | Span, ...]]:
    """Spans ``[n, g, c or d, *counts]`` of tiles that make the chunks."""
    sizes = (batch, *(found.counts[axis] for axis in found.cut))
    for samples, *some in b.blocks(sizes, _each(found), _chunk(found)):
        cuts = dict(zip(found.cut, some, strict=True))
        yield (samples, slice(None), slice(None), *(cuts.get(axis, slice(None)) for axis in range(len(found.m))))
