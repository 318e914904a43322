"""Communication between processes: rows along one axis at a time (halo exchange), and sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.distributed import _functional_collectives as collectives
from torch.distributed.device_mesh import DeviceMesh

from ndconv._form.partition import Exchange, exchange, place
from ndconv._sharded.layout import Layout
from ndconv._tensors.layout import is_channels_last, lay_out

# Neither gloo nor NCCL adds these up.
_ADDED_AS = {torch.int16: torch.int32}


def take(tensor: Tensor, axis: int, runs: Sequence[range], first: int = 0) -> Tensor:
    """Some rows of a tensor whose first row has index ``first``."""
    if len(runs) == 1 and len(runs[0]) == tensor.shape[axis]:
        return tensor
    views = [tensor.narrow(axis, run.start - first, len(run)) for run in runs]
    return views[0] if len(views) == 1 else torch.cat(views or [tensor.narrow(axis, 0, 0)], axis)


def pick(tensor: Tensor, axis: int, there: Sequence[range], wanted: Sequence[range]) -> Tensor:
    """Some rows of a tensor that holds several runs of rows, concatenated."""
    return take(tensor, axis, [range(start := place(run.start, there), start + len(run)) for run in wanted])


def begin(tensor: Tensor, layout: Layout, axis: int, plan: Exchange) -> Callable[[], Tensor]:
    """Start to send rows to all processes that read them: one all-to-all along a dimension of the mesh, if needed.

    Rows are sent as bytes, for any dtype, in the order of indices, as layouts may differ.

    Args:
        tensor: The rows that this process owns.
        layout: Layout of the tensor.
        axis: Axis of the tensor.
        plan: The rows that each process sends and receives.

    Returns:
        Function that waits, and returns the rows that this process reads, in order and in the tensor's memory format.
    """
    first, sizes = plan.owned.start, [*tensor.shape]
    dimension = layout.dimension(axis)
    if dimension is None or plan.idle:
        return partial(take, tensor, axis, plan.kept, first)
    row = math.prod(sizes[:axis] + sizes[axis + 1 :]) * tensor.element_size()
    sent = [take(tensor, axis, [block.rows], first).reshape(-1) for block in plan.sent]
    flat = torch.cat(sent) if sent else tensor.new_empty(0)
    peers = range(layout.mesh.size(dimension))
    taken, given = (
        [row * sum(len(block.rows) for block in blocks if block.peer == peer) for peer in peers]
        for blocks in (plan.received, plan.sent)
    )
    arriving = collectives.all_to_all_single(flat.view(torch.uint8), taken, given, (layout.mesh, dimension))

    def finish() -> Tensor:
        return _assembled(collectives.wait_tensor(arriving).view(tensor.dtype), tensor, axis, plan)

    return finish


def _assembled(got: Tensor, tensor: Tensor, axis: int, plan: Exchange) -> Tensor:
    """The received rows, merged with the owned ones."""
    first, last, sizes = plan.owned.start, is_channels_last(tensor), [*tensor.shape]
    shapes = [[*sizes[:axis], len(block.rows), *sizes[axis + 1 :]] for block in plan.received]
    blocks = got.split([math.prod(shape) for shape in shapes]) if shapes else ()
    rows = {run.start: take(tensor, axis, [run], first) for run in plan.kept}
    for block, part, shape in zip(plan.received, blocks, shapes, strict=True):
        rows[block.rows.start] = lay_out(part.view(shape), last)
    return torch.cat([rows[start] for start in sorted(rows)] or [tensor.narrow(axis, 0, 0)], axis)


def total(tensors: Sequence[Tensor], mesh: DeviceMesh, dimensions: Iterable[int]) -> list[Tensor]:
    """Sums over processes of several tensors of one dtype, in one all-reduce for each dimension of the mesh."""
    dimensions = [each for each in dimensions if mesh.size(each) > 1]
    if not dimensions:
        return [*tensors]
    dtype = tensors[0].dtype
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    flat = torch.view_as_real(flat.resolve_conj()).reshape(-1) if flat.is_complex() else flat
    flat = flat.to(_ADDED_AS.get(dtype, flat.dtype))
    for dimension in dimensions:
        flat = collectives.wait_tensor(collectives.all_reduce(flat, "sum", (mesh, dimension)))
    whole = torch.view_as_complex(flat.view(-1, 2)) if dtype.is_complex else flat.to(dtype)
    parts = whole.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def read(
    tensor: Tensor, layout: Layout, axis: int, owned: Sequence[range], wanted: Sequence[Sequence[range]]
) -> Tensor:
    """The rows along an axis that this process reads, from all processes that own them.

    Args:
        tensor: The rows that this process owns.
        layout: Layout of the tensor.
        axis: Axis of the tensor.
        owned: Rows by process.
        wanted: Runs of rows by process.
    """
    return begin(tensor, layout, axis, exchange(owned, wanted, layout.part(axis)))()
