"""Results of a run, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import Facts
from benchmarks.workloads import Workload

COMMITTED = Path(__file__).parent / "results"
"""The folder of committed results, a file for each kind of machine."""


@dataclass(frozen=True)
class Timing:
    """One contender's figures.

    Args:
        milliseconds: Median over the rounds.
        speed: Torch's time by its own in the same round, median over the rounds.
        low: Lower quartile of that.
        high: Upper quartile.
        rounds: Number of rounds.
        memory: Peak bytes beyond those allocated before.
    """

    milliseconds: float
    speed: float
    low: float
    high: float
    rounds: int
    memory: int


@dataclass(frozen=True)
class Measurement:
    """One slot of one workload in one dtype.

    Args:
        workload: Its name.
        dtype: By name.
        slot: By name.
        contenders: Figures by contender.
        skipped: Why other contenders have none.
        picks: Lowerings that ran for ``"auto"`` and ``"fastest"``, each once, in the order output, input, weight.
    """

    workload: str
    dtype: str
    slot: str
    contenders: dict[str, Timing]
    skipped: dict[str, str]
    picks: dict[str, list[str]]


@dataclass(frozen=True)
class Results:
    """The results of a run.

    Args:
        environment: All that the figures depend on besides the code.
        settings: How it was measured.
        matmul: GFLOP/s of a large matrix product, by dtype.
        copy: GB/s of a large copy.
        workloads: In the order of the run.
        measurements: In the order of the run.
    """

    environment: Facts
    settings: dict[str, float]
    matmul: dict[str, float]
    copy: float
    workloads: tuple[Workload, ...]
    measurements: tuple[Measurement, ...]

    def select(self, dtype: str | None = None, slot: str | None = None) -> Iterator[tuple[Workload, Measurement]]:
        """The measurements of a dtype and of a slot, each with its workload."""
        workloads = {workload.name: workload for workload in self.workloads}
        for one in self.measurements:
            if dtype in (None, one.dtype) and slot in (None, one.slot):
                yield workloads[one.workload], one


def write(results: Results, path: Path) -> None:
    """Write JSON, a workload or a measurement on each line."""
    write_json(asdict(results), ("workloads", "measurements"), path)


def write_json(values: dict[str, Any], lists: Sequence[str], path: Path) -> None:
    """Write values as JSON; those named in ``lists`` come last, an element on each line."""
    ends = {name: ",\n  ".join(map(json.dumps, values.pop(name))) for name in lists}
    body = "".join(f',\n "{name}": [\n  {lines}\n ]' for name, lines in ends.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{json.dumps(values, indent=1)[:-2]}{body}\n}}\n")


def read(path: Path) -> Results:
    """Read the file of `write`."""
    values = json.loads(path.read_text())
    values["workloads"] = tuple(_workload(one) for one in values["workloads"])
    values["measurements"] = tuple(
        Measurement(**{**one, "contenders": {name: Timing(**t) for name, t in one["contenders"].items()}})
        for one in values["measurements"]
    )
    return Results(**values)


def _workload(values: dict[str, Any]) -> Workload:
    tuples: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return Workload(**tuples)
