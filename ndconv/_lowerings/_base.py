"""The interface of a lowering, with its properties that are known before it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from ndconv._form.geometry import Problem, Slot
from ndconv._programs.values import Array, Steps


class Lowering(ABC):
    """A way to turn a `Problem` into matrix products, for all three slots and any number of axes.

    Its methods are written as if they computed, with torch's methods for views and a builder's methods for the rest.
    They run on integers and leave a program behind. Operands and results are the tensors of the trilinear form, with
    separate groups: ``x[n,g,c,*i]``, ``w[g,d,c,*k]`` and ``y[n,g,d,*o]``.
    """

    name: str
    automatic = True
    """Whether "auto" may pick it, if it is exact."""
    compared = True
    """Whether a plan compares its price with the others'."""
    symbolic = True
    """Whether its steps are the same for all sizes, so that sizes can be symbols."""
    exact = True
    """Whether sums of small integers are not rounded."""

    def ways(self, problem: Problem) -> Iterable[Lowering]:
        """Its variants for the problem; the cheapest one runs."""
        return (self,)

    def refusal(self, problem: Problem) -> str | None:
        """Why it does not apply to the problem, or None if it does."""
        return None

    def rounding(self, problem: Problem) -> float:
        """Bound of an element's error beyond that of a plain sum, in ``eps * norm(a) * norm(b)``; 0 if exact."""
        return 0.0

    def accumulates(self, b: Steps, problem: Problem) -> bool:
        """Whether it adds partial sums in the operands' dtype; half types are then widened to float32 first."""
        return True

    @abstractmethod
    def output(self, b: Steps, problem: Problem, x: Array, w: Array) -> Array:
        """The convolution."""

    @abstractmethod
    def input(self, b: Steps, problem: Problem, w: Array, y: Array) -> Array:
        """The gradient of the input."""

    @abstractmethod
    def weight(self, b: Steps, problem: Problem, x: Array, y: Array) -> Array:
        """The gradient of the weight."""

    def build(self, b: Steps, problem: Problem, first: Array, second: Array) -> Array:
        """The problem's open slot from its two operands, in the order of `Slot.operands`."""
        if problem.slot is Slot.OUTPUT:
            return self.output(b, problem, first, second)
        if problem.slot is Slot.INPUT:
            return self.input(b, problem, first, second)
        return self.weight(b, problem, first, second)
