"""The halo exchange along one axis: which rows of a convolution's tensors each process owns, reads and sends.

A shard of a convolution is a convolution. The owner of some outputs reads an interval of the input. The owner of some
inputs reads the interval of the output that is tied to them. The rows read, with a padding ``(lo, hi)`` that may be
negative, make the local problem. So every gradient is a sum over rows that were fetched; no partial sum is ever sent.

A row is an index along the axis. Everything here follows from integers that all processes know, so none asks another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ndconv._form.geometry import Convolution, Ints, _Key


def chunks(size: int, parts: int) -> tuple[range, ...]:
    """The rows that each process owns, shared out as by `torch.chunk`; the last processes may have none.

    Example:
        >>> chunks(5, 4)
        (range(0, 2), range(2, 4), range(4, 5), range(5, 5))
    """
    step = -(-size // parts)
    return tuple(range(min(part * step, size), min((part + 1) * step, size)) for part in range(parts))


def _common(first: range, second: range) -> range:
    start = max(first.start, second.start)
    return range(start, max(start, min(first.stop, second.stop)))


def _merged(runs: Sequence[range]) -> tuple[range, ...]:
    """The same rows as disjoint runs in order."""
    merged: list[range] = []
    for run in sorted(filter(None, runs), key=lambda run: run.start):
        if merged and run.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, run.stop))
        else:
            merged.append(run)
    return tuple(merged)


def place(row: int, runs: Sequence[range]) -> int:
    """The index of a row in a tensor that has these runs one behind the other."""
    before = 0
    for run in runs:
        if row in run:
            return before + row - run.start
        before += len(run)
    return 0


class Side(NamedTuple):
    """One side of a border: the rows that it shows, and how many rows it has.

    Only ``"replicate"`` shows one row several times.
    """

    start: int
    length: int
    size: int


class Frame(NamedTuple):
    """The rows at hand with their border, before the geometry pads: the low border, rows as they are, the high border.

    All are indices into the tensor of the rows at hand.
    """

    low: Side
    core: range
    high: Side

    @property
    def size(self) -> int:
        """Rows with the border."""
        return self.low.size + len(self.core) + self.high.size


class Reading(NamedTuple):
    """The reads of the owner of some outputs.

    Args:
        rows: Of the input.
        frame: Their border.
        padding: Of the local problem.
    """

    rows: tuple[range, ...]
    frame: Frame
    padding: tuple[int, int]


class Piece(NamedTuple):
    """Consecutive inputs, border rows included, that are tied to consecutive outputs.

    Args:
        inputs: Indices into the owner's rows with their border.
        outputs: Indices into the outputs that the owner reads.
        padding: Of the local problem.
    """

    inputs: range
    outputs: range
    padding: tuple[int, int]


class Ties(NamedTuple):
    """The reads of the owner of some inputs.

    Args:
        rows: Of the output.
        frame: The border that shows the owner's inputs, wherever it lies.
        pieces: One; several where a border lies apart from the rows it shows.
    """

    rows: tuple[range, ...]
    frame: Frame
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Axis(_Key):
    """One axis of a convolution, shared out among processes.

    Args:
        kernel: K.
        stride: S.
        dilation: D.
        lo: Zeros before the first input, its border included.
        border: ``(lo, hi)`` rows that ``mode`` adds.
        mode: As in `Convolution`.
        inputs: Rows of the input.
        outputs: Rows of the output.
        parts: Number of processes.

    Example:
        Four outputs of a 3-tap convolution on each of two processes:

        >>> same = Axis(3, 1, 1, 1, (0, 0), "zeros", 8, 8, 2)
        >>> same.reading(0).rows, same.reading(1).rows
        ((range(0, 5),), (range(3, 8),))
    """

    kernel: int
    stride: int
    dilation: int
    lo: int
    border: tuple[int, int]
    mode: str
    inputs: int
    outputs: int
    parts: int

    __hash__ = _Key._remembered

    @property
    def _extent(self) -> int:
        return self.dilation * (self.kernel - 1) + 1

    @property
    def _framed(self) -> tuple[range, range, range]:
        """Positions of the low border, the rows and the high border."""
        lo, hi = self.border
        return range(lo), range(lo, lo + self.inputs), range(lo + self.inputs, lo + self.inputs + hi)

    def owned_inputs(self) -> tuple[range, ...]:
        """Rows of the input by process."""
        return chunks(self.inputs, self.parts)

    def owned_outputs(self) -> tuple[range, ...]:
        """Rows of the output by process."""
        return chunks(self.outputs, self.parts)

    def _padding(self, inputs: range, outputs: range) -> tuple[int, int]:
        """The padding with which positions of the framed input and outputs are a problem of their own."""
        lo = self.lo + inputs.start - self.stride * outputs.start
        return lo, self.stride * (len(outputs) - 1) + self._extent - len(inputs) - lo

    def _mirror(self, side: int) -> int:
        """Sum ("reflect") or difference ("circular") of a row and the position on this side that shows it."""
        low = self.border[0]
        if self.mode == "circular":
            return (low - self.inputs, low + self.inputs)[side]
        return (low, low + 2 * self.inputs - 2)[side]

    def _shown(self, side: int, positions: range) -> range:
        """The rows that some positions on this side of the border show."""
        if not positions or self.mode == "zeros":
            return range(0)
        if self.mode == "replicate":
            return (range(1), range(self.inputs - 1, self.inputs))[side]
        mirror = self._mirror(side)
        if self.mode == "circular":
            return range(positions.start - mirror, positions.stop - mirror)
        return range(mirror - positions.stop + 1, mirror - positions.start + 1)

    def _showing(self, side: int, rows: range) -> range:
        """The positions on this side of the border that show some of these rows."""
        border = self._framed[2 * side]
        if not border or not rows:
            return range(border.start, border.start)
        if self.mode == "replicate":
            return border if (0, self.inputs - 1)[side] in rows else range(border.start, border.start)
        mirror = self._mirror(side)
        if self.mode == "circular":
            return _common(border, range(rows.start + mirror, rows.stop + mirror))
        return _common(border, range(mirror - rows.stop + 1, mirror - rows.start + 1))

    def reading(self, part: int) -> Reading:
        """The reads of a process from the input, for its outputs."""
        return self.read_for(self.owned_outputs()[part])

    def settled(self, part: int) -> range:
        """The outputs of a process that need no rows of other processes."""
        rows, outputs, (low, high) = self.owned_inputs()[part], self.owned_outputs()[part], self.border
        if self.parts == 1:
            return outputs
        # Beyond the ends there is nothing to read, unless a border shows rows of others there.
        first = -(-(rows.start + low + self.lo) // self.stride) if rows.start or low else 0
        last = (rows.stop + low + self.lo - self._extent) // self.stride
        stop = last + 1 if rows.stop < self.inputs or high else self.outputs
        return _common(outputs, range(first, max(first, stop))) if rows else range(0)

    def read_for(self, outputs: range) -> Reading:
        """The reads of the input for consecutive outputs."""
        whole = self._framed[2].stop
        start = min(max(0, self.stride * outputs.start - self.lo), whole)
        stop = min(whole, self.stride * (outputs.stop - 1) + self._extent - self.lo)
        positions = range(start, max(start, stop)) if outputs else range(start, start)
        low, core, high = (_common(positions, each) for each in self._framed)
        kept = range(core.start - self.border[0], core.stop - self.border[0])
        shown = self._shown(0, low), self._shown(1, high)
        rows = _merged((shown[0], kept, shown[1]))
        first, last = (
            Side(place(each.start, rows), len(each), len(side)) for each, side in zip(shown, (low, high), strict=True)
        )
        start = place(kept.start, rows)
        return Reading(rows, Frame(first, range(start, start + len(kept)), last), self._padding(positions, outputs))

    def ties(self, part: int) -> Ties:
        """The reads of a process from the output, for its inputs."""
        rows = self.owned_inputs()[part]
        low, high = (self._showing(side, rows) for side in (0, 1))
        shown = self._shown(0, low), self._shown(1, high)
        own = range(rows.start + self.border[0], rows.stop + self.border[0])
        frame = Frame(
            Side(shown[0].start - rows.start, len(shown[0]), len(low)) if low else Side(0, 0, 0),
            range(len(rows)),
            Side(shown[1].start - rows.start, len(shown[1]), len(high)) if high else Side(0, 0, 0),
        )
        runs = _merged((low, own, high))  # of consecutive positions
        tied = [self._tied(run) for run in runs]
        read, pieces, before = _merged(tied), [], 0
        for run, outputs in zip(runs, tied, strict=True):
            if outputs:
                start = place(outputs.start, read)
                places = range(before, before + len(run)), range(start, start + len(outputs))
                pieces.append(Piece(*places, self._padding(run, outputs)))
            before += len(run)
        return Ties(read, frame, tuple(pieces))

    def _tied(self, positions: range) -> range:
        """The outputs whose windows span some of these positions."""
        start = max(0, -((self._extent - 1 - positions.start - self.lo) // self.stride))
        stop = min(self.outputs, (positions.stop - 1 + self.lo) // self.stride + 1)
        return range(start, max(start, stop))


def axes_of(convolution: Convolution, parts: Ints) -> tuple[Axis, ...]:
    """The axes of a convolution, each shared out among its number of processes."""
    geometry = convolution.geometry
    return tuple(
        Axis(kernel, stride, dilation, lo, border, convolution.mode, inputs, outputs, each)
        for kernel, stride, dilation, (lo, _), border, inputs, outputs, each in zip(
            geometry.kernel, geometry.stride, geometry.dilation, geometry.padding, convolution.border,
            convolution.input_size, convolution.output_size, parts, strict=True,
        )
    )  # fmt: skip


class Block(NamedTuple):
    """Rows that one process sends to another.

    Args:
        peer: The other process.
        rows: Of the whole tensor.
    """

    peer: int
    rows: range


class Exchange(NamedTuple):
    """What one process sends and receives along an axis, all in the order of processes and rows.

    Args:
        owned: Its rows.
        kept: Its rows that it reads itself.
        sent: To others.
        received: From others.
        idle: Whether no process sends another anything.
    """

    owned: range
    kept: tuple[range, ...]
    sent: tuple[Block, ...]
    received: tuple[Block, ...]
    idle: bool


def exchange(owned: Sequence[range], wanted: Sequence[Sequence[range]], part: int) -> Exchange:
    """The exchange that brings every process the rows it wants, seen from one process.

    Args:
        owned: Rows by process, disjoint and in order.
        wanted: Disjoint runs of rows by process, in order.
        part: The process.

    Returns:
        What it sends and receives.

    Example:
        >>> exchange([range(0, 4), range(4, 8)], [[range(0, 5)], [range(3, 8)]], 0)[2:4]
        ((Block(peer=1, rows=range(3, 4)),), (Block(peer=1, rows=range(4, 5)),))
    """

    def given(giver: int, taker: int) -> list[range]:
        return [*filter(None, (_common(owned[giver], run) for run in wanted[taker]))]

    peers = range(len(owned))
    others = [peer for peer in peers if peer != part]
    return Exchange(
        owned[part],
        tuple(given(part, part)),
        tuple(Block(peer, rows) for peer in others for rows in given(part, peer)),
        tuple(Block(peer, rows) for peer in others for rows in given(peer, part)),
        not any(given(giver, taker) for giver in peers for taker in peers if giver != taker),
    )
