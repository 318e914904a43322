"""Linear maps with an adjoint of their own, as an autograd.Function closed under differentiation.

By itself, autograd differentiates a window view with a scatter-add, and a slice with a tensor of zeros as large as the
whole. Here the gradient of a map is its adjoint, and the gradient of the adjoint is the map.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function
from torch.compiler import is_compiling

from ndconv._tensors.tracing import is_scripted

Map = Callable[[Tensor], Tensor]


def linear(apply: Map, adjoint: Map, tensor: Tensor) -> Tensor:
    """Apply a linear map, differentiably.

    Args:
        apply: The map.
        adjoint: Its adjoint: ``<apply(a), b> = <a, adjoint(b)>``, real whatever the dtype.
        tensor: What to apply it to.

    Returns:
        ``apply(tensor)``.
    """
    if is_compiling() or is_scripted():
        # Tracers derive the gradient from the operators they see, and accept no Function with a jvp.
        return apply(tensor)
    result: Tensor = Linear.apply(apply, adjoint, tensor)  # type: ignore[no-untyped-call]
    return result


def owned(result: Tensor, operand: Tensor) -> Tensor:
    """A result that may be written to: neither a view made inside a Function nor memory of the operand."""
    if torch._C._is_alias_of(result, operand):  # type: ignore[attr-defined]
        return result.clone(memory_format=torch.contiguous_format)
    return result.detach() if result._is_view() else result


class Linear(Function):
    """The gradient is the adjoint, the forward derivative the map itself."""

    generate_vmap_rule = True

    @staticmethod
    def forward(apply: Map, adjoint: Map, tensor: Tensor) -> Tensor:
        return owned(apply(tensor), tensor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.map, ctx.adjoint, _ = inputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, Tensor]:
        return None, None, linear(ctx.adjoint, ctx.map, grad)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return linear(ctx.map, ctx.adjoint, tangents[2])
