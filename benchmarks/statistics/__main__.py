"""Measure statistics of gradients on this machine: ``python -m benchmarks.statistics``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from benchmarks.machine import environment, kind, pin
from benchmarks.results import COMMITTED
from benchmarks.statistics.contenders import STATISTICS
from benchmarks.statistics.layers import containing
from benchmarks.statistics.measure import run
from benchmarks.statistics.report import summary
from benchmarks.statistics.results import write

SECONDS = 3.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.statistics",
        description="Compare statistics of gradients with how they are computed without ndconv.",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"for each statistic (default: {SECONDS})")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="layers whose name contains one of these")
    parser.add_argument("--statistic", nargs="+", default=STATISTICS, choices=STATISTICS)
    parser.add_argument("--threads", type=int, help="of torch on the CPU (default: torch's)")
    where = "where results go (default: benchmarks/results/statistics-KIND.json if all is measured, else nowhere)"
    parser.add_argument("--json", type=Path, help=where)
    return parser


def main() -> int:
    """Measure, print a summary and write JSON."""
    parser = _parser()
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device")
    found = containing(options.only)
    if not found:
        parser.error("nothing to measure")
    path: Path | None = options.json
    if path is None and not options.only and options.statistic == STATISTICS:
        path = COMMITTED / f"statistics-{kind(options.device)}.json"

    pin(options.device, False, options.threads)
    print(*(f"{name}: {value}" for name, value in environment(options.device).items()), sep="\n")
    results = run(found, options.statistic, options.device, options.seconds)
    print(summary(results))
    if path is not None:
        write(results, path)
        print(f"Results: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
