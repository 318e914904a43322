"""Measure convolutions beside torch's: ``python -m benchmarks.run``, tables and plots by ``benchmarks.report``.

Every workload is measured in float32 (a step of training with all contenders; forward, each gradient, double backward
and per-sample gradient with fewer), and as a step in float64, bfloat16 and complex64.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from tqdm import tqdm

import ndconv
from benchmarks.machine import copy_ceiling, environment, kind, matmul_ceiling, pin
from benchmarks.measure import HOPELESS, MEMORY_BOUND, MIN_ROUNDS, measure
from benchmarks.names import AUTO, FASTEST, OPACUS, PEERS, TORCH
from benchmarks.report import summary
from benchmarks.results import COMMITTED, Measurement, Results, write
from benchmarks.schedule import DTYPES, Task, Wanted, tasks
from benchmarks.slots import SLOTS

SECONDS, QUICK_SECONDS = 1.0, 0.2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description="Measure convolutions beside torch's."
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="float32 steps of torch, auto and fastest, briefly, without the largest workloads",
    )
    parser.add_argument("--seconds", type=float, help=f"for each slot of a workload (default: {SECONDS})")
    parser.add_argument(
        "--only", nargs="+", default=(), metavar="NAME", help="workloads whose name contains one of these"
    )
    parser.add_argument("--dtype", nargs="+", default=(), choices=DTYPES)
    parser.add_argument("--slot", nargs="+", default=(), choices=SLOTS)
    known = f"{TORCH} (always), {AUTO}, {FASTEST}, a lowering, {', '.join(PEERS)} or {OPACUS!r}"
    parser.add_argument("--contender", nargs="+", default=(), metavar="NAME", help=known)
    parser.add_argument("--threads", type=int, help="of torch on the CPU (default: torch's)")
    parser.add_argument("--tf32", action="store_true", help="allow TF32 to all contenders; refused to all otherwise")
    where = "where results go (default: benchmarks/results/DEVICE-KIND.json if all is measured, else nowhere)"
    parser.add_argument("--json", type=Path, help=where)
    return parser


def _ceilings(device: str, dtypes: list[str]) -> list[float]:
    """GB/s of a copy, and GFLOP/s of a matrix product in each dtype."""
    return [round(rate, 1) for rate in (copy_ceiling(device), *(matmul_ceiling(device, dtype) for dtype in dtypes))]


def run(found: list[Task], device: str, seconds: float) -> Iterator[Results]:
    """Measure ceilings and tasks in order, with a progress bar; yield all results so far after every workload."""
    dtypes = list(dict.fromkeys(task.dtype for task in found))
    ceilings = [_ceilings(device, dtypes)]
    measurements: list[Measurement] = []
    settings = {"seconds": seconds, "min_rounds": MIN_ROUNDS, "hopeless": HOPELESS, "memory_bound": MEMORY_BOUND}

    def results() -> Results:
        copy, *products = map(max, zip(*ceilings, strict=True))
        done = {one.workload for one in measurements}
        workloads = tuple(dict.fromkeys(task.workload for task in found if task.workload.name in done))
        matmul = dict(zip(dtypes, products, strict=True))
        return Results(environment(device), settings, matmul, copy, workloads, tuple(measurements))

    with tqdm(found, unit="slot", ncols=110) as progress:
        for task in progress:
            if measurements and task.workload.name != measurements[-1].workload:
                yield results()
            progress.set_postfix_str(f"{task.workload.name}, {task.dtype}, {task.slot}")
            measurements.append(measure(task.workload, task.dtype, task.slot, task.contenders, device, seconds))
    ceilings.append(_ceilings(device, dtypes))  # a shared machine may have been busy before
    yield results()


def keep(steps: Iterable[Results], path: Path | None) -> Results:
    """The last results. Earlier ones are written beside ``path`` meanwhile, so that a crash does not lose hours."""
    part = path and path.with_suffix(".part.json")
    for results in steps:
        if part is not None:
            write(results, part)
    if path is not None and part is not None:
        part.replace(path)
    return results


def main() -> int:
    """Run the benchmark, print its summary and write its JSON; status 1 if a result was wrong."""
    parser = _parser()
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device")
    wanted = Wanted(options.only, options.dtype, options.slot, options.contender)
    found = tasks(wanted, options.quick)
    if not found:
        parser.error("nothing to measure")
    default = QUICK_SECONDS if options.quick else SECONDS
    seconds: float = default if options.seconds is None else options.seconds
    path: Path | None = options.json
    if path is None and wanted == Wanted() and not options.quick:
        name = "-".join(dict.fromkeys((options.device, kind(options.device))))
        path = COMMITTED / f"{name}.json"

    pin(options.device, options.tf32, options.threads)
    ndconv.set_measuring_budget(math.inf)  # or the last workloads would have no measured choice
    print(*(f"{name}: {value}" for name, value in environment(options.device).items()), sep="\n")
    results = keep(run(found, options.device, seconds), path)
    print(summary(results))
    if path is not None:
        print(f"Results: {path}. Tables and plots: python -m benchmarks.report {path}")
    wrong = [one for one in results.measurements if any(why.startswith("off by") for why in one.skipped.values())]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
