"""How much "auto" may lose, and whether a run shows that it loses no more."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import geometric_mean

from benchmarks.planner.results import BUILT_IN, CALIBRATED, Proof, Slot


@dataclass(frozen=True)
class Bound:
    """A bound for every machine.

    Args:
        profile: The rates that programs are priced with.
        mean: The most that the geometric mean of all regrets may be.
        ceiling: The most that any regret may be.
    """

    profile: str
    mean: float
    ceiling: float


BOUNDS = (Bound(BUILT_IN, 1.12, 1.6), Bound(CALIBRATED, 1.05, 1.3))


@dataclass(frozen=True)
class Regret:
    """The loss of "auto" with a profile.

    Args:
        profile: Its name.
        slots: The slots of the run.
    """

    profile: str
    slots: tuple[Slot, ...]

    @property
    def mean(self) -> float:
        """Geometric mean over the slots."""
        return geometric_mean(one.regret(self.profile) for one in self.slots)

    @property
    def ranked(self) -> list[Slot]:
        """The slots, the worst first."""
        return sorted(self.slots, key=lambda one: -one.regret(self.profile))

    @property
    def most(self) -> float:
        """Regret of the worst slot."""
        return self.ranked[0].regret(self.profile)


def regret(proof: Proof, profile: str, dtype: str | None = None) -> Regret:
    """The regret of a run, in all dtypes if none is named."""
    return Regret(profile, tuple(one for one in proof.slots if dtype in (None, one.dtype)))


def met(proof: Proof, bound: Bound) -> bool:
    """Whether a machine keeps a bound."""
    found = regret(proof, bound.profile)
    return found.mean <= bound.mean and found.most <= bound.ceiling
