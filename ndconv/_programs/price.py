"""The cost of a program, read off its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ndconv._programs.builder import Builder
from ndconv._programs.lifetimes import last_uses, positions
from ndconv._programs.steps import Change, Make, Product, Repeat, Step, operands, walk
from ndconv._programs.values import ITEMSIZES, Value, Variable


@dataclass(frozen=True)
class Cost:
    """The cost of a program.

    Args:
        multiply_adds: Products it computes, discarded ones included.
        bytes_moved: Memory traffic: bytes that copies read and write, and operands and results of products.
        workspace: Peak bytes of buffers beside operands and result.
        matmuls: Number of matrix products and their shapes, e.g. ``9 x (64, 64) @ (64, 3364)``, largest part first.
        calls: Number of tensor operations started.
        nanoseconds: Time of all this, at some rates.
    """

    multiply_adds: int
    bytes_moved: int
    workspace: int
    matmuls: str
    calls: int
    nanoseconds: float


def price(builder: Builder, result: Value) -> Cost:
    """The cost of what a builder has recorded, at the rates of its target."""
    rates, nanoseconds = builder.target.rates, 0.0
    moved = calls = adds = 0
    touched: dict[Step, int] = {}
    _touched(builder.steps, touched)
    products: Counter[Product] = Counter()
    for times, step in walk(builder.steps):
        if isinstance(step, Repeat):
            continue
        work, read = step.work, operands(step)
        dtype = (read[0] if read else result).dtype
        taken = rates.taking(work, dtype, touched.get(step, 0))
        taken += sum(not each.is_whole for each in read) * rates.view
        calls += times * work.calls
        if work.copied:
            moved += times * work.copied.elements * ITEMSIZES[dtype]
        if work.product:
            adds += times * work.product.multiply_adds
            moved += times * work.product.elements * ITEMSIZES[dtype] * (not work.copied)
            products[work.product._replace(number=1)] += times * work.product.number
        buffers = (step.target.bytes if isinstance(step, Make) else 0), work.inside
        taken += rates.fresh * sum(size for size in buffers if size >= rates.large)
        nanoseconds += times * taken
    return Cost(adds, moved, workspace(builder, result), _text(products), calls, nanoseconds)


def _touched(steps: Sequence[Step], found: dict[Step, int], *, again: bool = False) -> set[Variable]:
    """The buffers that steps read and write. Each step in a loop notes the bytes of all buffers of that loop.

    When a step runs again, its elements are still in a cache as far as all bytes touched meanwhile fit there.
    """
    buffers: set[Variable] = set()
    for step in steps:
        if isinstance(step, Repeat):
            buffers |= _touched(step.steps, found, again=True)
        buffers.update(value.variable for value in operands(step))
        if isinstance(step, Make):
            buffers.add(step.target)
    if again:
        size = sum(each.bytes for each in buffers)
        found.update((step, size) for step in steps)
    return buffers


def _text(products: Mapping[Product, int]) -> str:
    shapes: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    for each, number in products.items():
        text = f"({each.rows}, {each.terms}) @ ({each.terms}, {each.columns})"
        shapes[text] += number
        largest[text] += number * each.multiply_adds
    return ", ".join(f"{shapes[text]} x {text}" for text, _ in largest.most_common())


def workspace(builder: Builder, result: Value) -> int:
    """Peak bytes, without operands and result."""
    last, _ = last_uses(builder.steps)
    return _Alive(last, result.variable).most(builder.steps)


class _Alive:
    """The buffers alive at each step."""

    def __init__(self, last: dict[Variable, int], result: Variable) -> None:
        self.last, self.result = last, result
        self.position = self.now = self.peak = 0
        self.alive: set[Variable] = set()

    def most(self, steps: Sequence[Step]) -> int:
        """Run through steps; the peak bytes until then. Rare branches are left out."""
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
