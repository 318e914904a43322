"""What the lowerings that copy windows share: chunks that bound the copies, padding, and adding windows back up."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator

from torch import Tensor
from torch.compiler import is_compiling

from ndconv._cache import cached
from ndconv._geometry import Ints, Pairs, Problem, Slot
from ndconv._lowerings._base import Cost, Lowering
from ndconv._windows import fold, pad, unpad, windows
from ndconv._workspace import aim, chunks, get_workspace_limit

# Elements that could be copied in the time that starting on a row takes; windows are copied along the last output axis.
_ROW = 18
# Bytes that could be copied in the time that an element with gaps to the next takes.
_APART = 12

Views = tuple[Tensor, ...]

# The one chunk of what need not be cut.
_WHOLE = ((slice(None),),)


class Windowed(Lowering):
    """A product of the weight with copied windows, as many samples, or rows of one, at a time as fit a chunk."""

    chunk_bytes: int | None = None
    """The least that a chunk of windows aims at; None for the workspace limit, which holds in any case."""
    dense: bool
    """Whether its matrices are dense, as in `Cost`."""
    passes: float
    """How often, in effect, a window element is moved through memory on its way into the product."""

    @abstractmethod
    def product_output(self, views: Views, w: Tensor) -> Tensor:
        """``y[n,g,d,*o]`` of windows ``view[n,g,c,*o,*k]``."""

    @abstractmethod
    def product_input(self, w: Tensor, y: Tensor) -> Tensor:
        """Gradient ``[n,g,c,*k,*o]`` of every window element."""

    @abstractmethod
    def product_weight(self, views: Views, y: Tensor) -> Tensor:
        """``w[g,d,c,*k]`` of windows ``view[n,g,c,*o,*k]``."""

    def views(self, problem: Problem, x: Tensor) -> Views:
        """Windows ``[n,g,c,*o,*k]`` of an input; if there are several, they have parts of the last kernel axis."""
        return (windows(framed(problem, x), problem.geometry),)

    def cost(self, problem: Problem) -> Cost:
        geometry = problem.geometry
        rows, positions = problem.channels * math.prod(geometry.kernel), math.prod(problem.output_size)
        columns = window_elements(problem)
        x, w, y = (math.prod(problem.shape(slot)) for slot in Slot)
        folds = problem.slot is Slot.INPUT
        shapes = {
            Slot.OUTPUT: f"({problem.features}, {rows}) @ ({rows}, {problem.batch * positions})",
            Slot.INPUT: f"({rows}, {problem.features}) @ ({problem.features}, {problem.batch * positions})",
            Slot.WEIGHT: f"({problem.features}, {problem.batch * positions}) @ ({problem.batch * positions}, {rows})",
        }
        chunk = max(1, aim(self._chunk(problem)) // problem.itemsize)
        parts = max(1, -(-columns // chunk))
        copied = columns * self.copying(problem)
        return Cost(
            multiply_adds=problem.multiply_adds,
            elements_moved=round(2 * x + parts * w + y + (self.passes + folds / 2) * copied),
            elements_cached=0,
            workspace=min(columns, max(elements_per_window(problem), chunk)),
            matmuls=f"{geometry.groups} x {shapes[problem.slot]}" + f" in {parts} chunks" * (parts > 1),
            calls=parts * (12 + 2 * folds * sum(geometry.kernel) + geometry.groups / 40),
            dense=self.dense,
        )

    def copying(self, problem: Problem) -> float:
        """What it takes to copy an element of the windows, in elements moved."""
        gaps = problem.slot is not Slot.INPUT and problem.geometry.row_stride > 1
        return (apart(problem) if gaps else 1) + _ROW / _row(problem)

    def output(self, problem: Problem, x: Tensor, w: Tensor) -> Tensor:
        views, parts = self.views(problem, x), self._parts(problem)
        if len(parts) == 1:
            return self.product_output(views, w)
        y = x.new_empty(problem.shape(Slot.OUTPUT))
        for part in parts:
            y[part] = self.product_output(_at(views, part), w)
        return y

    def input(self, problem: Problem, w: Tensor, y: Tensor) -> Tensor:
        geometry, parts = problem.geometry, self._parts(problem)
        reach = geometry.reach(problem.output_size)
        if len(parts) == 1:
            padded = fold(self.product_input(w, y), geometry)
        else:
            padded = y.new_zeros((*problem.shape(Slot.INPUT)[:3], *reach))
            for part in parts:
                folded = fold(self.product_input(w, y[part]), geometry)
                starts = (stride * cut.start for stride, cut in zip(geometry.stride, part[3:], strict=True))
                reached = (slice(start, start + size) for start, size in zip(starts, folded.shape[3:], strict=True))
                padded[part[:3] + tuple(reached)] += folded
        return unpad(padded, geometry.fit(problem.input_size, reach))

    def weight(self, problem: Problem, x: Tensor, y: Tensor) -> Tensor:
        views, (first, *others) = self.views(problem, x), self._parts(problem)
        w = self.product_weight(_at(views, first), y[first])
        for part in others:
            w += self.product_weight(_at(views, part), y[part])
        return w

    def _parts(self, problem: Problem) -> tuple[tuple[slice, ...], ...]:
        """Slices ``[n, g, c or d, *o]`` of windows or outputs that make the chunks: samples, then rows of one, ..."""
        return _WHOLE if is_compiling() else _slices(self, problem, get_workspace_limit())

    def is_cut(self, problem: Problem) -> bool:
        """Whether there are several of them."""
        return not is_compiling() and problem.itemsize * window_elements(problem) > aim(self._chunk(problem))

    def _chunk(self, problem: Problem) -> int | None:
        """Bytes that a chunk aims at: no less than the weight takes, which the product of every chunk reads again."""
        weight = problem.itemsize * math.prod(problem.shape(Slot.WEIGHT))
        return self.chunk_bytes and max(self.chunk_bytes, weight)


def elements_per_window(problem: Problem) -> int:
    """Elements that the windows of all channels have at one position."""
    return problem.geometry.groups * problem.channels * math.prod(problem.geometry.kernel)


def window_elements(problem: Problem) -> int:
    """Elements that all windows have."""
    return problem.batch * math.prod(problem.output_size) * elements_per_window(problem)


def apart(problem: Problem) -> float:
    """What it takes to copy an element with gaps to the next, in elements moved."""
    return max(1.0, _APART / problem.itemsize)


def _row(problem: Problem) -> int:
    """Output elements whose windows lie side by side, a row or rows that make one; or those of the only window."""
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


@cached
def _slices(lowering: Windowed, problem: Problem, limit: int) -> tuple[tuple[slice, ...], ...]:
    if not lowering.is_cut(problem):
        return _WHOLE
    each, sizes = problem.itemsize * elements_per_window(problem), (problem.batch, *problem.output_size)
    target = aim(lowering._chunk(problem))
    return tuple((samples, slice(None), slice(None), *part) for samples, *part in blocks(sizes, each, target))


def blocks(sizes: Ints, each: int, target: int) -> Iterator[tuple[slice, ...]]:
    """Slices that cut the first axis; where that leaves one index of it, the next one as well, and so on."""
    size, *rest = sizes
    for part in chunks(size, each * math.prod(rest), target):
        if rest and part.stop - part.start == 1:
            yield from ((part, *behind) for behind in blocks(tuple(rest), each, target))
        else:
            yield (part, *(slice(0, length) for length in rest))


def _at(views: Views, part: tuple[slice, ...]) -> Views:
    return tuple(view[part] for view in views)


def framed(problem: Problem, x: Tensor) -> Tensor:
    """The input, padded up to where the last window ends."""
    return pad(x, _frame(problem))


@cached
def _frame(problem: Problem) -> Pairs:
    """That padding, none if nothing is to be done."""
    frame = problem.geometry.fit(problem.input_size, problem.geometry.reach(problem.output_size))
    return frame if any(map(any, frame)) else ()
