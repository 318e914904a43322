"""What a program takes, read off its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ndconv._programs._builder import Builder
from ndconv._programs._source import last_uses
from ndconv._programs._steps import Make, Product, Repeat, Step, Unless, Work, operands, walk
from ndconv._programs._values import Value, Variable

# Elements that could be copied in the time that starting on a row takes, and bytes in the time that an element takes that
# has gaps on either side.
_ROW, _APART = 18, 12


@dataclass(frozen=True)
class Cost:
    """What a program spends.

    Args:
        multiply_adds: Products it computes, those it throws away included.
        elements_moved: Elements read from and written to memory, short rows and gaps counted as more.
        elements_cached: Elements that products which add to what is there read and rewrite while they lie in a cache.
        workspace: Bytes of the largest buffers alive at one time beside operands and result.
        matmuls: Number of matrix products and their shapes, e.g. ``9 x (64, 64) @ (64, 3364)``, largest part first.
        calls: Number of tensor operations started.
        dense: Whether the matrices have no gaps between their rows, so that oneDNN might multiply them.
    """

    multiply_adds: int
    elements_moved: int
    elements_cached: int
    workspace: int
    matmuls: str
    calls: int
    dense: bool = True


def price(builder: Builder, result: Value) -> Cost:
    """The cost of what a builder has recorded."""
    moved = cached = adds = calls = 0
    products: Counter[Product] = Counter()
    for times, step in walk(builder.steps):
        if isinstance(step, Make) or not isinstance(step, Repeat | Unless):
            work = step.work
            calls += times * work.calls
            moved += times * _moved(step, work)
            if work.product:
                adds += times * work.product.multiply_adds
                products[work.product._replace(number=1)] += times * work.product.number
                cached += times * (0 if isinstance(step, Make) else sum(each.numel() for each in step.operands))
    largest = sorted(products, key=lambda each: -products[each] * each.multiply_adds)
    matmuls = ", ".join(
        f"{products[each]} x ({each.rows}, {each.terms}) @ ({each.terms}, {each.columns})" for each in largest
    )
    return Cost(adds, round(moved), cached, workspace(builder, result), matmuls, calls, all(p.dense for p in products))


def _moved(step: Step, work: Work) -> float:
    """Elements that a step moves, what a product makes and what it reads of the operands included."""
    copied, moved = work.copied, 0.0
    if copied is not None:
        itemsize = step.operands[0].itemsize if step.operands else 4
        longer = max(1.0, _APART / itemsize) if copied.apart else 1.0
        moved += copied.elements * ((1 + longer) / 2 + _ROW / (2 * max(1, copied.row)))
    elif work.product is not None and isinstance(step, Make):
        moved += step.target.elements + sum(each.numel() for each in step.operands if not each.variable.owned)
    return moved


def workspace(builder: Builder, result: Value) -> int:
    """The most bytes alive at one time, without operands and result."""
    last, _ = last_uses(builder.steps)
    return _Alive(last, result.variable).most(builder.steps)


class _Alive:
    def __init__(self, last: dict[Variable, int], result: Variable) -> None:
        self.last, self.result = last, result
        self.position = self.now = self.peak = 0
        self.alive: set[Variable] = set()

    def most(self, steps: Sequence[Step]) -> int:
        self._run(steps)
        return self.peak

    def _run(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self.position += 1
            if isinstance(step, Make) and step.target is not self.result:
                self.alive.add(step.target)
                self.now += step.target.bytes
                self.peak = max(self.peak, self.now)
            if isinstance(step, Repeat | Unless):
                if isinstance(step, Repeat):
                    self._run(step.steps)
                else:
                    self._skip(step.steps)
                self.position += 1
            for variable in [each for each in self.alive if self.last[each] <= self.position]:
                self.alive.remove(variable)
                self.now -= variable.bytes

    def _skip(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self.position += 1
            if isinstance(step, Repeat | Unless):
                self._skip(step.steps)
                self.position += 1


_ = operands
