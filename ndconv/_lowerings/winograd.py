"""Fewer multiplications: short convolutions along some axes, another lowering along the others."""

from __future__ import annotations

import math

from torch import Tensor
from torch.compiler import is_compiling

from ndconv._geometry import Ints, Problem, Slot
from ndconv._lowerings._base import Cost, Lowering
from ndconv._lowerings._cook_toom import MOST, growth, transforms
from ndconv._lowerings._phases import gathered, kinds
from ndconv._lowerings._tiles import Tiling, tiling
from ndconv._lowerings._windowed import blocks
from ndconv._lowerings.columns import COLUMNS
from ndconv._lowerings.reshape import Reshape
from ndconv._lowerings.taps import Taps
from ndconv._windows import merge, narrow, split
from ndconv._workspace import aim

# Bytes of transformed elements that a chunk aims at, unless the weight, which every chunk reads, has more.
_CHUNK = 6 * 2**20
# What it takes to copy an element of a tile, in elements moved: tiles are a few elements wide.
_GATHER = 6
# The same for an element of the transformed weight, whose sources are far apart.
_KERNEL = 4
# Tensor operations of a chunk, beside those of its products.
_CALLS = 30

# Products of a group at one place, below which windows are not worth copying for a matrix product.
_THIN = 16

_RESHAPE, _TAPS = Reshape(), Taps()


class Winograd(Lowering):
    """Cook and Toom's short convolutions, as Winograd and Lavin use them, along up to two axes.

    Along axes with stride and dilation 1 tensors are cut into tiles and transformed (`ndconv._lowerings._tiles`), which
    leaves ``m + K - 1`` products of the ``m * K`` for ``m`` outputs: a quarter of them for two axes of K = 3. Along the
    others `reshape`, `columns` or `taps` computes.

    Its transforms round, with integers too. An element's error is at most ``eps * norm(a) * norm(b)`` times the
    `growth` of both axes, 3 to 21 each, with the norms of all that the sums of its tile run over; normal numbers reach
    a fifth of it. A NaN or an infinity reaches all elements of a tile.

    Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), https://arxiv.org/abs/1509.09308
    """

    name = "winograd"
    exact = False

    def refusal(self, problem: Problem) -> str | None:
        if is_compiling():
            return "its tiles depend on sizes, and a compiler wants one graph for all"
        geometry = problem.geometry
        axes = zip(geometry.stride, geometry.dilation, geometry.kernel, strict=True)
        if not any(stride == dilation == 1 < kernel < MOST for stride, dilation, kernel in axes):
            return f"no axis has stride 1, dilation 1 and a kernel of 2 to {MOST - 1} elements"
        return None

    def rounding(self, problem: Problem) -> float:
        if problem.slot is Slot.INPUT:
            return max((self.rounding(kind) for _, kind in kinds(problem)), default=0.0)
        found = tiling(problem)
        return math.prod(growth(found.m[axis], found.k[axis]) for axis in found.cut)

    def cost(self, problem: Problem) -> Cost:
        if problem.slot is Slot.INPUT:
            writing = Cost(0, math.prod(problem.shape(Slot.INPUT)), 0, 0, "", 1)
            return Cost.altogether([*((times, self.cost(kind)) for times, kind in kinds(problem)), (1, writing)])
        found = tiling(problem)
        tiles = max(1, problem.batch * found.tiles)
        x, y = (tiles * elements for elements in _per_tile(found))
        p, k, m = (math.prod(sizes) for sizes in (found.p, found.k, found.m))
        w, chunk = math.prod(problem.shape(Slot.WEIGHT)) // k, max(1, _chunk(found) // problem.itemsize)
        transforming = Cost(
            multiply_adds=p * (p * x + k * w + m * y),
            elements_moved=(_GATHER + 2) * (p * x + m * y) + 2 * p * y + _KERNEL * p * w,
            elements_cached=0,
            workspace=min(p * (x + y), chunk) + p * w,
            matmuls=f"({p}, {p}) @ ({p}, {x})",
            calls=_CALLS * max(1, p * (x + y) // chunk),
            dense=False,
        )
        return Cost.altogether([(1, _left(found).cost(found.of(tiles))), (1, transforming)])

    def input(self, problem: Problem, w: Tensor, y: Tensor) -> Tensor:
        return gathered(problem, w, y, self.output)

    def output(self, problem: Problem, x: Tensor, w: Tensor) -> Tensor:
        found, shape = tiling(problem), problem.shape(Slot.OUTPUT)
        before, kernel, after = transforms(found.m, found.k, x)
        view, weight = found.input(x), found.weight(w, kernel)

        def tiles(part: tuple[slice, ...]) -> Tensor:
            some = view[part]
            operand = found.transformed(some, before)
            product = _left(found).output(found.of(operand.shape[3 + found.place]), operand, weight)
            counts = (some.shape[3 + axis] if m > 1 else shape[3 + axis] for axis, m in enumerate(found.m))
            return found.restored(product, after, (some.shape[0], *shape[1:3], *counts, *found.m))

        parts = _parts(found, problem.batch)
        if len(parts) == 1:
            whole = merge(tiles(parts[0]), 3, len(found.m))
        else:
            sizes = (count * m for count, m in zip(found.counts, found.m, strict=True))
            whole = x.new_empty(*shape[:3], *sizes)
            result = split(whole, 3, found.m)
            for part in parts:
                result[part] = tiles(part)
        # No view: forward-mode AD compares the memory behind a result with that behind its tangent.
        return narrow(whole, shape[3:]).clone() if any(map(any, found.after)) else whole

    def weight(self, problem: Problem, x: Tensor, y: Tensor) -> Tensor:
        found = tiling(problem)
        before, kernel, after = transforms(found.m, found.k, x)
        views = (found.input(x), before), (found.output(y), after)

        def products(part: tuple[slice, ...]) -> Tensor:
            first, second = (found.transformed(view[part], matrix) for view, matrix in views)
            return _left(found).weight(found.of(first.shape[3 + found.place]), first, second)

        first, *others = _parts(found, problem.batch)
        total = products(first)
        for part in others:
            total += products(part)
        return found.kernel(total, kernel, problem.shape(Slot.WEIGHT))


def _left(found: Tiling) -> Lowering:
    """What computes along the axes that are not cut."""
    if not _RESHAPE.refusal(found.problem):
        return _RESHAPE
    return _TAPS if found.problem.channels * found.problem.features < _THIN else COLUMNS


def _per_tile(found: Tiling) -> Ints:
    """Elements of the input and the output at one place of a tile, over channels, groups and axes not cut."""
    problem, groups = found.problem, found.problem.geometry.groups // math.prod(found.p)
    sides = (problem.channels, problem.input_size), (problem.features, problem.output_size)
    return tuple(groups * channels * math.prod(size) // found.tiles for channels, size in sides)


def _chunk(found: Tiling) -> int:
    weight = found.problem.itemsize * math.prod(found.problem.shape(Slot.WEIGHT))
    return aim(max(_CHUNK, 2 * weight))


def _parts(found: Tiling, batch: int) -> list[tuple[slice, ...]]:
    """Slices ``[n, g, c or d, *counts]`` of tiles that make the chunks."""
    sizes, target = (batch, *(found.counts[axis] for axis in found.cut)), _chunk(found)
    each = found.problem.itemsize * math.prod(found.p) * sum(_per_tile(found))
    if each * math.prod(sizes) <= target:
        return [(slice(None),)]
    parts = []
    for samples, *some in blocks(sizes, each, target):
        cuts = dict(zip(found.cut, some, strict=True))
        parts.append(
            (samples, slice(None), slice(None), *(cuts.get(axis, slice(None)) for axis in range(len(found.m))))
        )
    return parts
