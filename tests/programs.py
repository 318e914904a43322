"""Run the steps that a lowering records as a function of tensors, written out and compiled as the library does it.

Also counts the lines of Python that a call runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from torch import Tensor

from ndconv._form.geometry import Problem
from ndconv._lowerings import LOWERINGS, Lowering
from ndconv._machine.profile import built_in
from ndconv._machine.target import target_of
from ndconv._programs.builder import Builder
from ndconv._programs.source import source
from ndconv._programs.target import Target
from ndconv._programs.values import Value
from ndconv._tensors.dtypes import name_of
from ndconv._tensors.execute import _load

RATES = built_in("cpu", "avx2").rates
"""Rates of one kind of processor, on every machine."""


def recorded(steps: Callable[..., Value], *tensors: Tensor, target: Target | None = None) -> Tensor:
    """The result of steps ``(b, *values)``, recorded for tensors with their strides."""
    builder = Builder(target or target_of(tensors[0].device))
    values = [
        builder.operand(f"operand_{index}", tuple(tensor.shape), tensor.stride(), name_of(tensor.dtype))
        for index, tensor in enumerate(tensors)
    ]
    run: Callable[..., Tensor] = _load(source("steps", builder, steps(builder, *values)))
    return run(*tensors)


def run(lowering: str | Lowering, problem: Problem, first: Tensor, second: Tensor, **keywords: Any) -> Tensor:
    """The result of a lowering for operands with separate groups."""
    computes = LOWERINGS[lowering] if isinstance(lowering, str) else lowering
    return recorded(lambda b, a, c: computes.build(b, problem, a, c), first, second, **keywords)


def lines_of(call: Callable[[], object]) -> int:
    """Lines of Python that a call runs."""
    counted = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal counted
        counted += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return counted
