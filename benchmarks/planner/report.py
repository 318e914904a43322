"""The summary that a run of the planner's proof prints at its end."""

from __future__ import annotations

from benchmarks import console
from benchmarks.planner import tables
from benchmarks.planner.results import PROFILES, Proof


def summary(proof: Proof) -> str:
    """Regret by profile and dtype, the worst slots, and the bounds."""
    parts = []
    for profile in PROFILES:
        found = tables.worst(proof, profile)
        parts += [f"{profile}: where auto loses most", console.table(found.header, found.rows)]
    for table in (tables.regrets([proof]), tables.targets([proof])):
        parts.append(console.table(table.header, table.rows))
    parts.append("Regret: time of what auto runs by that of the best exact lowering.")
    return "\n".join(parts)
