"""Windows that share no element: the convolution is a matrix product on a rearranged input."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ndconv._form.geometry import Problem, Slot
from ndconv._lowerings._base import Lowering
from ndconv._lowerings._products import input_product, is_short, output_product, weight_product
from ndconv._lowerings._windowed import framed
from ndconv._programs.values import Array, Steps
from ndconv._programs.windows import fold, kernel_first, merge, narrow, unflatten, windows


class Reshape(Lowering):
    """One batched matrix product per slot and no repeated element: 1x1 kernels, patches, a kernel of the input's size.

    Applies where on every axis the stride is at least the dilated kernel's extent, or there is one window only. The
    input is copied at most once, and not at all for a 1x1 kernel or one that covers the input. Elements that no window
    reads, between windows or after the last, get gradient 0.

    Args:
        joins: Whether one product makes the output of all samples, though that has to join their patches first.
    """

    name = "reshape"

    def __init__(self, *, joins: bool = False) -> None:
        self.joins = joins

    def ways(self, problem: Problem) -> Iterable[Lowering]:
        several = problem.batch > 1 and math.prod(problem.output_size) > 1
        return (RESHAPE, JOINING) if problem.slot is Slot.OUTPUT and several else (RESHAPE,)

    def refusal(self, problem: Problem) -> str | None:
        geometry = problem.geometry
        for extent, stride, positions in zip(geometry.extent, geometry.stride, problem.output_size, strict=True):
            if positions > 1 and extent > stride:
                return f"windows overlap: they span {geometry.extent} and the stride is {geometry.stride}"
        return None

    def accumulates(self, b: Steps, problem: Problem) -> bool:
        return False

    def _patches(self, b: Steps, problem: Problem, x: Array) -> Array:
        """``x[n,g,c,*i] -> x[n,g,o,c k]``."""
        geometry, ndim = problem.geometry, problem.geometry.ndim
        view, positions = windows(framed(b, problem, x), geometry), math.prod(problem.output_size)
        if not b.symbolic and _lies_along_positions(problem):
            patches = kernel_first(view, ndim).reshape(*x.shape[:2], -1, positions)  # copied along longer rows
            return b.named("patches", patches).mT
        return b.named("patches", view.movedim(2, 2 + ndim).reshape(*x.shape[:2], positions, -1))

    def output(self, b: Steps, problem: Problem, x: Array, w: Array) -> Array:
        if self.joins:
            product = b.matmul(w.flatten(2), self._joined(b, problem, x).mT)
            return unflatten(product, 2, (problem.batch, *problem.output_size)).movedim(2, 0)
        return output_product(b, w.flatten(2), self._patches(b, problem, x)).reshape(problem.shape(Slot.OUTPUT))

    def input(self, b: Steps, problem: Problem, w: Array, y: Array) -> Array:
        geometry, ndim = problem.geometry, problem.geometry.ndim
        if b.symbolic or _lies_along_positions(problem):
            patches = input_product(b, w.flatten(2), _flat(y, problem))
        else:
            # Patches as rows of the product are copied back along these rows, for all samples at once.
            patches = b.matmul(_side_by_side(y, problem).mT, w.flatten(2))
            patches = unflatten(patches, 1, (problem.batch, math.prod(problem.output_size))).movedim(1, 0)
        patches = unflatten(patches, 3, (problem.channels, *geometry.kernel))
        patches = unflatten(patches, 2, problem.output_size or (1,))
        if not ndim:
            return patches.squeeze(2)
        patches, shape = patches.movedim(2 + ndim, 2), problem.shape(Slot.INPUT)
        reach = geometry.reach(problem.output_size)
        frame = geometry.fit(problem.input_size, reach)
        if b.symbolic:  # symbolic sizes have no strides to write to
            return b.unpad(fold(b, kernel_first(patches, ndim), geometry), frame)
        if _fills(problem):
            return b.named("x", merge(patches, 3, ndim))  # only permutes them, and is a view for 1x1 windows
        inside = all(lo == 0 and hi <= 0 for lo, hi in frame)
        # Elements that no window reads stay zeros.
        x = b.new_result(y, shape if inside else (*shape[:3], *reach), "zeros")
        windows(narrow(b.named("x", x), reach), geometry).copy_(patches)
        return x if inside else b.unpad(x, frame)

    def _joined(self, b: Steps, problem: Problem, x: Array) -> Array:
        """``x[n,g,c,*i] -> x[g,n o,c k]``, of all samples at once."""
        geometry, ndim = problem.geometry, problem.geometry.ndim
        view, rows = windows(framed(b, problem, x), geometry), problem.channels * math.prod(geometry.kernel)
        if _lies_along_positions(problem):
            patches = kernel_first(view, ndim).movedim(0, 2 + ndim).reshape(x.shape[1], rows, -1)
            return b.named("patches", patches).mT
        return b.named("patches", view.movedim(2, 2 + ndim).transpose(0, 1).reshape(x.shape[1], -1, rows))

    def weight(self, b: Steps, problem: Problem, x: Array, y: Array) -> Array:
        if is_short(b, problem.output_size):
            # One product for all samples; their patches are copied once, in the layout that it reads.
            product = b.matmul(_side_by_side(y, problem), self._joined(b, problem, x))
            return product.reshape(problem.shape(Slot.WEIGHT))
        return weight_product(b, self._patches(b, problem, x), _flat(y, problem)).reshape(problem.shape(Slot.WEIGHT))


RESHAPE, JOINING = Reshape(), Reshape(joins=True)


def _flat(y: Array, problem: Problem) -> Array:
    """``y[n,g,d,*o] -> y[n,g,d,o]``."""
    return y.reshape(*y.shape[:3], math.prod(problem.output_size))


def _side_by_side(y: Array, problem: Problem) -> Array:
    """``y[n,g,d,*o] -> y[g,d,n o]``."""
    return _flat(y, problem).movedim(0, 2).flatten(2)


def _lies_along_positions(problem: Problem) -> bool:
    """Whether rows of positions are longer than rows of a patch, so that patches are copied with positions last."""
    kernel, positions = problem.geometry.kernel, problem.output_size
    return bool(positions) and kernel[-1] < positions[-1]


def _fills(problem: Problem) -> bool:
    """Whether windows lie side by side and read all of the input."""
    geometry = problem.geometry
    axes = zip(
        geometry.kernel, geometry.stride, geometry.dilation, problem.output_size, problem.input_size, strict=True
    )
    return not any(map(any, geometry.padding)) and all(
        1 in (d, kernel) and (stride == kernel or positions == 1) and stride * (positions - 1) + kernel == size
        for kernel, stride, d, positions, size in axes
    )
