"""`lowering="fastest"`: measures once, keeps the winner, says so, and remembers across processes.

`test_budget.py` tests when it may measure; here it may at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

import ndconv
from ndconv._form import cache
from ndconv._form.geometry import Problem, Slot
from ndconv._lowerings import LOWERINGS
from ndconv._machine import timings as _timings
from ndconv._machine.budget import Budget
from ndconv._tensors import execute as _execute
from ndconv.testing._checks import ran_lowerings

X, W = (2, 3, 9, 8), (4, 3, 3, 2)


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """An empty table, and a budget that allows everything."""
    empty: dict[Any, Any] = {}
    monkeypatch.setattr(_timings, "_table", empty)
    monkeypatch.setattr(_timings, "_budget", budget := Budget())
    monkeypatch.setattr(budget, "allows", lambda key: True)
    _timings.reconsider()
    return empty


@pytest.fixture
def exact() -> Iterator[None]:
    """Exact lowerings only: others may be measured as the quickest."""
    ndconv.set_exact(True)
    yield
    ndconv.set_exact(False)


def integers(*shape: int, device: str) -> Tensor:
    return torch.randint(-3, 4, shape, device=device).float()


def step(
    device: str, lowering: str = "fastest", dtype: torch.dtype = torch.float32, **keywords: Any
) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    x, w = (integers(*shape, device=device).to(dtype).requires_grad_() for shape in (X, W))
    y = ndconv.functional.conv2d(x, w, padding=1, lowering=lowering, **keywords)
    return y, *torch.autograd.grad((y * y.conj()).real.sum(), (x, w))


def test_it_computes_the_same(device: str, exact: None) -> None:
    for got, want in zip(step(device), step(device, "window"), strict=True):
        assert torch.equal(got, want)


def test_every_slot_is_measured_once(device: str, table: dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Any] = []

    def spy(key: Any, contenders: Mapping[str, Callable[[], object]]) -> None:
        measured.append((key.problem.slot.value, set(contenders)))
        _timings.measure(key, contenders)

    monkeypatch.setattr(_execute, "measure", spy)
    step(device)
    step(device)
    assert [slot for slot, _ in measured] in (["output", "input", "weight"], ["output", "weight", "input"])
    assert [set(seconds) for seconds in table.values()] == [names for _, names in measured]
    always = {"window", "columns", "taps", "native"}  # reshape does not apply
    assert all(always <= names <= always | {"winograd", "fourier"} for _, names in measured)
    step(device, dilation=2)
    assert len(measured) == 6


@pytest.mark.parametrize("tried", [False, True])
def test_transforms_that_look_hopeless_are_not_tried(
    device: str, table: dict[Any, Any], monkeypatch: pytest.MonkeyPatch, tried: bool
) -> None:
    """One of them can take seconds where all others take milliseconds."""
    monkeypatch.setattr(_execute, "_HOPELESS", 1e9 if tried else 1.0)
    step(device)
    assert all(({"winograd", "fourier"} <= set(seconds)) == tried for seconds in table.values())


def test_another_layout_is_another_problem(table: dict[Any, Any], device: str) -> None:
    x, w = integers(*X, device=device), integers(*W, device=device)
    for operand in (x, x.contiguous(memory_format=torch.channels_last)):
        ndconv.functional.conv2d(operand, w, lowering="fastest")
    assert sorted(key.channels_last for key in table) == [False, True]


def test_the_winner_runs_and_the_plan_says_so(table: dict[Any, Any]) -> None:
    step("cpu")
    for key, seconds in table.items():
        seconds.update(dict.fromkeys(seconds, 1.0), taps=1e-3, native=5e-3)
        assert key.dtype == torch.float32
    _timings.reconsider()
    plan = ndconv.plan(X, W, padding=1, lowering="fastest", dtype=torch.float32)
    assert plan.output.choice.wanted == "fastest"
    assert plan.output.lowering == plan.grad_input.lowering == plan.grad_weight.lowering == "taps"
    assert "not native      measured at 5 times the time" in str(plan.output)
    with ran_lowerings() as ran:
        step("cpu")
    assert ran == {"taps"}


def torch_wins(table: dict[Any, Any]) -> None:
    """Let torch's kernel be the quickest in all measurements."""
    for seconds in table.values():
        seconds.update(dict.fromkeys(seconds, 1.0), native=1e-3)
    _timings.reconsider()


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    name: getattr(ndconv.functional, name) for name in ("conv2d", "conv_transpose2d")
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("needed", [(True, True), (False, False)], ids=str)
def test_where_torch_wins_every_slot_its_own_operator_runs(
    table: dict[Any, Any], exact: None, device: str, name: str, needed: tuple[bool, bool]
) -> None:
    def run() -> tuple[Tensor, ...]:
        torch.manual_seed(0)
        x, w, bias = integers(*X, device=device), integers(3, 3, 3, 2, device=device), integers(3, device=device)
        chosen = [tensor.requires_grad_() for tensor, need in zip((x, w), needed, strict=True) if need]
        y = OPERATIONS[name](x, w, bias, padding=1, lowering="fastest")
        grads = torch.autograd.grad(y.square().sum(), chosen, create_graph=True) if chosen else ()
        return y, *grads, *(torch.autograd.grad([grad.sum() for grad in grads], chosen) if chosen else ())

    first = run()
    torch_wins(table)
    with ran_lowerings() as ran:
        second = run()
    assert not ran
    assert len(first) == len(second)
    assert all(map(torch.equal, first, second))


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("needed", ["x", "w", "b", "xb", "wb", "xw", "xwb"])
def test_no_more_is_kept_alive_than_gradients_need(table: dict[Any, Any], device: str, name: str, needed: str) -> None:
    """The operator of torch would keep both operands in any case."""

    def kept() -> list[str]:
        tensors = {"x": integers(*X, device=device), "w": integers(3, 3, 3, 2, device=device)}
        tensors["b"] = integers(3, device=device)
        names = {tensor.data_ptr(): name for name, tensor in tensors.items()}
        for tensor in (tensors[name] for name in needed):
            tensor.requires_grad_()
        found: list[str] = []

        def pack(tensor: Tensor) -> Tensor:
            found.append(names[tensor.data_ptr()])
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            y = OPERATIONS[name](*tensors.values(), padding=1, lowering="fastest")
        y.sum().backward()
        return sorted(found)

    want = sorted({"x": "w", "w": "x"}[name] for name in set(needed) - {"b"})
    assert kept() == want
    torch_wins(table)
    assert kept() == want


@pytest.mark.parametrize("module", ["Conv2d", "ConvTranspose2d"])
def test_ten_frozen_layers_keep_nothing_alive(table: dict[Any, Any], device: str, module: str) -> None:
    layers = [getattr(ndconv, module)(3, 3, 3, padding=1, lowering="fastest", device=device) for _ in range(10)]
    network = nn.Sequential(*layers)
    weights = {parameter.data_ptr() for parameter in network.parameters()}
    kept: list[Tensor] = []
    for frozen in (False, True):
        network.requires_grad_(not frozen)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):  # type: ignore[func-returns-value]
            y = network(integers(*X, device=device).requires_grad_())
        assert {tensor.data_ptr() for tensor in kept} - weights == set() or not frozen
        y.sum().backward()
        torch_wins(table)
        kept.clear()


@pytest.mark.parametrize("winner", ["native", "taps"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_what_was_decided_is_one_look_up(
    table: dict[Any, Any], device: str, name: str, winner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until something is measured; operands that need other gradients have another cache key."""
    x, w, bias = integers(*X, device=device), integers(3, 3, 3, 2, device=device), integers(3, device=device)

    def run(*needed: Tensor) -> None:
        for tensor in (x, w, bias):
            tensor.requires_grad_(any(tensor is each for each in needed))
        y = OPERATIONS[name](x, w, bias, padding=1, lowering="fastest")
        if needed:
            torch.autograd.grad(y.sum(), needed)

    run(x, w)
    for seconds in table.values():
        seconds.update(dict.fromkeys(seconds, 1.0), **{winner: 1e-3})
    _timings.reconsider()
    own, fastest = Mock(wraps=_execute.torchs_own), Mock(wraps=_execute._fastest)
    monkeypatch.setattr(_execute, "torchs_own", own)
    monkeypatch.setattr(_execute, "_fastest", fastest)
    for needed in ((x, w), (x,), (w, bias), ()):
        own.reset_mock()
        run(*needed)
        assert own.called
        own.reset_mock()
        fastest.reset_mock()
        run(*needed)
        assert not own.called
        assert not fastest.called
    _timings.reconsider()
    run(x, w)
    assert own.called


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.float16, torch.bfloat16], ids=str)
def test_where_torchs_operator_does_something_else_the_function_stays(
    table: dict[Any, Any], exact: None, device: str, dtype: torch.dtype
) -> None:
    x, w, bias = (integers(*shape, device=device).to(dtype) for shape in (X, W, (4,)))
    first = ndconv.functional.conv2d(x, w, bias, lowering="fastest")
    torch_wins(table)
    with ran_lowerings() as ran:
        assert torch.equal(ndconv.functional.conv2d(x, w, bias, lowering="fastest"), first)
    assert ran


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64], ids=str)
def test_the_plan_says_where_torch_wins_altogether(table: dict[Any, Any], dtype: torch.dtype) -> None:
    """Where torch has the operation: it has no gradients of complex kernels."""
    step("cpu", dtype=dtype)
    slots = [key.problem.slot.value for key in table]
    for slot, seconds in zip(slots, table.values(), strict=True):
        seconds.update(dict.fromkeys(seconds, 1.0), native=1e-3, taps=0.9e-3 if slot == "weight" else 1)
    _timings.reconsider()
    plan = ndconv.plan(X, W, padding=1, lowering="fastest", dtype=dtype)
    assert plan.output.lowering == plan.grad_input.lowering == "native"
    assert plan.grad_weight.lowering == ("taps" if dtype.is_complex else "native")
    assert ("not taps        measured at 0.9 times the time" in str(plan.grad_weight)) != dtype.is_complex


def test_the_plan_of_what_was_not_measured() -> None:
    plan = ndconv.plan(X, W, lowering="fastest")
    assert plan.output.lowering == ndconv.plan(X, W).output.lowering
    assert f"lowering        {plan.output.lowering}, fastest has not measured it yet" in str(plan.output)
    assert "native" not in str(plan.output)


def test_auto_never_takes_torchs_kernel() -> None:
    for shape in (X, (1, 1, 4, 4), (8, 64, 56, 56)):
        assert ndconv.plan(shape, (4, shape[1], 3, 2)).output.lowering != "native"
    assert ndconv.plan(X, W, lowering="native").output.lowering == "native"
    assert ndconv.plan((1, 1, 4, 4, 4, 4), (1, 1, 2, 2, 2, 2), lowering="native").output.lowering != "native"


def test_saved_and_loaded(table: dict[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step("cpu")
    ndconv.save_timings(tmp_path / "timings.json")
    before = dict(table)
    table.clear()
    ndconv.load_timings(tmp_path / "timings.json")
    assert table == before
    monkeypatch.setattr(_execute, "measure", lambda *args: pytest.fail("measured again"))
    step("cpu")


def test_times_of_another_machine_are_refused(table: dict[Any, Any], tmp_path: Path) -> None:
    step("cpu")
    ndconv.save_timings(tmp_path / "timings.json")
    values = json.loads((tmp_path / "timings.json").read_text())
    values["machine"]["torch"] = "0.4"
    (tmp_path / "timings.json").write_text(json.dumps(values))
    before = dict(table)
    with pytest.raises(ValueError, match=r"load_timings: times must be of this machine, .*, but .* is of .*0\.4"):
        ndconv.load_timings(tmp_path / "timings.json")
    assert table == before


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"machine": HERE}', '{"machine": HERE, "timings": [{}]}', '{"machine": HERE, "timings": 1}'],
)
def test_a_file_that_nobody_saved_is_refused(table: dict[Any, Any], tmp_path: Path, text: str) -> None:
    step("cpu")
    before = dict(table)
    path = tmp_path / "timings.json"
    path.write_text(text.replace("HERE", json.dumps(_timings._machine())))
    with pytest.raises(ValueError, match=r"load_timings: .*timings\.json must be as save_timings wrote it, but gives "):
        ndconv.load_timings(path)
    assert table == before


def test_what_has_no_numbers_is_not_measured(table: dict[Any, Any]) -> None:
    x, w = torch.empty(X, device="meta"), torch.empty(W, device="meta")
    assert ndconv.functional.conv2d(x, w, lowering="fastest").is_meta
    assert table == {}


@pytest.mark.parametrize("most", [1, 2, 100])
def test_the_table_is_bounded_and_the_oldest_go(
    table: dict[Any, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, most: int
) -> None:
    monkeypatch.setattr(_timings, "_MOST", most)
    sizes = [8, 9, 10, 11, 9]
    for size in sizes:
        ndconv.functional.conv1d(torch.ones(1, 1, size), torch.ones(1, 1, 3), lowering="fastest")
    left = [key.problem.input_size[0] for key in table]
    assert left == {1: [9], 2: [11, 9], 100: [8, 9, 10, 11]}[most]
    ndconv.save_timings(tmp_path / "timings.json")
    monkeypatch.setattr(_timings, "_MOST", 1)
    ndconv.load_timings(tmp_path / "timings.json")
    assert [key.problem.input_size[0] for key in table] == left[-1:]


def test_what_is_not_exact_may_be_the_quickest(table: dict[Any, Any], device: str) -> None:
    """By the meaning of "fastest"; `set_exact` forbids it there too."""
    step(device)
    for seconds in table.values():
        seconds.update(dict.fromkeys(seconds, 1.0), fourier=1e-3)
    _timings.reconsider()
    with ran_lowerings() as ran:
        step(device)
    assert ran == {"fourier"}
    ndconv.set_exact(True)
    try:
        with ran_lowerings() as ran:
            step(device)
    finally:
        ndconv.set_exact(False)
    assert ran
    assert "fourier" not in ran


@pytest.mark.compiler
def test_a_compiled_program_measures_when_it_runs_and_an_exported_one_is_auto(
    table: dict[Any, Any], device: str
) -> None:
    layer, x = ndconv.Conv2d(3, 4, 3, device=device, lowering="fastest"), integers(*X, device=device)
    program = torch.export.export(layer, (x,))
    torch.testing.assert_close(program.module()(x), layer.to(device)(x), rtol=1e-4, atol=1e-4)
    table.clear()
    _timings.reconsider()
    torch.compile(layer, backend="aot_eager", fullgraph=True)(x).sum().backward()
    assert [key.problem.slot for key in table] == [Slot.OUTPUT, Slot.WEIGHT]


def test_a_whole_model(device: str, table: dict[Any, Any]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 2, 3, stride=2)).to(device)
    x = torch.randn(X, device=device)
    want = model(x)
    ndconv.convert(model, lowering="fastest")
    torch.testing.assert_close(model(x), want, rtol=1e-4, atol=1e-5)
    model(x).sum().backward()
    assert len(table) == 2 + 3  # nobody needs the input's gradient of the first layer


def test_a_contender_that_a_device_lacks_is_out(monkeypatch: pytest.MonkeyPatch, table: dict[Any, Any]) -> None:
    def lacking(b: Any, problem: Problem, *operands: Any) -> Any:
        if not b.prices:
            raise NotImplementedError("no such kernel")
        return b.call("convolution", problem.shape(problem.slot), *operands)

    cache.clear()
    monkeypatch.setattr(LOWERINGS["native"], "build", lacking)
    step("cpu")
    cache.clear()
    assert all("native" not in seconds and seconds for seconds in table.values())
