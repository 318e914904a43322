"""The report of a run, and its JSON form."""

from __future__ import annotations

import gzip
import json
import platform
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

import ndconv
from ndconv.testing._matrix import Matrix
from ndconv.testing._runner import Examined, Outcome


@dataclass(frozen=True)
class Report:
    """The report of a run of the matrix.

    Args:
        environment: Versions and devices, by name.
        level: Level of the matrix, or "chosen" for trials given by id.
        strength: Strength of the covering array.
        seed: Seed of the matrix.
        valid: Number of combinations that the constraints allow.
        covered: Number of those that occur.
        examined: The trials, in the order of the matrix.
        seconds: Duration of the run.
    """

    environment: dict[str, str]
    level: str
    strength: int
    seed: int
    valid: int
    covered: int
    examined: tuple[Examined, ...]
    seconds: float

    @classmethod
    def of(cls, matrix: Matrix, device: str, examined: Iterable[Examined], seconds: float) -> Report:
        """The report of a run, its trials in the order of the matrix."""
        order = {trial.id: index for index, (trial, _) in enumerate(matrix.trials)}
        ordered = tuple(sorted(examined, key=lambda one: order[one.id]))
        given = {name: getattr(matrix, name) for name in ("level", "strength", "seed", "valid", "covered")}
        return cls(environment(device), **given, examined=ordered, seconds=seconds)

    def count(self, status: str) -> int:
        """Number of checks with a status."""
        return sum(one.count(status) for one in self.examined)

    def as_json(self) -> dict[str, Any]:
        """The report as plain values for JSON, which `from_json` reads."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["examined"] = [
            {
                "id": one.id,
                "seconds": round(one.seconds, 3),
                "levels": dict(one.levels),
                "outcomes": {o.check: f"{o.status}: {o.detail}" if o.detail else o.status for o in one.outcomes},
            }
            for one in self.examined
        ]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Report:
        """The report that `as_json` wrote."""
        examined = []
        for one in values["examined"]:
            told = [(check, *text.partition(": ")) for check, text in one["outcomes"].items()]
            outcomes = tuple(Outcome(check, status, detail) for check, status, _, detail in told)
            examined.append(Examined(one["id"], one["levels"], outcomes, one["seconds"]))
        return cls(**{**values, "examined": tuple(examined)})


def environment(device: str) -> dict[str, str]:
    """Versions and device that a result depends on."""
    kind = torch.device(device).type
    accelerator = getattr(torch, kind, None)
    named = getattr(accelerator, "get_device_name", None)
    return {
        "device": f"{device} ({named()})" if named else device,
        "ndconv": ndconv.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def write_json(report: Report, path: str | Path) -> None:
    """Write a report as JSON, one trial per line.

    Args:
        report: The report.
        path: The file to write; compressed if its name ends in ``.gz``.
    """
    values = report.as_json()
    trials = values.pop("examined")
    head = json.dumps(values, indent=1)[:-2]
    body = ",\n  ".join(json.dumps(trial) for trial in trials)
    text = f'{head},\n "examined": [\n  {body}\n ]\n}}\n'.encode()
    Path(path).write_bytes(gzip.compress(text, mtime=0) if _is_compressed(path) else text)


def read_json(path: str | Path) -> Report:
    """Read the report in a file that `write_json` wrote."""
    text = Path(path).read_bytes()
    return Report.from_json(json.loads(gzip.decompress(text) if _is_compressed(path) else text))


def _is_compressed(path: str | Path) -> bool:
    return Path(path).suffix == ".gz"
