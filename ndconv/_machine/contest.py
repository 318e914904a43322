"""Find the call that takes the least time, on a machine that may be busy.

Contenders run in rounds, in a new random order each, as the order decides what is in the caches. A round gives the
ratio of each contender's time to that of one of them, the rival: other load on the machine affects both alike. The
median ratio over the rounds counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from statistics import median, quantiles

from ndconv._planner.choice import MARGIN, NATIVE

# Least and largest number of rounds; in between, the seconds of the rival after which they end.
_LEAST, _MOST, _SECONDS = 3, 100, 0.1
# Ratios to the leader beyond which a contender drops out, after one round, two and so on. After these quartiles decide,
# and the last one left has won: with fewer rounds, the machine may have been busy during most of them.
_BEHIND = 10.0, 4.0, 2.0, 2.0, 1.5, 1.5, 1.0


def contest(
    contenders: Mapping[str, Callable[[], object]], timed: Callable[[Callable[[], object]], float]
) -> dict[str, float]:
    """Run contenders in turn until the leader is clear, or time is up.

    The rival is torch's kernel if it is among them, else the first one. torch's kernel also wins when others are level
    with it, so a contender that cannot beat it by the margin drops out.

    Args:
        contenders: Calls by name.
        timed: Function that gives the seconds of a call.

    Returns:
        Seconds by name: the rival's median time, and for each other its median ratio times that.

    Example:
        >>> contest({"native": lambda: 2.0, "taps": lambda: 1.0, "window": lambda: 50.0}, lambda run: run())
        {'native': 2.0, 'taps': 1.0, 'window': 50.0}
    """
    if not contenders:
        return {}
    rival = NATIVE if NATIVE in contenders else next(iter(contenders))
    ratios: dict[str, list[float]] = {name: [] for name in contenders}
    own: list[float] = []
    left, draw = [*contenders], Random(0)
    while len(own) < _MOST and (len(own) < _LEAST or sum(own) < _SECONDS):
        draw.shuffle(left)
        taken = {name: timed(contenders[name]) for name in left}
        own.append(taken[rival])
        for name in left:
            ratios[name].append(taken[name] / taken[rival])
        hopeful = _hopeful({name: ratios[name] for name in left}, rival)
        left = [name for name in left if name in hopeful or name == rival]
        if len(hopeful) == 1 and len(own) >= len(_BEHIND):
            break
    return {name: median(own) * median(found) for name, found in ratios.items()}


def _hopeful(ratios: Mapping[str, list[float]], rival: str) -> set[str]:
    """Contenders that may still be the quickest, by their ratios in all rounds so far."""
    rounds = len(ratios[rival])
    bounds = {name: _quartiles(found) for name, found in ratios.items()}
    if rival == NATIVE:
        bounds[rival] = 1 - MARGIN, 1 - MARGIN
    limit = _BEHIND[min(rounds, len(_BEHIND)) - 1] * min(high for _, high in bounds.values())
    return {name for name, (low, _) in bounds.items() if low <= limit}


def _quartiles(values: list[float]) -> tuple[float, float]:
    """The lower and the upper one."""
    low, _, high = quantiles(values * 2 if len(values) == 1 else values, n=4, method="inclusive")
    return low, high
