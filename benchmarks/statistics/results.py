"""Results of a run of the statistics, and their JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.machine import Facts
from benchmarks.names import AUTO
from benchmarks.results import write_json


@dataclass(frozen=True)
class Figures:
    """Time and memory of one way.

    Args:
        milliseconds: Median over the rounds.
        ratio: Its time by ours in the same round, median over the rounds.
        low: Lower quartile of that.
        high: Upper quartile.
        rounds: Number of rounds.
        memory: Bytes at the peak beside the operands.
    """

    milliseconds: float
    ratio: float
    low: float
    high: float
    rounds: int
    memory: int


@dataclass(frozen=True)
class Measured:
    """A statistic of a layer.

    Args:
        layer: Its name.
        statistic: Its name.
        picked: The variant that ours picked.
        gradients: Bytes of the per-sample gradients.
        ways: Figures by way, ours first.
        skipped: Why other ways have none.
    """

    layer: str
    statistic: str
    picked: str
    gradients: int
    ways: dict[str, Figures]
    skipped: dict[str, str]

    def quicker(self, *others: str) -> float:
        """The time of the quickest of other ways by ours; NaN if there is none."""
        return min((self.ways[name].ratio for name in others if name in self.ways), default=math.nan)

    def memory(self, other: str) -> float:
        """The memory of ours by another way's."""
        return self.ways[AUTO].memory / max(1, self.ways[other].memory)


@dataclass(frozen=True)
class Run:
    """The results of a run.

    Args:
        environment: All that the figures depend on besides the code.
        settings: How it was measured.
        measured: In the order of the run.
    """

    environment: Facts
    settings: dict[str, float]
    measured: tuple[Measured, ...]

    def of(self, statistic: str) -> list[Measured]:
        """The results for a statistic."""
        return [one for one in self.measured if one.statistic == statistic]


def write(run: Run, path: Path) -> None:
    """Write JSON, a statistic of a layer on each line."""
    write_json(asdict(run), ["measured"], path)


def read(path: Path) -> Run:
    """Read the file of `write`."""
    values = json.loads(path.read_text())
    values["measured"] = tuple(
        Measured(**{**one, "ways": {name: Figures(**figures) for name, figures in one["ways"].items()}})
        for one in values["measured"]
    )
    return Run(**values)
