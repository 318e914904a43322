"""A picture of expected against measured times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.planner.results import PROFILES, Proof, lowering_of

STYLES: dict[str, dict[str, Any]] = {
    "columns": {"color": "#2e6f95", "marker": "o"},
    "taps": {"color": "#d1495b", "marker": "^"},
    "reshape": {"color": "#6a994e", "marker": "s"},
    "window": {"color": "#c9a227", "marker": "D"},
}
_UNITS = ((1e6, "s"), (1e3, "ms"), (1, "µs"))


def predictions(proofs: Sequence[Proof]) -> Figure:
    """A row for each machine and a column for each profile; every point is a program in a slot."""
    figure = Figure(figsize=(9, 0.6 + 4.5 * len(proofs)), layout="constrained")
    rows = figure.subplots(len(proofs), len(PROFILES), squeeze=False, sharex="row", sharey="row")
    for proof, row in zip(proofs, rows, strict=True):
        values = [
            value for profile in PROFILES for one in proof.slots for _, *pair in one.pairs(profile) for value in pair
        ]
        span = [min(values) / 1.5, max(values) * 1.5]
        for profile, axes in zip(PROFILES, row, strict=True):
            _scatter(axes, proof, profile, span)
            axes.set_title(f"{proof.kind}, {profile} profile")
        row[0].set_ylabel("measured")
    handles = [Line2D([], [], ls="", label=name, **style) for name, style in STYLES.items()]
    handles += [
        Line2D([], [], color="black", lw=1.2, label="as predicted"),
        Line2D([], [], color="#8d9aa8", lw=1, ls="--", label="a factor of two"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def _scatter(axes: Axes, proof: Proof, profile: str, span: Sequence[float]) -> None:
    points = [pair for one in proof.slots for pair in one.pairs(profile)]
    for name, style in STYLES.items():
        found = [(expected, taken) for program, expected, taken in points if lowering_of(program) == name]
        axes.plot(*zip(*found, strict=True) if found else ([], []), ls="", ms=3.5, mew=0, alpha=0.55, zorder=2, **style)
    axes.plot(span, span, color="black", lw=1.2, zorder=1)
    for factor in (0.5, 2):
        axes.plot(span, [factor * value for value in span], color="#8d9aa8", lw=1, ls="--", zorder=1)
    axes.set(xscale="log", yscale="log", xlabel="predicted", xlim=span, ylim=span, aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator())
        axis.set_major_formatter(lambda value, _: _time(value))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(color="#e9edf1")
    axes.set_axisbelow(True)


def _time(microseconds: float) -> str:
    unit, name = next((pair for pair in _UNITS if microseconds >= pair[0]), _UNITS[-1])
    return f"{microseconds / unit:g} {name}"
