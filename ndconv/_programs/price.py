"""What a program takes, read off its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ndconv._programs.builder import Builder
from ndconv._programs.lifetimes import last_uses, positions
from ndconv._programs.steps import Change, Make, Product, Repeat, Step, walk
from ndconv._programs.values import Value, Variable

# Elements that could be copied in the time that starting on a row takes, and bytes in the time that an element takes
# that has gaps on either side.
_ROW, _APART = 18, 12
# Up to so many rows or columns a product takes as long as reading its operands.
_THIN = 4
# What a further product of a batch takes, in operations started, and one that adds to what is there.
_EACH, _EACH_AGAIN = 1 / 10, 1 / 4


@dataclass(frozen=True)
class Rates:
    """How fast things go.

    Args:
        multiply_adds: In a nanosecond, of dense matrices and of others, by the bytes of an element.
        moved: Bytes moved in a nanosecond.
        cached: Bytes taken from a cache in a nanosecond.
        call: Nanoseconds that starting an operation takes.
        large: From so many bytes on, buffers come from the system at every call.
        page: Nanoseconds that this takes, a byte.
    """

    multiply_adds: Mapping[int, tuple[float, float]]
    moved: float
    cached: float
    call: float
    large: int
    page: float


@dataclass(frozen=True)
class Cost:
    """What a program spends.

    Args:
        multiply_adds: Products it computes, those it throws away included.
        bytes_moved: Read from and written to memory, short rows and gaps counted as more.
        bytes_cached: What products that add to what is there read and rewrite while it lies in a cache.
        workspace: Bytes of the largest buffers alive at one time beside operands and result.
        matmuls: Number of matrix products and their shapes, e.g. ``9 x (64, 64) @ (64, 3364)``, largest part first.
        calls: Number of tensor operations started.
        nanoseconds: All this together, at some rates.
    """

    multiply_adds: int
    bytes_moved: int
    bytes_cached: int
    workspace: int
    matmuls: str
    calls: int
    nanoseconds: float


def price(builder: Builder, result: Value, rates: Rates) -> Cost:
    """The cost of what a builder has recorded."""
    moved = computing = calls = 0.0
    cached = adds = 0
    products: Counter[Product] = Counter()
    for times, step in walk(builder.steps):
        if not isinstance(step, Make | Change):
            continue
        work, itemsize = step.work, (step.operands[0] if step.operands else result).itemsize
        calls += times * work.calls
        moved += times * _moved(step, itemsize)
        if work.product:
            number = times * work.product.multiply_adds
            adds += number
            computing += number / rates.multiply_adds[itemsize][not work.product.dense]
            products[work.product._replace(number=1)] += times * work.product.number
            # Products of a few rows are bound by what they read.
            thin = min(work.product.rows, work.product.columns) <= _THIN
            read = sum(each.numel() for each in step.operands if work.again or each.variable.owned)
            cached += times * itemsize * read * (1 + 2 * thin)
            calls += times * (work.product.number - 1) * (_EACH_AGAIN if work.again else _EACH)
    most = workspace(builder, result)
    nanoseconds = computing + moved / rates.moved + cached / rates.cached + calls * rates.call
    nanoseconds += most * rates.page if most >= rates.large else 0.0
    return Cost(adds, round(moved), cached, most, _text(products), round(calls), nanoseconds)


def _text(products: Mapping[Product, int]) -> str:
    shapes: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    for each, number in products.items():
        text = f"({each.rows}, {each.terms}) @ ({each.terms}, {each.columns})"
        shapes[text] += number
        largest[text] += number * each.multiply_adds
    return ", ".join(f"{shapes[text]} x {text}" for text, _ in largest.most_common())


def _moved(step: Make | Change, itemsize: int) -> float:
    """Bytes that a step moves, what a product makes and what it reads of the operands included."""
    copied, elements = step.work.copied, 0.0
    if copied is not None:
        longer = max(1.0, _APART / itemsize) if copied.apart else 1.0
        elements += copied.elements * ((1 + longer) / 2 + _ROW / (2 * max(1, copied.row)))
    elif step.work.product is not None and not step.work.again:
        made, given = (
            (step.target.elements, step.operands)
            if isinstance(step, Make)
            else (step.operands[0].numel(), step.operands[1:])
        )
        elements += made + sum(each.numel() for each in given if not each.variable.owned)
    return elements * itemsize


def workspace(builder: Builder, result: Value) -> int:
    """The most bytes alive at one time, without operands and result."""
    last, _ = last_uses(builder.steps)
    return _Alive(last, result.variable).most(builder.steps)


class _Alive:
    """The buffers alive at each step."""

    def __init__(self, last: dict[Variable, int], result: Variable) -> None:
        self.last, self.result = last, result
        self.position = self.now = self.peak = 0
        self.alive: set[Variable] = set()

    def most(self, steps: Sequence[Step]) -> int:
        """Run through steps; the most bytes alive until then. What is run seldom is left out."""
        self._run(steps)
        return self.peak

    def _run(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self.position += 1 if isinstance(step, Repeat) else positions(step)
            if isinstance(step, Make) and step.target is not self.result:
                self.alive.add(step.target)
                self.now += step.target.bytes
            if isinstance(step, Make | Change):
                self.peak = max(self.peak, self.now + step.work.inside)
            if isinstance(step, Repeat):
                self._run(step.steps)
                self.position += 1
            for variable in [each for each in self.alive if self.last[each] <= self.position]:
                self.alive.remove(variable)
                self.now -= variable.bytes
