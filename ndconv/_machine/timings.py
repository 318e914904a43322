"""What was measured: for each problem, on each device and dtype, how long every lowering took.

`lowering="fastest"` looks here, and measures what it does not find where its budget allows. A table holds for one
machine, one version of torch and one number of threads; it says so of itself when it is saved.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndconv._form.cache import cached
from ndconv._form.geometry import Geometry, Problem, Slot
from ndconv._machine.budget import Budget

# After a first run, which sets things up, contenders take turns until all have taken so long for each, ...
_SECONDS = 0.02
# ... but for those that after one turn, two, three and more take so many times as long as the best: on a machine that
# does other things as well, one turn proves little.
_HOPELESS = 10.0, 4.0, 2.0
# What an autograd function of ours adds to each call, beside what it computes: Python finds its caches full of numbers.
_FUNCTION = 5e-5
# So many problems are kept, and the oldest go.
_MOST = 4096


class Key(NamedTuple):
    """What a measurement depends on, beside the machine."""

    problem: Problem
    dtype: torch.dtype
    device: str
    threads: int
    channels_last: bool


_table: dict[Key, dict[str, float]] = {}
_budget = Budget()


def key_of(problem: Problem, tensor: Tensor, channels_last: bool) -> Key:
    """The key of a problem whose operands are as a tensor."""
    return Key(problem, tensor.dtype, tensor.device.type, torch.get_num_threads(), channels_last)


def lookup(key: Key) -> dict[str, float]:
    """Seconds of every lowering for a call that is about to be made, none if they were not measured."""
    seconds = _table.get(key, {})
    _budget.count(backward=torch._C._current_graph_task_id() != -1)
    _budget.earn(min(seconds.values(), default=0.0))
    return seconds


def may_measure(key: Key) -> bool:
    """Whether the budget allows it, now that the problem is met again."""
    return _budget.allows(key)


def recall(problem: Problem, dtype: torch.dtype) -> dict[str, float]:
    """Seconds of every lowering on whatever device and layout they were measured first, none if they were not."""
    threads = torch.get_num_threads()
    found = (seconds for key, seconds in _table.items() if key[:2] == (problem, dtype) and key.threads == threads)
    return next(found, {})


@cached
def wins(name: str, problem: Problem, slots: tuple[Slot, ...], dtype: torch.dtype, device: str, threads: int) -> bool:
    """Whether a lowering is known to lose nothing over these slots of a problem if it needs no function of ours."""
    keys = [Key(replace(problem, slot=slot), dtype, device, threads, False) for slot in slots]
    found = [seconds for key in keys if name in (seconds := _table.get(key, {}))]
    return len(found) == len(slots) and sum(each[name] - min(each.values()) - _FUNCTION for each in found) <= 0


def devices() -> set[str]:
    """Those that anything was measured on."""
    return {key.device for key in _table}


def measure(key: Key, contenders: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Time contenders in turns and remember the least of each one's times, at the budget's expense.

    A contender that lacks an operation on the device is out of the contest.

    Returns:
        Seconds by name.
    """
    seconds: dict[str, float] = {}
    for name, run in contenders.items():
        try:
            _timed(run)
        except (NotImplementedError, RuntimeError):
            continue
        seconds[name] = math.inf
    hopeful, spent, turns = list(seconds), 0.0, 0
    while turns == 0 or (len(hopeful) > 1 and spent < _SECONDS * len(seconds)):
        for name in hopeful:
            taken = _timed(contenders[name])
            seconds[name], spent = min(seconds[name], taken), spent + taken
        limit = _HOPELESS[min(turns, len(_HOPELESS) - 1)] * min(seconds.values(), default=0)
        hopeful, turns = [name for name in hopeful if seconds[name] < limit], turns + 1
    _budget.spend(spent)
    _remember({key: seconds})
    return seconds


def _remember(table: Mapping[Key, dict[str, float]]) -> None:
    _table.update(table)
    for key in list(_table)[:-_MOST]:
        _table.pop(key, None)
    wins.cache_clear()  # type: ignore[attr-defined]


def forget(name: str) -> None:
    """Forget what a lowering took that is no more."""
    for seconds in _table.values():
        seconds.pop(name, None)
    wins.cache_clear()  # type: ignore[attr-defined]


def _timed(run: Callable[[], object]) -> float:
    """Seconds until all that was asked of the device is done."""
    _wait()
    start = time.perf_counter()
    run()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def _machine() -> dict[str, str]:
    """What the times are of."""
    accelerator = str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else "none"
    names = {"accelerator": accelerator, "torch": torch.__version__, "machine": platform.machine()}
    if accelerator.startswith("cuda"):
        names["accelerator"] = torch.cuda.get_device_name()
    return {**names, "vectors": torch.backends.cpu.get_cpu_capability(), "cores": str(os.cpu_count())}


def save_timings(path: str | os.PathLike[str]) -> None:
    """Write what ``lowering="fastest"`` has measured in this process to a JSON file, the last 4,096 problems at most.

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
    """Add what `save_timings` wrote to what ``lowering="fastest"`` knows: it is kept to from the first call on.

    Args:
        path: The file.

    Raises:
        ValueError: If the times are of another machine or another version of torch.
    """
    values = json.loads(Path(path).read_text())
    if values["machine"] != (here := _machine()):
        raise ValueError(f"load_timings: times must be of this machine, {here}, but {path} is of {values['machine']}")
    table = {}
    for row in values["timings"]:
        problem = {name: _as_tuple(value) for name, value in row["problem"].items()}
        geometry = {name: _as_tuple(value) for name, value in problem.pop("geometry").items()}
        slot = Slot(problem.pop("slot"))
        key = Key(
            Problem(slot, Geometry(**geometry), **problem),
            getattr(torch, row["dtype"]), row["device"], row["threads"], row["channels_last"],
        )  # fmt: skip
        table[key] = row["seconds"]
    _remember(table)


def _as_tuple(value: Any) -> Any:
    """Lists, also nested ones, as the tuples they were."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
