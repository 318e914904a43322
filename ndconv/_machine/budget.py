"""When "fastest" may measure: what comes again from step to step, and for so many seconds in all.

To measure a problem takes as long as some hundred calls of it. Where every step of training has sizes of its own that
is never repaid, nor where a size comes back now and then. And that a problem comes again within a step proves nothing:
a network has many layers alike. So a problem is measured when it is met in the fourth of four steps close together.
Calls are counted for this, and no clock is read.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Hashable

# In so many steps a problem has to be met, no further from one to the next than this: a network may be trained in every
# third step only, as a generator is.
_STEPS, _APART = 4, 3
# A step ends where a forward follows a backward, or after so many calls in a row without one.
_CALLS = 128
# Problems that are remembered, those met last.
_REMEMBERED = 4096

_limit = 60.0


def set_measuring_budget(seconds: float) -> None:
    """Set how long ``lowering="fastest"`` may measure, in all, from the start of the process on.

    A measurement that has begun is brought to its end. When the budget is spent a warning says so, once; from then on
    a problem that was not measured takes the choice of its nearest relative that was: the same operation with other
    sizes of batch and space. Where there is none, that of ``"auto"``.

    Args:
        seconds: For the whole process, 60 at the start. 0 measures nothing more, ``math.inf`` knows no bound.

    Raises:
        TypeError: If ``seconds`` is no number.
        ValueError: If it is negative or not a number at all.

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
    """Counts steps, in how many of them each problem was met, and what measuring has cost."""

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
        """Count a call, which a backward pass makes or does not."""
        self._calls = 0 if backward else self._calls + 1
        if self._calls == _CALLS or (self._backward and not backward):
            self._step, self._calls = self._step + 1, 0
        self._backward = backward

    def allows(self, key: Hashable) -> bool:
        """Whether a problem may be measured, now that it is met again."""
        last, steps = self._met.get(key, (self._step, 0))
        if last != self._step or steps == 0:
            steps = steps + 1 if self._step - last <= _APART else 1
        self._met[key] = self._step, steps
        self._met.move_to_end(key)
        if len(self._met) > _REMEMBERED:
            self._met.popitem(last=False)
        return steps >= _STEPS and not self.is_spent

    def spend(self, seconds: float) -> None:
        """Take what measuring a problem took, and say so when that was the last."""
        self._spent += seconds
        if self.is_spent and not self._warned:
            self._warned = True
            warnings.warn(
                f'"fastest" has measured for {self._spent:.3g} seconds and measures no more: what is new takes the '
                f'choice of its nearest measured relative, or that of "auto". ndconv.set_measuring_budget allows more.',
                stacklevel=2,
            )
