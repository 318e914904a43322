"""Examine trials by every check, on one device, with several worker processes if it is the CPU."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

import torch

from ndconv import get_exact, set_exact
from ndconv._planner.choice import FASTEST
from ndconv.testing._checks import ALWAYS
from ndconv.testing._compare import NotApplicableError, UnmetError
from ndconv.testing._covering import Row
from ndconv.testing._shards import shards
from ndconv.testing._statistics import STATISTICS
from ndconv.testing._subject import Subject
from ndconv.testing._transforms import TRANSFORMS
from ndconv.testing._trials import Trial
from ndconv.testing._values import not_finite

PASSED, FAILED, UNSUPPORTED, NOT_APPLICABLE = "passed", "failed", "unsupported", "not applicable"
STATUSES = (PASSED, FAILED, UNSUPPORTED, NOT_APPLICABLE)

# Messages by which torch and the devices' libraries say that a device lacks something.
_LACKING = re.compile(
    r"not (yet )?implemented|not (currently )?supported|n't (currently )?support|unsupported|could not run|no kernel",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Outcome:
    """The result of one check: its status, and the reason unless it passed."""

    check: str
    status: str
    detail: str = ""


@dataclass(frozen=True)
class Examined:
    """A trial with its outcomes.

    Args:
        id: Id of the trial.
        levels: Level of every parameter.
        outcomes: Outcome of every check.
        seconds: Duration of all checks.
    """

    id: str
    levels: Row
    outcomes: tuple[Outcome, ...]
    seconds: float

    def count(self, status: str) -> int:
        """Number of checks with a status."""
        return sum(outcome.status == status for outcome in self.outcomes)


def examine(trial: Trial, device: str = "cpu") -> list[Outcome]:
    """Run every check on a trial; "fastest", which may pick inexact lowerings, is examined under `ndconv.set_exact`.

    Args:
        trial: The trial.
        device: Device to compute on.

    Returns:
        One outcome per check; nothing is raised.

    Example:
        >>> from ndconv.testing import Trial, examine
        >>> outcomes = examine(Trial.parse("n2g1c3d4-k3x2-s2x1-p1.1x0.0-d1x2-i8x5-taps"))
        >>> sorted({outcome.status for outcome in outcomes})
        ['not applicable', 'passed']
    """
    checks = {**ALWAYS, **STATISTICS, "shards": shards}
    if trial.transform in TRANSFORMS:
        checks[trial.transform] = TRANSFORMS[trial.transform]
    if trial.values != "usual":
        checks["not finite"] = not_finite
    before = get_exact()
    set_exact(trial.lowering == FASTEST)
    try:
        return [_outcome(name, check, trial, device) for name, check in checks.items()]
    finally:
        set_exact(before)


def _outcome(name: str, check: Callable[[Subject], None], trial: Trial, device: str) -> Outcome:
    try:
        check(Subject(trial, device))
    except NotApplicableError as reason:
        return Outcome(name, NOT_APPLICABLE, str(reason))
    except UnmetError as fault:
        return Outcome(name, FAILED, str(fault))
    except Exception as error:  # a device or a lowering may fail in any way, and the other checks still run
        message = (str(error).strip() or "no message").splitlines()[0]
        if isinstance(error, NotImplementedError) or _LACKING.search(message):
            return Outcome(name, UNSUPPORTED, message)
        return Outcome(name, FAILED, f"{type(error).__name__}: {message}")
    return Outcome(name, PASSED)


def _timed(trial: Trial, device: str) -> tuple[list[Outcome], float]:
    start = time.perf_counter()
    return examine(trial, device), time.perf_counter() - start


def _prepare(plugins: Sequence[str] = ()) -> None:
    """Set one thread per process, and load plugins."""
    for plugin in plugins:
        importlib.import_module(plugin)
    torch.set_num_threads(1)
    set_full_precision()


def set_full_precision() -> None:
    """Turn off reduced precision of GPUs, and kernels that add in any order: results must be equal."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


def examine_all(
    trials: Sequence[tuple[Trial, Row]], device: str = "cpu", workers: int = 1, plugins: Sequence[str] = ()
) -> Iterator[Examined]:
    """Examine trials; with several workers they come in any order.

    Args:
        trials: Trials with their rows.
        device: Device to compute on.
        workers: Number of processes; 1 uses this process.
        plugins: Modules to import in every process, which register lowerings there.

    Yields:
        Each trial as it is done.
    """
    if workers <= 1:
        _prepare(plugins)
        for trial, row in trials:
            outcomes, seconds = _timed(trial, device)
            yield Examined(trial.id, row, tuple(outcomes), seconds)
        return
    # A process forked after torch has started threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_prepare, initargs=(tuple(plugins),)) as pool:
        pending = {pool.submit(_timed, trial, device): (trial, row) for trial, row in trials}
        for done in as_completed(pending):
            trial, row = pending[done]
            try:
                outcomes, seconds = done.result()
            except Exception as error:  # the process died: report its trial as failed
                outcomes, seconds = [Outcome("process", FAILED, f"{type(error).__name__}: {error}")], 0.0
            yield Examined(trial.id, row, tuple(outcomes), seconds)


def workers_for(device: str) -> int:
    """Number of worker processes: one per core on the CPU, one on a device that all would share."""
    if torch.device(device).type != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def unusable(device: str) -> str | None:
    """Why a device cannot be used, or None."""
    try:
        torch.ones(2, device=device).sum()
    except Exception as error:  # a missing driver raises many kinds of errors
        return str(error).splitlines()[0]
    return None
