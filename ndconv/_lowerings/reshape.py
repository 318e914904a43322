"""Windows that share no element: the convolution is a matrix product on a rearranged input."""

from __future__ import annotations

import math

from torch import Tensor
from torch.compiler import is_compiling

from ndconv._geometry import Problem, Slot
from ndconv._lowerings._base import Cost, Lowering
from ndconv._lowerings._products import input_product, output_product, weight_product
from ndconv._windows import fold, kernel_first, narrow, pad, unflatten, unpad, windows


class Reshape(Lowering):
    """One batched matrix product per slot and no repeated element: 1x1 kernels, patches, a kernel of the input's size.

    Applies where on every axis the stride reaches past the dilated kernel or there is one window only. The input is
    rearranged at most once and never multiplied; for a 1x1 kernel and for a kernel that covers the input it is used as
    it lies. Elements that no window reads, between windows or after the last, get gradient 0.
    """

    name = "reshape"

    def refusal(self, problem: Problem) -> str | None:
        geometry = problem.geometry
        for extent, stride, positions in zip(geometry.extent, geometry.stride, problem.output_size, strict=True):
            if positions > 1 and extent > stride:
                return f"windows overlap: they span {geometry.extent} and the stride is {geometry.stride}"
        return None

    def accumulates(self, problem: Problem) -> bool:
        return False

    def cost(self, problem: Problem) -> Cost:
        rows, positions = problem.channels * math.prod(problem.geometry.kernel), math.prod(problem.output_size)
        x, w, y = (math.prod(problem.shape(slot)) for slot in Slot)
        read = problem.batch * problem.geometry.groups * rows * positions
        in_place = math.prod(problem.geometry.kernel) == 1 or positions == 1
        columns = problem.batch * positions
        batched, shape = {
            Slot.OUTPUT: (positions > 1, f"({problem.features}, {rows}) @ ({rows}, {positions})"),
            Slot.INPUT: (positions > 1, f"({rows}, {problem.features}) @ ({problem.features}, {positions})"),
            Slot.WEIGHT: (False, f"({problem.features}, {columns}) @ ({columns}, {rows})"),
        }[problem.slot]
        return Cost(
            multiply_adds=problem.multiply_adds,
            elements_moved=x + w + y + (0 if in_place else 2 * read),
            elements_cached=0,
            workspace=0 if in_place else read,
            matmuls=f"{problem.geometry.groups * (problem.batch if batched else 1)} x {shape}",
            calls=4 + problem.geometry.groups / 4,
        )

    def _columns(self, problem: Problem, x: Tensor) -> Tensor:
        """``x[n,g,c,*i] -> x[n,g,o,c k]``."""
        geometry, ndim = problem.geometry, problem.geometry.ndim
        padded = pad(x, geometry.fit(problem.input_size, geometry.reach(problem.output_size)))
        view, positions = windows(padded, geometry), math.prod(problem.output_size)
        if ndim and not is_compiling() and geometry.kernel[-1] < problem.output_size[-1]:
            return kernel_first(view, ndim).reshape(*x.shape[:2], -1, positions).mT  # for copies along longer rows
        return view.movedim(2, 2 + ndim).reshape(*x.shape[:2], positions, -1)

    def output(self, problem: Problem, x: Tensor, w: Tensor) -> Tensor:
        return output_product(w.flatten(2), self._columns(problem, x)).reshape(problem.shape(Slot.OUTPUT))

    def input(self, problem: Problem, w: Tensor, y: Tensor) -> Tensor:
        geometry, ndim = problem.geometry, problem.geometry.ndim
        columns = input_product(w.flatten(2), _flat(y, problem))
        columns = unflatten(columns, 3, (problem.channels, *geometry.kernel))
        columns = unflatten(columns, 2, problem.output_size or (1,))
        if not ndim:
            return columns.squeeze(2)
        columns, shape = columns.movedim(2 + ndim, 2), problem.shape(Slot.INPUT)
        reach = geometry.reach(problem.output_size)
        frame = geometry.fit(problem.input_size, reach)
        if is_compiling():
            return unpad(fold(kernel_first(columns, ndim), geometry), frame)  # its sizes have no strides to write to
        inside = all(lo == 0 and hi <= 0 for lo, hi in frame)
        x = y.new_zeros(shape if inside else (*shape[:3], *reach))
        windows(narrow(x, reach), geometry).copy_(columns)
        return x if inside else unpad(x, frame)

    def weight(self, problem: Problem, x: Tensor, y: Tensor) -> Tensor:
        return weight_product(self._columns(problem, x), _flat(y, problem)).reshape(problem.shape(Slot.WEIGHT))


def _flat(y: Tensor, problem: Problem) -> Tensor:
    """``y[n,g,d,*o] -> y[n,g,d,o]``."""
    return y.reshape(*y.shape[:3], math.prod(problem.output_size))
