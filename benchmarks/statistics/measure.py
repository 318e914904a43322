"""Time and memory of the ways to a statistic, which take turns in one process."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

import ndconv
from benchmarks.machine import environment
from benchmarks.measure import MIN_ROUNDS, check, interleave
from benchmarks.memory import peak_bytes
from benchmarks.names import AUTO
from benchmarks.slots import Call, Tensors, operands
from benchmarks.statistics.contenders import Way, ways
from benchmarks.statistics.results import Figures, Measured, Run
from benchmarks.workloads import Workload

UNLIKELY = 8.0
"""Our own ways that are expected to take so many times the least are not timed."""


def _priced(layer: Workload, statistic: str, x: Tensor) -> Any:
    """Our ways with their expected times, if there are several."""
    how: Any = layer.stride, layer.padding, layer.dilation, layer.groups
    weight = x.new_empty(()).expand(layer.weight)
    return ndconv.plan(x, weight, *how, transposed=layer.transposed).statistics.get(statistic)


def _unlikely(priced: Any) -> dict[str, str]:
    """Which of our ways are not timed, and why."""
    if priced is None:
        return {}
    least = priced.chosen.nanoseconds
    return {
        name: f"expected to take {way.nanoseconds / least:.3g} times the least"
        for name, way in priced.found.items()
        if way.nanoseconds > UNLIKELY * least
    }


def _prepared(layer: Workload, found: Mapping[str, Way], tensors: Tensors) -> tuple[dict[str, Call], dict[str, str]]:
    """Calls of the ways that agree with ours, and why the others have none."""
    x, _, y = tensors
    calls: dict[str, Call] = {}
    skipped: dict[str, str] = {}
    references: Tensors = ()
    for name, way in found.items():
        bound = partial(way, layer, x, y)

        def call(bound: partial[Tensor] = bound) -> Tensors:
            return (bound(),)

        try:
            references = references or call()
            check(call, references)
        except RuntimeError as error:  # out of memory
            skipped[name] = str(error).splitlines()[0]
        else:
            calls[name] = call
    return calls, skipped


def _figures(own: list[float], ours: list[float], memory: int) -> Figures:
    ratios = [a / b for a, b in zip(own, ours, strict=False)]  # hopeless ways have fewer rounds
    low, middle, high = (round(ratio, 4) for ratio in quantiles(ratios, n=4, method="inclusive"))
    return Figures(round(1e3 * median(own), 4), middle, low, high, len(own), memory)


@torch.no_grad()
def measure(layer: Workload, statistic: str, device: str, seconds: float) -> Measured:
    """Check, time and weigh all ways to a statistic of a layer.

    Raises:
        ValueError: If a way disagrees with ours.
    """
    tensors = operands(layer, "float32", device)
    priced = _priced(layer, statistic, tensors[0])
    every = ways(layer)[statistic]
    unlikely = {name: reason for name, reason in _unlikely(priced).items() if name in every}
    likely = {name: way for name, way in every.items() if name not in unlikely}
    calls, skipped = _prepared(layer, likely, tensors)
    rounds = interleave(calls, device, seconds)
    found = {name: _figures(own, rounds[AUTO], peak_bytes(calls[name], device)) for name, own in rounds.items()}
    gradients = layer.input[0] * math.prod(layer.weight) * tensors[0].itemsize
    picked = priced.chosen.name if priced else ""
    return Measured(layer.name, statistic, picked, gradients, found, {**unlikely, **skipped})


def run(layers: Iterable[Workload], statistics: Iterable[str], device: str, seconds: float) -> Run:
    """Measure all."""
    tasks = [(layer, statistic) for layer in layers for statistic in statistics]
    found = []
    with tqdm(tasks, unit="statistic", ncols=110) as progress:
        for layer, statistic in progress:
            progress.set_postfix_str(f"{layer.name}, {statistic}")
            found.append(measure(layer, statistic, device, seconds))
    return Run(environment(device), {"seconds": seconds, "min_rounds": MIN_ROUNDS}, tuple(found))
