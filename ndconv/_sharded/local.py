"""The part of one process in a convolution: ordinary convolutions of rows that it owns and has read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from torch import Tensor

from ndconv._autograd.operator import compute
from ndconv._form.cache import cached
from ndconv._form.geometry import Convolution, Form, Geometry, Ints, Pairs, Slot, _Key
from ndconv._form.partition import Axis, Exchange, Frame, Piece, Reading, Ties, axes_of, exchange
from ndconv._programs.windows import unflatten
from ndconv._sharded.exchange import pick
from ndconv._tensors.borders import extend_axis, retract_axis
from ndconv._tensors.dtypes import wide_dtype
from ndconv._tensors.layout import lay_out


@dataclass(frozen=True)
class Share(_Key):
    """The part of one process in a convolution.

    Args:
        convolution: The whole convolution.
        parts: Number of processes per spatial axis.
        part: Index of this process per axis.
        lowering: How to compute.
        per_sample: Whether there is one weight for each sample, ``(n, g*d, c, *K)``.
    """

    convolution: Convolution
    parts: Ints
    part: Ints
    lowering: str
    per_sample: bool = False

    __hash__ = _Key._remembered

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The sharded axes."""
        return axes_of(self.convolution, self.parts)

    def exchanges(self, slot: Slot) -> tuple[Exchange, ...]:
        """The exchanges by which this process gets the rows of input or output that it reads, per axis."""
        return _exchanges(self.convolution, self.parts, self.part, slot)

    def output(self, x: Tensor, w: Tensor, wide: bool, last: bool) -> Tensor:
        """The outputs that it owns, from the inputs that it has read."""
        return self._of_inputs_read(Slot.OUTPUT, self.readings, x, w, wide, last)

    @property
    def settled(self) -> tuple[range, ...] | None:
        """Its outputs that need no received inputs.

        None if these are none or all of its outputs, or if nothing is exchanged.
        """
        found = _settled(self.convolution, self.parts, self.part)
        waits = not all(plan.idle for plan in self.exchanges(Slot.INPUT))
        return found if waits and all(found) and found != self.outputs else None

    @property
    def outputs(self) -> tuple[range, ...]:
        """The outputs that it owns."""
        return tuple(axis.owned_outputs()[part] for axis, part in zip(self.axes, self.part, strict=True))

    def some_outputs(
        self, outputs: Sequence[range], there: Sequence[Sequence[range]], x: Tensor, w: Tensor, wide: bool, last: bool
    ) -> Tensor:
        """Consecutive outputs, from inputs whose rows are given per axis in ``there``."""
        readings = tuple(axis.read_for(run) for axis, run in zip(self.axes, outputs, strict=True))
        for axis, (runs, reading) in enumerate(zip(there, readings, strict=True), start=2):
            x = pick(x, axis, runs, reading.rows)
        return self._of_inputs_read(Slot.OUTPUT, readings, x, w, wide, last, tuple(map(len, outputs)))

    def input(self, w: Tensor, y: Tensor, wide: bool, last: bool) -> Tensor:
        """The input gradient of inputs that it owns, from the outputs that it has read."""
        ties = self._ties
        size = tuple(tie.frame.size for tie in ties)
        combined = [*product(*(tie.pieces for tie in ties))]
        if len(combined) == 1 and _sizes(combined[0]) == size:
            found = self._of_piece(Slot.INPUT, combined[0], size, w, y, wide, last)
        else:
            shape, dtype = self._shape(Slot.INPUT, size, w, y), wide_dtype(y.dtype) if wide else y.dtype
            found = lay_out(y.new_zeros(shape, dtype=dtype), last)
            for pieces in combined:
                solved = self._of_piece(Slot.INPUT, pieces, _sizes(pieces), w, y, wide, last)
                _inputs(found, pieces).copy_(solved)
        for axis, tie in enumerate(ties, start=2):
            found = retract_axis(found, axis, (tie.frame.low, tie.frame.high), self.convolution.mode)
        return found

    def weight(self, x: Tensor, y: Tensor, read: Slot) -> Tensor:
        """Its part of the weight gradient, to be summed over processes, in the dtype of sums.

        Args:
            x: The inputs that it owns, or that it has read.
            y: The outputs that it has read, or that it owns.
            read: The slot of the one that it has read.
        """
        if read is Slot.INPUT:
            return self._of_inputs_read(Slot.WEIGHT, self.readings, x, y, True, False)
        ties = self._ties
        x = self._framed(x, [tie.frame for tie in ties])
        kernel = self.convolution.geometry.kernel
        parts = [
            self._of_piece(Slot.WEIGHT, pieces, kernel, _inputs(x, pieces), y, True, False)
            for pieces in product(*(tie.pieces for tie in ties))
        ]
        if not parts:
            return x.new_zeros(self._shape(Slot.WEIGHT, kernel, x, y), dtype=wide_dtype(x.dtype))
        return sum(parts[1:], parts[0])

    def convolution_of(self, slot: Slot) -> tuple[Geometry, Ints] | None:
        """The largest convolution that computes a slot here, and its input size; None if there is none."""
        if slot is Slot.OUTPUT:
            geometry = self.convolution.geometry.padded(tuple(each.padding for each in self.readings))
            size = tuple(each.frame.size for each in self.readings)
            return (geometry, size) if all(size) and all(geometry.output_size(size)) else None
        combined = [*product(*(tie.pieces for tie in self._ties))]
        pieces = max(combined, key=lambda pieces: math.prod(_sizes(pieces)), default=None)
        if pieces is None:
            return None
        return self.convolution.geometry.padded(tuple(each.padding for each in pieces)), _sizes(pieces)

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The rows that it reads of the input, per axis."""
        return _readings(self.convolution, self.parts, self.part)

    @property
    def _ties(self) -> tuple[Ties, ...]:
        return _ties(self.convolution, self.parts, self.part)

    def _framed(self, x: Tensor, frames: Sequence[Frame]) -> Tensor:
        for axis, frame in enumerate(frames, start=2):
            kept = None if len(frame.core) == x.shape[axis] else frame.core
            x = extend_axis(x, axis, (frame.low, frame.high), self.convolution.mode, kept)
        return x

    def _of_inputs_read(
        self, slot: Slot, readings: Sequence[Reading], x: Tensor, other: Tensor, wide: bool, last: bool,
        outputs: Ints | None = None,
    ) -> Tensor:  # fmt: skip
        """OUTPUT or WEIGHT of consecutive outputs, by default those that it owns."""
        x = self._framed(x, [reading.frame for reading in readings])
        owned = outputs or tuple(map(len, self.outputs))
        size = owned if slot is Slot.OUTPUT else self.convolution.geometry.kernel
        padding = [each.padding for each in readings]
        for axis, own in enumerate(owned):
            # Windows that lie in the padding: one of its zeros stands for all, as zero times NaN is NaN.
            if own and not x.shape[axis + 2]:
                (lo, hi), shape = padding[axis], list(x.shape)
                shape[axis + 2], padding[axis] = 1, (lo, hi - 1)
                x = x.new_zeros(shape)
        return self._solved(slot, tuple(padding), tuple(x.shape[2:]), size, x, other, wide, last)

    def _of_piece(
        self, slot: Slot, pieces: tuple[Piece, ...], size: Ints, first: Tensor, y: Tensor, wide: bool, last: bool
    ) -> Tensor:
        """INPUT or WEIGHT of consecutive inputs."""
        y = _cut(y, [piece.outputs for piece in pieces])
        return self._solved(slot, tuple(each.padding for each in pieces), _sizes(pieces), size, first, y, wide, last)

    def _solved(
        self, slot: Slot, padding: Pairs, input_size: Ints, size: Ints, first: Tensor, second: Tensor, wide: bool,
        last: bool,
    ) -> Tensor:  # fmt: skip
        """One convolution that may be empty."""
        shape = self._shape(slot, size, first, second)
        if 0 in (*shape, *first.shape, *second.shape):
            return lay_out(first.new_zeros(shape, dtype=wide_dtype(first.dtype) if wide else first.dtype), last)
        geometry, samples = self.convolution.geometry.padded(padding), first.shape[0]
        if self.per_sample:  # samples become groups of one sample
            geometry = geometry.grouped(samples * geometry.groups)
            first, second = (
                tensor.flatten(0, 1) if each is Slot.WEIGHT else tensor.flatten(0, 1).unsqueeze(0)
                for tensor, each in zip((first, second), slot.operands, strict=True)
            )
        form = Form(slot, geometry, tuple(input_size), self.lowering, wide, last)
        found = compute(form, first, second)
        if not self.per_sample:
            return found
        apart: Tensor = unflatten(found if slot is Slot.WEIGHT else found.squeeze(0), 0, (samples, -1))
        return apart

    def _shape(self, slot: Slot, size: Ints, first: Tensor, second: Tensor) -> Ints:
        groups, more = self.convolution.geometry.groups, int(self.per_sample)
        if slot is Slot.OUTPUT:
            return (first.shape[0], second.shape[more], *size)
        if slot is Slot.INPUT:
            return (second.shape[0], groups * first.shape[1 + more], *size)
        return (*first.shape[:more], second.shape[1], first.shape[1] // groups, *size)


def _sizes(pieces: tuple[Piece, ...]) -> Ints:
    return tuple(len(piece.inputs) for piece in pieces)


def _inputs(x: Tensor, pieces: tuple[Piece, ...]) -> Tensor:
    return _cut(x, [piece.inputs for piece in pieces])


def _cut(tensor: Tensor, runs: Sequence[range]) -> Tensor:
    """Narrow each spatial axis to a run."""
    for axis, run in enumerate(runs, start=2):
        tensor = tensor.narrow(axis, run.start, len(run))
    return tensor


@cached
def _readings(convolution: Convolution, parts: Ints, part: Ints) -> tuple[Reading, ...]:
    return tuple(axis.reading(each) for axis, each in zip(axes_of(convolution, parts), part, strict=True))


@cached
def _ties(convolution: Convolution, parts: Ints, part: Ints) -> tuple[Ties, ...]:
    return tuple(axis.ties(each) for axis, each in zip(axes_of(convolution, parts), part, strict=True))


@cached
def _settled(convolution: Convolution, parts: Ints, part: Ints) -> tuple[range, ...]:
    return tuple(axis.settled(each) for axis, each in zip(axes_of(convolution, parts), part, strict=True))


@cached
def _exchanges(convolution: Convolution, parts: Ints, part: Ints, slot: Slot) -> tuple[Exchange, ...]:
    return tuple(_exchange(axis, slot, each) for axis, each in zip(axes_of(convolution, parts), part, strict=True))


def _exchange(axis: Axis, slot: Slot, part: int) -> Exchange:
    everybody = range(axis.parts)
    if slot is Slot.INPUT:
        return exchange(axis.owned_inputs(), [axis.reading(each).rows for each in everybody], part)
    return exchange(axis.owned_outputs(), [axis.ties(each).rows for each in everybody], part)
