"""The measurements: every workload in float32 with all slots and contenders, and its step in the other dtypes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from benchmarks.contenders import Contender, convolutions, per_sample_gradients
from benchmarks.names import AUTO, FASTEST, TORCH
from benchmarks.slots import SLOTS
from benchmarks.workloads import Workload, containing

DTYPES = ("float32", "float64", "bfloat16", "complex64")
QUICK_COLUMNS = 2**24
"""A quick run leaves out workloads with more elements in all windows than this."""
_FEW = (TORCH, AUTO, FASTEST)


@dataclass(frozen=True)
class Task:
    """One slot of one workload in one dtype, and its contenders."""

    workload: Workload
    dtype: str
    slot: str
    contenders: dict[str, Contender]


@dataclass(frozen=True)
class Wanted:
    """The part of the schedule to keep; an empty collection keeps all.

    Args:
        names: Workloads whose name contains one of these.
        dtypes: By name.
        slots: By name.
        contenders: By name; torch is always among them.
    """

    names: Collection[str] = ()
    dtypes: Collection[str] = ()
    slots: Collection[str] = ()
    contenders: Collection[str] = ()


def _is_scheduled(contender: str, dtype: str, slot: str, quick: bool) -> bool:
    """Every contender for steps in float32 and per-sample gradients, otherwise the three that a user chooses among."""
    everybody = not quick and (slot == "per sample" or (slot, dtype) == ("step", "float32"))
    return everybody or contender in _FEW


def _pairs(workload: Workload, quick: bool) -> Iterator[tuple[str, str]]:
    """Dtypes and slots of a workload; a batch of one has no per-sample gradients."""
    for slot in SLOTS:
        if slot == "step" or (not quick and (slot != "per sample" or workload.input[0] > 1)):
            yield "float32", slot
    if not quick:
        yield from ((dtype, "step") for dtype in DTYPES[1:])


def tasks(wanted: Wanted, quick: bool = False) -> list[Task]:
    """All measurements to make, in the order of the workloads."""
    found = []
    for workload in containing(wanted.names):
        if quick and workload.columns > QUICK_COLUMNS:
            continue
        for dtype, slot in _pairs(workload, quick):
            if (wanted.dtypes and dtype not in wanted.dtypes) or (wanted.slots and slot not in wanted.slots):
                continue
            everyone = (per_sample_gradients if slot == "per sample" else convolutions)(workload)
            keep = {TORCH, *wanted.contenders} if wanted.contenders else None
            chosen = {
                name: contender
                for name, contender in everyone.items()
                if (name in keep if keep else _is_scheduled(name, dtype, slot, quick))
            }
            found.append(Task(workload, dtype, slot, chosen))
    return found
