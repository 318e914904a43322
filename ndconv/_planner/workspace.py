"""The workspace: memory that a program may take beside its operands and result."""

from __future__ import annotations

_limit = 256 * 2**20


def set_workspace_limit(limit: int) -> None:
    """Set the bytes that a lowering's buffers aim to stay under; it cannot take less than those of a single sample.

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
