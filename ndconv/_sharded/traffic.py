"""The communication of a convolution of DTensors, known in advance from the integers of its exchanges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from ndconv._form.geometry import Ints, Slot
from ndconv._sharded.layout import Layout
from ndconv._sharded.local import Share


class Leg(NamedTuple):
    """One all-to-all, along one axis, as one process sees it.

    Args:
        axis: Axis of the tensor.
        peers: Number of processes that it sends to or receives from.
        rows_sent: Rows sent to others.
        rows_received: Rows received from others.
        bytes_sent: Bytes sent to others.
        bytes_received: Bytes received from others.
    """

    axis: int
    peers: int
    rows_sent: int
    rows_received: int
    bytes_sent: int
    bytes_received: int


def _several(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 'es' if what.endswith('s') else 's'}"


class Read(NamedTuple):
    """The rows that one process reads of a sharded tensor.

    Args:
        name: Name of the tensor.
        shape: Shape of its own shard.
        legs: The exchanges, in order; none for axes along which nothing is sent.
        halo: Ratio of received bytes to owned bytes.
    """

    name: str
    shape: Ints
    legs: tuple[Leg, ...]
    halo: float

    def __str__(self) -> str:
        sent = [
            f"axis {leg.axis}: {_several(leg.rows_sent, 'row')}, {leg.bytes_sent} B to and "
            f"{_several(leg.rows_received, 'row')}, {leg.bytes_received} B from {_several(leg.peers, 'process')}"
            for leg in self.legs
        ]
        halo = [f"halo {self.halo:.1%} of its own"] if sent else ["nothing is sent"]
        return f"  {self.name:<15} {self.shape}  " + "; ".join([*sent, *halo])


@dataclass(frozen=True)
class Shards:
    """Communication in a training step, as one process of the mesh sees it; ``print`` it.

    Args:
        mesh: Number of processes per dimension.
        placements: Placements of input and output, as text.
        process: Index of this process, per dimension.
        input: Exchange in the forward.
        grad_output: Exchange in the backward, for both gradients.
        summed: Bytes of the weight gradient in the all-reduce, in the dtype of its sums.
        processes: Number of processes in the all-reduce.
    """

    mesh: Ints
    placements: str
    process: Ints
    input: Read
    grad_output: Read
    summed: int
    processes: int

    @property
    def bytes_sent(self) -> int:
        """Bytes sent by this process in both exchanges."""
        return sum(leg.bytes_sent for read in (self.input, self.grad_output) for leg in read.legs)

    @property
    def bytes_received(self) -> int:
        """Bytes received by this process in both exchanges."""
        return sum(leg.bytes_received for read in (self.input, self.grad_output) for leg in read.legs)

    def __str__(self) -> str:
        lines = [f"shards  mesh {self.mesh}  placements {self.placements}  process {self.process}"]
        lines += [str(self.input), str(self.grad_output)]
        lines.append(f"  {'grad weight':<15} {self.summed} B added up by {_several(self.processes, 'process')}")
        return "\n".join(lines)


def read(name: str, slot: Slot, share: Share, layout: Layout, shape: Ints, itemsize: int) -> Read:
    """The rows that this process reads of a slot's tensor.

    Args:
        name: Name of the tensor.
        slot: INPUT or OUTPUT.
        share: The part of this process in the convolution.
        layout: Layout of the tensor.
        shape: Shape of the whole tensor, batch and channels first.
        itemsize: Bytes of an element.
    """
    owned = layout.local_shape(shape)
    sizes, legs = [*owned], []
    for axis, plan in enumerate(share.exchanges(slot), start=2):
        row = itemsize * math.prod(sizes[:axis] + sizes[axis + 1 :])
        sent, received = (sum(len(block.rows) for block in blocks) for blocks in (plan.sent, plan.received))
        if not plan.idle:
            peers = {block.peer for block in (*plan.sent, *plan.received)}
            legs.append(Leg(axis, len(peers), sent, received, row * sent, row * received))
        sizes[axis] = received + sum(map(len, plan.kept))
    got = sum(leg.bytes_received for leg in legs)
    return Read(name, owned, tuple(legs), got / max(1, itemsize * math.prod(owned)))
