"""The common part of lowerings that copy windows: chunks that bound the copies, padding, adding windows back up."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from ndconv._form.geometry import Problem, Slot
from ndconv._lowerings._base import Lowering
from ndconv._lowerings._products import is_short
from ndconv._programs.values import Array, Span, Steps
from ndconv._programs.windows import fold, windows

Views = tuple[Array, ...]

# From so many bytes of a sample's windows on, samples are computed one by one.
_ALONE = 2 * 2**20


class Windowed(Lowering):
    """A product of the weight with copied windows, chunk by chunk. A chunk has several samples, or rows of one."""

    chunk_bytes: int | None = None
    """The least bytes that a chunk of windows aims at, up to the workspace limit; None for that limit."""

    @abstractmethod
    def product_output(self, b: Steps, views: Views, w: Array) -> Array:
        """``y[n,g,d,*o]`` of windows ``view[n,g,c,*o,*k]``."""

    @abstractmethod
    def product_input(self, b: Steps, w: Array, y: Array) -> Array:
        """Gradient ``[n,g,c,*k,*o]`` of every window element."""

    @abstractmethod
    def product_weight(self, b: Steps, views: Views, y: Array) -> Array:
        """``w[g,d,c,*k]`` of windows ``view[n,g,c,*o,*k]``."""

    def views(self, b: Steps, problem: Problem, x: Array) -> Views:
        """Windows ``[n,g,c,*o,*k]`` of an input; several views share out the last kernel axis."""
        return (windows(framed(b, problem, x), problem.geometry),)

    def output(self, b: Steps, problem: Problem, x: Array, w: Array) -> Array:
        views = self.views(b, problem, x)
        if not self.is_cut(b, problem):
            return self.product_output(b, views, w)
        y = b.new_result(x, problem.shape(Slot.OUTPUT), "empty")
        for part in self._parts(b, problem):
            y[part] = self.product_output(b, _at(views, part), w)
        return y

    def input(self, b: Steps, problem: Problem, w: Array, y: Array) -> Array:
        geometry = problem.geometry
        reach = geometry.reach(problem.output_size)
        if not self.is_cut(b, problem):
            padded = fold(b, self.product_input(b, w, y), geometry)
        else:
            padded = b.new_result(y, (*problem.shape(Slot.INPUT)[:3], *reach), "zeros")
            for part in self._parts(b, problem):
                folded = fold(b, self.product_input(b, w, y[part]), geometry)
                axes: Any = zip(geometry.stride, part[3:], folded.shape[3:], strict=True)
                padded[part[:3] + tuple(b.span(cut.start, size, factor=stride) for stride, cut, size in axes)] += folded
        return b.unpad(padded, geometry.fit(problem.input_size, reach))

    def weight(self, b: Steps, problem: Problem, x: Array, y: Array) -> Array:
        views = self.views(b, problem, x)
        if not self.is_cut(b, problem):
            return self.product_weight(b, views, y)
        total = b.total(x)
        for part in self._parts(b, problem):
            total.add(self.product_weight(b, _at(views, part), y[part]))
        return total.value

    def _parts(self, b: Steps, problem: Problem) -> Iterator[tuple[Any, ...]]:
        """Spans ``[n, g, c or d, *o]`` of windows or outputs that make the chunks: samples, then rows of one, ..."""
        each, sizes = problem.itemsize * elements_per_window(problem), (problem.batch, *problem.output_size)
        target = self.chunk(problem)
        if not is_short(b, problem.output_size):
            # Each sample is a product of its own, and large ones gain nothing from being in one chunk.
            target = min(b.aim(target), max(_ALONE, each * math.prod(problem.output_size)))
        for samples, *part in b.blocks(sizes, each, target):
            yield (samples, slice(None), slice(None), *part)

    def is_cut(self, b: Steps, problem: Problem) -> bool:
        """Whether there are several chunks."""
        return not b.symbolic and bool(problem.itemsize * window_elements(problem) > b.aim(self.chunk(problem)))

    def chunk(self, problem: Problem) -> int | None:
        """Bytes that a chunk aims at: no less than those of the weight, which every chunk's product reads again."""
        weight = problem.itemsize * math.prod(problem.shape(Slot.WEIGHT))
        return self.chunk_bytes and max(self.chunk_bytes, weight)


def elements_per_window(problem: Problem) -> int:
    """Elements in the windows of all channels at one position."""
    return problem.geometry.groups * problem.channels * math.prod(problem.geometry.kernel)


def window_elements(problem: Problem) -> int:
    """Elements in all windows."""
    return problem.batch * math.prod(problem.output_size) * elements_per_window(problem)


def _at(views: Views, part: tuple[slice | Span, ...]) -> Views:
    return tuple(view[part] for view in views)


def framed(b: Steps, problem: Problem, x: Array) -> Array:
    """The input, padded up to where the last window ends."""
    return b.pad(x, problem.geometry.fit(problem.input_size, problem.geometry.reach(problem.output_size)))
