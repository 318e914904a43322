"""Batch, group and instance norm of DTensors: mean and squared deviations, each summed over processes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from ndconv._sharded.layout import Layout, local_of
from ndconv._sharded.pieces import added, copied, opened, placed
from ndconv._tensors.dtypes import wide_dtype
from ndconv._tensors.layout import is_channels_last


@dataclass(frozen=True)
class Statistics:
    """Elements of ``(n, groups, channels, *space)`` that are normalised together.

    Args:
        mesh: The processes.
        over: Dimensions of the mesh that shard these elements.
        parameters: Dimensions of the mesh that shard batch or space.
        batch: Whether all samples are normalised together.
        count: Number of elements.
        eps: Added to the variance.
    """

    mesh: DeviceMesh
    over: tuple[int, ...]
    parameters: tuple[int, ...]
    batch: bool
    count: int
    eps: float

    def summed(self, x: Tensor) -> Tensor:
        """Sums over the local elements, in the dtype of sums, with reduced axes kept."""
        axes = [*([0] if self.batch else []), *range(2, x.dim())]
        return x.sum(axes, keepdim=True, dtype=wide_dtype(x.dtype))

    def of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance, in two passes."""
        (whole,) = added(self.mesh, [self.over], self.summed(x))
        mean = whole / self.count
        (squares,) = added(self.mesh, [self.over], self.summed((x - mean).square()))
        return mean, squares / self.count


@dataclass
class Running:
    """Running statistics: torch's buffers, changed in place.

    Args:
        mean: ``(channels,)``.
        var: Likewise.
        momentum: Weight of the new ones.
    """

    mean: Tensor
    var: Tensor
    momentum: float

    def update(self, form: Statistics, mean: Tensor, var: Tensor, samples: int) -> None:
        """Update by one input, with the mean over samples if each has its own statistics."""
        var = var * (form.count / (form.count - 1))
        if not form.batch:
            dimensions = tuple(each for each in form.parameters if each not in form.over)
            pair = added(form.mesh, [dimensions] * 2, mean.sum(0), var.sum(0))
            mean, var = (each / samples for each in pair)
        for buffer, new in ((self.mean, mean), (self.var, var)):
            local = local_of(buffer)
            local.copy_(local.to(new.dtype) * (1 - self.momentum) + self.momentum * new.reshape(-1))


def normalise(
    x: DTensor,
    weight: Tensor | None,
    bias: Tensor | None,
    *,
    groups: int,
    batch: bool,
    batched: bool,
    eps: float,
    running: Running | None,
    fixed: bool,
) -> Tensor:
    """Normalise, scale and shift, differentiably.

    Args:
        x: ``(n, channels, *space)``.
        weight: ``(channels,)``, replicated.
        bias: Likewise.
        groups: Number of groups of channels.
        batch: Whether all samples are normalised together.
        batched: Whether x has a batch.
        eps: Added to the variance.
        running: Running statistics, to update or to use.
        fixed: Whether to use them.
    """
    layout, shape, last = Layout.of(x), tuple(x.shape), is_channels_last(x)
    local = opened(x, last)
    if layout.is_outside:
        return placed(layout, shape, last, local)
    local = local if batched else local.unsqueeze(0)
    grouped = local.unflatten(1, (groups, -1))
    first = 2 if batched else 1
    parameters, space = tuple(layout.sharing(0)), tuple(layout.sharing(first))
    samples = shape[0] if batched else 1
    count = prod(shape[first:]) * shape[first - 1] // groups * (samples if batch else 1)
    form = Statistics(layout.mesh, parameters if batch else space, parameters, batch, count, eps)
    by_channel = (groups, shape[first - 1] // groups, *(1,) * (local.dim() - 2))
    affine = [None if each is None else opened(each).view(by_channel) for each in (weight, bias)]
    if fixed:
        assert running is not None
        found = _fixed(form, running, grouped, *affine)
    else:
        with torch.no_grad():
            mean, var = form.of(grouped)
            if running is not None:
                running.update(form, mean, var, samples)
        apply: Any = Normalised.apply
        found = apply(form, grouped, *affine, mean, (var + eps).rsqrt())[0]
    found = found.flatten(1, 2)
    return placed(layout, shape, last, found if batched else found.squeeze(0))


def _fixed(form: Statistics, running: Running, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Normalise by given statistics."""
    wide = wide_dtype(x.dtype)
    by_group = (x.shape[1], *(1,) * (x.dim() - 2))
    mean, var = (local_of(each).to(wide).view(by_group) for each in (running.mean, running.var))
    found = (x - mean) * (var + form.eps).rsqrt()
    given = [each for each in (weight, bias) if each is not None]
    ready = iter(copied(form.mesh, [form.parameters] * len(given), *(each.to(wide) for each in given)))
    found = found if weight is None else found * next(ready)
    found = found if bias is None else found + next(ready)
    return found.to(x.dtype)


class Normalised(Function):
    """The normalised tensor, the mean and the reciprocal standard deviation.

    The last two are outputs, so that the backward, made of differentiable operations, has derivatives of every order
    through them. Only these two, the input and the weight are saved.
    """

    @staticmethod
    def forward(
        form: Statistics, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, scale: Tensor
    ) -> tuple[Tensor, ...]:
        found = (x - mean) * scale
        found = found if weight is None else found * weight
        found = found if bias is None else found + bias
        return found.to(x.dtype), mean.clone(), scale.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.form, x, weight, bias, *_ = inputs
        ctx.bias = None if bias is None else bias.dtype
        ctx.save_for_backward(x, weight, *output[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        form: Statistics = ctx.form
        (of_output, of_mean, of_scale), wide = grads, mean.dtype
        space, centred, of_output = [*range(3, x.dim())], x - mean, of_output.to(wide)
        each = of_output.sum(space, keepdim=True), (of_output * centred).sum(space, keepdim=True)
        if not space:
            each = of_output, of_output * centred
        factor = None
        if weight is not None:
            (factor,) = copied(form.mesh, [form.parameters], weight.to(wide))
        _, need_x, need_weight, need_bias, *_ = ctx.needs_input_grad
        wanted: list[Tensor] = []
        if need_x:
            sums = each if factor is None else (each[0] * factor, each[1] * factor)
            wanted += [of_mean - scale * form.summed(sums[0]), of_scale + form.summed(sums[1])]
        if need_weight:
            wanted.append((each[1] * scale).sum(0))
        if need_bias:
            wanted.append(each[0].sum(0))
        dimensions = [form.over] * (2 * need_x) + [form.parameters] * (need_weight + need_bias)
        found = added(form.mesh, dimensions, *wanted)
        of_x = of_weight = of_bias = None
        if need_bias:
            of_bias = found.pop().to(ctx.bias)
        if need_weight:
            of_weight = found.pop().to(weight.dtype)
        if need_x:
            through_mean, through_scale = copied(form.mesh, [form.over] * 2, *found)
            direct = of_output if factor is None else of_output * factor
            indirect = (through_mean - through_scale * scale**3 * centred) / form.count
            of_x = (direct * scale + indirect).to(x.dtype)
        return None, of_x, of_weight, of_bias, None, None
