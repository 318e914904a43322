"""How work is cut into chunks so that buffers stay small."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

from ndconv._form.geometry import Ints
from ndconv._programs.values import Place, Span


class Chunks(ABC):
    """Cuts axes into spans.

    Args:
        limit: Bytes that buffers aim to stay under.
        least: Bytes of a chunk that is worth the calls for it.
    """

    def __init__(self, limit: int, least: int = 0) -> None:
        self.limit, self.least = limit, least

    @abstractmethod
    def ranged(self, start: int, stop: int, step: int, name: str) -> Iterator[Place]:
        """Every ``step``-th number of a range, in a loop unless there is only one."""

    def aim(self, target: int | None = None) -> int:
        """The bytes that a chunk aims at: the target if it is worth a chunk, up to the limit."""
        return self.limit if target is None else min(max(target, self.least), self.limit)

    def per_chunk(self, length: int, bytes_each: int, target: int | None = None) -> int:
        """How many of ``length`` items a chunk has: chunks are about equal, and within the aim if one item is."""
        most = max(1, min(length, self.aim(target) // max(1, bytes_each)))
        return -(-length // -(-length // most)) if length else 1

    def each(self, length: int, name: str, start: int = 0) -> Iterator[Place]:
        """Every index of an axis from ``start`` on."""
        return self.ranged(start, length, 1, name)

    def chunks(
        self, length: int, bytes_each: int, target: int | None = None, name: str = "n",
        *, start: int = 0, apart: bool = False,
    ) -> Iterator[Span]:  # fmt: skip
        """Spans of `per_chunk` items; the last has the remainder.

        Args:
            length: How many items there are.
            bytes_each: Bytes of one item.
            target: Bytes to aim at; None for the limit.
            name: The loop variable's name.
            start: The first item's index.
            apart: Whether the first span is kept out of the loop.
        """
        step = self.per_chunk(length, bytes_each, target)
        whole = length // step * step
        first = min(whole, step) if apart else 0
        for begin, end in ((0, first), (first, whole)):
            for place in self.ranged(start + begin, start + end, step, name):
                yield Span(place, step)
        if whole < length:
            yield Span(Place(start + whole), length - whole)

    def blocks(
        self, sizes: Ints, each: int, target: int | None = None, names: str = "nopqrstuv"
    ) -> Iterator[tuple[Span, ...]]:
        """Spans that cut the first axis; where they have one index of it, they cut the next axis too, and so on."""
        size, *rest = sizes
        for part in self.chunks(size, each * math.prod(rest), target, names[0]):
            if rest and part.length == 1:
                for behind in self.blocks(tuple(rest), each, target, names[1:] or names):
                    yield (part, *behind)
            else:
                yield (part, *(Span(Place(), length) for length in rest))
