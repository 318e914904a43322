"""The common base of the modules: they compute DTensors themselves, and leave plain tensors to torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from ndconv._tensors import tensor_rules


class Layer(Module):
    """Mixin before a module of torch's, which then takes DTensors too. It has no state of its own."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the module to a whole tensor or to a DTensor, whose placements the output has."""
        if tensor_rules.is_shared_out(input):
            # Not compiled: the steps depend on sizes, which a compiler cannot trace.
            sharded: Callable[[Any], Tensor] = torch.compiler.disable(self._sharded)
            return sharded(input)
        result: Tensor = super().forward(input)
        return result

    def _sharded(self, input: Any) -> Tensor:
        raise NotImplementedError

    def _as_torch(self, input: Tensor) -> Tensor:
        """Torch's output for an input of this shape, on the meta device."""
        result: Tensor = super().forward(like(input))
        return result


def like(tensor: Tensor) -> Tensor:
    """A plain tensor of the same shape and dtype, on the meta device."""
    return torch.empty(tuple(tensor.shape), dtype=tensor.dtype, device="meta")


def each(value: Any, axes: int) -> tuple[Any, ...]:
    """One value per axis, from one for all axes or one for each."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values * axes if len(values) == 1 else values
