"""How much memory a lowering may take beside its operands and result, and the chunks that keep to it."""

from __future__ import annotations

import itertools

from torch.compiler import is_compiling

_limit = 256 * 2**20


def set_workspace_limit(limit: int) -> None:
    """Set the bytes a lowering's buffers aim to stay under; a single sample's buffers are the least it can take.

    Args:
        limit: Positive number of bytes, for the whole process; 256 MiB at the start.

    Raises:
        TypeError: If ``limit`` is no integer.
        ValueError: If it is not positive.

    Example:
        >>> import ndconv
        >>> ndconv.set_workspace_limit(64 * 2**20)
        >>> ndconv.get_workspace_limit() // 2**20
        64
        >>> ndconv.set_workspace_limit(256 * 2**20)
    """
    global _limit
    if not isinstance(limit, int):
        raise TypeError(f"set_workspace_limit: limit must be an integer, but is {limit!r}")
    if limit < 1:
        raise ValueError(f"set_workspace_limit: limit must be positive, but is {limit}")
    _limit = limit


def get_workspace_limit() -> int:
    """The bytes set by `set_workspace_limit`."""
    return _limit


def aim(target: int | None = None) -> int:
    """The bytes that a chunk aims at: a target, or the limit if there is none or it is less."""
    return _limit if target is None else min(target, _limit)


def per_chunk(length: int, bytes_each: int, target: int | None = None) -> int:
    """How many of ``length`` items make a chunk of at most ``target`` bytes (the limit by default), at least one."""
    return max(1, min(length, aim(target) // max(1, bytes_each)))


def chunks(length: int, bytes_each: int, target: int | None = None) -> list[slice]:
    """Slices of at most `per_chunk` items each, and about as many, that cover ``range(length)``.

    A compiler plans memory itself and gets one slice.
    """
    if is_compiling():
        return [slice(None)]
    count = -(-length // per_chunk(length, bytes_each, target))
    edges = [length * part // count for part in range(count + 1)] if count else []
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]
