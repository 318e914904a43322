"""torch's autocast: the operands of a convolution are cast, its inner operations are not.

Autocast caches one cast copy of each parameter until its outermost region ends, so that a weight used six times is cast
and kept once. Python has no access to this cache, but can share its lifetime. A parameter of our own, sent through an
operator that autocast casts for, stays in the cache as long as any other. Our copies hang from the node of its cast.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.amp.autocast_mode import is_autocast_available
from torch.compiler import is_compiling
from torch.utils._python_dispatch import _disable_current_modes

Operand = TypeVar("Operand")
Copies = dict[Tensor, tuple[int, Tensor]]


def autocast_device(tensor: object) -> str | None:
    """The type of the tensor's device if autocast is on for it."""
    if not (is_compiling() or torch._C._is_any_autocast_enabled()) or not isinstance(tensor, Tensor):
        return None
    kind = tensor.device.type
    # Up to torch 2.6 compilers cannot trace `is_autocast_available`. Of devices without autocast they only meet "meta".
    available = kind != "meta" if is_compiling() else is_autocast_available(kind)
    return kind if available and torch.is_autocast_enabled(kind) else None


def cast(operand: Operand, device_type: str) -> Operand:
    """Cast as torch's autocast casts the operands of its convolutions: all floats but float64, parameters once."""
    if not isinstance(operand, Tensor) or not operand.is_floating_point() or operand.dtype == torch.float64:
        return operand
    dtype = torch.get_autocast_dtype(device_type)
    lower: Operand = _once(operand, dtype) if _is_kept(operand, dtype) else operand.to(dtype)  # type: ignore[assignment]
    return lower


def _is_kept(operand: Tensor, dtype: torch.dtype) -> bool:
    """Whether torch would cache the copy of an operand; inside transforms and traces every use has its own copy."""
    if is_compiling() or torch._C._are_functorch_transforms_active() or torch._C._get_tracing_state() is not None:
        return False
    leaf = operand.requires_grad and operand.is_leaf and not operand._is_view() and not operand.is_inference()
    return leaf and operand.dtype == torch.float32 != dtype and torch.is_autocast_cache_enabled()


def _once(operand: Tensor, dtype: torch.dtype) -> Tensor:
    """The copy made in this region; a new one if values have changed or it does not lead back to the operand."""
    copies = _copies(operand.device, dtype)
    version, lower = copies.get(operand, (None, None))
    if lower is None or version != operand._version or (torch.is_grad_enabled() and not lower.requires_grad):
        lower = operand.to(dtype)
        copies[operand] = operand._version, lower
    return lower


def _copies(device: torch.device, dtype: torch.dtype) -> Copies:
    """The copies that are kept until torch clears its own cache."""
    if torch._C._len_torch_dispatch_stack():
        with _disable_current_modes():  # modes shall not see the look-up
            return _copies(device, dtype)
    if not torch.is_grad_enabled():
        with torch.inference_mode(False), torch.enable_grad():  # without gradients there is no node
            return _copies(device, dtype)
    witness, empty = _witness(device, dtype)
    node: Any = torch.addmm(witness, empty, empty).grad_fn
    (cast_of_witness, _), *_ = node.next_functions
    copies: Copies = cast_of_witness.metadata.setdefault("ndconv", {})
    return copies


@cache
def _witness(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """An empty parameter for each dtype that autocast casts to, and an empty operand to use it with at no cost."""
    return torch.empty(0, 0, device=device, requires_grad=True), torch.empty(0, 0, device=device)
