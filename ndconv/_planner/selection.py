"""The lowering that is asked for: by name, for the process or for a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ndconv._planner.choice import AUTO, names

_current = AUTO


def set_lowering(name: str) -> None:
    """Set the lowering (the algorithm) of every convolution that is not given one, in all threads of the process.

    Where it does not apply to an operation, as `reshape` to windows that overlap, the cheapest exact one runs instead;
    `ndconv.plan` says so.

    Args:
        name: ``"auto"`` (the cheapest exact one by estimate; the default), ``"window"`` (einsum over a strided view),
            ``"columns"`` (im2col), ``"reshape"`` (one matrix product, for windows that do not overlap), ``"taps"`` (one
            product per kernel element), ``"winograd"`` and ``"fourier"`` (which are not exact: see `set_exact`),
            ``"native"`` (torch's own kernel) or ``"fastest"`` (measures all of them for sizes that recur, and keeps the
            quickest, exact or not; until then, and for an exporter, it is ``"auto"``).

    Raises:
        ValueError: If there is no such lowering.

    Example:
        >>> import ndconv
        >>> ndconv.set_lowering("taps")
        >>> ndconv.get_lowering()
        'taps'
        >>> ndconv.set_lowering("auto")
    """
    global _current
    _current = resolve("set_lowering", str(name))


def get_lowering() -> str:
    """The name of the current lowering, as set by `set_lowering` or `lowering`."""
    return _current


@contextmanager
def lowering(name: str) -> Iterator[None]:
    """Use a lowering inside a ``with`` block; backward passes of what was computed inside use it too.

    It sets the lowering of the process and resets it, so blocks of several threads must not overlap. There, give
    functions and modules a ``lowering=`` instead.

    Args:
        name: As in `set_lowering`.

    Raises:
        ValueError: If there is no such lowering.

    Example:
        >>> import ndconv
        >>> with ndconv.lowering("window"):
        ...     ndconv.get_lowering()
        'window'
    """
    global _current
    before, _current = _current, resolve("lowering", str(name))
    try:
        yield
    finally:
        _current = before


def resolve(function: str, name: str | None) -> str:
    """The lowering to use: the one named, or the current one if None."""
    if name is None:
        return _current
    if name not in names():
        raise ValueError(f"{function}: lowering must be one of {', '.join(map(repr, names()))}, but is {name!r}")
    return name
