"""Programs compiled: from a lowering, a problem and two tensors to a Python function, found again by what it depends on."""

from __future__ import annotations

import itertools
import linecache
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import Parameter

from ndconv._cache import cached
from ndconv._direct import Direct
from ndconv._geometry import Ints, Problem, Slot
from ndconv._lowerings import Lowering
from ndconv._matmul import is_quicker
from ndconv._programs._builder import Builder
from ndconv._programs._source import source
from ndconv._workspace import get_workspace_limit

Run = Callable[[Tensor, Tensor], Tensor]

_PLAIN = {Tensor, Parameter}
_NAMES = {Slot.INPUT: "x", Slot.WEIGHT: "w", Slot.OUTPUT: "y"}
_DIRECT = Direct()
_counter = itertools.count()


def run(lowering: Lowering, problem: Problem, first: Tensor, second: Tensor) -> Tensor:
    """Compute a problem by a lowering from operands with their groups apart."""
    if is_compiling() or not {type(first), type(second)} <= _PLAIN:
        result: Tensor = lowering.build(_DIRECT, problem, first, second)
        return result
    strides = first.stride(), second.stride()
    how = first.dtype, str(first.device), get_workspace_limit(), torch.backends.mkldnn.enabled
    return _compiled(lowering, problem, *strides, *how)(first, second)


@cached
def _compiled(
    lowering: Lowering, problem: Problem, one: Ints, other: Ints, dtype: torch.dtype, device: str, limit: int, mkldnn: bool
) -> Run:
    looks = not device.startswith("meta")
    onednn = mkldnn and device == "cpu" and is_quicker()
    builder = Builder(limit, onednn=onednn, looks=looks, device=device)
    operands = (
        builder.operand(_NAMES[slot], problem.shape(slot), strides, str(dtype).removeprefix("torch."))
        for slot, strides in zip(problem.slot.operands, (one, other), strict=True)
    )
    result = lowering.build(builder, problem, *operands)
    return load(source(f"convolution_{problem.slot.value}", builder, result))


def load(text: str) -> Run:
    """The function that a program's text defines; a traceback shows its lines."""
    file = f"<ndconv program {next(_counter)}>"
    namespace: dict[str, Any] = {}
    exec(compile(text, file, "exec"), namespace)
    run: Run = [*namespace.values()][-1]
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    weakref.finalize(run, linecache.cache.pop, file, None)
    return run
