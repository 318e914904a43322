"""The summary that a run of the statistics prints at its end."""

from __future__ import annotations

from benchmarks import console
from benchmarks.statistics import tables
from benchmarks.statistics.contenders import STATISTICS
from benchmarks.statistics.results import Run


def summary(run: Run) -> str:
    """Times and memory by layer, and the targets."""
    measured = [statistic for statistic in STATISTICS if run.of(statistic)]
    found = [table(run, statistic) for statistic in measured for table in (tables.times, tables.memory)]
    found += [tables.skipped(run), tables.targets(run)]
    parts = [console.table(table.header, table.rows) for table in found if table.rows]
    return "\n".join([*parts, "Times of others by that of ours, quartiles in brackets; above 1 ours is quicker."])
