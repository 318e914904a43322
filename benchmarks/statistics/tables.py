"""The tables of statistics, made from results alone."""

from __future__ import annotations

from statistics import geometric_mean

from benchmarks.names import AUTO
from benchmarks.statistics.results import Figures, Run
from benchmarks.statistics.targets import TARGETS
from benchmarks.tables import TARGET_HEADER, Table


def _spread(figures: Figures | None) -> str:
    return f"{figures.ratio:.2f} ({figures.low:.2f}–{figures.high:.2f})" if figures else ""


def _names(run: Run, statistic: str) -> list[str]:
    return [*dict.fromkeys(name for one in run.of(statistic) for name in one.ways)]


def times(run: Run, statistic: str) -> Table:
    """The time of every other way by ours, quartiles in brackets."""
    found, others = run.of(statistic), [name for name in _names(run, statistic) if name != AUTO]
    rows = [
        [
            one.layer,
            f"{one.ways[AUTO].milliseconds:.2f}",
            one.picked,
            *(_spread(one.ways.get(name)) for name in others),
        ]
        for one in found
    ]
    means = (geometric_mean([one.ways[name].ratio for one in found if name in one.ways]) for name in others)
    rows.append(["geometric mean", "", "", *(f"{mean:.2f}" for mean in means)])
    return Table([statistic, "ours, ms", "picked", *others], rows)


def memory(run: Run, statistic: str) -> Table:
    """Peak memory beside the operands, in MiB."""
    names = _names(run, statistic)
    rows = [
        [
            one.layer,
            f"{one.gradients / 2**20:.1f}",
            *(f"{one.ways[name].memory / 2**20:.1f}" if name in one.ways else "" for name in names),
        ]
        for one in run.of(statistic)
    ]
    return Table([f"{statistic}, MiB", "per-sample gradients", *names], rows)


def targets(run: Run) -> Table:
    """Each target with the measured values."""
    rows = []
    for target in TARGETS:
        wanted = f"mean at least {target.mean:g}" if target.mean else f"each at least {target.floor:g}"
        found = target.members(run)
        if not found:
            rows.append([target.statistic, target.title, wanted, "0", "", "", "not measured"])
            continue
        mean = geometric_mean([member.value for member in found])
        worst = f"{found[0].value:.2f} ({found[0].layer})"
        verdict = "met" if target.met(run) else "**not met**"
        rows.append([target.statistic, target.title, wanted, str(len(found)), f"{mean:.2f}", worst, verdict])
    return Table(TARGET_HEADER, rows)


def skipped(run: Run) -> Table:
    """The ways that were not timed, and why."""
    rows = [[one.layer, one.statistic, name, reason] for one in run.measured for name, reason in one.skipped.items()]
    return Table(["layer", "statistic", "way", "why not"], rows)
