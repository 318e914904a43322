"""The workloads for pytest-benchmark: ``pytest benchmarks --benchmark-only``."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.run import contenders, operands, step
from benchmarks.workloads import WORKLOADS, Workload


@pytest.mark.benchmark(max_time=0.3, min_rounds=3, warmup=True, warmup_iterations=1)
@pytest.mark.parametrize(
    ("workload", "contender"),
    [pytest.param(w, name, id=f"{w.name}-{name}".replace(" ", "_")) for w in WORKLOADS for name in contenders(w)],
)
def test_step(benchmark: BenchmarkFixture, workload: Workload, contender: str) -> None:
    benchmark.group = workload.name
    benchmark(step, contenders(workload)[contender], *operands(workload))
