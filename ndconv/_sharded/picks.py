"""Max pooling of DTensors. Once the maxima are found, pooling picks inputs, and its gradient adds to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import Function
from torch.distributed.tensor import DTensor

from ndconv._form.geometry import Ints
from ndconv._form.partition import Axis
from ndconv._sharded.exchange import read
from ndconv._sharded.layout import Layout, local_of
from ndconv._tensors.dtypes import wide_dtype
from ndconv._tensors.layout import is_channels_last, lay_out

_POOLS: tuple[Any, ...] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)


@dataclass(frozen=True)
class Pooling:
    """Windows of ``(*lead, *space)``.

    Args:
        layout: Layout of input and output.
        lead: Sizes before the spatial axes.
        axes: The spatial axes.
        last: Whether the input is channels-last.
        adds: Whether this is the adjoint, from outputs to inputs.
    """

    layout: Layout
    lead: Ints
    axes: tuple[Axis, ...]
    last: bool
    adds: bool = False

    @property
    def adjoint(self) -> Pooling:
        """The adjoint map."""
        return replace(self, adds=not self.adds)

    @property
    def _space(self) -> Ints:
        return tuple(axis.inputs for axis in self.axes)

    @property
    def _parts(self) -> list[int]:
        return [self.layout.part(number) for number, _ in enumerate(self.axes, len(self.lead))]

    def inputs(self, x: Tensor) -> Tensor:
        """The inputs that this process reads, from its local ones and others."""
        for number, axis in enumerate(self.axes, len(self.lead)):
            x = read(
                x, self.layout, number, axis.owned_inputs(), [axis.reading(part).rows for part in range(axis.parts)]
            )
        return x

    def outputs(self, y: Tensor) -> Tensor:
        """The outputs that this process reads, from its local ones and others."""
        for number, axis in enumerate(self.axes, len(self.lead)):
            wanted = [axis.ties(part).rows for part in range(axis.parts)]
            y = read(y, self.layout, number, axis.owned_outputs(), wanted)
        return y

    def maxima(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs that this process owns, from the inputs that it has read, and their places in the whole input."""
        readings = [axis.reading(part) for axis, part in zip(self.axes, self._parts, strict=True)]
        owned = [axis.owned_outputs()[part] for axis, part in zip(self.axes, self._parts, strict=True)]
        shape = (*x.shape[: len(self.lead)], *map(len, owned))
        if 0 in shape:
            return x.new_empty(shape), x.new_empty(shape, dtype=torch.int64)
        pads = [pad for reading in reversed(readings) for pad in reading.padding]
        if any(pads):
            lowest = -torch.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
            x = F.pad(x, pads, value=lowest)
        kernel, stride, dilation = (
            [getattr(axis, name) for axis in self.axes] for name in ("kernel", "stride", "dilation")
        )
        found, places = _POOLS[len(self.axes) - 1](x, kernel, stride, 0, dilation, False, True)
        coordinates = _coordinates(places, tuple(x.shape[len(self.lead) :]))
        for number, (axis, rows) in enumerate(zip(self.axes, owned, strict=True)):
            place = coordinates[number] + (axis.stride * rows.start - axis.lo)
            # Padding is picked where no input exceeds it; torch then takes the first input of the window.
            coordinates[number] = torch.where(place < 0, place % axis.dilation, place)
        return found, _place(coordinates, self._space)

    def compute(self, tensor: Tensor, places: Tensor, found: Tensor | None) -> Tensor:
        """Pick inputs, or add to them."""
        layout, local = self.layout, local_of(tensor).detach()
        shape = (*self.lead, *((axis.inputs if self.adds else axis.outputs) for axis in self.axes))
        if layout.is_outside:
            return layout.place(local.new_empty(0), shape, self.last)
        if found is None:
            found = self._added(local, places) if self.adds else self._picked(local, places)
        return layout.place(lay_out(found, self.last), shape, self.last)

    def _picked(self, x: Tensor, places: Tensor) -> Tensor:
        x = self.inputs(x)
        # Without a border the rows are one run, or none.
        rows = [axis.reading(part).rows for axis, part in zip(self.axes, self._parts, strict=True)]
        starts = [runs[0].start if runs else 0 for runs in rows]
        here = [place - start for place, start in zip(_coordinates(places, self._space), starts, strict=True)]
        if not places.numel():
            return x.new_empty(places.shape)
        space = tuple(x.shape[len(self.lead) :])
        flat = x.reshape(*x.shape[: len(self.lead)], prod(space))
        return flat.gather(-1, _place(here, space).flatten(len(self.lead))).view(places.shape)

    def _added(self, y: Tensor, places: Tensor) -> Tensor:
        y, places = self.outputs(y), self.outputs(places)
        owned = [axis.owned_inputs()[part] for axis, part in zip(self.axes, self._parts, strict=True)]
        space, lead = tuple(map(len, owned)), tuple(y.shape[: len(self.lead)])
        here = [place - rows.start for place, rows in zip(_coordinates(places, self._space), owned, strict=True)]
        own = torch.ones_like(places, dtype=torch.bool)
        for place, rows in zip(here, owned, strict=True):
            own &= (place >= 0) & (place < len(rows))
        # Rows of other processes go to an element behind all rows.
        into = torch.where(own, _place(here, space), prod(space))
        flat = y.new_zeros((*lead, prod(space) + 1), dtype=wide_dtype(y.dtype))
        flat.scatter_add_(-1, into.flatten(len(lead)), y.to(flat.dtype).flatten(len(lead)))
        return flat[..., :-1].reshape(*lead, *space).to(y.dtype)


def _coordinates(places: Tensor, space: Ints) -> list[Tensor]:
    """Coordinates along each axis, from flat places."""
    found: list[Tensor] = []
    for size in reversed(space):
        found.append(places % size)
        places = places.div(size, rounding_mode="floor")
    return found[::-1]


def _place(coordinates: list[Tensor], space: Ints) -> Tensor:
    whole = coordinates[0]
    for coordinate, size in zip(coordinates[1:], space[1:], strict=True):
        whole = whole * size + coordinate
    return whole


def max_pool(x: DTensor, outputs: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints) -> Tensor:
    """Maxima of windows along the last axes, differentiably."""
    layout, first = Layout.of(x), x.dim() - len(outputs)
    sizes = zip(kernel, stride, dilation, padding, x.shape[first:], outputs, strict=True)
    axes = tuple(
        Axis(rows, step, apart, before, (0, 0), "zeros", inputs, found, layout.parts(number))
        for number, (rows, step, apart, before, inputs, found) in enumerate(sizes, first)
    )
    form = Pooling(layout, tuple(x.shape[:first]), axes, is_channels_last(x))
    local = local_of(x).detach()
    if layout.is_outside:
        return _pick(form, x, local)
    with torch.no_grad():
        found, places = form.maxima(form.inputs(local))
    return _pick(form, x, places, found)


def _pick(form: Pooling, tensor: Tensor, places: Tensor, found: Tensor | None = None) -> Tensor:
    apply: Any = Picked.apply
    result: Tensor = apply(form, tensor, places, found)
    return result


class Picked(Function):
    """A linear map, given the places of the maxima; its derivative is its adjoint, of the same class."""

    @staticmethod
    def forward(form: Pooling, tensor: Tensor, places: Tensor, found: Tensor | None) -> Tensor:
        return form.compute(tensor, places, found)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.form, _, places, _ = inputs
        ctx.save_for_backward(places)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        (places,) = ctx.saved_tensors
        return None, _pick(ctx.form.adjoint, ctx.form.layout.aligned(grads[0]), places), None, None
