"""The targets, and whether a run meets them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import geometric_mean

from benchmarks.names import OPACUS
from benchmarks.statistics.contenders import (
    BACKPACK,
    COVARIANCE,
    KFC,
    MATERIALISED,
    SQNORM,
    SQUARE,
    UNFOLD,
    UNFOLDED,
    VMAP,
)
from benchmarks.statistics.results import Measured, Run

LARGE = 16 * 2**20
"""Bytes of per-sample gradients from which on memory counts."""


@dataclass(frozen=True)
class Member:
    """One value that counts, of a layer."""

    layer: str
    value: float


@dataclass(frozen=True)
class Target:
    """A target.

    Args:
        statistic: The statistic.
        title: The other ways that it compares with.
        value: The value that counts for a layer; more is better.
        where: Which layers.
        mean: The least geometric mean, if there is such a target.
        floor: The least value, if there is such a target.
    """

    statistic: str
    title: str
    value: Callable[[Measured], float]
    where: Callable[[Measured], bool]
    mean: float = 0.0
    floor: float = 0.0

    def members(self, run: Run) -> list[Member]:
        """All values that count, the least first."""
        found = [Member(one.layer, self.value(one)) for one in run.of(self.statistic) if self.where(one)]
        return sorted(found, key=lambda member: member.value)

    def met(self, run: Run) -> bool:
        """Whether a run meets it."""
        values = [member.value for member in self.members(run)]
        return geometric_mean(values) >= self.mean and min(values) >= self.floor


def _speed(statistic: str, least: float, *others: str) -> Target:
    return Target(
        statistic,
        f"time of {' or '.join(others)}",
        lambda one: one.quicker(*others),
        lambda one: any(name in one.ways for name in others),
        mean=least,
    )


def _has_large_gradients(one: Measured) -> bool:
    return one.gradients > LARGE and MATERIALISED in one.ways


TARGETS = (
    _speed(SQNORM, 1.5, MATERIALISED),
    _speed(SQNORM, 4.0, OPACUS),
    _speed(SQNORM, 4.0, VMAP),
    Target(
        SQNORM,
        f"memory of {MATERIALISED} above {LARGE // 2**20} MiB",
        lambda one: 1 / max(one.memory(MATERIALISED), 1e-9),
        _has_large_gradients,
        floor=4.0,
    ),
    _speed(COVARIANCE, 1.5, *UNFOLD),
    _speed(COVARIANCE, 4.0, KFC),
    _speed(SQUARE, 3.0, BACKPACK),
    _speed(SQUARE, 1.5, UNFOLDED),
)
