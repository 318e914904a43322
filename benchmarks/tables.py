"""The tables of a report: header and rows of text, made from the results alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from benchmarks.names import AUTO, FASTEST, OPACUS, PEERS, TORCH
from benchmarks.results import Measurement, Results, Timing
from benchmarks.targets import TARGETS, judge
from benchmarks.workloads import KINDS, Workload

TARGET_HEADER = ["what", "who", "wanted", "values", "mean", "worst", "verdict"]


@dataclass(frozen=True)
class Table:
    """Header and rows; the first column has the names of the rows."""

    header: list[str]
    rows: list[list[str]]

    def __str__(self) -> str:
        numeric = (all(cell[:1].isdigit() or not cell for cell in column) for column in zip(*self.rows, strict=True))
        lines = [self.header, ["--:" if right else "---" for right in numeric], *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ordered(found: Iterable[tuple[Workload, Measurement]]) -> list[tuple[Workload, Measurement]]:
    """By kind, and within a kind in the order of measurement."""
    kinds = list(KINDS)
    return sorted(found, key=lambda one: kinds.index(one[0].kind))


def _spread(timing: Timing | None) -> str:
    return f"{timing.speed:.2f} ({timing.low:.2f}–{timing.high:.2f})" if timing else ""


def _speed(timing: Timing | None) -> str:
    return f"{timing.speed:.2f}" if timing else ""


def _mean(timings: Iterable[Timing | None]) -> str:
    speeds = [timing.speed for timing in timings if timing]
    return f"{geometric_mean(speeds):.2f}" if speeds else ""


def _names(found: Iterable[tuple[Workload, Measurement]]) -> list[str]:
    """All contenders that were timed: torch's own, ours, peers."""
    names = dict.fromkeys(name for _, one in found for name in one.contenders)
    last = (*PEERS, OPACUS)
    return [*(name for name in names if name not in last), *(name for name in last if name in names)]


def environment(results: Results) -> Table:
    """The environment of the figures."""
    facts = {name: str(value) for name, value in results.environment.items()}
    facts |= {f"matmul, {dtype}": f"{speed:.0f} GFLOP/s" for dtype, speed in results.matmul.items()}
    facts["copy"] = f"{results.copy:.1f} GB/s"
    return Table(["", "value"], [[name, value] for name, value in facts.items()])


def machines(runs: Iterable[Results]) -> Table:
    """Each machine, and the mean speed of a step on it, by dtype."""
    rows = []
    for run in runs:
        facts = [str(run.environment.get(name, "")) for name in _MACHINE_FACTS]
        rows.append([*facts, str(len(run.workloads)), *(_step_mean(run, *pair) for pair in _MACHINE_MEANS)])
    columns = [f"{name}, {dtype}" for name, dtype in _MACHINE_MEANS]
    return Table([*_MACHINE_FACTS, "workloads", *columns], rows)


_MACHINE_FACTS = ("kind", "device", "cpu", "vectors", "threads", "torch")
_MACHINE_MEANS = [(name, dtype) for name in (AUTO, FASTEST) for dtype in ("float32", "float64", "bfloat16")]


def _step_mean(results: Results, contender: str, dtype: str) -> str:
    return _mean(one.contenders.get(contender) for _, one in results.select(dtype, "step"))


def targets(results: Results) -> Table:
    """Each target with the measured values, or a note that there are none."""
    verdicts = {verdict.target: verdict for verdict in judge(results)}
    rows = []
    for target in TARGETS:
        floor = f"each {target.floor}" if target.floor else ""
        wanted = ", ".join(filter(None, [f"mean {target.mean}" if target.mean else "", floor]))
        row = [target.title, target.contender, wanted]
        if verdict := verdicts.get(target):
            worst = verdict.worst
            where = ", ".join([worst.workload, *(one for one in (worst.dtype, worst.slot) if one not in _USUAL)])
            low = f"{worst.value:.2f} ({where})"
            row += [str(len(verdict.members)), f"{verdict.mean:.2f}", low, "met" if verdict.met else "**not met**"]
        else:
            row += ["0", "", "", "not measured"]
        rows.append(row)
    return Table(TARGET_HEADER, rows)


_USUAL = {"float32", "step"}


def steps(results: Results) -> Table:
    """Speed of a step in float32 of every contender, quartiles in brackets for ours."""
    found = _ordered(results.select("float32", "step"))
    others = [name for name in _names(found) if name not in (TORCH, AUTO, FASTEST)]
    rows = []
    for workload, one in found:
        get = one.contenders.get
        first = [workload.name, workload.kind, f"{one.contenders[TORCH].milliseconds:.2f}" if get(TORCH) else ""]
        ran = " ".join(one.picks.get(AUTO, []))
        rows.append([*first, ran, _spread(get(AUTO)), _spread(get(FASTEST)), *(_speed(get(name)) for name in others)])
    means = [_mean(one.contenders.get(name) for _, one in found) for name in (AUTO, FASTEST, *others)]
    rows.append(["geometric mean", "", "", "", *means])
    return Table(["workload", "kind", "torch, ms", "auto runs", AUTO, FASTEST, *others], rows)


def _by(results: Results, contender: str, columns: Sequence[str], place: Callable[[Measurement], str | None]) -> Table:
    """Speed of a contender, a row for each workload and a column for each place."""
    rows: dict[str, dict[str, Timing | None]] = {}
    for workload, one in _ordered(results.select()):
        column = place(one)
        if column in columns and column is not None:
            rows.setdefault(workload.name, {})[column] = one.contenders.get(contender)
    body = [[name, *(_speed(row.get(column)) for column in columns)] for name, row in rows.items()]
    means = [_mean(row.get(column) for row in rows.values()) for column in columns]
    return Table(["workload", *columns], [*body, ["geometric mean", *means]])


def slots(results: Results, contender: str) -> Table:
    """Speed in float32 by slot."""
    columns = [slot for slot in dict.fromkeys(one.slot for one in results.measurements) if slot != "per sample"]
    return _by(results, contender, columns, lambda one: one.slot if one.dtype == "float32" else None)


def dtypes(results: Results, contender: str) -> Table:
    """Speed of a step by dtype."""
    columns = list(dict.fromkeys(one.dtype for one in results.measurements if one.slot == "step"))
    return _by(results, contender, columns, lambda one: one.dtype if one.slot == "step" else None)


def per_sample(results: Results) -> Table:
    """Speed of the per-sample gradient of the weight, relative to `vmap` of `grad` of torch's convolution."""
    found = _ordered(results.select(slot="per sample"))
    names = [name for name in _names(found) if name != TORCH]
    rows = [
        [
            workload.name,
            f"{one.contenders[TORCH].milliseconds:.2f}" if TORCH in one.contenders else "",
            *(_spread(one.contenders.get(name)) for name in names),
        ]
        for workload, one in found
    ]
    means = [_mean(one.contenders.get(name) for _, one in found) for name in names]
    return Table(["workload", "vmap(grad), ms", *names], [*rows, ["geometric mean", "", *means]])


def memory(results: Results) -> Table:
    """Peak extra memory of a step in float32, in MiB."""
    found = _ordered(results.select("float32", "step"))
    names = _names(found)
    rows = [
        [
            workload.name,
            f"{4 * workload.elements / 2**20:.1f}",
            *(f"{one.contenders[name].memory / 2**20:.1f}" if name in one.contenders else "" for name in names),
        ]
        for workload, one in found
    ]
    return Table(["workload", "input, weight and output", *names], rows)


def losses(results: Results) -> Table:
    """All measurements slower than torch, the worst first."""
    found = [
        (timing.speed, [one.workload, workload.kind, one.dtype, one.slot, name, _spread(timing)])
        for workload, one in results.select()
        for name in (AUTO, FASTEST)
        if (timing := one.contenders.get(name)) and timing.speed < 1
    ]
    header = ["workload", "kind", "dtype", "slot", "who", "speed"]
    return Table(header, [row for _, row in sorted(found, key=lambda pair: pair[0])])


def kinds(results: Results) -> Table:
    """For each kind, in how many measurements ours is faster than torch, and the mean speed."""
    rows = []
    for kind in KINDS:
        found = [one for workload, one in results.select() if workload.kind == kind]
        row = [kind, str(len({one.workload for one in found}))]
        for name in (AUTO, FASTEST):
            timings = [one.contenders[name] for one in found if name in one.contenders]
            row += [f"{sum(t.speed >= 1 for t in timings)} of {len(timings)}", _mean(timings)]
        if found:
            rows.append(row)
    return Table(["kind", "workloads", "auto faster", "mean", "fastest faster", "mean"], rows)


def skipped(results: Results) -> Table:
    """The contenders that were not timed, and why."""
    rows = [
        [one.workload, one.dtype, one.slot, name, reason.replace("|", "/")]
        for _, one in results.select()
        for name, reason in one.skipped.items()
    ]
    return Table(["workload", "dtype", "slot", "who", "why not"], rows)


def sources(results: Results) -> Table:
    """The workloads."""
    rows = []
    for workload in results.workloads:
        shapes = [" × ".join(map(str, shape)) for shape in (workload.input, workload.weight)]
        window = [" ".join(map(str, dict.fromkeys(values))) for values in workload.window]
        rows.append([workload.name, workload.source, *shapes, *window, str(workload.groups), workload.kind])
    return Table(["workload", "from", "input", "weight", "stride", "padding", "dilation", "groups", "kind"], rows)
