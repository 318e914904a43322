"""Where the batch and the spatial axes of a convolution's input and output lie on a mesh of processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.placement_types import Placement

from ndconv._form.geometry import Ints
from ndconv._form.partition import chunks
from ndconv._programs.values import layout_strides

Placements = tuple[Placement, ...]


@dataclass(frozen=True)
class Layout:
    """A mesh, and the axis of ``(n, channels, *space)`` that each of its dimensions shares out.

    Args:
        mesh: The processes.
        placements: ``Shard(axis)`` or ``Replicate()`` for each dimension of the mesh.
    """

    mesh: DeviceMesh
    placements: Placements

    @classmethod
    def of(cls, tensor: Tensor) -> Layout:
        """That of a batched input or output."""
        assert isinstance(tensor, DTensor)
        return cls(tensor.device_mesh, tuple(tensor.placements))

    def dimension(self, axis: int) -> int | None:
        """The dimension of the mesh that shares an axis out."""
        return next((i for i, each in enumerate(self.placements) if each.is_shard(axis)), None)

    def parts(self, axis: int) -> int:
        """Number of processes that an axis is shared out among."""
        dimension = self.dimension(axis)
        return 1 if dimension is None else self.mesh.size(dimension)

    def part(self, axis: int) -> int:
        """Which of them this process is."""
        dimension = self.dimension(axis)
        return 0 if dimension is None else self.mesh.get_local_rank(dimension)

    @property
    def is_outside(self) -> bool:
        """Whether this process has no part in it."""
        return self.mesh.get_coordinate() is None

    def sharing(self, first: int) -> list[int]:
        """The dimensions of the mesh that share out axes, from a first one on."""
        return [i for i, each in enumerate(self.placements) if each.is_shard() and each.dim >= first]  # type: ignore[attr-defined]

    def local_shape(self, shape: Sequence[int]) -> Ints:
        """Shape of what this process owns of a whole tensor."""
        return tuple(len(chunks(size, self.parts(axis))[self.part(axis)]) for axis, size in enumerate(shape))

    def place(self, local: Tensor, shape: Ints, last: bool) -> DTensor:
        """A whole tensor of what every process has of it."""
        return _whole(local, self.mesh, self.placements, shape, last)

    def place_weight(self, local: Tensor, shape: Ints, per_sample: bool, last: bool = False) -> DTensor:
        """A weight or a bias that every process has; one for each sample lies where the samples lie."""
        samples = tuple(each if per_sample and each.is_shard(0) else Replicate() for each in self.placements)
        return _whole(local, self.mesh, samples, shape, last)

    def aligned(self, tensor: DTensor) -> DTensor:
        """A gradient, which may come in any placements, in these."""
        return (
            tensor if tuple(tensor.placements) == self.placements else tensor.redistribute(self.mesh, self.placements)
        )


def _whole(local: Tensor, mesh: DeviceMesh, placements: Placements, shape: Ints, last: bool) -> DTensor:
    # What DTensor would ask the processes for: their shares may differ.
    return DTensor.from_local(
        local, mesh, placements, run_check=False, shape=torch.Size(shape), stride=layout_strides(shape, last)
    )


def local_of(tensor: Tensor) -> Tensor:
    """What this process has of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
