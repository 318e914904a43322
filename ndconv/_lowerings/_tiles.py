"""How the tensors of a problem are cut into tiles along some axes, and transformed tile by tile.

The input is cut into tiles of ``p = m + k - 1`` elements, which overlap by ``k - 1``, and the output into tiles of
``m``. An axis that is not cut has tiles of one element. A transform multiplies every tile by one matrix; its ``p``
results come first and become groups. What is left is a grouped convolution along the axes that are not cut, with the
tiles of all samples as one more axis: the last one, unless another has rows long enough for copies.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ndconv._form.cache import cached
from ndconv._form.geometry import Geometry, Ints, Pairs, Problem
from ndconv._lowerings._cook_toom import MOST
from ndconv._programs.values import Array, Steps
from ndconv._programs.windows import split, windows

# With more axes than this, transforms cost as much as the products save, and round more.
_AXES = 2
# Rows of so many elements are better copied as rows than one element of each tile at a time.
_ROW = 16


class Tiling(NamedTuple):
    """The tiles of a problem.

    Args:
        m: Elements of a tile of the output, per axis; 1 where the axis is not cut.
        k: Kernel elements that the transforms cover, per axis.
        counts: Tiles of the output, per axis.
        before: Padding of the input before it is cut, per axis.
        after: Padding of the output.
        place: The position of the axis of tiles among those that are not cut.
        problem: The grouped convolution that is left, for the tiles of one sample.
    """

    m: Ints
    k: Ints
    counts: Ints
    before: Pairs
    after: Pairs
    place: int
    problem: Problem

    @property
    def p(self) -> Ints:
        """Elements of a tile of the input, per axis."""
        return tuple(m + k - 1 for m, k in zip(self.m, self.k, strict=True))

    @property
    def cut(self) -> Ints:
        """Axes that are cut."""
        return tuple(axis for axis, m in enumerate(self.m) if m > 1)

    @property
    def rest(self) -> Ints:
        """The other axes."""
        return tuple(axis for axis, m in enumerate(self.m) if m == 1)

    @property
    def tiles(self) -> int:
        """Tiles of a sample."""
        return self.problem.output_size[self.place]

    def of(self, tiles: int) -> Problem:
        """`problem` with this number of tiles."""
        whole, place = self.problem, self.place
        x, y = ((*size[:place], tiles, *size[place + 1 :]) for size in (whole.input_size, whole.output_size))
        return Problem(whole.slot, whole.geometry, 1, whole.channels, whole.features, x, y, whole.itemsize)

    def input(self, b: Steps, x: Array) -> Array:
        """View of the tiles of an input: ``[n,g,c,*counts,*p]``."""
        return windows(b.pad(x, self.before), Geometry(self.p, self.m, (), (1,) * len(self.m)))

    def output(self, b: Steps, y: Array) -> Array:
        """View of the tiles of an output: ``[n,g,d,*counts,*m]``."""
        return split(b.pad(y, self.after), 3, self.m)

    def transformed(self, b: Steps, tiles: Array, matrix: Array) -> Array:
        """Tiles ``[n,g,c,*counts,*q]`` times a matrix ``[p,q]``, as ``[1,p*g,c,*(rest and n*counts)]``."""
        product = _applied(b, matrix, tiles, self._order)
        return product.view(1, self.problem.geometry.groups, tiles.shape[2], *self._beside(tiles, -1))

    def restored(self, b: Steps, product: Array, matrix: Array, shape: Ints) -> Array:
        """Adjoint of `transformed`: tiles of shape ``(n, g, d, *counts, *q)``."""
        return _unapplied(b, matrix, product, self._order, shape)

    def weight(self, b: Steps, w: Array, matrix: Array) -> Array:
        """``w[g,d,c,*kernel]`` times a matrix ``[p,k]``, as ``[p*g,d,c,*(rest and 1)]``."""
        product = _applied(b, matrix, w, self._kernel_order)
        return product.view(self.problem.geometry.groups, *w.shape[1:3], *self._beside(w, 1))

    def kernel(self, b: Steps, product: Array, matrix: Array, shape: Ints) -> Array:
        """Adjoint of `weight`: ``(g, d, c, *kernel)``."""
        return _unapplied(b, matrix, product, self._kernel_order, shape).contiguous()

    def _beside(self, tensor: Array, tiles: int) -> Ints:
        """Sizes of a tensor along the axes that are not cut, with the axis of tiles among them."""
        return _inserted(tuple(tensor.shape[3 + axis] for axis in self.rest), self.place, tiles)

    @property
    def _order(self) -> Ints:
        """Axes of ``[n,g,c,*counts,*q]`` as ``[*q,g,c,*(rest and n,*cut)]``."""
        ndim = len(self.m)
        rest, cut = (tuple(3 + axis for axis in axes) for axes in (self.rest, self.cut))
        return (*range(3 + ndim, 3 + 2 * ndim), 1, 2, *rest[: self.place], 0, *cut, *rest[self.place :])

    @property
    def _kernel_order(self) -> Ints:
        """Axes of ``[g,d,c,*kernel]`` as ``[*cut,g,d,c,*rest]``."""
        rest, cut = (tuple(3 + axis for axis in axes) for axes in (self.rest, self.cut))
        return (*cut, 0, 1, 2, *rest)


def _applied(b: Steps, matrix: Array, tensor: Array, order: Ints) -> Array:
    """A matrix ``[p,q]`` times a tensor that is permuted to ``order``, in which q comes first."""
    return b.matmul(matrix.unsqueeze(0), tensor.permute(order).reshape(1, matrix.shape[1], -1))


def _unapplied(b: Steps, matrix: Array, product: Array, order: Ints, shape: Ints) -> Array:
    """Adjoint of `_applied`: a tensor of ``shape``, its axes in their original order."""
    columns = b.matmul(matrix.mT.unsqueeze(0), product.reshape(1, matrix.shape[0], -1))
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return columns.view([shape[axis] for axis in order]).permute(inverse)


class _Axis(NamedTuple):
    m: int
    k: int
    tiles: int
    before: tuple[int, int]
    after: tuple[int, int]


@cached
def tiling(problem: Problem) -> Tiling:
    """The tiles that save the most multiplications, for an OUTPUT or WEIGHT.

    Example:
        >>> from ndconv._form.geometry import Slot
        >>> geometry = Geometry(kernel=(3, 3), stride=(1, 2), padding=((1, 1), (1, 1)), dilation=(1, 1))
        >>> found = tiling(Problem(Slot.OUTPUT, geometry, 1, 16, 16, (14, 14), (14, 7), 4))
        >>> found.m, found.k, found.counts, found.before, found.after
        ((4, 1), (3, 1), (4, 7), ((1, 3), (0, 0)), ((0, 2), (0, 0)))
        >>> found.problem.geometry
        Geometry(kernel=(3, 1), stride=(2, 1), padding=((1, 1), (0, 0)), dilation=(1, 1), groups=6)
    """
    geometry, axes = problem.geometry, range(problem.geometry.ndim)
    gains = [_gain(geometry, axis, problem.output_size[axis]) for axis in axes]
    best = sorted((axis for axis in axes if gains[axis][0]), key=lambda axis: gains[axis][0], reverse=True)
    chosen = [axis for axis in best[:_AXES] if gains[axis][0] > 1] or best[:1]
    found = [_axis(problem, axis, gains[axis][1] if axis in chosen else 1) for axis in axes]
    m, k, counts, before, after = zip(*found, strict=True) if found else ((),) * 5

    rest = [axis for axis in axes if axis not in chosen]
    kernel, stride, dilation, x, y = (
        tuple(values[axis] for axis in rest)
        for values in (geometry.kernel, geometry.stride, geometry.dilation, problem.input_size, problem.output_size)
    )
    groups = geometry.groups * math.prod(tile.m + tile.k - 1 for tile in found)
    padding, tiles = tuple(geometry.padding[axis] for axis in rest), math.prod(counts[axis] for axis in chosen)
    place = 0 if y and y[-1] >= _ROW else len(rest)
    left = Geometry(
        _inserted(kernel, place, 1), _inserted(stride, place, 1), _inserted(padding, place, (0, 0)),
        _inserted(dilation, place, 1), groups,
    )  # fmt: skip
    x, y = _inserted(x, place, tiles), _inserted(y, place, tiles)
    inner = Problem(problem.slot, left, 1, problem.channels, problem.features, x, y, problem.itemsize)
    return Tiling(m, k, counts, before, after, place, inner)


def _inserted(values: tuple[Any, ...], place: int, value: object) -> tuple[Any, ...]:
    return (*values[:place], value, *values[place:])


def _axis(problem: Problem, axis: int, m: int) -> _Axis:
    """Tiles of ``m`` along an axis."""
    read, made = problem.input_size[axis], problem.output_size[axis]
    if m == 1:
        return _Axis(1, 1, made, (0, 0), (0, 0))
    k, (lo, _), count = problem.geometry.kernel[axis], problem.geometry.padding[axis], -(-made // m)
    return _Axis(m, k, count, (lo, count * m + k - 1 - read - lo), (0, count * m - made))


def _gain(geometry: Geometry, axis: int, size: int) -> tuple[float, int]:
    """The factor by which tiles reduce the products along an axis, 0 if they do not apply; and the best size of one."""
    k, most = geometry.kernel[axis], MOST + 1 - geometry.kernel[axis]
    if (geometry.stride[axis], geometry.dilation[axis]) != (1, 1) or k == 1 or most < 2:
        return 0.0, 1
    return max((size * k / (-(-size // m) * (m + k - 1)), m) for m in range(2, most + 1))
