"""When "fastest" may measure: only problems that recur from step to step, and within a time budget.

Measuring a problem takes as long as some hundred calls of it. This does not pay if every training step has other sizes,
or if a size recurs rarely. A problem that recurs within one step proves nothing, as a network has many layers alike. So
a problem is measured when it is met in the fourth of four steps close together. Steps are found by counting calls,
not by a clock.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Hashable

# Number of steps in which a problem has to be met, and the largest distance between two of them: a network may be
# trained in every third step only, as a generator is.
_STEPS, _APART = 4, 3
# A step ends where a forward follows a backward, or after so many calls in a row without one.
_CALLS = 128
# Number of problems that are remembered, the latest ones.
_REMEMBERED = 4096

_limit = 60.0


def set_measuring_budget(seconds: float) -> None:
    """Set how long ``lowering="fastest"`` may measure in all, counted from the start of the process.

    A measurement that has begun is completed. When the budget is spent, a warning says so, once. From then on a problem
    that was not measured takes the choice of its nearest relative: a measured one of the same operation with other
    sizes of batch and space. If there is none, it takes that of ``"auto"``.

    Args:
        seconds: Seconds for the whole process; 60 at the start. 0 stops measuring, ``math.inf`` sets no limit.

    Raises:
        TypeError: If ``seconds`` is no number.
        ValueError: If it is negative or NaN.

    Example:
        >>> import ndconv
        >>> ndconv.set_measuring_budget(5)
        >>> ndconv.get_measuring_budget()
        5.0
        >>> ndconv.set_measuring_budget(60)
    """
    global _limit
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise TypeError(f"set_measuring_budget: seconds must be a number, but is {seconds!r}")
    if not seconds >= 0:
        raise ValueError(f"set_measuring_budget: seconds must not be negative, but is {seconds}")
    _limit = float(seconds)


def get_measuring_budget() -> float:
    """The seconds set by `set_measuring_budget`."""
    return _limit


class Budget:
    """Counts steps, the steps in which each problem was met, and the time spent on measuring."""

    def __init__(self) -> None:
        self._step = self._calls = 0
        self._backward = self._warned = False
        self._met: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()
        self._spent = 0.0

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may be measured."""
        return self._spent >= _limit

    def count(self, *, backward: bool) -> None:
        """Count a call, of a forward or a backward pass."""
        self._calls = 0 if backward else self._calls + 1
        if self._calls == _CALLS or (self._backward and not backward):
            self._step, self._calls = self._step + 1, 0
        self._backward = backward

    def allows(self, key: Hashable) -> bool:
        """Count a meeting with a problem; whether it may be measured now."""
        last, steps = self._met.get(key, (self._step, 0))
        if last != self._step or steps == 0:
            steps = steps + 1 if self._step - last <= _APART else 1
        self._met[key] = self._step, steps
        self._met.move_to_end(key)
        if len(self._met) > _REMEMBERED:
            self._met.popitem(last=False)
        return steps >= _STEPS and not self.is_spent

    def spend(self, seconds: float) -> None:
        """Deduct the seconds of a measurement; warn if the budget is spent."""
        self._spent += seconds
        if self.is_spent and not self._warned:
            self._warned = True
            warnings.warn(
                f'"fastest" has measured for {self._spent:.3g} seconds and measures no more: what is new takes the '
                f'choice of its nearest measured relative, or that of "auto". ndconv.set_measuring_budget allows more.',
                stacklevel=2,
            )
