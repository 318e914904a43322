"""Programs as text, and lowerings registered by users."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import ndconv
from ndconv import functional, lowerings
from ndconv.lowerings import Builder, Problem, Slot
from ndconv.testing import Trial, _checks, examine
from ndconv.testing.__main__ import main

# A module that registers a lowering: one product per kernel element, on the elements of all windows that it meets.
PLUGIN = '''
from itertools import product

from ndconv.lowerings import Slot, register, windows


def slices(b, problem, first, second):
    """One product per kernel element."""
    geometry, slot, shape = problem.geometry, problem.slot, problem.shape(problem.slot)
    reach = geometry.reach(problem.output_size)
    frame = geometry.fit(problem.input_size, reach)
    padded = first.new_zeros((*shape[:3], *reach)) if slot is Slot.INPUT else b.pad(first, frame)
    result = padded if slot is Slot.INPUT else first.new_zeros(shape)
    view = windows(padded, geometry)
    for k in product(*map(range, geometry.kernel)):
        part = view[(..., *k)]
        if slot is Slot.OUTPUT:
            result += b.matmul(second[(..., *k)], part.flatten(3)).view(*shape)
        elif slot is Slot.INPUT:
            part += b.matmul(first[(..., *k)].mT, second.flatten(3)).view(*part.shape)
        else:
            y = second.flatten(3).permute(1, 2, 0, 3).flatten(2)
            result[(..., *k)] = b.matmul(y, part.flatten(3).permute(1, 0, 3, 2).flatten(1, 2))
    return b.unpad(result, frame) if slot is Slot.INPUT else result


register("slices", slices)
'''


@pytest.fixture
def slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "ndconv_slices.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "ndconv_slices"
    sys.modules.pop("ndconv_slices", None)
    if "slices" in lowerings.names():
        lowerings.unregister("slices")


@pytest.fixture
def registered(slices: str) -> None:
    __import__(slices)


def _same(b: Builder, problem: Problem, first: Any, second: Any) -> Any:
    return first


CASES = (
    "n2g1c3d4-k3x2-s2x1-p1.1x0.0-d1x2-i8x5-slices",
    "n2g2c1d2-k3-s1-p2.0-d2-i9-transposed-biased-float32-slices",
    "n1g1c2d1-k2x1x2-s1x2x3-p0.1x1.1x0.0-d1x1x1-i4x5x6-bfloat16-slices-double_backward",
    "n2g1c2d2-k3x3-s1x1-p1.1x1.1-d1x1-i5x4-int8-channels_last-slices-frozen",
    "n3g1c2d2-k3x3-s2x2-p1.1x1.1-d1x1-i5x4-complex64-slices-jvp-nan",
    "n3g1c2d2-k3x3-s2x2-p1.1x1.1-d1x1-i5x4-weight-slices-per_sample",
)


@pytest.mark.parametrize("id", CASES)
def test_a_registered_lowering_passes_every_check(registered: None, id: str) -> None:
    outcomes = examine(Trial.parse(id))
    assert [each for each in outcomes if each.status in ("failed", "unsupported")] == []
    assert Trial.parse(id).id == id


def test_a_plan_prints_its_programs_below_the_table() -> None:
    plan = ndconv.plan((2, 4, 5, 5), (4, 3, 3, 3), stride=2, transposed=True)
    slots = plan.output, plan.grad_input, plan.grad_weight
    assert f"{plan}" == str(plan)
    assert f"{plan.output}" == str(plan.output)
    assert f"{plan:source}" == "\n\n\n".join([str(plan), *(slot.source.rstrip() for slot in slots)])
    assert f"{plan.output:source}" == f"{plan.output}\n\n\n{plan.output.source.rstrip()}"
    names = [re.findall(r"^def (\w+)\((\w+, \w+)\)", slot.source, re.MULTILINE) for slot in slots]
    assert names == [
        [("conv_transpose2d", "w, y")],
        [("conv_transpose2d_grad_input", "x, w")],
        [("conv_transpose2d_grad_weight", "x, y")],
    ]
    with pytest.raises(ValueError, match="'sauce'"):
        f"{plan:sauce}"


@pytest.mark.compiler
@pytest.mark.parametrize("transform", ["compile", "export"])
def test_it_is_compiled_and_exported(registered: None, transform: str) -> None:
    for operation in ("", "-transposed"):
        trial = Trial.parse(f"n2g2c3d2-k3x2-s2x1-p1.1x0.0-d1x2-i8x5{operation}-float32-slices-{transform}")
        assert {outcome.status for outcome in examine(trial)} <= {"passed", "not applicable"}


def test_a_plan_shows_and_prices_it(registered: None) -> None:
    plan = ndconv.plan((2, 3, 6, 6), (4, 3, 3, 3), padding=1, stride=2, lowering="slices")
    for slot in (plan.output, plan.grad_input, plan.grad_weight):
        assert slot.lowering == "slices"
        assert slot.multiply_adds == slot.problem.multiply_adds
        assert "as slices does not apply" not in str(slot)
    assert plan.output.matmuls == "18 x (4, 3) @ (3, 9)"
    assert plan.output.source.count("torch.bmm(") == 9


def test_auto_takes_it_only_if_it_says_so(registered: None) -> None:
    cheap = (1, 64, 1, 1), (64, 64, 1, 1)
    assert ndconv.plan(*cheap).output.lowering != "slices"
    assert "slices" in str(ndconv.plan(*cheap).output)

    def build(b: Builder, problem: Problem, first: Any, second: Any) -> Any:
        assert problem.slot is Slot.OUTPUT
        return first.new_zeros(problem.shape(problem.slot))

    def refusal(problem: Problem) -> str | None:
        return None if problem.slot is Slot.OUTPUT else "it computes outputs"

    lowerings.register("nothing", build, automatic=True, refusal=refusal)
    try:
        plan = ndconv.plan((2, 3, 6, 6), (4, 3, 3, 3))
        assert plan.output.lowering == "nothing"
        assert plan.grad_weight.lowering != "nothing"
        assert "not nothing     it computes outputs" in str(plan.grad_weight)
        x, w = torch.ones(2, 3, 6, 6), torch.ones(4, 3, 3, 3)
        assert not functional.conv2d(x, w).any()
    finally:
        lowerings.unregister("nothing")
    assert functional.conv2d(x, w).all()  # nothing that was remembered is left


def test_what_is_not_exact_is_named_or_left_alone() -> None:
    lowerings.register("rounded", _same, exact=False)
    try:
        plan = ndconv.plan((2, 3, 6, 6), (4, 3, 3, 3), lowering="rounded", dtype=torch.int32)
        assert plan.output.lowering != "rounded"
        assert plan.output.choice.refusals["rounded"].startswith("it rounds sums")
    finally:
        lowerings.unregister("rounded")


LAYERS: dict[str, tuple[Any, ...]] = {
    "window": ((2, 3, 6, 6), (4, 3, 3, 3)),
    "columns": ((8, 16, 30, 30), (8, 8, 3, 3)),
    "reshape": ((2, 3, 9, 9), (4, 3, 3, 3)),
    "taps": ((1, 2, 5, 5, 5, 5), (4, 2, 3, 3, 3, 3)),
    "winograd": ((1, 4, 16, 16), (4, 4, 3, 3)),
    "fourier": ((2, 3, 200), (4, 3, 65)),
    "native": ((2, 3, 6, 6), (4, 3, 3, 3)),
}

ALONE = """
import importlib.abc, json, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ndconv":
            raise ImportError("not here")

sys.meta_path.insert(0, Refuse())
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

def run(text, shapes):
    scope = {}
    exec(text, scope)
    operands = [torch.arange(torch.Size(shape).numel()).remainder(7).sub(3).float().view(shape) for shape in shapes]
    return [*scope.values()][-1](*operands)

programs = json.load(sys.stdin)
print(json.dumps([[*result.shape, float(result.sum())] for result in (run(*each) for each in programs)]))
assert not any(name.partition(".")[0] == "ndconv" for name in sys.modules)
"""


def _plans() -> Iterator[tuple[str, ndconv.SlotPlan, list[tuple[int, ...]]]]:
    for name, (x, w) in LAYERS.items():
        stride = 3 if name == "reshape" else 1
        plan = ndconv.plan(x, w, stride, groups=x[1] // w[1], lowering=name)
        yield name, plan.output, [x, w]
        yield name, plan.grad_input, [w, plan.output_shape]
        yield name, plan.grad_weight, [x, plan.output_shape]


def test_printed_programs_run_where_there_is_no_ndconv() -> None:
    programs, expected = [], []
    for name, slot, shapes in _plans():
        assert slot.lowering == name
        assert "ndconv" not in slot.source
        assert max(map(len, slot.source.splitlines())) <= 120
        programs.append((slot.source, shapes))
        values = (torch.arange(torch.Size(shape).numel()).remainder(7).sub(3).float().view(shape) for shape in shapes)
        scope: dict[str, Any] = {}
        exec(slot.source, scope)
        result = [*scope.values()][-1](*values)
        expected.append([*result.shape, float(result.sum())])
    # Isolated from the environment's variables and from the folder that it is started in.
    run = subprocess.run(
        [sys.executable, "-I", "-c", ALONE], input=json.dumps(programs), capture_output=True, text=True, check=True
    )
    found = json.loads(run.stdout)
    assert [each[:-1] for each in found] == [each[:-1] for each in expected]
    assert [each[-1] for each in found] == pytest.approx([each[-1] for each in expected], rel=1e-4, abs=1.0)


def test_a_program_that_prints_otherwise_than_it_runs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    trial, name = Trial.parse("n2g1c3d4-k3x2-s2x1-p1.1x0.0-d1x2-i8x5-window"), "printed source"
    assert {each.check: each.status for each in examine(trial)}[name] == "passed"
    faults = {
        "has a line of": lambda text: text + f"\n# {'-' * 120}",
        "names ndconv": lambda text: f"import ndconv\n{text}",
        "imports os": lambda text: f"import os\n{text}",
        "other bits": lambda text: text.replace("return ", "return 2 * "),
        "gives shape": lambda text: re.sub(r"return (.*)  #", r"return (\1)[None]  #", text),
        "gives dtype": lambda text: re.sub(r"return (.*)  #", r"return (\1).float()  #", text),
        "gives strides": lambda text: re.sub(r"return (.*)  #", r"return (\1).mT.contiguous().mT  #", text),
    }
    program_of = vars(_checks)["program_of"]
    for message, change in faults.items():
        monkeypatch.setattr(
            _checks,
            "program_of",
            lambda *operands, change=change: (program := program_of(*operands))._replace(source=change(program.source)),
        )
        (outcome,) = (each for each in examine(trial) if each.check == name)
        assert outcome.status == "failed"
        assert message in outcome.detail


ERRORS: list[tuple[type[Exception], str, tuple[Any, ...], dict[str, Any]]] = [
    (TypeError, "name must be a string, but is 3", (3, _same), {}),
    (ValueError, "name must be an identifier, but is 'my-own'", ("my-own", _same), {}),
    (ValueError, "there is a lowering 'taps' already", ("taps", _same), {}),
    (ValueError, "there is a lowering 'auto' already", ("auto", _same), {}),
    (TypeError, "build must be a function, but is None", ("mine", None), {}),
    (TypeError, "refusal must be a function, but is 'no'", ("mine", _same), {"refusal": "no"}),
    (ValueError, '"auto" picks exact lowerings only', ("mine", _same), {"automatic": True, "exact": False}),
]


@pytest.mark.parametrize(("kind", "message", "arguments", "keywords"), ERRORS)
def test_what_cannot_be_registered(
    kind: type[Exception], message: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> None:
    before = lowerings.names()
    with pytest.raises(kind, match=message):
        lowerings.register(*arguments, **keywords)
    assert lowerings.names() == before


def test_only_what_was_registered_is_taken_away(registered: None) -> None:
    for name in ("taps", "auto", "mine"):
        with pytest.raises(ValueError, match="must be one that was registered"):
            lowerings.unregister(name)
    with ndconv.lowering("slices"), pytest.raises(ValueError, match="is the current lowering"):
        lowerings.unregister("slices")
    layer = ndconv.Conv2d(3, 4, 3, lowering="slices")
    lowerings.unregister("slices")
    with pytest.raises(ValueError, match="lowering must be one of"):
        layer(torch.ones(1, 3, 5, 5))


def test_a_result_of_the_wrong_shape_is_named() -> None:
    lowerings.register("mine", _same)
    try:
        with pytest.raises(
            ValueError, match=r"'mine'.*OUTPUT.*shape \(1, 1, 4, 3, 3\), but is one of shape \(1, 1, 3,"
        ):
            functional.conv2d(torch.ones(1, 3, 5, 5), torch.ones(4, 3, 3, 3), lowering="mine")
    finally:
        lowerings.unregister("mine")


def test_no_result_shares_memory_with_an_operand() -> None:
    lowerings.register("mine", _same)
    try:
        x, w = torch.ones(2, 1, 5), torch.ones(1, 1, 1)
        functional.conv1d(x, w, lowering="mine").add_(1)
        assert x.eq(1).all()
    finally:
        lowerings.unregister("mine")


def test_fastest_tries_it_and_forgets_it(registered: None) -> None:
    x, w = torch.ones(1, 2, 7, 7), torch.ones(2, 2, 3, 3)
    for _ in range(8):
        functional.conv2d(x, w.requires_grad_(), lowering="fastest").sum().backward()
    assert "slices" in ndconv.plan(x, w, lowering="fastest").output.choice.seconds
    lowerings.unregister("slices")
    functional.conv2d(x, w, lowering="fastest").sum().backward()
    assert "slices" not in ndconv.plan(x, w, lowering="fastest").output.choice.seconds


def test_the_matrix_knows_it(registered: None) -> None:
    assert "slices" in ndconv.testing.parameters()["lowering"]
    lowerings.unregister("slices")
    assert "slices" not in ndconv.testing.parameters()["lowering"]
    with pytest.raises(ValueError, match="not the id of a"):
        Trial.parse(CASES[0])


def test_a_name_that_a_trial_has_for_something_else() -> None:
    lowerings.register("float32", _same)
    try:
        with pytest.raises(ValueError, match="'float32' means something else"):
            Trial.parse(CASES[1])
    finally:
        lowerings.unregister("float32")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_command_imports_plugins_in_every_process(
    slices: str, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = CASES[:1] if workers == 1 else [f"n2g1c1d1-k3-s{s}-p1.1-d1-i{i}-slices" for s in (1, 2) for i in range(4, 16)]
    given = ["--plugin", slices, "--workers", str(workers), "--case", *ids]
    assert main(given) == 0
    assert "slices" in capsys.readouterr().out


def test_the_command_limits_the_matrix_to_it(slices: str) -> None:
    # Its name is an allowed choice once the module has been imported.
    with pytest.raises(SystemExit):
        main(["--lowering", "slices"])
    with pytest.raises(SystemExit):
        main(["--plugin", "ndconv_no_such_module", "--lowering", "slices"])


@pytest.mark.compiler
def test_what_records_and_what_computes_at_once_have_all_that_is_promised() -> None:
    promised = [name for name in vars(Builder) if not name.startswith("_")]
    assert len(promised) > 10
    seen = []

    def build(b: Builder, problem: Problem, first: Any, second: Any) -> Any:
        seen.append(type(b).__name__)
        assert [name for name in promised if not hasattr(b, name)] == []
        total = b.named("total", first.new_zeros(problem.shape(problem.slot)))
        for n in b.each(problem.batch, "n"):
            for part in b.chunks(problem.batch, 1, name="m"):
                total[part] += b.einsum("ngc,gdc->ngd", first[part].flatten(2), second.flatten(2)).view(
                    *total[part].shape
                )
            total[n] += b.cast(b.copied(total[n]), b.dtype(first))
        return total

    lowerings.register("mine", build, refusal=lambda problem: None if problem.slot is Slot.OUTPUT else "output only")
    try:
        x, w = torch.ones(2, 3, 1), torch.ones(4, 3, 1)
        got = functional.conv1d(x, w, lowering="mine")
        scope: dict[str, Any] = {}
        exec(ndconv.plan(x, w, lowering="mine").output.source, scope)
        assert torch.equal(scope["conv1d"](x, w), got)
        with FakeTensorMode() as mode:
            fake = functional.conv1d(mode.from_tensor(x), mode.from_tensor(w), lowering="mine")
        assert fake.shape == got.shape
        exported = torch.export.export(Layer(), (x, w)).module()
        assert torch.equal(exported(x, w), got)
        assert set(seen) == {"Builder", "Direct"}
    finally:
        lowerings.unregister("mine")


class Layer(torch.nn.Module):
    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return functional.conv1d(x, w, lowering="mine")
