"""Windows copied as columns, then one dense matrix product for each chunk of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from itertools import product

from ndconv._form.geometry import Ints, Problem, Slot
from ndconv._lowerings._base import Lowering
from ndconv._lowerings._phases import MOST_PHASES, gathered
from ndconv._lowerings._products import input_product, is_short, output_product, weight_product
from ndconv._lowerings._residues import (
    Residue,
    by_residue,
    count_residues,
    in_order,
    residues,
    windows_by_residue,
)
from ndconv._lowerings._samples import move_back, move_last, samples_last
from ndconv._lowerings._windowed import Views, Windowed, framed, window_elements
from ndconv._programs.values import Array, Steps
from ndconv._programs.windows import kernel_first, unflatten

# More residues would make the program longer than the saving justifies. Strides are hardly ever that large.
_RESIDUES = 16
# Rows of so many elements are long enough.
_LONG = 64
# Up to so many bytes, half-type columns are held at once, so that one product sums over all of them.
_WHOLE = 32 * 2**20


class Columns(Windowed):
    """The classical lowering, im2col and col2im, in any number of dimensions.

    Kernel elements come first and positions last, so that copies run along rows and products come out in the layout of
    the output.

    Where sizes are symbols, none of the arguments is set.

    Args:
        moves: Whether samples come last, for short rows and many samples (`ndconv._lowerings._samples`).
        parts: Whether strided elements of a row are made contiguous first (`ndconv._lowerings._residues`).
        gathers: Whether the gradient of the input gathers windows of the output (`ndconv._lowerings._phases`), instead
            of adding windows of the input up.
    """

    name = "columns"
    chunk_bytes = 8 * 2**20  # stays in a cache between the copy and the product

    def __init__(self, *, moves: bool = False, parts: bool = False, gathers: bool = False) -> None:
        self.moves, self.parts, self.gathers = moves, parts, gathers

    def ways(self, problem: Problem) -> Iterable[Lowering]:
        input, stride = problem.slot is Slot.INPUT, problem.geometry.row_stride
        parts = not input and stride > 1 and 1 < count_residues(problem.geometry) <= _RESIDUES
        moves = problem.batch > 1 and _row(problem) < _LONG
        gathers = input and math.prod(problem.geometry.stride) <= MOST_PHASES
        # The longest to record come last: a cheaper price is then known, and recording stops early.
        options = product((False, True)[: 1 + gathers], (False, True)[: 1 + moves], (False, True)[: 1 + parts])
        return [_WAYS[option] for option in options]

    def accumulates(self, b: Steps, problem: Problem) -> bool:
        inner = samples_last(problem) if self.moves else problem
        if problem.slot is Slot.INPUT:
            return not self.gathers
        return problem.slot is Slot.WEIGHT and self.is_cut(b, inner)

    def build(self, b: Steps, problem: Problem, first: Array, second: Array) -> Array:
        if not self.moves:
            return super().build(b, problem, first, second)
        one, other = problem.slot.operands
        result = super().build(b, samples_last(problem), move_last(first, one), move_last(second, other))
        return move_back(result, problem.slot)

    def input(self, b: Steps, problem: Problem, w: Array, y: Array) -> Array:
        if not self.gathers:
            return super().input(b, problem, w, y)
        x = gathered(b, problem, w, y, COLUMNS.output)
        # Windows that reach beyond the output multiply zeros, and so a NaN or an infinity by 0.
        return b.unless_finite((w, x), x, partial(self.added, b, problem), w, y)

    def added(self, b: Steps, problem: Problem, w: Array, y: Array) -> Array:
        """`input` by adding windows up, which multiplies tied elements only; half types in their accumulation dtype."""
        return super().input(b, problem, b.wide(w), b.wide(y))

    def output(self, b: Steps, problem: Problem, x: Array, w: Array) -> Array:
        found = self._residues(problem)
        return super().output(b, problem, x, by_residue(b, w, found) if found else w)

    def weight(self, b: Steps, problem: Problem, x: Array, y: Array) -> Array:
        w, found = super().weight(b, problem, x, y), self._residues(problem)
        return in_order(w, found) if found else w

    def views(self, b: Steps, problem: Problem, x: Array) -> Views:
        found = self._residues(problem)
        return windows_by_residue(framed(b, problem, x), found) if found else super().views(b, problem, x)

    def _residues(self, problem: Problem) -> tuple[Residue, ...]:
        """The residues of the last axis' stride, if the input is split into them."""
        return residues(problem.geometry, problem.output_size[-1]) if self.parts else ()

    def product_output(self, b: Steps, views: Views, w: Array) -> Array:
        ndim = w.dim() - 3
        samples, groups, positions = views[0].shape[0], views[0].shape[1], views[0].shape[3 : 3 + ndim]
        if is_short(b, positions):
            product = b.matmul(w.flatten(2), _joined(b, views, ndim).flatten(1, -2))
            return unflatten(product, 2, (samples, *positions)).movedim(2, 0)
        product = output_product(b, w.flatten(2), _matrices(b, views, ndim).mT)
        return product.view(samples, groups, w.shape[1], *positions)

    def product_input(self, b: Steps, w: Array, y: Array) -> Array:
        ndim, positions = w.dim() - 3, y.shape[3:]
        if is_short(b, positions):
            product = b.matmul(w.flatten(2).mT, y.movedim(0, 2).flatten(2))
            columns = unflatten(unflatten(product, 2, (y.shape[0], *positions)), 1, w.shape[2:])
            return columns.movedim(2 + ndim, 0)
        columns = input_product(b, w.flatten(2), y.reshape(*y.shape[:3], -1)).mT
        return columns.reshape(*y.shape[:2], *w.shape[2:], *positions)

    def product_weight(self, b: Steps, views: Views, y: Array) -> Array:
        ndim, positions = y.dim() - 3, y.shape[3:]
        rows = _rows(views, ndim)
        # Joining the samples in one product copies the outputs too, which does not pay if they are larger than columns.
        if is_short(b, positions) or y.shape[2] <= math.prod(rows):
            joined = _joined(b, views, ndim).contiguous()
            product = b.matmul(y.movedim(0, 2).flatten(2), joined.flatten(1, -2).mT)
        else:
            product = weight_product(b, _matrices(b, views, ndim).mT, y.flatten(3))
        return unflatten(product, 2, rows)

    def chunk(self, problem: Problem) -> int | None:
        if problem.slot is Slot.WEIGHT and problem.itemsize == 2:
            # One product needs no widened half types for partial sums, and is several times as fast.
            whole = 2 * window_elements(problem)
            if 0 < whole <= _WHOLE:
                return whole
        return super().chunk(problem)


def _row(problem: Problem) -> int:
    """Elements of a contiguous row of the columns: output elements, or kernel elements if there is only one window."""
    geometry, row = problem.geometry, 1
    if math.prod(problem.output_size) == 1:
        return math.prod(geometry.kernel)
    axes = zip(geometry.kernel, geometry.stride, geometry.padding, problem.output_size, strict=True)
    for kernel, stride, padding, size in reversed([*axes]):
        if stride > 1 < row:
            break
        row *= size
        if (kernel, stride, padding) != (1, 1, (0, 0)):
            break
    return max(1, row)


_WAYS = {way: Columns(gathers=way[0], moves=way[1], parts=way[2]) for way in product((False, True), repeat=3)}
COLUMNS, GATHERING = _WAYS[False, False, False], _WAYS[True, False, False]


def _matrices(b: Steps, views: Views, ndim: int) -> Array:
    """Windows as columns, a matrix ``[n,g,c*k,o]`` for each sample."""
    columns = b.cat([kernel_first(view, ndim) for view in views], 2 + ndim)
    # One channel's windows may be a matrix already, but one whose rows overlap in memory is multiplied slowly.
    rows = math.prod(columns.shape[2 : 3 + ndim])
    return b.named("columns", columns.reshape(*columns.shape[:2], rows, -1).contiguous())


def _joined(b: Steps, views: Views, ndim: int) -> Array:
    """Windows as columns with the batch beside the positions: ``[g,c,*k,n*o]``."""
    columns = b.cat([kernel_first(view, ndim).movedim(0, 2 + ndim) for view in views], 1 + ndim)
    return b.named("columns", columns.flatten(2 + ndim))


def _rows(views: Views, ndim: int) -> Ints:
    """Shape ``(c, *k)`` of a column."""
    rows = tuple(kernel_first(views[0], ndim).shape[2 : 3 + ndim])
    return rows if len(views) == 1 else (*rows[:-1], sum(view.shape[-1] for view in views))
