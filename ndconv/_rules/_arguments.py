"""One argument at a time: integers, one per axis, padding, sizes, tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

from ndconv._geometry import Ints, Pairs

IntOrInts = int | Sequence[int]
Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]
PADDING_NAMES = ("valid", "same", "causal")
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")

_DTYPES = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.complex128, torch.complex64, torch.complex32),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
}


def refuse(function: str, rule: str, found: str) -> NoReturn:
    """Raise what torch raises for a value that does not fit."""
    raise RuntimeError(f"{function}: {rule}, but {found}")


def _is_integer(value: object) -> bool:
    """Anything that can be an index, but for truth values and tensors."""
    return not isinstance(value, bool | Tensor) and hasattr(value, "__index__")


def positive(function: str, name: str, value: int, *, least: int = 1) -> None:
    """One integer, not below ``least``."""
    if not _is_integer(value):
        raise TypeError(f"{function}: {name} must be an integer, but is {value!r}")
    if value < least:
        refuse(function, f"{name} must be {'positive' if least else 'non-negative'}", f"is {value}")


def channels(function: str, in_channels: int, out_channels: int, groups: int) -> None:
    """Groups divide the channels of input and output."""
    positive(function, "groups", groups)
    for name, count in (("in_channels", in_channels), ("out_channels", out_channels)):
        if count % groups:
            refuse(function, f"groups must divide {name}", f"{groups} does not divide {count}")


def integers(function: str, name: str, value: Sequence[int]) -> Ints:
    """A tuple of integers."""
    if not isinstance(value, Sequence) or not all(map(_is_integer, value)):
        raise TypeError(f"{function}: {name} must be a sequence of integers, but is {value!r}")
    return tuple(value)


def sizes(function: str, name: str, value: Sequence[int]) -> Ints:
    """A shape given by the user as a tuple of non-negative integers."""
    given = integers(function, name, value)
    if any(size < 0 for size in given):
        refuse(function, f"{name} must not be negative", f"is {given}")
    return given


def _entries(function: str, name: str, value: Sequence[object], ndim: int) -> list[object]:
    if len(value) == 1:
        return list(value) * ndim
    if len(value) != ndim:
        pairs = "; (lo, hi) pairs are written ((lo, hi), ...)" if name == "padding" else ""
        refuse(
            function, f"{name} must be an integer or {ndim} of them, one per spatial axis", f"is {tuple(value)}{pairs}"
        )
    return list(value)


def per_axis(function: str, name: str, value: IntOrInts, ndim: int, *, least: int = 1) -> Ints:
    """One integer per axis from an integer for all axes or a sequence, none below ``least``."""
    if _is_integer(value):
        axes: Ints = (value,) * ndim  # type: ignore[assignment]
    elif isinstance(value, Sequence) and not isinstance(value, str) and all(map(_is_integer, value)):
        axes = tuple(_entries(function, name, value, ndim))  # type: ignore[arg-type]
    else:
        raise TypeError(f"{function}: {name} must be an integer or a sequence of integers, but is {value!r}")
    if any(size < least for size in axes):
        refuse(function, f"{name} must be {'positive' if least else 'non-negative'}", f"is {axes}")
    return axes


def padding_argument(function: str, value: Padding, ndim: int) -> str | Ints | Pairs:
    """Padding in the form that modules keep: a name, one integer per axis, or one ``(lo, hi)`` pair per axis."""
    if isinstance(value, str):
        if value not in PADDING_NAMES:
            refuse(
                function, f"padding must be a number or one of {', '.join(map(repr, PADDING_NAMES))}", f"is {value!r}"
            )
        return value
    if _is_integer(value) or not isinstance(value, Sequence) or all(map(_is_integer, value)):
        return per_axis(function, "padding", value, ndim, least=0)  # type: ignore[arg-type]
    pairs = []
    for entry in _entries(function, "padding", value, ndim):
        pair = (entry, entry) if _is_integer(entry) else entry
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2 or not all(map(_is_integer, pair)):
            raise TypeError(f"{function}: padding must hold integers or (lo, hi) pairs, but holds {entry!r}")
        if min(pair) < 0:
            refuse(function, "padding must be non-negative", f"is {tuple(value)}")
        pairs.append(tuple(pair))
    return tuple(pairs)


def padding_mode(function: str, value: str) -> str:
    """How padding is filled."""
    if value not in PADDING_MODES:
        refuse(function, f"padding_mode must be one of {', '.join(map(repr, PADDING_MODES))}", f"is {value!r}")
    return value


def tensor(function: str, name: str, value: object) -> None:
    """A tensor, of whatever dtype."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{function}: {name} must be a Tensor, but is {type(value).__name__}")


def tensors(function: str, *, bias: Tensor | None = None, **operands: Tensor) -> None:
    """All operands, a bias if there is one, are tensors of one dtype that can be convolved, on one device."""
    given = operands if bias is None else {**operands, "bias": bias}
    for name, value in given.items():
        tensor(function, name, value)
    (first, reference), *others = given.items()
    if reference.dtype not in _DTYPES:
        names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in _DTYPES))
        raise NotImplementedError(f"{function}: dtype must be one of {names}, but {first} has {reference.dtype}")
    for name, value in others:
        if value.dtype != reference.dtype:
            refuse(function, f"{first} has dtype {reference.dtype}", f"{name} has {value.dtype}")
        if value.device != reference.device:
            refuse(function, f"{first} is on device {reference.device}", f"{name} is on {value.device}")
