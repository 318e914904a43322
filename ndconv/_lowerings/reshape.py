"""Windows that share no element: the convolution is a matrix product on a rearranged input."""

from __future__ import annotations

import math

from ndconv._form.geometry import Problem, Slot
from ndconv._lowerings._base import Array, Lowering, Steps
from ndconv._lowerings._products import input_product, output_product, weight_product
from ndconv._programs.windows import fold, kernel_first, narrow, unflatten, windows


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

    def accumulates(self, b: Steps, problem: Problem) -> bool:
        return False

    def _patches(self, b: Steps, problem: Problem, x: Array) -> Array:
        """``x[n,g,c,*i] -> x[n,g,o,c k]``."""
        geometry, ndim = problem.geometry, problem.geometry.ndim
        padded = b.pad(x, geometry.fit(problem.input_size, geometry.reach(problem.output_size)))
        view, positions = windows(padded, geometry), math.prod(problem.output_size)
        if ndim and not b.symbolic and geometry.kernel[-1] < problem.output_size[-1]:
            patches = kernel_first(view, ndim).reshape(*x.shape[:2], -1, positions)  # copied along longer rows
            return b.named("patches", patches).mT
        return b.named("patches", view.movedim(2, 2 + ndim).reshape(*x.shape[:2], positions, -1))

    def output(self, b: Steps, problem: Problem, x: Array, w: Array) -> Array:
        return output_product(b, w.flatten(2), self._patches(b, problem, x)).reshape(problem.shape(Slot.OUTPUT))

    def input(self, b: Steps, problem: Problem, w: Array, y: Array) -> Array:
        geometry, ndim = problem.geometry, problem.geometry.ndim
        patches = input_product(b, w.flatten(2), _flat(y, problem))
        patches = unflatten(patches, 3, (problem.channels, *geometry.kernel))
        patches = unflatten(patches, 2, problem.output_size or (1,))
        if not ndim:
            return patches.squeeze(2)
        patches, shape = patches.movedim(2 + ndim, 2), problem.shape(Slot.INPUT)
        reach = geometry.reach(problem.output_size)
        frame = geometry.fit(problem.input_size, reach)
        if b.symbolic:
            return b.unpad(fold(kernel_first(patches, ndim), geometry), frame)  # its sizes have no strides to write to
        if _fills(problem) and math.prod(geometry.kernel) == 1:
            for _ in range(ndim):  # as they are
                patches = patches.squeeze(-1)
            return patches
        inside = all(lo == 0 and hi <= 0 for lo, hi in frame)
        # Where windows fill the input, rearranging them is all; else zeros are what no window reads.
        x = (y.new_empty if _fills(problem) else y.new_zeros)(shape if inside else (*shape[:3], *reach))
        windows(narrow(b.named("x", x), reach), geometry).copy_(patches)
        return x if inside else b.unpad(x, frame)

    def weight(self, b: Steps, problem: Problem, x: Array, y: Array) -> Array:
        return weight_product(b, self._patches(b, problem, x), _flat(y, problem)).reshape(problem.shape(Slot.WEIGHT))


def _flat(y: Array, problem: Problem) -> Array:
    """``y[n,g,d,*o] -> y[n,g,d,o]``."""
    return y.reshape(*y.shape[:3], math.prod(problem.output_size))


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
