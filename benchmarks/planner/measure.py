"""Predicted and measured time of every exact lowering, slot by slot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median

import torch
from tqdm import tqdm

import ndconv
from benchmarks.machine import environment
from benchmarks.measure import MIN_ROUNDS, check, interleave
from benchmarks.planner.profiles import set_aside
from benchmarks.planner.programs import SLOTS, UNLIKELY, Priced, call, named, predictions, priced, unlikely
from benchmarks.planner.results import BUILT_IN, CALIBRATED, Proof, Slot, Time
from benchmarks.slots import operands
from benchmarks.workloads import Workload

Pair = tuple[Workload, str]
"""A workload and a dtype."""


def _priced(pairs: Iterable[Pair], device: str) -> dict[Pair, dict[str, Priced]]:
    with torch.device(device):
        return {pair: priced(*pair) for pair in pairs}


def measure(pair: Pair, slot: str, found: Mapping[str, Priced], device: str, seconds: float) -> Slot:
    """Time all programs of a slot, in rounds; ``found`` has the prediction of each profile.

    Raises:
        ValueError: If two programs disagree.
    """
    workload, dtype = pair
    tensors = named(workload, operands(workload, dtype, device))
    programs, said = predictions(found)
    calls = {name: call(source, tensors) for name, source in programs.items()}
    references = next(iter(calls.values()))()
    for one in calls.values():
        check(one, references)
    rounds = interleave(calls, device, seconds)
    times = {
        name: Time(round(1e6 * median(own), 2), round(1e6 * min(own), 2), len(own)) for name, own in rounds.items()
    }
    return Slot(workload.name, dtype, slot, times, unlikely(found), said)


def prove(workloads: Iterable[Workload], dtypes: Iterable[str], device: str, seconds: float) -> Proof:
    """Price with built-in rates, calibrate and price again; then time all programs that either profile may run."""
    pairs = [(workload, dtype) for workload in workloads for dtype in dtypes]
    with set_aside(device):
        facts = environment(device)
        built_in = _priced(pairs, device)
        calibrated = ndconv.calibrate(device)
        said = {BUILT_IN: built_in, CALIBRATED: _priced(pairs, device)}
        profiles = {BUILT_IN: ndconv.Profile.built_in(device).origin, CALIBRATED: calibrated.origin}
    tasks = [(pair, slot) for pair in pairs for slot in SLOTS]
    slots = []
    with tqdm(tasks, unit="slot", ncols=110) as progress:
        for pair, slot in progress:
            progress.set_postfix_str(f"{pair[0].name}, {pair[1]}, {slot}")
            found = {profile: of[pair][slot] for profile, of in said.items()}
            slots.append(measure(pair, slot, found, device, seconds))
    settings = {"seconds": seconds, "min_rounds": MIN_ROUNDS, "unlikely": UNLIKELY}
    return Proof(facts, settings, profiles, tuple(slots))
