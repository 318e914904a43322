"""``python -m ndconv.testing``: run the matrix of exact checks on a device."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

from tqdm import tqdm

from ndconv._planner.choice import names
from ndconv.testing._matrix import LEVELS, Matrix, matrix
from ndconv.testing._report import Report, write_json
from ndconv.testing._runner import FAILED, PASSED, examine_all, unusable, workers_for
from ndconv.testing._space import FLOATS, INTEGERS
from ndconv.testing._trials import Trial
from ndconv.testing._writers import text, write_html, write_junit

_WRITERS = {"report": write_html, "json": write_json, "junit": write_junit}


def _trial(id: str) -> Trial:
    try:
        return Trial.parse(id)
    except ValueError as error:  # argparse would leave the message out
        raise argparse.ArgumentTypeError(str(error)) from error


def _arguments(given: list[str] | None) -> argparse.Namespace:
    plugins = argparse.ArgumentParser("python -m ndconv.testing", add_help=False)
    plugins.add_argument(
        "--plugin",
        nargs="+",
        default=(),
        metavar="MODULE",
        help="import these modules first, in every process; they register lowerings: see ndconv.lowerings",
    )
    # Plugins register lowerings, which are choices of other arguments.
    for plugin in plugins.parse_known_args(given)[0].plugin:
        try:
            importlib.import_module(plugin)
        except Exception as error:  # a module may fail in any way
            plugins.error(f"--plugin {plugin} cannot be imported: {type(error).__name__}: {error}")
    parser = argparse.ArgumentParser(
        "python -m ndconv.testing",
        parents=[plugins],
        description="Run the matrix of exact checks on a device and say what holds there. The exit status is 0 if "
        "something passed and nothing failed, 1 otherwise, 2 for arguments that cannot be.",
    )
    parser.add_argument("--device", default="cpu", help="a torch device: cuda, mps, xpu, meta, ... (default: cpu)")
    parser.add_argument(
        "--level",
        choices=LEVELS,
        default="quick",
        help="any two (quick, a minute), three (standard, some minutes) or four (full, half an hour) parameters "
        "in all their combinations (default: quick)",
    )
    parser.add_argument("--dtype", choices=(*FLOATS, *INTEGERS), nargs="+", default=(), help="default: all")
    parser.add_argument("--lowering", choices=names(), nargs="+", default=(), help="default: all")
    parser.add_argument(
        "--case",
        type=_trial,
        nargs="+",
        metavar="ID",
        help="run these trials only; an id looks like n2g1c3d4-k3x2-s2x1-p1.1x0.0-d1x2-i8x5-reflect-float32-taps-jvp "
        "and is printed with every failure",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the covering array and of all sizes (default: 0)")
    parser.add_argument("--workers", type=int, help="processes (default: one per core on cpu, else 1)")
    parser.add_argument("--report", type=Path, metavar="HTML", help="write one page that filters, without a network")
    parser.add_argument("--json", type=Path, help="write everything, compressed if it ends in .gz")
    parser.add_argument("--junit", type=Path, metavar="XML", help="write what CI services read")
    arguments = parser.parse_args(given)
    if fault := unusable(arguments.device):
        parser.error(f"device {arguments.device!r} cannot be used: {fault}")
    for name in _WRITERS:
        path = getattr(arguments, name)
        if path and not path.parent.is_dir():
            parser.error(f"--{name} {path}: there is no folder {path.parent}")
    return arguments


def main(given: list[str] | None = None) -> int:
    """Run the matrix; the exit status is 1 if a check failed, a combination is not covered, or nothing passed."""
    arguments = _arguments(given)
    start = time.perf_counter()
    if arguments.case:
        generated = Matrix("chosen", 0, arguments.seed, 0, 0, tuple((trial, trial.levels) for trial in arguments.case))
    else:
        print(f"generating level {arguments.level} ...", file=sys.stderr)
        generated = matrix(arguments.level, seed=arguments.seed, dtypes=arguments.dtype, lowerings=arguments.lowering)
    workers = workers_for(arguments.device) if arguments.workers is None else arguments.workers
    workers = min(workers, 1 + len(generated.trials) // 20)
    running = examine_all(generated.trials, arguments.device, workers, arguments.plugin)
    examined = [*tqdm(running, total=len(generated.trials), unit="trial", disable=not sys.stderr.isatty())]
    report = Report.of(generated, arguments.device, examined, time.perf_counter() - start)
    for name, write in _WRITERS.items():
        if path := getattr(arguments, name):
            write(report, path)
    print(text(report))
    held = report.count(PASSED) and not report.count(FAILED) and report.covered == report.valid
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
