"""What a lowering is, and what it says of itself before it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ndconv._geometry import Problem, Slot


@dataclass(frozen=True)
class Cost:
    """What a lowering spends on one problem.

    Args:
        multiply_adds: Products it computes, those it throws away included.
        elements_moved: Elements read from and written to memory.
        elements_cached: Elements that matrix products read or rewrite again while they lie in a cache.
        workspace: Elements of the largest buffers alive at one time beside operands and result.
        matmuls: Number of matrix products and their shapes, e.g. ``9 x (64, 64) @ (64, 3364)``, largest part first.
        calls: Number of tensor operations started, a further group of a matrix product counted as a fraction of one.
        dense: Whether the matrices have no gaps between their rows, so that `ndconv._matmul` may choose who multiplies.
    """

    multiply_adds: int
    elements_moved: int
    elements_cached: int
    workspace: int
    matmuls: str
    calls: float
    dense: bool = True

    @classmethod
    def altogether(cls, parts: Sequence[tuple[int, Cost]]) -> Cost:
        """What parts spend one after the other, each so many times; products of the same shapes are told once."""
        alike: Counter[str] = Counter()
        for times, part in parts:
            alike[part.matmuls] += times
        return cls(
            multiply_adds=sum(times * part.multiply_adds for times, part in parts),
            elements_moved=sum(times * part.elements_moved for times, part in parts),
            elements_cached=sum(times * part.elements_cached for times, part in parts),
            workspace=max(part.workspace for _, part in parts),
            matmuls=", ".join(f"{n} times {text}" if n > 1 else text for text, n in alike.items() if text),
            calls=sum(times * part.calls for times, part in parts),
            dense=all(part.dense for _, part in parts),
        )


class Lowering(ABC):
    """A way to turn a `Problem` into matrix products, for all three slots and any number of axes.

    Operands and results are the tensors of the trilinear form, groups apart: ``x[n,g,c,*i]``, ``w[g,d,c,*k]`` and
    ``y[n,g,d,*o]``. A new lowering is a subclass in its own file and a line in `ndconv._lowerings`.
    """

    name: str
    automatic = True
    """Whether "auto" may pick it, if it is exact."""
    exact = True
    """Whether sums of small integers come out without any rounding."""

    def refusal(self, problem: Problem) -> str | None:
        """Why it does not apply to the problem, or None if it does."""
        return None

    def rounding(self, problem: Problem) -> float:
        """How far an element can be off beside what a plain sum loses, in ``eps * norm(a) * norm(b)``; 0 if exact."""
        return 0.0

    def accumulates(self, problem: Problem) -> bool:
        """Whether it adds partial sums in the operands' dtype; half types are then widened to float32 first."""
        return True

    @abstractmethod
    def cost(self, problem: Problem) -> Cost:
        """What it would spend."""

    @abstractmethod
    def output(self, problem: Problem, x: Tensor, w: Tensor) -> Tensor:
        """The convolution."""

    @abstractmethod
    def input(self, problem: Problem, w: Tensor, y: Tensor) -> Tensor:
        """The gradient of the input."""

    @abstractmethod
    def weight(self, problem: Problem, x: Tensor, y: Tensor) -> Tensor:
        """The gradient of the weight."""

    def run(self, problem: Problem, first: Tensor, second: Tensor) -> Tensor:
        """Compute the problem's open slot from its two operands, in the order of `Slot.operands`."""
        if problem.slot is Slot.OUTPUT:
            return self.output(problem, first, second)
        if problem.slot is Slot.INPUT:
            return self.input(problem, first, second)
        return self.weight(problem, first, second)
