"""Banded maps along the axes of DTensors: averages, nearest and linear resizing, and their adjoints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function
from torch.distributed.tensor import DTensor

from ndconv._form.bands import Bands
from ndconv._form.geometry import Ints
from ndconv._form.partition import chunks
from ndconv._sharded.exchange import read
from ndconv._sharded.layout import Layout, local_of
from ndconv._tensors.dtypes import wide_dtype
from ndconv._tensors.layout import is_channels_last, lay_out


@dataclass(frozen=True)
class Resizing:
    """One map for each spatial axis of ``(*lead, *space)``.

    Args:
        layout: Layout of input and output.
        lead: Sizes before the spatial axes.
        maps: One map for each spatial axis.
        last: Whether the input is channels-last.
    """

    layout: Layout
    lead: Ints
    maps: tuple[Bands, ...]
    last: bool

    @property
    def adjoint(self) -> Resizing:
        """The transposed maps."""
        return replace(self, maps=tuple(each.adjoint for each in self.maps))

    @property
    def _order(self) -> list[int]:
        """Order of axes with the least communication: shrunk before it is sent, and sent before it grows."""

        def key(axis: int) -> tuple[bool, bool]:
            grows, shared = self.maps[axis].outputs > self.maps[axis].inputs, self.layout.parts(len(self.lead) + axis)
            return grows, (shared > 1) != grows

        return sorted(range(len(self.maps)), key=key)

    def compute(self, x: Tensor) -> Tensor:
        """Apply the maps to a DTensor."""
        layout, local = self.layout, local_of(x).detach()
        shape = (*self.lead, *(each.outputs for each in self.maps))
        if layout.is_outside:
            return layout.place(local.new_empty(0), shape, self.last)
        summed = any(each.is_weighted or each.width > 1 for each in self.maps)
        wide = wide_dtype(local.dtype) if summed else local.dtype
        for number in self._order:
            axis, bands = len(self.lead) + number, self.maps[number]
            if bands.is_identity:
                continue
            parts = layout.parts(axis)
            outputs = chunks(bands.outputs, parts)
            wanted = [bands.read(each) for each in outputs]
            local = read(local, layout, axis, chunks(bands.inputs, parts), [[rows] for rows in wanted])
            part = layout.part(axis)
            local = _mapped(local, axis, bands, outputs[part], wanted[part].start, wide)
        return layout.place(lay_out(local.to(x.dtype), self.last), shape, self.last)


def _mapped(x: Tensor, axis: int, bands: Bands, outputs: range, first: int, wide: torch.dtype) -> Tensor:
    """Some outputs along one axis, from rows that start at index ``first``."""
    members = [bands.bands[output] for output in outputs]
    weights = [bands.weights[output] for output in outputs]
    width = max(map(len, members), default=0)
    if not width:
        return x.new_zeros((*x.shape[:axis], len(outputs), *x.shape[axis + 1 :]), dtype=wide)
    if width > len(outputs):
        sums = [
            _summed(x.narrow(axis, max(band.start - first, 0), len(band)), axis, each, wide)
            for band, each in zip(members, weights, strict=True)
        ]
        return torch.cat(sums, axis)
    by_row = (-1, *(1,) * (x.dim() - axis - 1))

    def vector(values: list[Any], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=x.device)

    found = None
    for tap in range(width):
        # A shorter band looks up some row here and masks it: 0 times infinity would not be 0.
        counts = [tap < len(band) for band in members]
        rows = [band.start + tap - first if there else 0 for band, there in zip(members, counts, strict=True)]
        term = x.index_select(axis, vector(rows, torch.int64)).to(wide)
        shares = [each[tap] if there else 1.0 for each, there in zip(weights, counts, strict=True)]
        if any(share != 1 for share in shares):
            term = term * vector(shares, wide).view(by_row)
        term = term if found is None else found + term
        if not all(counts):
            term = torch.where(vector(counts, torch.bool).view(by_row), term, 0 if found is None else found)
        found = term
    assert found is not None
    return found


def _summed(x: Tensor, axis: int, weights: tuple[float, ...], wide: torch.dtype) -> Tensor:
    """One output of a wide band."""
    if len(set(weights)) <= 1:
        return x.sum(axis, keepdim=True, dtype=wide) * (weights[0] if weights else 1.0)
    vector = torch.tensor(weights, dtype=wide, device=x.device)
    return (x * vector.view(-1, *(1,) * (x.dim() - axis - 1))).sum(axis, keepdim=True)


def resize(x: DTensor, maps: tuple[Bands, ...]) -> Tensor:
    """Apply one map along each of the last axes, differentiably."""
    lead = tuple(x.shape[: x.dim() - len(maps)])
    return _resize(Resizing(Layout.of(x), lead, maps, is_channels_last(x)), x)


def _resize(form: Resizing, x: Tensor) -> Tensor:
    apply: Any = Banded.apply
    result: Tensor = apply(form, x)
    return result


class Banded(Function):
    """A linear map whose derivative is its adjoint, which is of the same class."""

    @staticmethod
    def forward(form: Resizing, x: Tensor) -> Tensor:
        return form.compute(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.form = inputs[0]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return None, _resize(ctx.form.adjoint, ctx.form.layout.aligned(grads[0]))
