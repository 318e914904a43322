"""The workloads for pytest-benchmark: ``pytest benchmarks --benchmark-only``."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.schedule import Task, Wanted, tasks
from benchmarks.slots import SLOTS, operands

_TASKS = tasks(Wanted(dtypes=["float32"], slots=["step"]), quick=True)


@pytest.mark.benchmark(max_time=0.3, min_rounds=3, warmup=True, warmup_iterations=1)
@pytest.mark.parametrize(
    ("task", "contender"),
    [pytest.param(t, name, id=f"{t.workload.name}-{name}".replace(" ", "_")) for t in _TASKS for name in t.contenders],
)
def test_step(benchmark: BenchmarkFixture, device: str, task: Task, contender: str) -> None:
    benchmark.group = task.workload.name
    compute = task.contenders[contender].compute
    benchmark(SLOTS[task.slot](compute, *operands(task.workload, task.dtype, device)))
