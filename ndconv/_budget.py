"""When "fastest" may measure: once sizes have settled, and no more than what is computed repays.

To measure a problem takes as long as some hundred calls of it. Where every step of training has sizes of its own that
is never repaid, and that a problem comes again within a step proves nothing: a network has many layers alike. So whole
steps are looked at, which meet something new or do not, and a problem is measured where those that do not are in the
majority: in the third step of a loop with fixed sizes. Calls are counted for this, and no clock is read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

# Problems that are remembered, those met last.
_REMEMBERED = 4096
# How many steps without anything new outweigh any number of steps before them.
_FORGIVEN = 4
# Without a backward there are no steps. Then so many calls in a row have to meet nothing new.
_QUIET = 128
# So many problems are measured as soon as sizes have settled, three for a layer of a large network. A further one
# waits until such a share of the time of measured problems has repaid the one before it.
_FREE, _SHARE = 128, 0.05


class Budget:
    """Counts what was met, and what measuring has cost."""

    def __init__(self) -> None:
        self._met: OrderedDict[Hashable, None] = OrderedDict()
        self._free, self._owed = _FREE, 0.0
        self._backward = self._new = False
        self._balance = self._quiet = 0

    def meet(self, key: Hashable, *, measured: bool, backward: bool) -> None:
        """Count a call.

        Args:
            key: Of its problem.
            measured: Whether that was measured already.
            backward: Whether a backward pass makes the call; a forward after it begins another step.
        """
        if self._backward and not backward:
            self._balance = min(0, max(-_FORGIVEN, self._balance + (-1 if self._new else 1)))
            self._new = False
        self._backward = backward
        if measured or key in self._met:
            self._quiet += 1
        else:
            self._new, self._quiet = True, 0
        self._met[key] = None
        self._met.move_to_end(key)
        if len(self._met) > _REMEMBERED:
            self._met.popitem(last=False)

    def allows(self) -> bool:
        """Whether the problem met last may be measured."""
        settled = (self._balance == 0 and not self._new) or self._quiet >= _QUIET
        return settled and (self._free > 0 or self._owed <= 0)

    def spend(self, seconds: float) -> None:
        """Take what measuring a problem took."""
        if self._free > 0:
            self._free -= 1
        else:
            self._owed += seconds

    def earn(self, seconds: float) -> None:
        """Give what a measured problem takes whenever it is computed."""
        self._owed = max(0.0, self._owed - _SHARE * seconds)
