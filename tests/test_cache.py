"""A new size costs little: pricing looks at no kernel element, phase or chunk, and caches are bounded."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, pairwise
from typing import Any

import pytest
import torch

import ndconv
from ndconv._form import cache as _cache
from ndconv._form.cache import MEMORIES, cached
from ndconv._form.geometry import Geometry, Problem, Slot
from ndconv._lowerings._phases import kinds, phases
from ndconv._lowerings._residues import count_residues, residues
from ndconv._lowerings._runs import count_runs, runs
from ndconv._planner.choice import Setting
from ndconv._planner.choice import choose as choose_by
from ndconv._programs.target import Target
from ndconv.testing import sample
from tests.programs import RATES, lines_of

# Kernel, stride, dilation and size of every axis: small ones, and ones with very many of something.
SMALL = {1: ((3,), (2,), (1,), (50,)), 3: ((3, 3, 3), (2, 2, 2), (1, 1, 1), (20, 20, 20))}
LARGE = {
    "taps": ((8193,), (1,), (1,), (20_001,)),
    "phases": ((8193,), (4096,), (1,), (10**6,)),
    "dilated phases": ((8193,), (4096,), (3,), (10**6,)),
    "phases of three axes": ((17, 17, 17), (16, 16, 16), (1, 1, 1), (160, 160, 160)),
    "everything": ((2**20,), (2**10,), (7,), (2**30,)),
}


# Batches that no problem was met with.
FURTHER = count(1)


def posed(axes: Any, slot: Slot, batch: int, channels: int) -> Problem:
    kernel, stride, dilation, size = axes
    geometry = Geometry(kernel, stride, ((1, 0),) * len(kernel), dilation)
    return Problem(slot, geometry, batch, channels, channels, size, geometry.output_size(size), 4)


def choose(problem: Problem) -> None:
    choose_by(problem, "auto", Setting("float32", False, False, Target("cpu", ndconv.get_workspace_limit(), RATES)))


def lines(problem: Problem) -> int:
    """Lines of Python that it takes to price all lowerings for a new problem."""
    choose(problem)  # so that tables which serve all problems are there
    return lines_of(lambda: choose(replace(problem, batch=problem.batch + next(FURTHER))))


@pytest.mark.parametrize("channels", [1, 64])
@pytest.mark.parametrize("slot", Slot)
@pytest.mark.parametrize("name", LARGE)
def test_pricing_takes_as_long_for_large_kernels_as_for_small(name: str, slot: Slot, channels: int) -> None:
    small = SMALL[len(LARGE[name][0])]
    assert lines(posed(LARGE[name], slot, 8, channels)) < 8 * lines(posed(small, slot, 8, channels))


def test_small_chunks_are_not_listed_to_be_priced(tiny_workspace: None) -> None:
    few, many = (posed(((3,), (1,), (1,), (size,)), Slot.WEIGHT, 8, 4) for size in (10, 100_000))
    assert lines(many) < 2 * lines(few)


def geometries() -> Iterator[tuple[Geometry, tuple[int, ...], tuple[int, ...]]]:
    for overlap in (True, False):
        for case in sample(300, (0, 1, 2, 3), seed=70, overlap=overlap):
            yield (
                Geometry(case.kernel, case.stride, case.padding, case.dilation, case.groups),
                case.input_size,
                case.output_size,
            )


def told(phase: Problem) -> tuple[tuple[int, ...], ...]:
    return phase.geometry.kernel, phase.geometry.dilation, phase.output_size


def test_runs_phases_and_residues_are_as_many_as_are_listed() -> None:
    for geometry, input_size, output_size in geometries():
        starts = runs(geometry, tuple(n + 9 for n in input_size)).starts
        lengths = [stop - start for start, stop in pairwise(starts)]
        assert count_runs(geometry) == (len(lengths), max(lengths))
        problem = Problem(Slot.INPUT, geometry, 2, 3, 4, input_size, output_size, 4)
        listed = [told(phase.problem) for phase in phases(problem)]
        assert sorted(listed) == sorted(told(kind) for times, kind in kinds(problem) for _ in range(times))
        assert all(kind.geometry.output_size(kind.input_size) == kind.output_size for _, kind in kinds(problem))
        if geometry.ndim:
            found = residues(geometry, output_size[-1])
            assert len(found) == count_residues(geometry)


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Caches of 32 KiB each."""
    _cache.clear()
    monkeypatch.setattr(_cache, "_BYTES", 2**15)
    yield
    _cache.clear()


def steps(lowering: str, sizes: range) -> None:
    for size in sizes:
        x, w = torch.ones(1, 1, size, requires_grad=True), torch.ones(1, 1, 65, requires_grad=True)
        ndconv.functional.conv1d(x, w, stride=3, lowering=lowering).sum().backward()


def held() -> int:
    return sum(memory.bytes for memory in MEMORIES)


@pytest.mark.parametrize("lowering", ["auto", "taps", "columns", "window"])
def test_new_sizes_push_old_ones_out(little: None, lowering: str) -> None:
    steps(lowering, range(2000, 2100))
    gc.collect()
    tracemalloc.start()
    steps(lowering, range(2100, 2300))
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All of it was made since, and has taken the place of what was there. Python itself keeps some 75 bytes of a file's
    # name whenever it compiles one.
    assert grown - 3 * 200 * 100 < 1.25 * held()
    assert held() <= 2**15 * len(MEMORIES)
    assert all(memory.bytes <= 2**15 for memory in MEMORIES)
    assert any(len(memory.answers) > 3 for memory in MEMORIES)


def test_what_is_larger_than_a_memory_is_not_kept(little: None) -> None:
    calls = []

    @cached
    def numbers(count: int) -> tuple[int, ...]:
        calls.append(count)
        return tuple(range(1000, 1000 + count))

    for number in (3, 10_000, 3, 10_000):
        assert len(numbers(number)) == number
    assert calls == [3, 10_000, 10_000]
    memory = MEMORIES.pop()
    assert list(memory.answers) == [(3,)]
    assert memory.bytes == sum(size for _, size in memory.answers.values())


def test_entries_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cache, "_ENTRIES", 2)
    double = cached(lambda number: 2 * number)
    assert [double(number) for number in (1, 2, 3, 1)] == [2, 4, 6, 2]
    assert list(MEMORIES.pop().answers) == [(3,), (1,)]


def test_threads_share_a_memory(little: None) -> None:
    double = cached(lambda number: 2 * number)
    found: list[bool] = []

    def work() -> None:
        found.append(all(double(number) == 2 * number for number in [*range(2000)] * 3))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    memory = MEMORIES.pop()
    assert found == [True] * 4
    assert memory.bytes == sum(size for _, size in memory.answers.values()) <= 2**15
