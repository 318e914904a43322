"""Placement of the batch and spatial axes of a convolution's input and output on a mesh of processes."""

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
    """A mesh, and the axis of ``(n, channels, *space)`` that is sharded over each of its dimensions.

    Args:
        mesh: The processes.
        placements: ``Shard(axis)`` or ``Replicate()`` for each dimension of the mesh.
    """

    mesh: DeviceMesh
    placements: Placements

    @classmethod
    def of(cls, tensor: Tensor) -> Layout:
        """The layout of a batched input or output."""
        assert isinstance(tensor, DTensor)
        return cls(tensor.device_mesh, tuple(tensor.placements))

    def dimension(self, axis: int) -> int | None:
        """The dimension of the mesh that an axis is sharded over."""
        return next((i for i, each in enumerate(self.placements) if each.is_shard(axis)), None)

    def parts(self, axis: int) -> int:
        """Number of processes that an axis is sharded over."""
        dimension = self.dimension(axis)
        return 1 if dimension is None else self.mesh.size(dimension)

    def part(self, axis: int) -> int:
        """Index of this process among those."""
        dimension = self.dimension(axis)
        return 0 if dimension is None else self.mesh.get_local_rank(dimension)

    @property
    def is_outside(self) -> bool:
        """Whether this process is not in the mesh."""
        return self.mesh.get_coordinate() is None

    def sharing(self, first: int) -> list[int]:
        """The dimensions of the mesh that shard axis ``first`` or a later one."""
        return [i for i, each in enumerate(self.placements) if each.is_shard() and each.dim >= first]  # type: ignore[attr-defined]

    def local_shape(self, shape: Sequence[int]) -> Ints:
        """Shape of this process's shard of a whole tensor."""
        return tuple(len(chunks(size, self.parts(axis))[self.part(axis)]) for axis, size in enumerate(shape))

    def place(self, local: Tensor, shape: Ints, last: bool) -> DTensor:
        """A whole tensor from the shards of all processes."""
        return _whole(local, self.mesh, self.placements, shape, last)

    def place_weight(self, local: Tensor, shape: Ints, per_sample: bool, last: bool = False) -> DTensor:
        """A replicated weight or bias; a per-sample one is sharded as the samples are."""
        samples = tuple(each if per_sample and each.is_shard(0) else Replicate() for each in self.placements)
        return _whole(local, self.mesh, samples, shape, last)

    def aligned(self, tensor: DTensor) -> DTensor:
        """A gradient in any placements, redistributed to this layout."""
        return (
            tensor if tuple(tensor.placements) == self.placements else tensor.redistribute(self.mesh, self.placements)
        )


def _whole(local: Tensor, mesh: DeviceMesh, placements: Placements, shape: Ints, last: bool) -> DTensor:
    # Shape and strides are given, as shards may differ in size.
    return DTensor.from_local(
        local, mesh, placements, run_check=False, shape=torch.Size(shape), stride=layout_strides(shape, last)
    )


def local_of(tensor: Tensor) -> Tensor:
    """The local part of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
