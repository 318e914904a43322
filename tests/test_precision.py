"""Half types that a processor does not multiply: one rule for what runs, what it is said to cost and who takes over."""

from __future__ import annotations

import runpy
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch

import ndconv
from ndconv import _plan, _precision
from ndconv._form.geometry import Geometry, Problem, Slot
from ndconv._lowerings import LOWERINGS, Lowering

MKLDNN: Any = torch.backends.mkldnn
HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])


def told(dtype: torch.dtype, lowering: str, **keywords: Any) -> set[tuple[torch.dtype, int]]:
    """Dtypes of the operands that lowerings get in a step, and the bytes that they are told of."""
    shapes = ((2, 3, 9), (4, 3, 1 if lowering == "reshape" else 3))
    x, w = (torch.randint(-2, 3, shape).to(dtype).requires_grad_() for shape in shapes)
    with patch.object(Lowering, "run", autospec=True, side_effect=Lowering.run) as run:
        y = ndconv.functional.conv1d(x, w, lowering=lowering, **keywords)
        torch.autograd.grad(y.sum(), (x, w))
    assert {call.args[1].slot for call in run.call_args_list} == set(Slot)
    return {(operand.dtype, call.args[1].itemsize) for call in run.call_args_list for operand in call.args[2:]}


@HALVES
@pytest.mark.parametrize("lowering", [name for name, lowering in LOWERINGS.items() if lowering.exact])
def test_what_a_processor_does_not_multiply_is_widened(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, lowering: str
) -> None:
    """In every slot and by every lowering, priced so too; torch is asked, and without oneDNN the answer is no."""
    arguments: Any = (2, 3, 9), (4, 3, 1 if lowering == "reshape" else 3)

    def planned() -> int:
        return ndconv.plan(*arguments, lowering=lowering, dtype=dtype).output.problem.itemsize

    monkeypatch.setattr(_precision, "_MULTIPLIED", set())
    assert told(dtype, lowering) == {(torch.float32, 4)}
    assert planned() == 4
    monkeypatch.setattr(_precision, "_MULTIPLIED", {dtype})
    with_onednn = {(torch.float32 if lowering in ("taps", "window") else dtype, 2)}
    if MKLDNN.enabled:
        assert told(dtype, lowering) == with_onednn
        assert planned() == 2
        # What is rounded after the bias is computed in float32, and said to be.
        assert (torch.float32, 4) in told(dtype, lowering, bias=torch.zeros(4, dtype=dtype))
        monkeypatch.setattr(MKLDNN, "enabled", False)
    assert told(dtype, lowering) == {(torch.float32, 4)}
    assert planned() == 4


def test_a_torch_that_cannot_be_asked_multiplies_no_half_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that can is."""
    for answers, multiplied in (
        ({}, set()),
        ({"_is_mkldnn_bf16_supported": lambda: True}, {torch.bfloat16}),
        ({"_is_mkldnn_bf16_supported": lambda: False, "_is_mkldnn_fp16_supported": lambda: True}, {torch.float16}),
    ):
        monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(**answers))
        assert runpy.run_path(str(_precision.__file__))["_MULTIPLIED"] == multiplied


@HALVES
def test_torchs_operator_does_not_take_over_where_it_rounds_partial_sums(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(_plan, "wins", lambda *arguments: True)
    problem = Problem(Slot.INPUT, Geometry((3,), (2,), ((0, 0),), (3,)), 1, 3, 3, (13,), (4,), 2)
    monkeypatch.setattr(_precision, "_MULTIPLIED", set())
    assert not _plan.torch_takes_over(problem, Slot, dtype, "cpu")
    assert _plan.torch_takes_over(problem, Slot, dtype, "cuda")
    monkeypatch.setattr(_precision, "_MULTIPLIED", {dtype})
    assert _plan.torch_takes_over(problem, Slot, dtype, "cpu") == MKLDNN.enabled
