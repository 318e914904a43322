"""Rules for the tensors of a call, as `ndconv._rules` has them for all other arguments."""

from __future__ import annotations

import torch
from torch import Tensor

from ndconv import _rules
from ndconv._rules._arguments import shown
from ndconv._tensors.placements import is_shared_out, placed, shared, whole, without

__all__ = ["is_shared_out", "pair", "placed", "shared", "summable", "tensor", "tensors", "without"]

_DTYPES = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.complex128, torch.complex64, torch.complex32),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
}


def tensor(function: str, name: str, value: object, *, shards: bool = False) -> None:
    """A tensor of any dtype; a DTensor only if the function takes shards."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{function}: {name} must be a Tensor, but is {type(value).__name__}")
    if not shards:
        whole(function, name, value)


def tensors(function: str, *, bias: Tensor | None = None, shards: bool = False, **operands: Tensor) -> None:
    """Operands and bias must be dense tensors of one supported dtype, on one device.

    DTensors pass only for functions that take shards, which check placements next: `placed`.
    """
    given = operands if bias is None else {**operands, "bias": bias}
    for name, value in given.items():
        tensor(function, name, value, shards=shards)
        if value.layout is not torch.strided:
            _rules.refuse(function, f"{name} must be a dense tensor", f"has layout {value.layout}")
    (first, reference), *others = given.items()
    if reference.dtype not in _DTYPES:
        names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in _DTYPES))
        raise NotImplementedError(f"{function}: dtype must be one of {names}, but {first} has {reference.dtype}")
    for name, value in others:
        if value.dtype != reference.dtype:
            _rules.refuse(function, f"{first} has dtype {reference.dtype}", f"{name} has {value.dtype}")
        if value.device != reference.device:
            _rules.refuse(function, f"{first} is on device {reference.device}", f"{name} is on {value.device}")


def pair(function: str, name: str, value: object) -> tuple[Tensor, Tensor]:
    """Two tensors."""
    if not isinstance(value, tuple | list) or len(value) != 2 or not all(isinstance(each, Tensor) for each in value):
        raise TypeError(f"{function}: {name} must be two Tensors, but is {shown(value)}")
    first, second = value
    return first, second


def summable(function: str, name: str, value: Tensor) -> None:
    """A tensor of numbers that can be squared and added up: integers would wrap around."""
    if not (value.is_floating_point() or value.is_complex()):
        raise NotImplementedError(f"{function}: dtype must be floating or complex, but {name} has {value.dtype}")
