"""The benchmark of statistics: all ways agree, ratios are within a round, targets and tables show the results."""

from __future__ import annotations

from dataclasses import replace
from math import isclose, isnan
from pathlib import Path

import pytest

from benchmarks.names import AUTO, OPACUS
from benchmarks.statistics import results as stored
from benchmarks.statistics import tables, targets
from benchmarks.statistics.contenders import (
    BACKPACK,
    COVARIANCE,
    GRADIENT,
    GRAM,
    KFC,
    MATERIALISED,
    SQNORM,
    SQUARE,
    STATISTICS,
    UNFOLD,
    UNFOLDED,
    VMAP,
    ways,
)
from benchmarks.statistics.layers import LAYERS
from benchmarks.statistics.measure import measure, run
from benchmarks.statistics.report import summary
from benchmarks.statistics.results import Figures, Measured, Run
from benchmarks.workloads import Workload

SMALL = (
    Workload("lines", (3, 4, 9), (6, 2, 3), 2, 1, 2, 2, "here"),
    Workload("strided", (2, 4, 7, 6), (6, 2, 3, 2), (2, 1), 1, 1, 2, "here"),
    Workload("depthwise", (2, 3, 6, 6), (3, 1, 3, 3), 1, 1, 1, 3, "here"),
    Workload("volume", (2, 2, 5, 4, 6), (3, 2, 3, 2, 3), 1, 1, 1, 1, "here"),
    Workload("up", (2, 4, 4, 5), (4, 3, 3, 2), 2, 1, 1, 1, "here", True),
)


@pytest.mark.parametrize("layer", SMALL, ids=lambda one: one.name)
@pytest.mark.parametrize("statistic", STATISTICS)
def test_all_ways_agree(layer: Workload, statistic: str) -> None:
    found = measure(layer, statistic, "cpu", 0)
    assert [*found.ways][:1] == [AUTO]
    assert {*found.ways, *found.skipped} == {*ways(layer)[statistic]}
    assert not {*found.skipped} - {GRAM, GRADIENT}  # no peer fails
    assert found.ways[AUTO].ratio == 1


def test_layers_are_many_and_have_names_of_their_own() -> None:
    assert len({layer.name for layer in LAYERS}) == len(LAYERS) >= 12
    assert any(layer.transposed for layer in LAYERS)


def test_a_run_comes_back_from_json(tmp_path: Path) -> None:
    found = run(SMALL[:1], STATISTICS, "cpu", 0)
    assert [one.statistic for one in found.measured] == [*STATISTICS]
    stored.write(found, tmp_path / "run.json")
    assert stored.read(tmp_path / "run.json") == found
    assert "lines" in summary(found)


def _figures(ratio: float, memory: int = 4) -> Figures:
    return Figures(ratio, ratio, ratio, ratio, 5, memory)


@pytest.fixture
def found() -> Run:
    """Two layers; the second has large gradients."""
    norms = {AUTO: _figures(1, 2**20), MATERIALISED: _figures(2, 8 * 2**20), VMAP: _figures(8), OPACUS: _figures(4)}
    slower = {**norms, MATERIALISED: _figures(0.5, 2 * 2**20)}
    windows = {AUTO: _figures(1), UNFOLD[0]: _figures(3), UNFOLD[1]: _figures(2), KFC: _figures(4)}
    squares = {AUTO: _figures(1), UNFOLDED: _figures(1), BACKPACK: _figures(9)}
    small, large = 2**10, 2 * targets.LARGE
    measured = (
        Measured("a", SQNORM, GRAM, small, norms, {}),
        Measured("b", SQNORM, GRADIENT, large, slower, {GRAM: "expected to take 9 times the least"}),
        Measured("a", COVARIANCE, "lags", small, windows, {}),
        Measured("a", SQUARE, "", small, squares, {}),
    )
    return Run({"kind": "avx2"}, {"seconds": 0.0}, measured)


def test_wishes_are_for_means_and_for_each(found: Run) -> None:
    verdicts = {(row[0], row[1]): (row[3], row[4], row[6]) for row in tables.targets(found).rows}
    assert verdicts[SQNORM, f"time of {MATERIALISED}"] == ("2", "1.00", "**not met**")
    assert verdicts[SQNORM, f"time of {OPACUS}"] == ("2", "4.00", "met")
    assert verdicts[SQNORM, f"memory of {MATERIALISED} above 16 MiB"] == ("1", "2.00", "**not met**")
    # Of one way in two writings the quicker counts.
    assert verdicts[COVARIANCE, f"time of {UNFOLD[0]} or {UNFOLD[1]}"] == ("1", "2.00", "met")
    assert verdicts[SQUARE, f"time of {UNFOLDED}"] == ("1", "1.00", "**not met**")
    nothing = replace(found, measured=())
    assert {row[-1] for row in tables.targets(nothing).rows} == {"not measured"}


def test_memory_and_time_are_compared_with_ours(found: Run) -> None:
    first = found.measured[0]
    assert isclose(first.memory(MATERIALISED), 1 / 8)
    assert first.quicker(VMAP, OPACUS) == 4
    assert isnan(first.quicker("nobody"))
    rows = tables.times(found, SQNORM).rows
    assert rows[0][:3] == ["a", "1.00", "gram"]
    assert rows[-1][0] == "geometric mean"
    assert tables.skipped(found).rows == [["b", SQNORM, GRAM, "expected to take 9 times the least"]]
