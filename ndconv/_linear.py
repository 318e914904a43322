"""Linear maps with an adjoint of their own, as an autograd.Function closed under differentiation.

Left to itself, autograd differentiates a window view by scattering into an index and a slice by a tensor of zeros as
large as the whole. Here the gradient of a map is its adjoint, and the adjoint's gradient the map.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.autograd.function import Function
from torch.compiler import is_compiling

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
    if is_compiling():
        # A compiler derives the gradient from the operators it sees, and takes no Function with a jvp.
        return apply(tensor)
    result: Tensor = Linear.apply(apply, adjoint, tensor)  # type: ignore[no-untyped-call]
    return result


class Linear(Function):
    """The gradient is the adjoint, the forward derivative the map itself."""

    generate_vmap_rule = True

    @staticmethod
    def forward(apply: Map, adjoint: Map, tensor: Tensor) -> Tensor:
        return apply(tensor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.map, ctx.adjoint, _ = inputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, Tensor]:
        return None, None, linear(ctx.adjoint, ctx.map, grad)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return linear(ctx.map, ctx.adjoint, tangents[2])
