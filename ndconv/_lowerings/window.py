"""The reference lowering: a window view and one einsum. Correct for everything, and the mathematics as it stands."""

from __future__ import annotations

import math
from functools import lru_cache

from opt_einsum import contract_expression
from torch import Tensor, einsum
from torch.compiler import is_compiling

from ndconv._cache import cached
from ndconv._geometry import Problem, Slot
from ndconv._lowerings._base import Cost, Lowering
from ndconv._subscripts import equation
from ndconv._windows import fold, pad, unpad, windows
from ndconv._workspace import chunks, get_workspace_limit

_equation = cached(equation)


_expression = lru_cache(maxsize=4096)(contract_expression)


def _contract(subscripts: str, a: Tensor, b: Tensor) -> Tensor:
    if is_compiling():
        # A compiler cannot trace opt_einsum. Two operands leave no path to find, so einsum does the same.
        return einsum(subscripts, a, b)
    product: Tensor = _expression(subscripts, tuple(a.shape), tuple(b.shape))(a, b, backend="torch")
    return product


def _elements_per_row(problem: Problem) -> int:
    """Elements of the windows of one sample at one index of the first output axis."""
    geometry = problem.geometry
    return geometry.groups * problem.channels * math.prod(geometry.kernel + problem.output_size[1:])


class Window(Lowering):
    """Contract the generated equation over a strided view of all windows; add columns back up for INPUT.

    The contraction copies the windows it works on (im2col), as many samples or rows of one sample at a time as the
    workspace limit allows.
    """

    name = "window"

    def cost(self, problem: Problem) -> Cost:
        geometry = problem.geometry
        rows, positions = problem.channels * math.prod(geometry.kernel), math.prod(problem.output_size)
        columns = problem.batch * geometry.groups * rows * positions
        x, w, y = (math.prod(problem.shape(slot)) for slot in Slot)
        adds = sum(geometry.kernel) if problem.slot is Slot.INPUT else 0
        shapes = {
            Slot.OUTPUT: f"({problem.features}, {rows}) @ ({rows}, {problem.batch * positions})",
            Slot.INPUT: f"({rows}, {problem.features}) @ ({problem.features}, {problem.batch * positions})",
            Slot.WEIGHT: f"({problem.features}, {problem.batch * positions}) @ ({problem.batch * positions}, {rows})",
        }
        return Cost(
            multiply_adds=problem.multiply_adds,
            # Windows are gathered with strides, at less than half the speed of a straight copy.
            elements_moved=2 * x + w + 3 * y + 5 * columns,
            elements_cached=0,
            workspace=min(columns, max(_elements_per_row(problem), get_workspace_limit() // problem.itemsize)),
            matmuls=f"{geometry.groups} x {shapes[problem.slot]}",
            calls=8 + 2 * adds + geometry.groups / 4,
        )

    def _parts(self, problem: Problem) -> list[tuple[slice, ...]]:
        """Slices ``[n, g, c or d, o]`` of windows or outputs whose columns fit the workspace: samples, then rows."""
        geometry, everything = problem.geometry, slice(None)
        if geometry.ndim == 0:
            return [(everything,)]
        rows = problem.output_size[0]
        each = problem.itemsize * _elements_per_row(problem)
        return [
            (samples, everything, everything, part)
            for samples in chunks(problem.batch, each * rows)
            for part in chunks(rows, each)
        ]

    def _windows(self, problem: Problem, x: Tensor) -> Tensor:
        geometry = problem.geometry
        return windows(pad(x, geometry.fit(problem.input_size, geometry.reach(problem.output_size))), geometry)

    def output(self, problem: Problem, x: Tensor, w: Tensor) -> Tensor:
        view, subscripts = self._windows(problem, x), _equation(problem.geometry.ndim, Slot.OUTPUT)
        y = x.new_empty(problem.shape(Slot.OUTPUT))
        for part in self._parts(problem):
            y[part] = _contract(subscripts, view[part], w)
        return y

    def input(self, problem: Problem, w: Tensor, y: Tensor) -> Tensor:
        geometry, subscripts = problem.geometry, _equation(problem.geometry.ndim, Slot.INPUT)
        reach, parts = geometry.reach(problem.output_size), self._parts(problem)
        if len(parts) == 1:
            padded = fold(_contract(subscripts, w, y), geometry)
        else:
            padded = y.new_zeros((*problem.shape(Slot.INPUT)[:3], *reach))
            for *lead, rows in parts:
                folded = fold(_contract(subscripts, w, y[(*lead, rows)]), geometry)
                start = geometry.stride[0] * (rows.start or 0)
                padded[(*lead, slice(start, start + folded.shape[3]))] += folded
        return unpad(padded, geometry.fit(problem.input_size, reach))

    def weight(self, problem: Problem, x: Tensor, y: Tensor) -> Tensor:
        view, subscripts = self._windows(problem, x), _equation(problem.geometry.ndim, Slot.WEIGHT)
        w = x.new_zeros(problem.shape(Slot.WEIGHT))
        for part in self._parts(problem):
            w += _contract(subscripts, view[part], y[part])
        return w
