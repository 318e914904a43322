"""Convert whole models for sharded DTensors, in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.placement_types import Placement
from torch.nn import Module, Parameter
from torch.nn.modules import activation, dropout
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_map

from ndconv._convert import Change, Conversion, _class, _exchange, _label, convert
from ndconv._sharded.layout import Layout
from ndconv.distributed import _norm, _pool, _upsample
from ndconv.distributed._parts import from_local, layout_of, local_slices

_OURS = {
    getattr(torch.nn, name): cls
    for module in (_norm, _pool, _upsample)
    for name, cls in vars(module).items()
    if isinstance(cls, type) and getattr(torch.nn, name, cls) in cls.__mro__[1:]
}
# torch's DTensor computes these element by element, and so shard by shard.
_POINTWISE = {
    getattr(module, name)
    for module in (activation, dropout)
    for name in module.__all__
    if name not in ("MultiheadAttention", "Softmax", "Softmin", "LogSoftmax", "Softmax2d", "GLU", "PReLU")
} | {torch.nn.Identity}


def parallelize(
    model: Module, mesh: DeviceMesh, placements: Sequence[Placement], *, distribute_parameters: bool = True
) -> Conversion:
    """Make a model compute on tensors that are sharded along batch and space over a mesh of processes, in place.

    Every process calls it with the same model. Convolutions become ndconv's, as by `ndconv.convert`. Norms, pooling and
    upsampling become those of `ndconv.distributed`. Only the class of a module changes: parameters, hooks and the state
    dict stay. Then parameters become replicated DTensors with the values of the mesh's first process, so make the
    optimizer afterwards. Call the model with a DTensor (`from_local`), or with a whole tensor that every process has:
    each then keeps its part.

    For data parallelism over another dimension of the mesh, pass ``mesh["space"]`` here, and then call
    ``fully_shard(model, mesh=mesh["data"])``. Or pass ``distribute_parameters=False`` too, and wrap the model in
    `DistributedDataParallel` with the process group of ``mesh["data"]``.

    Args:
        model: The model.
        mesh: The processes over which batch and space are sharded.
        placements: Of the inputs ``(batch, channels, *space)``: ``Shard(axis)`` or ``Replicate()`` for each dimension
            of the mesh.
        distribute_parameters: Whether parameters become DTensors. Convolutions and norms take plain ones too, whose
            gradients are plain and already summed over processes. Other layers may not.

    Returns:
        A printable `ndconv.Conversion`: which layers changed, and which were left alone and why.

    Raises:
        NotImplementedError: If channels are sharded, or one axis over two dimensions of the mesh.
        TypeError: If ``model`` is no module.
        ValueError: If parameters have no shape yet, or there is not one placement per dimension of the mesh.

    Example:
        >>> from torch.distributed import device_mesh, tensor
        >>> from ndconv.distributed import parallelize
        >>> def on_four(model):  # called by each of four processes
        ...     mesh = device_mesh.init_device_mesh("cpu", (2, 2))
        ...     return parallelize(model, mesh, (tensor.Shard(2), tensor.Shard(3)))
    """
    if not isinstance(model, Module):
        raise TypeError(f"parallelize: model must be a torch.nn.Module, but is {type(model).__name__}")
    layout = layout_of("parallelize", math.inf, mesh, placements)
    least = max([2, *(each.dim + 1 for each in placements if isinstance(each, Shard))])
    if lazy := [name for name, parameter in model.named_parameters() if is_lazy(parameter)]:
        raise ValueError(f"parallelize: parameters must have shapes, but {', '.join(lazy)} have none yet")
    rows = {change.name: change for change in convert(model)}
    seen = set[Module]()
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module not in seen and not isinstance(module, _ConvNd) and (change := _changed(name, module)):
            rows[name] = change
        seen.add(module)
    if distribute_parameters:
        _distribute(model, mesh)
    model.register_forward_pre_hook(_keeping(layout, least), with_kwargs=True)
    order = [name for name, _ in model.named_modules(remove_duplicate=False)]
    return Conversion(tuple(rows[name] for name in order if name in rows), "layers")


def _changed(name: str, module: Module) -> Change | None:
    """Exchange a module that is no convolution; None if there is nothing to report."""
    cls = _class(module)
    ours, patched = _OURS.get(cls), "forward" in vars(module)
    if ours is not None and not patched:
        return _exchange(name, module, ours, "")
    if patched and (ours is not None or not any(module.children())):
        return Change(name, _label(cls), None, module.extra_repr(), "a forward of its own")
    if any(module.children()) or cls in _POINTWISE or cls in _OURS.values():
        return None
    return Change(name, _label(cls), None, module.extra_repr(), "not known here; torch's rules for DTensors hold")


def _distribute(model: Module, mesh: DeviceMesh) -> None:
    """Make parameters replicated DTensors; those that modules share stay shared."""
    made: dict[Parameter, Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if isinstance(parameter, DTensor):
                continue
            if parameter not in made:
                whole = distribute_tensor(parameter.detach(), mesh, [Replicate()] * mesh.ndim)
                made[parameter] = Parameter(whole, parameter.requires_grad)
            setattr(module, name, made[parameter])


def _keeping(layout: Layout, least: int) -> Callable[..., Any]:
    """A forward pre-hook that keeps this process's part of whole inputs with at least so many axes."""
    where = layout.mesh, layout.placements

    def part(value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, DTensor) or value.dim() < least:
            return value
        size = tuple(value.shape)
        return from_local(value[local_slices(size, *where)], size, *where)

    def keep(module: Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, Any]:
        return tree_map(part, inputs), tree_map(part, keywords)

    return keep
