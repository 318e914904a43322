"""Measured times of every lowering, for each problem, device and dtype.

`lowering="fastest"` looks here, and measures what is missing if its budget allows. Times hold for one machine and one
version of torch, which are saved with them. The number of threads is part of every key.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndconv._form.cache import cached, memory
from ndconv._form.geometry import Geometry, Problem, Slot
from ndconv._lowerings import LOWERINGS
from ndconv._machine.budget import Budget
from ndconv._machine.contest import contest
from ndconv._planner.choice import MARGIN, NATIVE, quickest

# Seconds that our autograd function adds to each call: Python runs with caches full of tensor data.
_FUNCTION = 5e-5
# Number of problems that are kept, the latest ones.
_MOST = 4096


class Key(NamedTuple):
    """What a measurement depends on beside the machine."""

    problem: Problem
    dtype: torch.dtype
    device: str
    threads: int
    channels_last: bool


_table: dict[Key, dict[str, float]] = {}
_budget = Budget()
DECISIONS = memory()
"""Decisions that other modules derived from this table; cleared whenever the table changes."""


def key_of(problem: Problem, tensor: Tensor, channels_last: bool) -> Key:
    """The key of a problem with the dtype and device of a tensor."""
    return Key(problem, tensor.dtype, tensor.device.type, torch.get_num_threads(), channels_last)


def count_call() -> None:
    """Count a call that is about to be made; calls make steps, by which the budget decides."""
    _budget.count(backward=torch._C._current_graph_task_id() != -1)


def is_settled() -> bool:
    """Whether nothing more will be measured, so that decisions on unmeasured problems are final too."""
    return _budget.is_spent


def chosen(key: Key, exact: bool) -> str | None:
    """The quickest lowering by measurement; None without one.

    When the budget is spent, an unmeasured problem takes the choice of its nearest relative.
    """
    return _chosen(key, exact, _budget.is_spent)


@cached
def _chosen(key: Key, exact: bool, related: bool) -> str | None:
    found = _measured(key, related)
    seconds = {} if found is None else _table[found]
    seconds = {name: taken for name, taken in seconds.items() if LOWERINGS[name].exact or not exact}
    return quickest(seconds) if seconds else None


def _measured(key: Key, related: bool) -> Key | None:
    """The key itself if it was measured; else, with ``related``, its nearest relative that was."""
    if key in _table or not related:
        return key if key in _table else None
    amount = key.problem.multiply_adds

    def distance(other: Key) -> float:
        return max(amount, other.problem.multiply_adds) / min(amount, other.problem.multiply_adds)

    return min(_relatives(_kind(key)), key=distance, default=None)


def _kind(key: Key) -> Key:
    """The part of a key that relatives share: all but the sizes of batch and space."""
    return key._replace(problem=replace(key.problem, batch=0, input_size=(), output_size=()))


@cached
def _relatives(kind: Key) -> tuple[Key, ...]:
    return tuple(key for key in _table if _kind(key) == kind)


def may_measure(key: Key) -> bool:
    """Whether the budget allows it, now that the problem is met again."""
    return _budget.allows(key)


def recall(problem: Problem, dtype: torch.dtype) -> tuple[Problem, dict[str, float]] | None:
    """The problem whose times `chosen` uses, on any device and layout, and seconds of every lowering for it."""
    threads = torch.get_num_threads()
    keys = [Key(problem, dtype, device, threads, last) for device in sorted(devices()) for last in (False, True)]
    for related in (False, True)[: 1 + _budget.is_spent]:
        for found in (_measured(key, related) for key in keys):
            if found is not None:
                return found.problem, _table[found]
    return None


def torch_wins(problem: Problem, slots: tuple[Slot, ...], dtype: torch.dtype, device: str) -> bool:
    """Whether torch's kernel is known to lose no time over these slots, without our autograd function around it."""
    return _torch_wins(problem, slots, dtype, device, torch.get_num_threads(), _budget.is_spent)


@cached
def _torch_wins(
    problem: Problem, slots: tuple[Slot, ...], dtype: torch.dtype, device: str, threads: int, related: bool
) -> bool:
    keys = [Key(replace(problem, slot=slot), dtype, device, threads, False) for slot in slots]
    tables = [_table[found] for key in keys if (found := _measured(key, related)) is not None]
    if len(tables) < len(slots) or not all(NATIVE in seconds for seconds in tables):
        return False
    gained = sum(seconds[NATIVE] - seconds[quickest(seconds)] for seconds in tables)
    return gained <= sum(MARGIN * seconds[NATIVE] + _FUNCTION for seconds in tables)


def devices() -> set[str]:
    """Devices with measurements."""
    return {key.device for key in _table}


def measure(key: Key, contenders: Mapping[str, Callable[[], object]]) -> None:
    """Time contenders against one another, remember their times, and charge the budget.

    Each runs once before, as a warm-up. A contender that lacks an operation on the device drops out.

    Args:
        key: Key of the problem.
        contenders: Calls that compute it, by lowering; the reference is torch's kernel, or else the first.
    """
    start = time.perf_counter()
    able = {}
    for name, run in contenders.items():
        with suppress(NotImplementedError, RuntimeError):
            run()
            able[name] = run
    _remember({key: contest(able, _timed)})
    _budget.spend(time.perf_counter() - start)


def _remember(table: Mapping[Key, dict[str, float]]) -> None:
    _table.update(table)
    for key in list(_table)[:-_MOST]:
        _table.pop(key, None)
    reconsider()


def forget(name: str) -> None:
    """Forget the times of a removed lowering."""
    for seconds in _table.values():
        seconds.pop(name, None)
    reconsider()


def reconsider() -> None:
    """Forget decisions from a table that has changed."""
    conclusions: tuple[Any, ...] = _chosen, _relatives, _torch_wins
    for each in conclusions:
        each.cache_clear()
    DECISIONS.clear()


def _timed(run: Callable[[], object]) -> float:
    """Seconds of a run, until the device is idle."""
    _wait()
    start = time.perf_counter()
    run()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def _machine() -> dict[str, str]:
    """The machine that the times hold for."""
    accelerator = str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else "none"
    names = {"accelerator": accelerator, "torch": torch.__version__, "machine": platform.machine()}
    if accelerator.startswith("cuda"):
        names["accelerator"] = torch.cuda.get_device_name()
    return {**names, "vectors": torch.backends.cpu.get_cpu_capability(), "cores": str(os.cpu_count())}


def save_timings(path: str | os.PathLike[str]) -> None:
    """Write the measurements of ``lowering="fastest"`` in this process to a JSON file: the last 4,096 problems at most.

    Args:
        path: The file.

    Example:
        >>> import tempfile, ndconv
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ndconv.save_timings(f"{folder}/timings.json")
        ...     ndconv.load_timings(f"{folder}/timings.json")
    """
    rows = [
        {**key._asdict(), "problem": asdict(key.problem) | {"slot": key.problem.slot.value}, "seconds": seconds}
        | {"dtype": str(key.dtype).removeprefix("torch.")}
        for key, seconds in _table.items()
    ]
    Path(path).write_text(json.dumps({"machine": _machine(), "timings": rows}, indent=1) + "\n")


def load_timings(path: str | os.PathLike[str]) -> None:
    """Load the measurements that `save_timings` wrote, for ``lowering="fastest"`` to use from the first call on.

    Args:
        path: The file.

    Raises:
        ValueError: If the times are of another machine or another version of torch, or not from `save_timings`.
        OSError: If the file cannot be read.
    """
    here = _machine()
    try:
        values = json.loads(Path(path).read_text())
        machine = values["machine"]
        table = dict(map(_timing, values["timings"])) if machine == here else {}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"load_timings: {path} must be as save_timings wrote it, but gives {error!r}") from error
    if machine != here:
        raise ValueError(f"load_timings: times must be of this machine, {here}, but {path} is of {machine}")
    _remember(table)


def _timing(row: dict[str, Any]) -> tuple[Key, dict[str, float]]:
    """A row of the file."""
    problem = {name: _as_tuple(value) for name, value in row["problem"].items()}
    geometry = {name: _as_tuple(value) for name, value in problem.pop("geometry").items()}
    slot = Slot(problem.pop("slot"))
    key = Key(
        Problem(slot, Geometry(**geometry), **problem),
        getattr(torch, row["dtype"]), row["device"], row["threads"], row["channels_last"],
    )  # fmt: skip
    return key, {str(name): float(seconds) for name, seconds in row["seconds"].items()}


def _as_tuple(value: Any) -> Any:
    """Lists, also nested ones, as the tuples they were."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
