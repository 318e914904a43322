"""Half types that a processor does not multiply: one rule for the run, its stated cost, and torch's take-over."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch

import ndconv
from ndconv._form import cache
from ndconv._form.geometry import Form, Geometry, Problem, Slot
from ndconv._lowerings import LOWERINGS, Lowering
from ndconv._machine import target as _target
from ndconv._machine.profile import Profile
from ndconv._programs import products as _products
from ndconv._programs.rates import Rates
from ndconv._tensors import execute as _execute
from ndconv.testing import Trial, _checks, examine, matrix
from tests.programs import RATES

MKLDNN: Any = torch.backends.mkldnn
HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])


def forget() -> None:
    """Forget programs and targets."""
    cache.clear()


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    forget()
    yield
    forget()


def lack(monkeypatch: pytest.MonkeyPatch, *dtypes: torch.dtype) -> None:
    """Let the processor lack products of these dtypes, and be as fast in other half types as in float32."""
    products = dict.fromkeys(("float64", "float32", "float16", "bfloat16"), RATES.products["float32"])
    price_by(monkeypatch, replace(RATES, products=products))
    monkeypatch.setattr(_target, "_LACKING", {str(dtype).removeprefix("torch.") for dtype in dtypes})
    forget()


def price_by(monkeypatch: pytest.MonkeyPatch, rates: Rates) -> None:
    """Price everything by these rates."""
    monkeypatch.setattr(_target, "profile_of", lambda kind: Profile("measured", "today", rates))
    forget()


def told(dtype: torch.dtype, lowering: str, **keywords: Any) -> set[tuple[str, int]]:
    """Dtypes of the operands that the lowering gets in a step, and their stated item sizes."""
    shapes = ((2, 3, 9), (4, 3, 1 if lowering == "reshape" else 3))
    x, w = (torch.randint(-2, 3, shape).to(dtype).requires_grad_() for shape in shapes)
    forget()
    # Programs that compute, not those that are priced; and not the lowering that a step falls back to.
    owner = type(LOWERINGS[lowering])
    build = owner.build
    found: list[tuple[Slot, str, int]] = []

    def watched(self: Lowering, b: Any, problem: Problem, first: Any, second: Any) -> Any:
        if not b.prices and self.name == lowering:
            found.extend((problem.slot, each.dtype, problem.itemsize) for each in (first, second))
        return build(self, b, problem, first, second)

    with patch.object(owner, "build", watched):
        y = ndconv.functional.conv1d(x, w, lowering=lowering, **keywords)
        torch.autograd.grad(y.sum(), (x, w))
    assert {slot for slot, *_ in found} == set(Slot)
    return {(operand, itemsize) for _, operand, itemsize in found}


@HALVES
@pytest.mark.parametrize("lowering", [name for name, lowering in LOWERINGS.items() if lowering.exact])
def test_what_a_processor_does_not_multiply_is_widened(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, lowering: str
) -> None:
    """In every slot and by every lowering, prices included. torch is asked; without oneDNN its answer is no."""
    arguments: Any = (2, 3, 9), (4, 3, 1 if lowering == "reshape" else 3)
    name = str(dtype).removeprefix("torch.")

    def planned() -> int:
        return ndconv.plan(*arguments, lowering=lowering, dtype=dtype).output.problem.itemsize

    lack(monkeypatch, dtype)
    assert told(dtype, lowering) == {("float32", 4)}
    assert planned() == 4
    lack(monkeypatch)
    if MKLDNN.enabled:
        # What adds partial sums up does that in float32, as columns may for the input's gradient.
        computed = {dtype for dtype, itemsize in told(dtype, lowering) if itemsize == 2}
        assert computed == ({"float32"} if lowering in ("taps", "window") else {name} | computed)
        assert planned() == 2
        # What is rounded after the bias is computed in float32, and said to be.
        assert ("float32", 4) in told(dtype, lowering, bias=torch.zeros(4, dtype=dtype))
        monkeypatch.setattr(MKLDNN, "enabled", False)
    assert told(dtype, lowering) == {("float32", 4)}
    assert planned() == 4


@HALVES
def test_what_takes_longer_than_float32_is_widened(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    """By the rates: a half type as fast as float32 is not widened, a slower or unknown one is."""
    name, quick = str(dtype).removeprefix("torch."), RATES.products["float32"]
    slow = {library: rate._replace(multiply_add=1.01 * rate.multiply_add) for library, rate in quick.items()}
    lack(monkeypatch)
    for found, widened in ((quick, not MKLDNN.enabled), (slow, True), ({}, True)):
        products = {**RATES.products, name: found}
        price_by(monkeypatch, replace(RATES, products=products))
        assert (told(dtype, "columns") == {("float32", 4)}) == widened


def test_a_torch_that_cannot_be_asked_multiplies_no_half_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a torch that can be asked does."""
    for answers, lacking in (
        ({}, {"float16", "bfloat16"}),
        ({"_is_mkldnn_bf16_supported": lambda: True}, {"float16"}),
        ({"_is_mkldnn_bf16_supported": lambda: False, "_is_mkldnn_fp16_supported": lambda: True}, {"bfloat16"}),
    ):
        monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(**answers))
        assert set(runpy.run_path(str(_target.__file__))["_LACKING"]) == lacking


@HALVES
def test_torchs_operator_does_not_take_over_where_it_rounds_partial_sums(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(_execute, "torch_wins", lambda *arguments: True)
    problem = Problem(Slot.INPUT, Geometry((3,), (2,), ((0, 0),), (3,)), 1, 3, 3, (13,), (4,), 2)
    lack(monkeypatch, dtype)
    assert not _execute.torch_takes_over(problem, Slot, dtype, "cpu")
    assert _execute.torch_takes_over(problem, Slot, dtype, "cuda")
    lack(monkeypatch)
    assert _execute.torch_takes_over(problem, Slot, dtype, "cpu") == MKLDNN.enabled


@pytest.fixture
def widening(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Products as on a CUDA device: of half types, by kernels that give float32 if asked to."""
    library = torch.library.Library("aten", "IMPL")
    for name in ("mm", "bmm"):
        library.impl(f"{name}.dtype", lambda a, b, out_dtype: a.to(out_dtype) @ b.to(out_dtype), "CPU")
    lines = tuple(line + ".to({0}.dtype)" for line in _products._UNROUNDED)
    monkeypatch.setattr(_products, "_PRODUCTS", lines)
    usual = _target._target
    monkeypatch.setattr(
        _target, "_target", lambda *setting: usual(*setting)._replace(widening=True, onednn=False, emulated=())
    )
    monkeypatch.setattr(_checks, "_rounds_twice", lambda subject, lowering: lowering == "native")
    forget()
    yield
    library._destroy()


HALF_TRIALS = [
    trial for trial, _ in matrix("quick", dtypes=("float16", "bfloat16")).trials if trial.lowering != "native"
]


@pytest.mark.parametrize("trial", HALF_TRIALS[::6], ids=lambda trial: trial.id)
@pytest.mark.skipif("dtype" not in torch.ops.aten.mm.overloads(), reason="torch has such products from 2.8 on")
def test_products_that_keep_their_sums_round_once(trial: Trial, widening: None) -> None:
    assert [outcome for outcome in examine(trial) if outcome.status in ("failed", "unsupported")] == []


@pytest.mark.parametrize("lowering", ["columns", "reshape", "taps"])
@pytest.mark.skipif("dtype" not in torch.ops.aten.mm.overloads(), reason="torch has such products from 2.8 on")
def test_only_lowerings_that_accumulate_widen_operands_there(lowering: str, widening: None) -> None:
    kernel = 1 if lowering == "reshape" else 3
    form = Form(Slot.OUTPUT, Geometry((kernel,), (1,), ((0, 0),), (1,)), (9,), lowering, wide=True)
    x, w = torch.ones(2, 3, 9, dtype=torch.bfloat16), torch.ones(4, 3, kernel, dtype=torch.bfloat16)
    program = _execute.program_of(form, x, w)
    assert program.run(x, w).dtype == torch.float32
    widens, keeps = (each in program.source for each in (".to(torch.float32)", "out_dtype=torch.float32)"))
    assert (widens, keeps) == (lowering == "taps", lowering != "taps")
