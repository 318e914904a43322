"""The pictures of a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.machine import flops
from benchmarks.names import AUTO, FASTEST, PEERS, TORCH
from benchmarks.planner.plots import predictions
from benchmarks.planner.results import Proof
from benchmarks.results import Measurement, Results
from benchmarks.workloads import KINDS, TINY, Workload

STYLES: dict[str, dict[str, Any]] = {
    TORCH: {"color": "#8d9aa8", "marker": "s"},
    AUTO: {"color": "#d1495b", "marker": "o"},
    FASTEST: {"color": "#2e6f95", "marker": "D"},
    "einconv": {"color": "#c9a227", "marker": "^"},
    "unfoldNd": {"color": "#7a9e5f", "marker": "v"},
    "article": {"color": "black", "marker": "x"},
}
OURS = (AUTO, FASTEST)
Found = list[tuple[Workload, Measurement]]


def _steps(results: Results) -> Found:
    """Steps in float32 by kind, the quickest of each kind first."""
    kinds = list(KINDS)

    def place(one: tuple[Workload, Measurement]) -> tuple[int, float]:
        workload, found = one
        return kinds.index(workload.kind), -found.contenders[AUTO].speed if AUTO in found.contenders else 0.0

    return sorted(results.select("float32", "step"), key=place)


def speed(results: Results) -> Figure:
    """Speed of a step relative to torch, workload by workload."""
    found = _steps(results)
    figure = Figure(figsize=(9, 1.6 + 0.21 * len(found)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(1, color=STYLES[TORCH]["color"], lw=2.5, zorder=1)
    axes.annotate(TORCH, (1, 1), (4, -10), ("data", "axes fraction"), "offset points", color=STYLES[TORCH]["color"])
    for row, (_, one) in enumerate(found):
        for name, timing in one.contenders.items():
            if name in OURS:
                axes.plot([timing.low, timing.high], [row, row], color=STYLES[name]["color"], lw=2, alpha=0.5)
            if name in OURS + PEERS:
                axes.plot(timing.speed, row, ls="", ms=6 if name in OURS else 4, **STYLES[name])
    for row, ((before, _), (after, _)) in enumerate(pairwise(found)):
        if before.kind != after.kind:
            axes.axhline(row + 0.5, color="#d8dee4", lw=0.8, zorder=0)
    axes.set_yticks(range(len(found)), [workload.name for workload, _ in found], fontsize=8)
    axes.set(xscale="log", xlabel="speed relative to torch, one step in float32 (right is faster)")
    axes.set_title("Forward and both gradients: median and quartiles of paired ratios")
    axes.set_ylim(len(found) - 0.3, -0.7)
    _plain(axes.xaxis)
    axes.grid(axis="x", color="#e9edf1")
    axes.set_axisbelow(True)
    shown = [name for name in OURS + PEERS if any(name in one.contenders for _, one in found)]
    kinds = axes.secondary_yaxis("right")
    middles = {kind: np.mean([row for row, (w, _) in enumerate(found) if w.kind == kind]) for kind in _kinds(found)}
    kinds.set_yticks(list(middles.values()), list(middles), fontsize=7)
    kinds.tick_params(length=0)
    _legend(figure, shown)
    return figure


def roofline(results: Results) -> Figure:
    """The share of the machine's limits that a step in float32 reaches; workloads of pure overhead are left out."""
    found = [(workload, one) for workload, one in _steps(results) if workload.multiply_adds > TINY]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    ceiling, copy = results.matmul["float32"], results.copy
    intensities = [_intensity(workload) for workload, _ in found]
    low, high = min(intensities) / 1.5, max(intensities) * 1.5
    axes.plot([low, ceiling / copy, high], [copy * low, ceiling, ceiling], color="black", lw=1.5, zorder=1)
    beside: dict[str, Any] = {"textcoords": "offset points", "fontweight": "bold"}
    axes.annotate(f"matrix product, {ceiling:.0f} GFLOP/s", (high, ceiling), (-6, 12), ha="right", **beside)
    axes.annotate(f"copy, {copy:.0f} GB/s", (low, copy * low), (14, 4), **beside)
    for x, (workload, one) in zip(intensities, found, strict=True):
        heights = {n: _gflops(workload, one.contenders[n].milliseconds) for n in (TORCH, *OURS) if n in one.contenders}
        if heights:
            axes.plot([x, x], [min(heights.values()), max(heights.values())], color="#d8dee4", lw=1, zorder=1)
        for name, height in heights.items():
            axes.plot(x, height, ls="", ms=5, alpha=0.8, zorder=2, **STYLES[name])
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylabel="GFLOP/s of the three slots' multiply-adds")
    axes.set_xlabel("FLOP per byte of operands read and results written")
    axes.set_title("A step in float32 under the ceilings measured in the same run")
    for axis in (axes.xaxis, axes.yaxis):
        _plain(axis)
    axes.grid(color="#e9edf1")
    axes.set_axisbelow(True)
    _legend(figure, [TORCH, *OURS])
    return figure


def memory(results: Results) -> Figure:
    """Memory of a step relative to torch's: the share of workloads in which each contender stays below a ratio."""
    shares: dict[str, list[float]] = {}
    for _, one in _steps(results):
        for name, timing in one.contenders.items():
            if name in OURS + PEERS:
                shares.setdefault(name, []).append(timing.memory / max(one.contenders[TORCH].memory, 1))
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    axes.axvline(1, color=STYLES[TORCH]["color"], lw=2.5, zorder=1)
    axes.annotate(TORCH, (1, 1), (4, -10), ("data", "axes fraction"), "offset points", color=STYLES[TORCH]["color"])
    last = max(max(found) for found in shares.values())
    names = [name for name in OURS + PEERS if name in shares]
    for name in names:
        found = sorted(shares[name])
        parts = [100 * count / len(found) for count in range(len(found) + 1)]
        axes.step([*found, last], parts, where="post", lw=2 if name in OURS else 1.3, color=STYLES[name]["color"])
    axes.set(xscale="log", ylim=(0, 101), xlabel="at most so many times torch's peak extra memory (left is less)")
    axes.set_ylabel("percent of the workloads it computes")
    axes.set_title("Peak extra memory of a step in float32, relative to torch")
    _plain(axes.xaxis)
    axes.grid(color="#e9edf1")
    axes.set_axisbelow(True)
    handles = [Line2D([], [], lw=2, label=name, color=STYLES[name]["color"]) for name in names]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def _kinds(found: Found) -> list[str]:
    return list(dict.fromkeys(workload.kind for workload, _ in found))


def _intensity(workload: Workload) -> float:
    """FLOP per byte of a slot: each of the three slots touches input, weight and output once."""
    return flops(workload.multiply_adds, "float32") / (4 * workload.elements)


def _gflops(workload: Workload, milliseconds: float) -> float:
    """GFLOP/s of a step, which computes three slots."""
    return 3 * flops(workload.multiply_adds, "float32") / milliseconds / 1e6


def _plain(axis: Any) -> None:
    """Label a logarithmic axis 1, 2, 5, 10."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def _legend(figure: Figure, names: list[str]) -> None:
    handles = [Line2D([], [], ls="", label=name, **STYLES[name]) for name in names]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


PLOTS: dict[str, Callable[[Results], Figure]] = {"speed": speed, "roofline": roofline, "memory": memory}


def draw(results: Results, proofs: Sequence[Proof], folder: Path) -> None:
    """Write all pictures; the same results give the same files."""
    with mpl.rc_context({"svg.hashsalt": "ndconv", "font.size": 9}):
        figures = {name: plot(results) for name, plot in PLOTS.items()}
        if proofs:
            figures["predictions"] = predictions(proofs)
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
