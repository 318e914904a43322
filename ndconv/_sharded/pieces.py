"""Between DTensors and what each process has of them, and sums over processes, all differentiable to any order.

A tensor that every process has alike is one tensor: its gradient is the whole one, everywhere. `copied` hands it to
processes that each use it for their own share, so that the gradient is the sum of what they find, and `added` makes
such a tensor of what each process found. Each is the derivative of the other.
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
    """What this process has of a tensor."""
    if not isinstance(x, DTensor):
        return x
    apply: Any = Opened.apply
    result: Tensor = apply(Layout.of(x), tuple(x.shape), last, x)
    return result


def placed(layout: Layout, shape: Ints, last: bool, local: Tensor) -> Tensor:
    """The whole tensor of what every process has."""
    apply: Any = Placed.apply
    result: Tensor = apply(layout, shape, last, local)
    return result


def copied(mesh: DeviceMesh, dimensions: Dimensions, *tensors: Tensor) -> list[Tensor]:
    """Tensors that are the same along some dimensions of the mesh, for every process to use in its own way."""
    return _together(mesh, dimensions, tensors, lambda dimension: (_same, partial(_sum, mesh, dimension)))


def added(mesh: DeviceMesh, dimensions: Dimensions, *tensors: Tensor) -> list[Tensor]:
    """Sums of several tensors, each over some dimensions of the mesh, which it then is the same along.

    All go in one all-reduce for each dimension.
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
    """A map and its adjoint along each dimension of the mesh, of several tensors as one."""
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
