"""The tables of the planner, made from results alone."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.names import AUTO
from benchmarks.planner.results import PROFILES, Proof, Slot
from benchmarks.planner.targets import BOUNDS, met, regret
from benchmarks.tables import TARGET_HEADER, Table

SHOWN = 10
"""The number of worst slots listed."""


def _where(one: Slot) -> str:
    return f"{one.workload}, {one.dtype}, {one.slot}"


def _error(one: Slot, profile: str) -> float:
    """The time of the pick by its expected time."""
    prediction = one.predictions[profile]
    return one.times[prediction.pick].median / prediction.microseconds[prediction.pick]


def regrets(proofs: Sequence[Proof]) -> Table:
    """The loss of "auto", by machine, profile and dtype, and the error of predicted times."""
    rows = []
    for proof in proofs:
        for profile in PROFILES:
            for dtype in [*proof.dtypes, None]:
                found = regret(proof, profile, dtype)
                pairs = [pair for one in found.slots for pair in one.pairs(profile)]
                near = sum(0.5 <= taken / expected <= 2 for _, expected, taken in pairs)
                best = sum(one.regret(profile) == 1 for one in found.slots)
                rows.append(
                    [
                        proof.kind,
                        profile,
                        dtype or "all",
                        str(len(found.slots)),
                        f"{best / len(found.slots):.0%}",
                        f"{found.mean:.3f}",
                        f"{found.most:.2f} ({_where(found.ranked[0])})",
                        f"{near / len(pairs):.0%}",
                    ]
                )
    header = ["machine", "profile", "dtype", "slots", "best picked", "mean regret", "worst", "within a factor of two"]
    return Table(header, rows)


def worst(proof: Proof, profile: str) -> Table:
    """The slots where "auto" loses most."""
    rows = []
    for one in regret(proof, profile).ranked[:SHOWN]:
        pick = one.predictions[profile].pick
        rows.append(
            [
                _where(one),
                f"{one.regret(profile):.2f}",
                pick,
                f"{one.times[pick].median:.0f}",
                f"{_error(one, profile):.2f}",
                one.best,
                f"{one.times[one.best].median:.0f}",
            ]
        )
    header = ["where", "regret", "auto runs", "its time, µs", "by expected", "best", "its time, µs"]
    return Table(header, rows)


def machines(proofs: Sequence[Proof]) -> Table:
    """The machines of the figures, and the rates of both profiles."""
    facts = ("cpu", "vectors", "threads", "torch")
    rows = [
        [proof.kind, *(str(proof.environment[name]) for name in facts), *map(proof.profiles.__getitem__, PROFILES)]
        for proof in proofs
    ]
    return Table(["machine", *facts, *PROFILES], rows)


def targets(proofs: Sequence[Proof]) -> Table:
    """Each bound with the measured values, machine by machine."""
    rows = []
    for bound in BOUNDS:
        title = f"regret, {bound.profile} profile"
        wanted = f"mean at most {bound.mean}, each at most {bound.ceiling}"
        for proof in proofs:
            found = regret(proof, bound.profile)
            values = [str(len(found.slots)), f"{found.mean:.3f}", f"{found.most:.2f} ({_where(found.ranked[0])})"]
            verdict = "met" if met(proof, bound) else "**not met**"
            rows.append([f"{title}, {proof.kind}", AUTO, wanted, *values, verdict])
        if not proofs:
            rows.append([title, AUTO, wanted, "0", "", "", "not measured"])
    return Table(TARGET_HEADER, rows)
