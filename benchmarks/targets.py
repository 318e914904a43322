"""The targets of this library, and whether a run meets them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from benchmarks.names import AUTO, FASTEST, PEERS, TORCH
from benchmarks.results import Measurement, Results, Timing
from benchmarks.workloads import KINDS, Workload

MEMORY_FACTOR, MEMORY_ALLOWANCE = 1.3, 64 * 2**20

Value = Callable[[dict[str, Timing], str], float | None]
"""The value that counts, from all timings of a measurement and a contender; None if there is no such value."""


def speed_against(*others: str) -> tuple[Value, ...]:
    """Speed relative to each of the others: the quotient of their speeds relative to torch."""

    def against(other: str) -> Value:
        return lambda found, own: found[own].speed / found[other].speed if other in found else None

    return tuple(map(against, others))


def memory_left(found: dict[str, Timing], own: str) -> float:
    """The allowed memory by the memory taken."""
    return (MEMORY_FACTOR * found[TORCH].memory + MEMORY_ALLOWANCE) / max(found[own].memory, 1)


@dataclass(frozen=True)
class Member:
    """One value that counts."""

    workload: str
    dtype: str
    slot: str
    value: float


@dataclass(frozen=True, eq=False)
class Target:
    """A target.

    Args:
        title: Its title.
        contender: The contender that it is for.
        mean: The least geometric mean, if there is such a target.
        floor: The least of any member, if there is such a target.
        kinds: Kinds of workloads; if none are named, all but those of pure overhead.
        dtypes: None for all.
        slots: None for all.
        where: Which workloads of these kinds.
        values: The values that count.
    """

    title: str
    contender: str
    mean: float | None = None
    floor: float | None = None
    kinds: Sequence[str] = tuple(kind for kind in KINDS if kind != "overhead alone")
    dtypes: Sequence[str] | None = ("float32",)
    slots: Sequence[str] | None = ("step",)
    where: Callable[[Workload], bool] = lambda workload: True
    values: tuple[Value, ...] = speed_against(TORCH)

    def _covers(self, workload: Workload, one: Measurement) -> bool:
        wanted = (self.dtypes is None or one.dtype in self.dtypes) and (self.slots is None or one.slot in self.slots)
        return wanted and workload.kind in self.kinds and self.where(workload)

    def members(self, results: Results) -> Iterator[Member]:
        """All values that count; a contender that failed counts as 0."""
        for workload, one in results.select():
            if self._covers(workload, one) and TORCH in one.contenders:
                for value in self.values:
                    if self.contender in one.skipped:
                        yield Member(one.workload, one.dtype, one.slot, 0.0)
                    elif self.contender in one.contenders:
                        found = value(one.contenders, self.contender)
                        if found is not None:
                            yield Member(one.workload, one.dtype, one.slot, found)


@dataclass(frozen=True)
class Verdict:
    """The result of a run for a target."""

    target: Target
    members: tuple[Member, ...]

    @property
    def mean(self) -> float:
        """Geometric mean of the members."""
        values = [member.value for member in self.members]
        return geometric_mean(values) if min(values) > 0 else 0.0

    @property
    def worst(self) -> Member:
        """The least member."""
        return min(self.members, key=lambda member: member.value)

    @property
    def met(self) -> bool:
        """Whether mean and worst member reach the target."""
        return self.mean >= (self.target.mean or 0.0) and self.worst.value >= (self.target.floor or 0.0)


APART, LINES, DENSE, STRIDED = "windows apart", "1-D strided or dilated", "2-D, 3-D dense", "2-D, 3-D strided"
THIN, MANY, TINY = "depthwise, small groups", "four and more axes", "overhead alone"
UP_TO_THREE = tuple(kind for kind in KINDS if kind not in (MANY, TINY))  # the kinds that torch has kernels for
ONE_SLOT = ("step", "forward", "input", "weight", "double backward")


def _large_depthwise(workload: Workload) -> bool:
    return workload.ndim == 2 and workload.weight[1] == 1 and min(workload.kernel) >= 7


def _common_kernel(workload: Workload) -> bool:
    return workload.kernel in {(3, 3), (7, 7), (3, 3, 3)}


TARGETS = (
    Target("windows apart", AUTO, mean=1.3, kinds=[APART]),
    Target("windows apart", FASTEST, mean=1.3, kinds=[APART]),
    Target("windows apart, every slot", AUTO, floor=0.95, kinds=[APART], slots=ONE_SLOT),
    Target("strided or dilated 1-D", AUTO, mean=1.5, kinds=[LINES]),
    Target("strided or dilated 1-D", FASTEST, mean=1.5, kinds=[LINES]),
    Target("dense 2-D and 3-D", AUTO, mean=0.8, floor=0.65, kinds=[DENSE]),
    Target("dense 2-D and 3-D", FASTEST, mean=1.0, kinds=[DENSE]),
    Target("strided 2-D and 3-D", AUTO, mean=1.0, kinds=[STRIDED]),
    Target("strided 2-D and 3-D", FASTEST, mean=1.3, kinds=[STRIDED]),
    Target("depthwise and small groups", AUTO, mean=0.5, kinds=[THIN]),
    Target("depthwise and small groups", FASTEST, mean=1.0, kinds=[THIN]),
    Target("depthwise 7x7 and larger", FASTEST, mean=2.0, kinds=[THIN], where=_large_depthwise),
    Target("float64, up to three axes", AUTO, mean=1.5, floor=0.9, kinds=UP_TO_THREE, dtypes=["float64"]),
    Target("float64, up to three axes", FASTEST, mean=1.7, kinds=UP_TO_THREE, dtypes=["float64"]),
    Target("bfloat16, dense and strided", AUTO, mean=0.5, kinds=[DENSE, STRIDED], dtypes=["bfloat16"]),
    Target("bfloat16, dense and strided", FASTEST, mean=1.0, kinds=[DENSE, STRIDED], dtypes=["bfloat16"]),
    Target("per-sample gradient, vmap of torch's", AUTO, mean=2.0, slots=["per sample"]),
    Target("four and more axes, a loop of conv3d", AUTO, mean=3.0, kinds=[MANY]),
    Target("four and more axes, einconv", AUTO, mean=4.0, kinds=[MANY], values=speed_against("einconv")),
    Target("einconv, unfoldNd and the article", AUTO, mean=4.0, floor=1.0, values=speed_against(*PEERS)),
    Target("a convolution of 3x3 in 8x8, a quarter of torch's", AUTO, floor=0.25, kinds=[TINY]),
    Target("anything", FASTEST, floor=0.95, dtypes=None, slots=None),
    Target("memory that is allowed, by what is taken", AUTO, floor=1.0, where=_common_kernel, values=(memory_left,)),
    Target("memory that is allowed, by what is taken", FASTEST, floor=1.0, where=_common_kernel, values=(memory_left,)),
)


def judge(results: Results) -> list[Verdict]:
    """Every target that a run has values for."""
    verdicts = [Verdict(target, tuple(target.members(results))) for target in TARGETS]
    return [verdict for verdict in verdicts if verdict.members]
