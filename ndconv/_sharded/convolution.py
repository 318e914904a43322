"""The three operations on DTensors: those of `ndconv._autograd.convolution`, on every process at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor

from ndconv._form.geometry import Convolution, Geometry, Ints, Slot
from ndconv._planner.choice import AUTO
from ndconv._sharded.function import Spread, spread
from ndconv._sharded.layout import Layout
from ndconv._sharded.local import Share
from ndconv._sharded.traffic import Shards, read
from ndconv._tensors.dtypes import wide_dtype
from ndconv._tensors.layout import is_channels_last


def share_of(tensor: Tensor, convolution: Convolution, lowering: str, per_sample: bool = False) -> Share:
    """The part of this process in a convolution whose batched input or output is a DTensor."""
    layout, axes = Layout.of(tensor), range(2, tensor.dim())
    part = tuple(0 if layout.is_outside else layout.part(axis) for axis in axes)
    return Share(convolution, tuple(map(layout.parts, axes)), part, lowering, per_sample)


def _spread(
    slot: Slot,
    convolution: Convolution,
    lowering: str,
    tensor: Tensor,
    weight_shape: Ints,
    *,
    weight: Tensor | None,
    bias: Tensor | None = None,
    per_sample: bool = False,
) -> Spread:
    """The form of an operation whose batched input or output has the layout of a tensor."""
    samples, features = tensor.shape[0], weight_shape[0]
    last = weight is not None and is_channels_last(weight)
    shapes = (
        convolution.input_shape((samples, features, *convolution.output_size), weight_shape),
        (samples, *weight_shape) if per_sample else weight_shape,
        (samples, features, *convolution.output_size),
    )
    return Spread(
        slot,
        share_of(tensor, convolution, lowering, per_sample),
        Layout.of(tensor),
        shapes,
        (weight is None or isinstance(weight, DTensor), bias is None or isinstance(bias, DTensor)),
        slot,
        (True, bias is not None),
        slot,
        (is_channels_last(tensor) or last, last),
    )


def traffic(
    convolution: Convolution, lowering: str, tensor: Tensor, weight_shape: Ints, transposed: bool
) -> tuple[Share, Shards]:
    """The part of this process in a convolution of a batched DTensor, and its communication in a training step."""
    layout, share = Layout.of(tensor), share_of(tensor, convolution, lowering)
    slots = (Slot.OUTPUT, Slot.INPUT) if transposed else (Slot.INPUT, Slot.OUTPUT)
    result = convolution.input_shape if transposed else convolution.output_shape
    shapes = tuple(tensor.shape), result(tensor.shape, weight_shape)
    reads = [
        read(name, slot, share, layout, shape, tensor.itemsize)
        for name, slot, shape in zip(("input", "grad output"), slots, shapes, strict=True)
    ]
    adding = [layout.mesh.size(dimension) for dimension in layout.sharing(0)]
    return share, Shards(
        tuple(layout.mesh.shape),
        str(layout.placements),
        tuple(layout.mesh.get_coordinate() or ()),
        reads[0],
        reads[1],
        math.prod(weight_shape) * wide_dtype(tensor.dtype).itemsize,
        math.prod(adding),
    )


def compute_output(convolution: Convolution, lowering: str, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve ``(n, g*c, *I)`` with ``(g*d, c, *K)``; add ``(g*d,)``."""
    form = _spread(Slot.OUTPUT, convolution, lowering, x, tuple(w.shape), weight=w, bias=bias)
    result: Tensor = spread(form, x, w, bias)
    return result


def compute_input(convolution: Convolution, lowering: str, w: Tensor, y: Tensor, bias: Tensor | None) -> Tensor:
    """Gradient of the input from ``(g*d, c, *K)`` and ``(n, g*d, *O)``; plus ``(g*c,)``."""
    form = _spread(Slot.INPUT, convolution, lowering, y, tuple(w.shape), weight=w, bias=bias)
    result: Tensor = spread(form, w, y, bias)
    return result


def compute_weight(
    convolution: Convolution, lowering: str, x: Tensor, y: Tensor, *, per_sample: bool = False
) -> Tensor:
    """Gradient of the weight, summed or per sample, from ``(n, g*c, *I)`` and ``(n, g*d, *O)``, on every process."""
    geometry = convolution.geometry
    shape = (y.shape[1], x.shape[1] // geometry.groups, *geometry.kernel)
    form = _spread(Slot.WEIGHT, convolution, lowering, x, shape, weight=None, per_sample=per_sample)
    result: Any = spread(replace(form, read=Slot.OUTPUT), x, y)
    gradient: Tensor = result[0]
    return gradient


def compute_gradients(
    operation: Slot,
    convolution: Convolution,
    lowering: str,
    source: Tensor,
    w: Tensor,
    grad: Tensor,
    wanted: Sequence[bool],
    *,
    per_sample: bool = False,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of a batched source, weight and bias, by one halo exchange and one all-reduce."""
    form = _spread(operation, convolution, lowering, grad, tuple(w.shape), weight=w, bias=w)
    alone = Slot.INPUT if operation is Slot.OUTPUT else Slot.OUTPUT
    read = form.fetch(grad, operation) if any(wanted[:2]) else None
    of_source = of_weight = of_bias = None
    if wanted[0]:
        operands = (w, grad) if alone is Slot.INPUT else (grad, w)
        of_source = spread(form.opened(alone, True, False), *operands, read=read)
    if any(wanted[1:]):
        form = replace(form.opened(Slot.WEIGHT, *wanted[1:]), share=replace(form.share, per_sample=per_sample))
        if per_sample:
            # Samples may be sharded, so these are DTensors whatever the weight is.
            shapes = form.shapes[0], (grad.shape[0], *w.shape), form.shapes[2]
            form = replace(form, shapes=shapes, placed=(True, True))
        operands = (source, grad) if operation is Slot.OUTPUT else (grad, source)
        of_weight, of_bias = spread(form, *operands, read=read)
    return of_source, of_weight, of_bias


def compute_bias(y: Tensor, *, per_sample: bool = False) -> Tensor:
    """Sums of ``(n, g*d, *O)`` by channel, or by channel and sample, as the bias gradient of a 1x1 convolution."""
    axes, size = y.dim() - 2, tuple(y.shape[2:])
    points = Geometry((1,) * axes, (1,) * axes, ((0, 0),) * axes, (1,) * axes)
    convolution = Convolution.of(points, size, points.padding, "zeros")
    shape = (y.shape[1], 1, *points.kernel)
    form = _spread(Slot.OUTPUT, convolution, AUTO, y, shape, weight=None, per_sample=per_sample)
    result: Any = spread(form.opened(Slot.WEIGHT, False, True), None, y)
    gradient: Tensor = result[1]
    return gradient
