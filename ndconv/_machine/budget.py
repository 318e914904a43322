"""When "fastest" may measure: what comes again from step to step, and no more than is repaid.

To measure a problem takes as long as some hundred calls of it. Where every step of training has sizes of its own that
is never repaid, nor where a size comes back now and then. And that a problem comes again within a step proves nothing:
a network has many layers alike. So a problem is measured when it is met in the fourth of four steps close together.
Calls are counted for this, and no clock is read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

# In so many steps a problem has to be met, no further from one to the next than this: a network may be trained in every
# third step only, as a generator is.
_STEPS, _APART = 4, 3
# A step ends where a forward follows a backward, or after so many calls in a row without one.
_CALLS = 128
# Problems that are remembered, those met last.
_REMEMBERED = 4096
# So many problems are measured as soon as that is so, three for a layer of the largest networks. A further one waits
# until such a share of the time of measured problems has repaid the one before it.
_FREE, _SHARE = 1024, 0.05


class Budget:
    """Counts steps, in how many of them each problem was met, and what measuring has cost."""

    def __init__(self) -> None:
        self._step = self._calls = 0
        self._backward = False
        self._met: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()
        self._free, self._owed = _FREE, 0.0

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
        return steps >= _STEPS and (self._free > 0 or self._owed <= 0)

    def spend(self, seconds: float) -> None:
        """Take what measuring a problem took."""
        if self._free > 0:
            self._free -= 1
        else:
            self._owed += seconds

    def earn(self, seconds: float) -> None:
        """Give what a measured problem takes whenever it is computed."""
        self._owed = max(0.0, self._owed - _SHARE * seconds)
