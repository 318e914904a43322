"""Rules for the placement of DTensors. They are recognized by their attributes: torch may be built without them.

All rules look at global shapes, so that every process refuses alike, before any of them waits for another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from torch import Tensor


def is_shared_out(value: object) -> bool:
    """Whether a tensor is a DTensor."""
    return hasattr(value, "device_mesh")


def whole(function: str, name: str, value: Tensor) -> None:
    """Refuse a DTensor.

    Raises:
        NotImplementedError: If the tensor is one.
    """
    if is_shared_out(value):
        _refuse(function, f"{name} must be a plain tensor", f"is a DTensor with placements {_placements(value)}")


def placed(function: str, ndim: int, parameters: dict[str, Tensor | None], **tensors: Tensor) -> None:
    """Inputs and outputs must be sharded alike along batch and N axes, and parameters replicated.

    Args:
        function: Name of the public function, for messages.
        ndim: N.
        parameters: Weight and bias by name.
        tensors: Input and output by name.

    Raises:
        NotImplementedError: If they are not.
    """
    given = {**tensors, **{name: value for name, value in parameters.items() if value is not None}}
    divided = {name: value for name, value in given.items() if is_shared_out(value)}
    if not divided:
        return
    some, example = next(iter(divided.items()))
    mesh = _mesh(example)
    for name, value in given.items():
        if name in divided and _mesh(value) != mesh:
            _refuse(function, f"{some} lies on {mesh}", f"{name} on {_mesh(value)}")
        if name in tensors and name not in divided:
            _refuse(
                function, f"{some} is a DTensor with placements {_placements(example)}", f"{name} is a plain tensor"
            )
        if name in parameters and name in divided and not all(each.is_replicate() for each in _placements(value)):
            _refuse(function, f"{name} must be replicated", f"has placements {_placements(value)}")
    reference, first = next(iter(tensors.items()))
    for name, value in tensors.items():
        if _placements(value) != _placements(first):
            rule = f"{reference} and {name} must have the same placements"
            _refuse(function, rule, f"have {_placements(first)} and {_placements(value)}")
    shared(function, reference, _placements(first), first.dim() - ndim - 1)


def shared(function: str, name: str, placements: Sequence[Any], channels: int) -> None:
    """Placements may shard batch and spatial axes alone, each over one dimension of the mesh.

    Args:
        function: Name of the public function, for messages.
        name: Name of the tensor.
        placements: One per dimension of the mesh.
        channels: The axis of the channels.

    Raises:
        NotImplementedError: If they do not.
        TypeError: If they are no sequence.
    """
    if not isinstance(placements, Sequence):
        raise TypeError(f"{function}: placements must be one per dimension of the mesh, but are {placements!r}")
    # Of torch's classes only this one shards an axis in the order of the processes.
    axes = [each.dim for each in placements if type(each).__name__ == "Shard"]
    if any(axis < 0 for axis in axes):
        _refuse(function, f"{name} must count axes from the front", f"has placements {tuple(placements)}")
    known = len(axes) + sum(each.is_replicate() for each in placements) == len(placements)
    if not known or channels in axes or len(set(axes)) < len(axes):
        rule = f"{name} may be sharded along batch and spatial axes, each over one dimension of the mesh"
        _refuse(function, rule, f"has placements {tuple(placements)}")


def without(function: str, what: str, value: Tensor) -> NoReturn:
    """Refuse DTensors where there is no support for them.

    Raises:
        NotImplementedError: Always.
    """
    _refuse(function, f"{what} takes plain tensors", f"the input is a DTensor with placements {_placements(value)}")


def _mesh(value: Any) -> Any:
    return value.device_mesh


def _placements(value: Any) -> tuple[Any, ...]:
    return tuple(value.placements)


def _refuse(function: str, rule: str, found: str) -> NoReturn:
    raise NotImplementedError(f"{function}: {rule}, but {found}")
