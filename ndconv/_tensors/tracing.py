"""Which tool records the computation, if any: a compiler, an exporter, `torch.jit.trace`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ndconv._form.geometry import Ints

# Older releases of torch have no such function, and no exporter that is tested.
is_exporting = getattr(torch.compiler, "is_exporting", is_compiling)


def is_scripted() -> bool:
    """Whether `torch.jit.trace` records, or a tool based on it."""
    return not is_compiling() and torch._C._get_tracing_state() is not None


def wants_torchs_own() -> bool:
    """Whether a recording is for tools that know torch's convolution: TorchScript and ONNX."""
    if is_compiling():
        return is_exporting() and torch.onnx.is_in_onnx_export()
    return torch._C._get_tracing_state() is not None


def shape(tensor: Tensor) -> Ints:
    """A tensor's shape, as integers where `torch.jit.trace` would turn them into tensors."""
    if not is_scripted():
        return tensor.shape
    with _paused():
        return tuple(tensor.shape)


@contextmanager
def _paused() -> Iterator[None]:
    set_state: Any = torch._C._set_tracing_state  # type: ignore[attr-defined]
    state = torch._C._get_tracing_state()
    set_state(None)
    try:
        yield
    finally:
        set_state(state)
