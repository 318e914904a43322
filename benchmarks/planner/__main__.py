"""Prove the planner on this machine: ``python -m benchmarks.planner``.

For every workload, dtype and slot, the programs of all exact lowerings take turns. Their times stand beside the times
that the planner expects, once with built-in rates and once with rates measured just before.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from benchmarks.machine import environment, kind, pin
from benchmarks.planner.measure import prove
from benchmarks.planner.report import summary
from benchmarks.planner.results import write
from benchmarks.results import COMMITTED
from benchmarks.schedule import DTYPES
from benchmarks.workloads import containing

SECONDS = 0.5


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.planner", description="Compare what the planner expects with what programs take."
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"for each slot (default: {SECONDS})")
    parser.add_argument(
        "--only", nargs="+", default=(), metavar="NAME", help="workloads whose name contains one of these"
    )
    parser.add_argument("--dtype", nargs="+", default=DTYPES, choices=DTYPES)
    parser.add_argument("--threads", type=int, help="of torch on the CPU (default: torch's)")
    where = "where results go (default: benchmarks/results/planner-KIND.json if all is measured, else nowhere)"
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
    if path is None and not options.only and options.dtype == DTYPES:
        path = COMMITTED / f"planner-{kind(options.device)}.json"

    pin(options.device, False, options.threads)
    print(*(f"{name}: {value}" for name, value in environment(options.device).items()), sep="\n")
    proof = prove(found, options.dtype, options.device, options.seconds)
    print(summary(proof))
    if path is not None:
        write(proof, path)
        print(f"Results: {path}. Tables and plots: python -m benchmarks.report")
    return 0


if __name__ == "__main__":
    sys.exit(main())
