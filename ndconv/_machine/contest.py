"""Which of several calls takes the least time, on a machine that does other things as well.

Contenders run in rounds, in an order drawn anew for each, as what runs right after another finds its own things in the
caches or does not. What a round tells is how many times as long as one of them, the rival, each of the others took:
whatever else the machine did then has met both. The median over the rounds is what counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from statistics import median, quantiles

from ndconv._planner.choice import MARGIN, NATIVE

# At least so many rounds, at most so many, and in between until the rival has taken so many seconds.
_LEAST, _MOST, _SECONDS = 3, 100, 0.1
# After one round, two and more, who is so many times behind the leader is out. From then on quartiles tell, and whoever
# is left alone has won: in fewer rounds the machine may have been busy elsewhere during most.
_BEHIND = 10.0, 4.0, 2.0, 2.0, 1.5, 1.5, 1.0


def contest(
    contenders: Mapping[str, Callable[[], object]], timed: Callable[[Callable[[], object]], float]
) -> dict[str, float]:
    """Let contenders take turns until it is clear who leads, or time is up.

    Torch's kernel is the rival if it is among them, else the first is. As it is taken where others are level with it,
    who cannot beat it by the margin is out.

    Args:
        contenders: Calls by name.
        timed: Seconds that a call takes.

    Returns:
        Seconds by name: of the rival the median, of the others so many times that as the median round says.

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
    """Those that may be the quickest yet, by their ratios of all rounds so far."""
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
