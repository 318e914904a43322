"""Steps of a program, and the work of each.

There are four kinds: making a tensor, changing one, repeating steps, and steps that run only if a number is not finite.
The computation of a step is a line of Python with placeholders for its operands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ndconv._programs.values import Value, Variable

COPY = "{0}"
"""The line of a contiguous copy, which may have another shape than its source."""


class Copied(NamedTuple):
    """Elements that a step moves.

    Args:
        elements: How many are read and written.
        row: How many form a row: at a constant stride in source and destination.
        block: How many form a block of rows with equal gaps.
        axes: How many axes there are after merging.
        apart: The smallest distance of two elements, in source or destination, whichever is wider; 0 if rows are
            contiguous in both.
    """

    elements: int
    row: int
    block: int
    axes: int = 1
    apart: int = 0

    @classmethod
    def plain(cls, elements: int) -> Copied:
        """Elements that are all contiguous."""
        return cls(elements, elements, elements)


class Product(NamedTuple):
    """A number of matrix products ``(rows, terms) @ (terms, columns)``.

    Args:
        number: How many.
        rows: Of the first operand and the result.
        terms: Of each sum.
        columns: Of the second operand and the result.
        library: The library that computes them, one of `ndconv._programs.rates.Rates.products`; None if they are
            computed as passes over elements.
        by_columns: Whether columns of the second operand are contiguous, not rows.
    """

    number: int
    rows: int
    terms: int
    columns: int
    library: str | None
    by_columns: bool = False

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of all of them."""
        return self.number * self.rows * self.terms * self.columns

    @property
    def elements(self) -> int:
        """Elements of the operands and results of all of them."""
        return self.number * ((self.rows + self.columns) * self.terms + self.rows * self.columns)


class Work(NamedTuple):
    """The work of a step.

    Args:
        copied: Elements it moves.
        product: Matrix products it computes.
        calls: Operations it starts.
        inside: Bytes that its operation allocates while it runs, beside its result.
        views: Views that its operation makes.
    """

    copied: Copied | None = None
    product: Product | None = None
    calls: int = 1
    inside: int = 0
    views: int = 0


@dataclass(eq=False)
class Make:
    """``target = line``."""

    target: Variable
    line: str
    operands: tuple[Value, ...]
    work: Work


@dataclass(eq=False)
class Change:
    """A line that writes to the first operand."""

    line: str
    operands: tuple[Value, ...]
    work: Work


@dataclass(eq=False)
class Repeat:
    """Steps that run ``count`` times, in a loop with ``head`` before its colon."""

    head: str
    count: int
    steps: list[Step] = field(default_factory=list)


@dataclass(eq=False)
class Unless:
    """Steps that run unless a value has finite elements only; ``unseen`` is code for cases that forbid reading it."""

    watched: Value
    unseen: str = ""
    steps: list[Step] = field(default_factory=list)

    @property
    def work(self) -> Work:
        """A look at the sum of the elements."""
        return Work(Copied.plain(self.watched.numel()), calls=2)


Step = Make | Change | Repeat | Unless


def operands(step: Step) -> tuple[Value, ...]:
    """The values that a step itself reads or writes, without its inner steps."""
    if isinstance(step, Make | Change):
        return step.operands
    return (step.watched,) if isinstance(step, Unless) else ()


def walk(steps: Sequence[Step], times: int = 1) -> Iterator[tuple[int, Step]]:
    """All steps in order, inner steps too, with how often each runs; rare branches are left out."""
    for step in steps:
        yield times, step
        if isinstance(step, Repeat):
            yield from walk(step.steps, times * step.count)
