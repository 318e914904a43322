"""One argument at a time: integers, one per axis, padding, sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import NoReturn

from ndconv._form.geometry import Ints, Pairs

IntOrInts = int | Sequence[int]
Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]
PADDING_NAMES = ("valid", "same", "causal")
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def refuse(function: str, rule: str, found: str) -> NoReturn:
    """Raise what torch raises for a value that does not fit."""
    raise RuntimeError(f"{function}: {rule}, but {found}")


def _integer(value: object) -> int | None:
    """The value as an integer, if it can be an index and is no bool; else None. A compiler's symbol stays a symbol."""
    if isinstance(value, int) or type(value).__name__ == "SymInt":  # by its name: rules need no torch
        return None if isinstance(value, bool) else value  # type: ignore[return-value]
    if isinstance(value, Sequence) or "bool" in str(getattr(value, "dtype", "")):
        return None
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def tupled(value: object) -> object:
    """The items of a sequence, an array, a tensor or any other iterable but a string, as a tuple; else the value."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    try:
        return tuple(value)
    except TypeError:  # an array or a tensor without axes
        return value


def _integers(value: object) -> Ints | None:
    """Several integers as a tuple; None otherwise."""
    several = tupled(value)
    if not isinstance(several, tuple):
        return None
    entries = tuple(map(_integer, several))
    return None if None in entries else entries  # type: ignore[return-value]


def shown(value: object) -> str:
    """A refused value as a message shows it."""
    return "a Tensor" if hasattr(value, "numel") else repr(value)


def positive(function: str, name: str, value: int, *, least: int = 1) -> int:
    """One integer, not below ``least``."""
    number = _integer(value)
    if number is None:
        raise TypeError(f"{function}: {name} must be an integer, but is {shown(value)}")
    if number < least:
        refuse(function, f"{name} must be {'positive' if least else 'non-negative'}", f"is {number}")
    return number


def channels(function: str, in_channels: int, out_channels: int, groups: int) -> Ints:
    """Both channel counts and the groups that divide them. A count of 0 passes: later calls decide about it."""
    groups = positive(function, "groups", groups)
    counts = []
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
        count = _integer(value)
        if count is None:
            raise TypeError(f"{function}: {name} must be an integer, but is {shown(value)}")
        if count % groups:
            refuse(function, f"groups must divide {name}", f"{groups} does not divide {count}")
        counts.append(count)
    return *counts, groups


def integers(function: str, name: str, value: Sequence[int]) -> Ints:
    """A tuple of integers."""
    given = _integers(value)
    if given is None:
        raise TypeError(f"{function}: {name} must be a sequence of integers, but is {shown(value)}")
    return given


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
    single, several = _integer(value), _integers(value)
    if several is not None:
        axes: Ints = tuple(_entries(function, name, several, ndim))  # type: ignore[arg-type]
    elif single is not None:
        axes = (single,) * ndim
    else:
        raise TypeError(f"{function}: {name} must be an integer or a sequence of integers, but is {shown(value)}")
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
    several = tupled(value)
    if not isinstance(several, tuple) or _integers(several) is not None:
        return per_axis(function, "padding", several, ndim, least=0)  # type: ignore[arg-type]
    pairs = []
    for entry in _entries(function, "padding", several, ndim):
        single = _integer(entry)
        pair = _integers(entry) if single is None else (single, single)
        if pair is None or len(pair) != 2:
            raise TypeError(f"{function}: padding must hold integers or (lo, hi) pairs, but holds {shown(entry)}")
        if min(pair) < 0:
            refuse(function, "padding must be non-negative", f"is {several}")
        pairs.append(pair)
    return tuple(pairs)


def mask(function: str, name: str, value: object) -> tuple[bool, bool, bool]:
    """Three truth values."""
    if not isinstance(value, Sequence) or len(value) != 3 or not all(isinstance(each, bool) for each in value):
        raise TypeError(f"{function}: {name} must be three truth values, but is {shown(value)}")
    first, second, third = value
    return first, second, third


def padding_mode(function: str, value: str) -> str:
    """How padding is filled."""
    if value not in PADDING_MODES:
        refuse(function, f"padding_mode must be one of {', '.join(map(repr, PADDING_MODES))}", f"is {value!r}")
    return value


def choice(function: str, name: str, value: str, choices: Sequence[str]) -> str:
    """One of several words.

    Raises:
        ValueError: If it is none of them.
    """
    if value not in choices:
        raise ValueError(f"{function}: {name} must be one of {', '.join(map(repr, choices))}, but is {value!r}")
    return value


def divided(function: str, name: str, channels: int, groups: int) -> int:
    """Groups that divide the channels of a tensor."""
    groups = positive(function, "groups", groups)
    if channels < groups or channels % groups:
        rule = f"{name} must have a positive number of channels that groups divides"
        refuse(function, rule, f"has {channels} with groups = {groups}")
    return groups
