"""Windows copied into columns (im2col) a cache's worth at a time, and batched matrix products on them."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ndconv._cache import cached
from ndconv._geometry import Ints, Problem, Slot
from ndconv._lowerings._base import Cost
from ndconv._lowerings._finite import is_finite
from ndconv._lowerings._phases import gathered, gathers, kinds
from ndconv._lowerings._products import input_product, is_short, output_product, weight_product
from ndconv._lowerings._residues import (
    Residue,
    by_residue,
    count_residues,
    first_residue,
    in_order,
    residues,
    windows_by_residue,
)
from ndconv._lowerings._samples import move_back, move_last, samples_last
from ndconv._lowerings._windowed import Views, Windowed, apart, framed, window_elements
from ndconv._matmul import matmul
from ndconv._windows import kernel_first, unflatten

# Elements that are copied, or not, in the time that a residue takes to be seen to.
_RESIDUE = 60_000
# What it takes to transpose an element, in elements moved.
_MOVING = 5
# Bytes of half-type columns that are worth holding at once to sum over them in one product.
_WHOLE = 32 * 2**20


class Columns(Windowed):
    """The classical lowering, in any number of dimensions.

    Kernel elements come first and positions last, so that copies run along rows and products come out in the layout of
    the output. Where rows are short and samples many, samples come last (`ndconv._lowerings._samples`); where a stride
    makes gaps between the elements of a row, they are put side by side first (`ndconv._lowerings._residues`).
    """

    name = "columns"
    chunk_bytes = 8 * 2**20  # stays in a cache between the copy and the product
    dense = True
    passes = 1

    def accumulates(self, problem: Problem) -> bool:
        inner = samples_last(problem) if _moves(problem) else problem
        if problem.slot is Slot.INPUT:
            return not gathers(inner)
        return problem.slot is Slot.WEIGHT and self.is_cut(inner)

    def cost(self, problem: Problem) -> Cost:
        return _cost_of_moved(problem) if _moves(problem) else self._cost(problem)

    def copying(self, problem: Problem) -> float:
        if not _parts_residues(problem):
            return super().copying(problem)
        once = math.prod(problem.shape(Slot.INPUT)) / window_elements(problem)
        return apart(problem) * once + super().copying(replace(problem, geometry=first_residue(problem.geometry)))

    def _cost(self, problem: Problem) -> Cost:
        if not gathers(problem):
            parted = math.prod(problem.shape(Slot.INPUT)) if _parts_residues(problem) else 0
            cost = super().cost(problem)
            return replace(cost, workspace=cost.workspace + parted)
        return Cost.altogether([(times, self._cost(kind)) for times, kind in kinds(problem)])

    def run(self, problem: Problem, first: Tensor, second: Tensor) -> Tensor:
        if not _moves(problem):
            return super().run(problem, first, second)
        one, other = problem.slot.operands
        result = super().run(samples_last(problem), move_last(first, one), move_last(second, other))
        return move_back(result, problem.slot)

    def input(self, problem: Problem, w: Tensor, y: Tensor) -> Tensor:
        if not gathers(problem):
            return super().input(problem, w, y)
        x = gathered(problem, w, y, self.output)
        # Windows that hang over the output multiply zeros.
        return x if is_finite(w, x) else self.added(problem, w, y)

    def added(self, problem: Problem, w: Tensor, y: Tensor) -> Tensor:
        """`input` by adding windows up, which multiplies only what is tied; half types in the dtype of their sums."""
        wide = torch.promote_types(w.dtype, torch.float32)
        return super().input(problem, w.to(wide), y.to(wide)).to(w.dtype)

    def output(self, problem: Problem, x: Tensor, w: Tensor) -> Tensor:
        found = _residues(problem)
        return super().output(problem, x, by_residue(w, found) if found else w)

    def weight(self, problem: Problem, x: Tensor, y: Tensor) -> Tensor:
        w, found = super().weight(problem, x, y), _residues(problem)
        return in_order(w, found) if found else w

    def views(self, problem: Problem, x: Tensor) -> Views:
        found = _residues(problem)
        return windows_by_residue(framed(problem, x), found) if found else super().views(problem, x)

    def product_output(self, views: Views, w: Tensor) -> Tensor:
        ndim = w.dim() - 3
        samples, groups, positions = views[0].shape[0], views[0].shape[1], views[0].shape[3 : 3 + ndim]
        if is_short(positions):
            product = matmul(w.flatten(2), _joined(views, ndim).flatten(1, -2))
            return unflatten(product, 2, (samples, *positions)).movedim(2, 0)
        return output_product(w.flatten(2), _matrices(views, ndim).mT).view(samples, groups, w.shape[1], *positions)

    def product_input(self, w: Tensor, y: Tensor) -> Tensor:
        ndim, positions = w.dim() - 3, y.shape[3:]
        if is_short(positions):
            product = matmul(w.flatten(2).mT, y.movedim(0, 2).flatten(2))
            columns = unflatten(unflatten(product, 2, (y.shape[0], *positions)), 1, w.shape[2:])
            return columns.movedim(2 + ndim, 0)
        columns = input_product(w.flatten(2), y.reshape(*y.shape[:3], -1)).mT
        return columns.reshape(*y.shape[:2], *w.shape[2:], *positions)

    def product_weight(self, views: Views, y: Tensor) -> Tensor:
        ndim, positions = y.dim() - 3, y.shape[3:]
        rows = _rows(views, ndim)
        # Samples are joined in one product, which copies the outputs as well, unless these are the larger.
        if is_short(positions) or y.shape[2] <= math.prod(rows):
            joined = _joined(views, ndim).contiguous()
            product = matmul(y.movedim(0, 2).flatten(2), joined.flatten(1, -2).mT)
        else:
            product = weight_product(_matrices(views, ndim).mT, y.flatten(3))
        return unflatten(product, 2, rows)

    def _chunk(self, problem: Problem) -> int | None:
        if problem.slot is Slot.WEIGHT and problem.itemsize == 2:
            # One product sums half types without widening them, and multiplies several times as fast.
            whole = 2 * window_elements(problem)
            if 0 < whole <= _WHOLE:
                return whole
        return super()._chunk(problem)


def _moves(problem: Problem) -> bool:
    """Whether longer rows are worth moving samples to the last axis."""
    return not is_compiling() and problem.batch > 1 and _gains(problem)


@cached
def _gains(problem: Problem) -> bool:
    return _cost_of_moved(problem).elements_moved < COLUMNS._cost(problem).elements_moved


def _cost_of_moved(problem: Problem) -> Cost:
    moved = sum(math.prod(problem.shape(slot)) for slot in (Slot.INPUT, Slot.OUTPUT))
    moving = Cost(0, _MOVING * moved, 0, moved, "", 4)
    return Cost.altogether([(1, COLUMNS._cost(samples_last(problem))), (1, moving)])


COLUMNS = Columns()


def _matrices(views: Views, ndim: int) -> Tensor:
    """Windows as columns, a matrix ``[n,g,c*k,o]`` for each sample."""
    columns = _cat([kernel_first(view, ndim) for view in views], 2 + ndim)
    # One channel's windows may pass for a matrix as they are, but one whose rows overlap is multiplied slowly.
    return columns.reshape(*columns.shape[:2], columns.shape[2 : 3 + ndim].numel(), -1).contiguous()


def _joined(views: Views, ndim: int) -> Tensor:
    """Windows as columns with the batch beside the positions: ``[g,c,*k,n*o]``."""
    return _cat([kernel_first(view, ndim).movedim(0, 2 + ndim) for view in views], 1 + ndim).flatten(2 + ndim)


def _rows(views: Views, ndim: int) -> Ints:
    """Shape ``(c, *k)`` of a column."""
    rows = tuple(kernel_first(views[0], ndim).shape[2 : 3 + ndim])
    return rows if len(views) == 1 else (*rows[:-1], sum(view.shape[-1] for view in views))


def _cat(parts: list[Tensor], axis: int) -> Tensor:
    return torch.cat(parts, axis) if len(parts) > 1 else parts[0]


def _residues(problem: Problem) -> tuple[Residue, ...]:
    """The residues of the last axis' stride, if it is worth taking the input apart into them."""
    return residues(problem.geometry, problem.output_size[-1]) if _parts_residues(problem) else ()


def _parts_residues(problem: Problem) -> bool:
    """Whether it is."""
    if problem.slot is Slot.INPUT or problem.geometry.row_stride == 1 or is_compiling():
        return False
    return _worthwhile(problem)


@cached
def _worthwhile(problem: Problem) -> bool:
    input, weight = (math.prod(problem.shape(slot)) for slot in (Slot.INPUT, Slot.WEIGHT))
    saved, number = window_elements(problem) - input - 2 * weight, count_residues(problem.geometry)
    return number > 1 and saved > _RESIDUE * number
