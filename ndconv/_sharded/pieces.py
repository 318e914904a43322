"""DTensors to local tensors and back, and sums over processes, all differentiable to any order.

A replicated tensor counts as one tensor, with the whole gradient on every process. `copied` gives it to processes that
use it for their own shard, so its gradient is the sum of theirs. `added` makes a replicated tensor from one result per
process, by their sum. Each is the derivative of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from ndconv._autograd.linear import Map, linear
from ndconv._form.geometry import Ints
from ndconv._sharded.exchange import total
from ndconv._sharded.layout import Layout, local_of
from ndconv._tensors.layout import lay_out

Dimensions = Sequence[Sequence[int]]


def opened(x: Tensor, last: bool = False) -> Tensor:
    """The local part of a tensor."""
    if not isinstance(x, DTensor):
        return x
    apply: Any = Opened.apply
    result: Tensor = apply(Layout.of(x), tuple(x.shape), last, x)
    return result


def placed(layout: Layout, shape: Ints, last: bool, local: Tensor) -> Tensor:
    """The whole tensor from the shards of all processes."""
    apply: Any = Placed.apply
    result: Tensor = apply(layout, shape, last, local)
    return result


def copied(mesh: DeviceMesh, dimensions: Dimensions, *tensors: Tensor) -> list[Tensor]:
    """Tensors that are replicated along some dimensions of the mesh, for every process to use on its own shard."""
    return _together(mesh, dimensions, tensors, lambda dimension: (_same, partial(_sum, mesh, dimension)))


def added(mesh: DeviceMesh, dimensions: Dimensions, *tensors: Tensor) -> list[Tensor]:
    """Sums of several tensors, each over some dimensions of the mesh, along which it is then replicated.

    One all-reduce for each dimension serves all tensors.
    """
    return _together(mesh, dimensions, tensors, lambda dimension: (partial(_sum, mesh, dimension), _same))


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _sum(mesh: DeviceMesh, dimension: int, tensor: Tensor) -> Tensor:
    (found,) = total([tensor], mesh, [dimension])
    return found


def _together(
    mesh: DeviceMesh,
    dimensions: Dimensions,
    tensors: Sequence[Tensor],
    maps: Callable[[int], tuple[Map, Map]],
) -> list[Tensor]:
    """Apply a map, with its adjoint as derivative, along each dimension of the mesh to several tensors as one."""
    found = [*tensors]
    for dimension in range(mesh.ndim):
        chosen = [number for number, over in enumerate(dimensions) if dimension in over]
        if chosen:
            flat = torch.cat([found[number].reshape(-1) for number in chosen])
            parts = linear(*maps(dimension), flat).split([found[number].numel() for number in chosen])
            for number, part in zip(chosen, parts, strict=True):
                found[number] = part.view(found[number].shape)
    return found


class Opened(Function):
    """A DTensor to its local tensor."""

    @staticmethod
    def forward(layout: Layout, shape: Ints, last: bool, x: Tensor) -> Tensor:
        return local_of(x).detach()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.form = inputs[:3]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        layout, shape, last = ctx.form
        return None, None, None, placed(layout, shape, last, grads[0])


class Placed(Function):
    """Local tensors to a DTensor."""

    @staticmethod
    def forward(layout: Layout, shape: Ints, last: bool, local: Tensor) -> Tensor:
        return layout.place(lay_out(local.detach(), last), shape, last)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.form = inputs[:3]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        layout, _, last = ctx.form
        return None, None, None, opened(layout.aligned(grads[0]), last)
