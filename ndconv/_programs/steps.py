"""Steps of a program, and what each takes.

There are four kinds: making a tensor, changing one, repeating steps, and steps that run only if a number is not finite.
What a step computes is a line of Python with places for its operands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ndconv._programs.values import Value, Variable

COPY = "{0}"
"""The line of a contiguous copy, which may have another shape than what it copies."""


class Copied(NamedTuple):
    """Elements that a step moves.

    Args:
        elements: How many are read and written.
        row: How many lie side by side where they come from and where they go to, or as far apart from one to the next.
        block: How many are in such rows as have one gap between them.
        axes: How many axes there are when those are merged that can be.
        apart: How far apart the nearest are if those of a row have gaps on either side, where these are wider; else 0.
    """

    elements: int
    row: int
    block: int
    axes: int = 1
    apart: int = 0

    @classmethod
    def plain(cls, elements: int) -> Copied:
        """Elements that all lie side by side."""
        return cls(elements, elements, elements)


class Product(NamedTuple):
    """So many matrix products ``(rows, terms) @ (terms, columns)``.

    Args:
        number: How many.
        rows: Of the first operand and the result.
        terms: Of each sum.
        columns: Of the second operand and the result.
        library: Who computes them, one of `ndconv._programs.rates.Rates.products`; None if they are computed as passes
            over elements.
        by_columns: Whether columns of the second operand lie side by side, not rows.
    """

    number: int
    rows: int
    terms: int
    columns: int
    library: str | None
    by_columns: bool = False

    @property
    def multiply_adds(self) -> int:
        """Of all of them."""
        return self.number * self.rows * self.terms * self.columns

    @property
    def elements(self) -> int:
        """Of the operands and results of all of them."""
        return self.number * ((self.rows + self.columns) * self.terms + self.rows * self.columns)


class Work(NamedTuple):
    """What a step takes.

    Args:
        copied: Elements it moves.
        product: Matrix products it computes.
        calls: Operations it starts.
        inside: Bytes that its operation takes while it runs, beside what it makes.
    """

    copied: Copied | None = None
    product: Product | None = None
    calls: int = 1
    inside: int = 0


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
    """Steps that are run ``count`` times, with ``head`` before the colon."""

    head: str
    count: int
    steps: list[Step] = field(default_factory=list)


@dataclass(eq=False)
class Unless:
    """Steps that are run unless a value has finite elements only, or it is ``unseen`` because nobody may look."""

    watched: Value
    unseen: str = ""
    steps: list[Step] = field(default_factory=list)

    @property
    def work(self) -> Work:
        """A look at the sum of the elements."""
        return Work(Copied.plain(self.watched.numel()), calls=2)


Step = Make | Change | Repeat | Unless


def operands(step: Step) -> tuple[Value, ...]:
    """What a step itself reads or writes to, not the steps inside it."""
    if isinstance(step, Make | Change):
        return step.operands
    return (step.watched,) if isinstance(step, Unless) else ()


def walk(steps: Sequence[Step], times: int = 1) -> Iterator[tuple[int, Step]]:
    """All steps in order, those inside others too, with how often each is run; what is run seldom is left out."""
    for step in steps:
        yield times, step
        if isinstance(step, Repeat):
            yield from walk(step.steps, times * step.count)
