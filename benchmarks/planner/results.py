"""Results of a run of the planner's proof, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import Facts
from benchmarks.results import write_json

BUILT_IN, CALIBRATED = "built-in", "calibrated"
PROFILES = (BUILT_IN, CALIBRATED)


def lowering_of(program: str) -> str:
    """The lowering of a program: ``"columns"`` and ``"columns, calibrated"`` are two variants of one lowering."""
    return program.partition(",")[0]


class Time(NamedTuple):
    """Microseconds of a program.

    Args:
        median: Over the rounds.
        least: Over the rounds.
        rounds: Number of rounds.
    """

    median: float
    least: float
    rounds: int


class Prediction(NamedTuple):
    """The prediction of a profile for a slot.

    Args:
        pick: The program that ``"auto"`` runs.
        microseconds: Expected time of each program.
    """

    pick: str
    microseconds: dict[str, float]


@dataclass(frozen=True)
class Slot:
    """One of the three operations of a workload in one dtype.

    Args:
        workload: Its name.
        dtype: By name.
        slot: ``"output"``, ``"grad input"`` or ``"grad weight"``.
        times: By program. Programs are named after their lowering, and after the profile if profiles differ.
        skipped: Why lowerings that apply were not timed.
        predictions: By profile.
    """

    workload: str
    dtype: str
    slot: str
    times: dict[str, Time]
    skipped: dict[str, str]
    predictions: dict[str, Prediction]

    @property
    def best(self) -> str:
        """The program that took the least time."""
        return min(self.times, key=lambda program: self.times[program].median)

    def regret(self, profile: str) -> float:
        """The time of the program that ``"auto"`` runs by that of the best."""
        return self.times[self.predictions[profile].pick].median / self.times[self.best].median

    def pairs(self, profile: str) -> Iterator[tuple[str, float, float]]:
        """Program, microseconds expected and microseconds taken."""
        for program, expected in self.predictions[profile].microseconds.items():
            yield program, expected, self.times[program].median


@dataclass(frozen=True)
class Proof:
    """The results of a run.

    Args:
        environment: All that the figures depend on besides the code.
        settings: How it was measured.
        profiles: Where the rates of each profile are from.
        slots: In the order of the run.
    """

    environment: Facts
    settings: dict[str, float]
    profiles: dict[str, str]
    slots: tuple[Slot, ...]

    @property
    def kind(self) -> str:
        """The kind of machine."""
        return str(self.environment["kind"])

    @property
    def dtypes(self) -> list[str]:
        """The measured dtypes."""
        return list(dict.fromkeys(one.dtype for one in self.slots))


def write(proof: Proof, path: Path) -> None:
    """Write JSON, a slot on each line."""
    write_json(asdict(proof), ["slots"], path)


def read(path: Path) -> Proof:
    """Read the file of `write`."""
    values = json.loads(path.read_text())
    values["slots"] = tuple(
        Slot(
            **{
                **one,
                "times": {name: Time(*time) for name, time in one["times"].items()},
                "predictions": {name: Prediction(*prediction) for name, prediction in one["predictions"].items()},
            }
        )
        for one in values["slots"]
    )
    return Proof(**values)
