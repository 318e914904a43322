"""Time and memory of one slot of one workload, all contenders side by side.

The contenders run in one process and take turns, in an order drawn anew for every round. The order matters because a
contender finds caches as the one before left them: a fixed neighbour made a small step look a quarter slower. Each
round gives every contender one ratio of torch's time to its own; the median of these is its speed. So other load on the
machine affects all alike. A contender is timed only after its results agreed with torch's in a wider dtype, and that
first call also lets it plan. "fastest" runs beforehand until it has measured. torch is the measure whatever its error:
on GPUs some of its kernels for float32 are off by a thousandth of the largest element.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from random import Random
from statistics import median, quantiles

import torch

import ndconv
from benchmarks.contenders import Contender
from benchmarks.machine import clock
from benchmarks.memory import peak_bytes
from benchmarks.names import AUTO, FASTEST, TORCH
from benchmarks.results import Measurement, Timing
from benchmarks.slots import SLOTS, Call, Tensors, operands
from benchmarks.workloads import Workload

MIN_ROUNDS, MAX_ROUNDS = 5, 200
PATIENCE, IMPATIENT_ROUNDS = 4, 3
"""A call that exceeds the allowed time by this factor stops after so many rounds."""
HOPELESS, HOPELESS_ROUNDS = 20.0, 2
"""A contender slower than the first, which is torch, by this factor gets so many rounds and no more."""
MEMORY_BOUND = 2**29
"""Contenders with larger buffers, in bytes, are not tried."""
_WIDER = {"bfloat16": torch.float32, "float32": torch.float64, "complex64": torch.complex128}
STEPS = 4
"""So many steps of training meet a problem before "fastest" measures it."""


@torch.no_grad()
def disagreement(results: Tensors, references: Tensors) -> float:
    """The largest difference, relative to the largest element of the reference; a wrong index shows as about 1."""
    errors = [(a - b).abs().max() / b.abs().max() for a, b in zip(results, references, strict=True)]
    return float(torch.stack(errors).max())


def check(call: Call, references: Tensors) -> None:
    """Refuse to time wrong results: the limit lies halfway between a wrong index and rounding."""
    results = call()
    error = disagreement(results, references)
    if not error <= torch.finfo(results[0].dtype).eps ** 0.5:
        raise ValueError(f"off by {error:.1e} of the largest element")


def _settle(call: Call) -> None:
    """Let "fastest" measure, which it does for sizes that recur from step to step."""
    x, w = torch.ones(1, 1, 3, requires_grad=True), torch.ones(1, 1, 2)
    for _ in range(STEPS):
        call()
        ndconv.functional.conv1d(x, w, lowering=FASTEST).sum().backward()  # makes a step even of gradients alone


def prepare(
    workload: Workload, dtype: str, slot: str, contenders: Mapping[str, Contender], device: str
) -> tuple[dict[str, Call], dict[str, str]]:
    """Calls of the contenders that agree with torch, and why the others have none."""
    tensors = operands(workload, dtype, device)
    calls: dict[str, Call] = {}
    skipped: dict[str, str] = {}
    references: Tensors = ()
    for name, contender in contenders.items():
        buffer = contender.buffer * tensors[0].itemsize
        if buffer > MEMORY_BOUND:
            skipped[name] = f"holds {buffer / 2**30:.1f} GiB, the bound is {MEMORY_BOUND / 2**30:.1f} GiB"
            continue
        try:
            if name == FASTEST:
                _settle(SLOTS["per sample" if slot == "per sample" else "step"](contender.compute, *tensors))
            call = SLOTS[slot](contender.compute, *tensors)
            if name == TORCH:
                results, wider = call(), [each.to(_WIDER.get(dtype, each.dtype)) for each in tensors]
                references = SLOTS[slot](contender.compute, *wider)() if dtype in _WIDER else results
            else:
                check(call, references)
        except (RuntimeError, ValueError) as error:  # torch lacks a dtype, or there is too little memory
            skipped[name] = str(error).splitlines()[0]
            if not references:
                break
        else:
            calls[name] = call
    return calls, skipped


def _enough(rounds: int, spent: float, seconds: float) -> bool:
    least = MIN_ROUNDS if spent < PATIENCE * seconds else IMPATIENT_ROUNDS
    return rounds >= least and (rounds >= MAX_ROUNDS or spent >= seconds)


def interleave(calls: Mapping[str, Call], device: str, seconds: float) -> dict[str, list[float]]:
    """Seconds of every round of each call, over about ``seconds`` in all and at least a few rounds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    order, draw = list(calls), Random(0)
    first = order[0]
    begin = time.perf_counter()
    rounds = 0
    while not _enough(rounds, time.perf_counter() - begin, seconds):
        draw.shuffle(order)
        for name in order:
            start = clock(device)
            calls[name]()
            times[name].append(clock(device) - start)
        rounds += 1
        if rounds == HOPELESS_ROUNDS:
            order = [name for name in order if min(times[name]) < HOPELESS * min(times[first])]
    return times


def _timing(own: list[float], torchs: list[float], memory: int) -> Timing:
    speeds = [a / b for a, b in zip(torchs, own, strict=False)]  # hopeless contenders have fewer rounds than torch
    low, middle, high = (round(speed, 4) for speed in quantiles(speeds, n=4, method="inclusive"))
    return Timing(round(1e3 * median(own), 4), middle, low, high, len(own), memory)


def picks(workload: Workload, dtype: str, slot: str, lowering: str) -> list[str]:
    """The lowerings that run in a slot, each once."""
    plan = workload.plan(lowering, dtype)
    slots = {"forward": [plan.output], "input": [plan.grad_input], "weight": [plan.grad_weight]}
    used = slots.get(slot, [plan.output, plan.grad_input, plan.grad_weight])
    return list(dict.fromkeys(one.lowering for one in used))


def measure(
    workload: Workload, dtype: str, slot: str, contenders: Mapping[str, Contender], device: str, seconds: float
) -> Measurement:
    """Check, time and weigh all contenders, torch first among them."""
    calls, skipped = prepare(workload, dtype, slot, contenders, device)
    times = interleave(calls, device, seconds) if calls else {}
    memory = {name: peak_bytes(call, device) for name, call in calls.items()}
    timings = {name: _timing(own, times[TORCH], memory[name]) for name, own in times.items()}
    named = {} if slot == "per sample" else {n: picks(workload, dtype, slot, n) for n in (AUTO, FASTEST) if n in calls}
    return Measurement(workload.name, dtype, slot, timings, skipped, named)
