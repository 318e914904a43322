"""The part of a tensor that a process holds, and DTensors from such parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.placement_types import Placement

from ndconv._form.partition import chunks
from ndconv._programs.values import layout_strides
from ndconv._sharded.layout import Layout
from ndconv._tensors import tensor_rules
from ndconv._tensors.layout import is_channels_last


def layout_of(function: str, ndim: float, mesh: DeviceMesh, placements: Sequence[Placement]) -> Layout:
    """Check placements of tensors with so many axes."""
    tensor_rules.shared(function, "placements", placements, 1)
    if len(placements) != mesh.ndim:
        given = f"{len(placements)}: {tuple(placements)}"
        raise ValueError(f"{function}: placements must be one per dimension of the mesh, {mesh.ndim}, but are {given}")
    if any(each.is_shard() and not each.is_replicate() and each.dim >= ndim for each in placements):  # type: ignore[attr-defined]
        raise ValueError(f"{function}: placements must shard axes below {ndim}, but are {tuple(placements)}")
    return Layout(mesh, tuple(placements))


def local_slices(size: Sequence[int], mesh: DeviceMesh, placements: Sequence[Placement]) -> tuple[slice, ...]:
    """The part of a whole tensor that this process holds, so that a loader need not read the rest.

    Axes are split as by `torch.chunk` and `torch.distributed.tensor`: the first processes have
    ``ceil(size / processes)`` elements each, the next one the remainder, and further ones none.

    Args:
        size: Shape of the whole tensor, ``(batch, channels, *space)``.
        mesh: The processes.
        placements: ``Shard(axis)`` or ``Replicate()`` for each dimension of the mesh.

    Returns:
        One slice per axis of the tensor.

    Raises:
        NotImplementedError: If channels are sharded, or one axis over two dimensions of the mesh.
        ValueError: If there is not one placement per dimension of the mesh, or the tensor lacks an axis.

    Example:
        >>> from torch.distributed import device_mesh, tensor
        >>> from ndconv.distributed import local_slices
        >>> def load(volume, mesh):  # a memory map, or any other array that is sliced without reading it whole
        ...     return volume[local_slices(volume.shape, mesh, (tensor.Shard(2), tensor.Shard(3)))]
    """
    layout = layout_of("local_slices", len(size), mesh, placements)
    runs = (chunks(length, layout.parts(axis))[layout.part(axis)] for axis, length in enumerate(size))
    return tuple(slice(run.start, run.stop) for run in runs)


def from_local(local: Tensor, size: Sequence[int], mesh: DeviceMesh, placements: Sequence[Placement]) -> DTensor:
    """A DTensor from the parts that `local_slices` gives, which may differ in size; nothing is sent.

    Args:
        local: The part of this process.
        size: Shape of the whole tensor.
        mesh: As in `local_slices`.
        placements: As in `local_slices`.

    Returns:
        The whole tensor as a DTensor; differentiable.

    Raises:
        NotImplementedError: As `local_slices`.
        ValueError: As `local_slices`, or if ``local`` does not have the shape of its part.

    Example:
        >>> import torch
        >>> from torch.distributed import tensor
        >>> from ndconv.distributed import from_local, local_slices
        >>> def volume(array, mesh):
        ...     part = local_slices(array.shape, mesh, [tensor.Shard(2)])
        ...     return from_local(torch.from_numpy(array[part]), array.shape, mesh, [tensor.Shard(2)])
    """
    layout = layout_of("from_local", len(size), mesh, placements)
    expected = layout.local_shape(size)
    if tuple(local.shape) != expected:
        raise ValueError(
            f"from_local: local must have shape {expected}, this process's part of {tuple(size)}, but has "
            f"{tuple(local.shape)}"
        )
    strides = layout_strides(tuple(size), is_channels_last(local))
    return DTensor.from_local(local, mesh, list(placements), run_check=False, shape=torch.Size(size), stride=strides)
