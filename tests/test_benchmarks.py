"""The benchmarks: workloads match their descriptions, contenders agree, and reports show the results of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import ndconv
from benchmarks import results as stored
from benchmarks.contenders import convolutions, per_sample_gradients
from benchmarks.machine import environment, kind
from benchmarks.measure import disagreement, measure
from benchmarks.memory import peak_bytes
from benchmarks.names import AUTO, FASTEST, OPACUS, PEERS, TORCH
from benchmarks.planner.report import summary
from benchmarks.report import Found, committed, load, markdown, parts, write_html
from benchmarks.results import Results, Timing
from benchmarks.run import keep, run
from benchmarks.schedule import DTYPES, Wanted, tasks
from benchmarks.slots import SLOTS, operands
from benchmarks.statistics.report import summary as statistics_summary
from benchmarks.targets import TARGETS, judge
from benchmarks.workloads import KINDS, WORKLOADS, Workload

# One of each kind, as small as it can be.
TINY = {
    "four and more axes": Workload("4d", (2, 2, 3, 3, 3, 3), (4, 2, 2, 2, 2, 2), (2, 1, 1, 1), 1, 1, 1, "here"),
    "transposed": Workload("up", (2, 4, 4, 4), (4, 3, 3, 3), 2, 1, 1, 1, "here", True),
    "depthwise, small groups": Workload("dw", (2, 4, 6, 6), (8, 1, 3, 3), 1, 1, 1, 4, "here"),
    "windows apart": Workload("apart", (2, 3, 8, 8), (4, 3, 2, 2), 2, 0, 1, 1, "here"),
    "1-D strided or dilated": Workload("line", (2, 3, 20), (4, 3, 3), 1, 2, 2, 1, "here"),
    "1-D dense": Workload("dense line", (2, 3, 12), (4, 3, 3), 1, 1, 1, 1, "here"),
    "2-D, 3-D strided": Workload("strided", (2, 3, 5, 5, 5), (4, 3, 3, 3, 3), 2, 1, 1, 1, "here"),
    "2-D, 3-D dense": Workload("dense", (2, 3, 6, 6), (4, 3, 3, 3), 1, 1, 1, 1, "here"),
}


def test_workloads_are_unique_and_of_every_kind() -> None:
    assert len(WORKLOADS) == len({workload.name for workload in WORKLOADS})
    assert len(WORKLOADS) == len({replace(workload, name="", source="") for workload in WORKLOADS})
    assert {workload.kind for workload in WORKLOADS} == set(KINDS)
    assert all(1 <= workload.input[0] <= 32 and workload.source for workload in WORKLOADS)


def test_counts_are_those_of_the_plan() -> None:
    for workload in WORKLOADS:
        plan = workload.plan()
        assert workload.multiply_adds == plan.output.problem.multiply_adds == plan.grad_weight.problem.multiply_adds


@pytest.mark.parametrize("kind", TINY)
def test_kinds_follow_from_sizes(kind: str) -> None:
    assert TINY[kind].kind == kind


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("kind", TINY)
def test_contenders_agree(kind: str, slot: str) -> None:
    workload = TINY[kind]
    found = (per_sample_gradients if slot == "per sample" else convolutions)(workload)
    if slot == "double backward":
        found.pop("article", None)  # it has no second derivative
    tensors = operands(workload, "float64")
    results = {name: SLOTS[slot](contender.compute, *tensors)() for name, contender in found.items()}
    assert {TORCH, AUTO, FASTEST} <= set(found)
    assert {name: error for name in results if not (error := disagreement(results[name], results[TORCH])) < 1e-12} == {}


def test_peers_take_part() -> None:
    found = {name for workload in TINY.values() for name in convolutions(workload)}
    assert found > {*PEERS, "taps", "columns", "reshape", "window", "native"}
    assert OPACUS in per_sample_gradients(TINY["1-D dense"])


def test_what_is_wrong_is_not_timed() -> None:
    found = convolutions(TINY["1-D dense"])
    wrong = replace(found[AUTO], compute=lambda x, w: 2 * found[AUTO].compute(x, w))
    large = replace(found[AUTO], buffer=2**40)
    one = measure(TINY["1-D dense"], "float32", "step", {TORCH: found[TORCH], "wrong": wrong, "large": large}, "cpu", 0)
    assert list(one.contenders) == [TORCH]
    assert one.skipped["wrong"].startswith("off by 1.0e+00")
    assert one.skipped["large"].startswith("holds 4096.0 GiB")


def test_peak_memory_counts_what_is_given_back() -> None:
    def run() -> torch.Tensor:
        return torch.zeros(1000) + torch.zeros(1000).neg()

    assert 3 * 4000 <= peak_bytes(run, "cpu") < 5 * 4000


def test_the_schedule_can_be_limited() -> None:
    everything = tasks(Wanted())
    assert {task.workload for task in everything} == set(WORKLOADS)
    assert {(task.dtype, task.slot) for task in everything} >= {*((d, "step") for d in DTYPES)}
    assert {(task.dtype, task.slot) for task in everything} >= {*(("float32", slot) for slot in SLOTS)}
    (one,) = tasks(Wanted(["resnet stem"], ["float64"], ["step"], [AUTO]))
    assert set(one.contenders) == {TORCH, AUTO}
    assert len(tasks(Wanted(), quick=True)) < len(WORKLOADS)


@pytest.fixture(scope="module")
def small() -> Results:
    workloads = tuple(TINY.values())
    found = [
        measure(workload, "float32", slot, found, "cpu", 0)
        for workload in workloads[:3]
        for slot, found in (("step", convolutions(workload)), ("per sample", per_sample_gradients(workload)))
    ]
    return Results(environment(), {"seconds": 0.0}, {"float32": 100.0}, 10.0, workloads, tuple(found))


def test_results_survive_json(small: Results, tmp_path: Path) -> None:
    stored.write(small, tmp_path / "small.json")
    assert stored.read(tmp_path / "small.json") == small


def test_a_run_that_ends_early_leaves_what_it_measured(small: Results, tmp_path: Path) -> None:
    path, part = tmp_path / "cpu.json", tmp_path / "cpu.part.json"

    def broken() -> Iterator[Results]:
        yield small
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep(broken(), path)
    assert stored.read(part) == small
    assert not path.exists()
    found = [task for name in ("tiny", "lenet 3") for task in tasks(Wanted([name], ["float32"], ["forward"], [AUTO]))]
    last = keep(run(found, "cpu", 0), path)
    assert [one.workload for one in last.measurements] == [workload.name for workload in last.workloads]
    assert [one.workload for one in last.measurements] == ["tiny", "lenet 3"]
    assert stored.read(path) == last
    assert not part.exists()
    assert keep(iter([small]), None) == small


def test_targets_are_judged_by_mean_and_worst(small: Results) -> None:
    def timed(speed: float) -> Results:
        one = small.measurements[0]
        timings = {TORCH: Timing(1, 1, 1, 1, 5, 10), AUTO: Timing(1, speed, speed, speed, 5, 10)}
        return replace(small, measurements=(replace(one, contenders=timings, skipped={}),))

    (target,) = (target for target in TARGETS if "loop of conv3d" in target.title)
    for speed, met in ((2.9, False), (3.1, True)):
        (verdict,) = (verdict for verdict in judge(timed(speed)) if verdict.target is target)
        assert verdict.met is met
        assert verdict.worst.value == speed
        assert abs(verdict.mean - speed) < 1e-9


def test_a_contender_that_failed_meets_no_target(small: Results) -> None:
    one = replace(small.measurements[0], contenders={TORCH: Timing(1, 1, 1, 1, 5, 10)}, skipped={AUTO: "off by 1"})
    assert not any(verdict.met for verdict in judge(replace(small, measurements=(one,))))


def test_a_report_hides_nothing(small: Results, tmp_path: Path) -> None:
    text = {name: markdown(sections) for name, sections in parts(Found([small], [], [])).items()}
    assert list(text) == ["pictures", "tables", "others", "losses", "planner", "statistics", "machines", "targets"]
    assert all("".join(text.values()).count(f"| {one.workload} |") >= 3 for one in small.measurements)
    assert all(target.title in text["targets"] for target in TARGETS)
    slower = sum(t.contenders[name].speed < 1 for t in small.measurements for name in (AUTO, FASTEST))
    assert text["losses"].count("\n| ") == (slower + 2 if slower else 0)
    pytest.importorskip("matplotlib")
    write_html(Found([small], [], []), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/svg+xml") == 3
    assert page.count("<table>") > 8


def test_a_page_names_every_machine_and_shows_the_first_in_full(small: Results) -> None:
    other = replace(small, environment={**small.environment, "kind": "neon"}, measurements=small.measurements[:1])
    text = {name: markdown(sections) for name, sections in parts(Found([small, other], [], [])).items()}
    assert text["tables"] == markdown(parts(Found([small], [], []))["tables"])
    assert f"| {small.environment['kind']} |" in text["machines"]
    assert "| neon |" in text["machines"]
    assert text["others"].count("### ") == 2
    assert f"| {small.measurements[0].workload} |" in text["others"]


def test_results_are_filed_by_the_kind_of_machine(small: Results) -> None:
    assert small.environment["kind"] == kind("cpu") == ndconv.Profile.built_in("cpu").kind
    assert kind("cuda") == "cuda"
    names = {path.name for path in committed()}
    assert names
    assert all(name.startswith(("cpu-", "cuda", "planner-", "statistics-")) for name in names)


@pytest.mark.parametrize("path", committed(), ids=lambda path: path.name)
def test_committed_results_can_be_read(path: Path) -> None:
    found = load([path])
    assert len(found.runs) + len(found.proofs) + len(found.statistics) == 1
    for one in found.runs:
        assert all(map(markdown, parts(Found([one], [], [])).values()))
    assert all(map(statistics_summary, found.statistics))
    for proof in found.proofs:
        assert path.stem == f"planner-{proof.kind}"
        assert summary(proof)
