"""The proof of the planner: it runs the programs of plans, computes regret correctly, and touches no calibration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf, isclose
from pathlib import Path

import pytest
import torch

import ndconv
from benchmarks.measure import disagreement
from benchmarks.planner import results as stored
from benchmarks.planner import tables
from benchmarks.planner.measure import measure, prove
from benchmarks.planner.plots import predictions as picture
from benchmarks.planner.profiles import set_aside
from benchmarks.planner.programs import EXACT, SLOTS, Priced, call, named, predictions, priced, unlikely
from benchmarks.planner.report import summary
from benchmarks.planner.results import BUILT_IN, CALIBRATED, PROFILES, Prediction, Proof, Slot, Time, lowering_of
from benchmarks.planner.targets import BOUNDS, met, regret
from benchmarks.slots import forward, input, operands, weight
from benchmarks.workloads import Workload

CONVOLUTION = Workload("strided", (2, 4, 7, 6), (6, 2, 3, 2), (2, 1), 1, 1, 2, "here")
TRANSPOSED = Workload("up", (2, 4, 4), (4, 3, 3), 2, 1, 1, 1, "here", True)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's own calibration, from another machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "ndconv" / "cpu.json"
    path.parent.mkdir()
    path.write_text('{"machine": {}}')
    yield path
    assert path.read_text() == '{"machine": {}}'


@pytest.mark.parametrize("workload", [CONVOLUTION, TRANSPOSED], ids=lambda one: one.name)
def test_programs_compute_what_autograd_does(workload: Workload) -> None:
    tensors = operands(workload, "float64")
    stride, padding, _ = workload.window

    def convolve(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        if workload.transposed:
            return torch.nn.functional.conv_transpose1d(x, w, None, stride, padding)
        return torch.nn.functional.conv2d(x, w, None, stride, padding, groups=workload.groups)

    for (slot, found), expected in zip(priced(workload, "float64").items(), (forward, input, weight), strict=True):
        assert {"columns", "taps", "window"} & set(found.sources)
        assert set(found.sources) <= set(found.nanoseconds) <= set(EXACT)
        assert found.pick in found.sources, slot
        for source in found.sources.values():
            result = call(source, named(workload, tensors))()
            assert disagreement(result, expected(convolve, *tensors)()) < 1e-12


def test_every_program_is_timed_once() -> None:
    usual = Priced("taps", {"taps": 1e3, "columns": 2e3, "window": 9e3}, {"taps": "a", "columns": "b"})
    other = Priced("columns", {"taps": 4e3, "columns": 2e3, "window": 2e4}, {"taps": "a", "columns": "c"})
    programs, said = predictions({BUILT_IN: usual, CALIBRATED: other})
    assert programs == {"taps": "a", "columns": "b", "columns, calibrated": "c"}
    assert said[BUILT_IN] == Prediction("taps", {"taps": 1.0, "columns": 2.0})
    assert said[CALIBRATED] == Prediction("columns, calibrated", {"taps": 4.0, "columns, calibrated": 2.0})
    assert {lowering_of(name) for name in programs} == {"taps", "columns"}
    assert unlikely({BUILT_IN: usual, CALIBRATED: other}) == {"window": "expected to take 9 times the least"}


def test_two_lowerings_with_one_program_are_one() -> None:
    programs, said = predictions(
        {BUILT_IN: Priced("reshape", {"columns": 5.0, "reshape": 5.0}, dict.fromkeys(EXACT[::2], "a"))}
    )
    assert programs == {"columns": "a"}
    assert said[BUILT_IN].pick == "columns"


def test_programs_that_disagree_are_not_timed() -> None:
    found = priced(CONVOLUTION, "float64")["output"]
    first, *others = found.sources
    wrong = {
        first: found.sources[first],
        **{name: found.sources[first].replace("return ", "return 2 * ") for name in others},
    }
    with pytest.raises(ValueError, match=r"off by 1\.0e"):
        measure((CONVOLUTION, "float64"), "output", {BUILT_IN: replace(found, sources=wrong)}, "cpu", 0)


def test_a_calibration_of_ones_own_is_left_alone(own: Path) -> None:
    with set_aside("cpu"):
        assert ndconv.plan((1, 1, 1), (1, 1, 1)).profile.startswith("built-in")
        ndconv.calibrate(reset=True)
    with pytest.raises(KeyError), set_aside("cpu"):
        raise KeyError


def test_a_proof_is_priced_twice_and_timed_once(own: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calibrations = []

    def calibrate(device: str) -> ndconv.Profile:
        calibrations.append(device)
        return ndconv.Profile.built_in(device)

    monkeypatch.setattr(ndconv, "calibrate", lambda device, reset=False: None if reset else calibrate(device))
    proof = prove([CONVOLUTION, TRANSPOSED], ["float32"], "cpu", 0)
    assert calibrations == ["cpu"]
    assert [(one.workload, one.slot) for one in proof.slots] == [(w, s) for w in ("strided", "up") for s in SLOTS]
    assert all(set(one.predictions) == set(PROFILES) for one in proof.slots)
    assert all(one.regret(BUILT_IN) == one.regret(CALIBRATED) >= 1 for one in proof.slots)
    stored.write(proof, tmp_path / "proof.json")
    assert stored.read(tmp_path / "proof.json") == proof


def _slot(name: str, taken: float, dtype: str = "float32") -> Slot:
    """A slot whose pick takes ``taken`` times the best by built-in rates, and is the best by measured rates."""
    times = {"taps": Time(10 * taken, 9 * taken, 5), "columns": Time(10.0, 9.0, 5)}
    expected = {"taps": 8.0, "columns": 25.0}
    said = {BUILT_IN: Prediction("taps", expected), CALIBRATED: Prediction("columns", expected)}
    return Slot(name, dtype, "output", times, {"window": "expected to take 9 times the least"}, said)


@pytest.fixture
def proof() -> Proof:
    facts: dict[str, str | int | bool] = {"kind": "avx2", "cpu": "one", "vectors": "AVX2", "threads": 1, "torch": "2"}
    rates = {BUILT_IN: "measured elsewhere", CALIBRATED: "on a day"}
    return Proof(facts, {"seconds": 0.0}, rates, (_slot("a", 1.0), _slot("b", 1.21), _slot("c", 1.44, "float64")))


def test_regret_is_the_time_of_the_pick_by_that_of_the_best(proof: Proof) -> None:
    found = regret(proof, BUILT_IN)
    assert isclose(found.mean, (1.21 * 1.44) ** (1 / 3))
    assert isclose(found.most, 1.44)
    assert [one.workload for one in found.ranked] == ["c", "b", "a"]
    assert isclose(regret(proof, BUILT_IN, "float32").mean, 1.1)
    assert regret(proof, CALIBRATED).most == 1


@pytest.mark.parametrize(("mean", "ceiling", "kept"), [(1.3, 1.5, True), (1.1, inf, False), (inf, 1.4, False)])
def test_bounds_are_on_mean_and_worst(proof: Proof, mean: float, ceiling: float, kept: bool) -> None:
    assert met(proof, replace(BOUNDS[0], mean=mean, ceiling=ceiling)) is kept


def test_tables_say_what_was_found(proof: Proof) -> None:
    rows = {(row[1], row[2]): row[3:] for row in tables.regrets([proof]).rows}
    assert rows[BUILT_IN, "float32"] == ["2", "50%", "1.100", "1.21 (b, float32, output)", "50%"]
    assert rows[CALIBRATED, "all"] == ["3", "100%", "1.000", "1.00 (a, float32, output)", "50%"]
    worst = tables.worst(proof, BUILT_IN).rows
    assert worst[0] == ["c, float64, output", "1.44", "taps", "14", "1.80", "columns", "10"]
    assert [row[-1] for row in tables.targets([proof]).rows] == ["**not met**", "met"]
    assert [row[-1] for row in tables.targets([]).rows] == ["not measured", "not measured"]
    assert "c, float64, output" in summary(proof)


def test_a_page_has_all_machines_of_the_proof(proof: Proof) -> None:
    pytest.importorskip("matplotlib")
    other = replace(proof, environment={**proof.environment, "kind": "neon"})
    panels = [axes.get_title() for axes in picture([proof, other]).axes]
    assert panels == [f"{kind}, {profile} profile" for kind in ("avx2", "neon") for profile in PROFILES]
