"""Whether lowerings that round sums of small integers are forbidden even where they are asked for."""

from __future__ import annotations

_exact = False


def set_exact(exact: bool) -> None:
    """Forbid lowerings that are not exact, ``"winograd"`` and ``"fourier"``, or allow them again.

    All other lowerings, and so ``"auto"``, sum the products of a convolution as they are. Integers in floats give
    integers, an element of the result depends on nothing outside its window, and its error is relative to its own
    products. The two run only where one is named or ``"fastest"`` finds it quicker, and never for integer dtypes.

    Args:
        exact: Whether to forbid the two there too, for the whole process; False at the start. Where one is named, the
            cheapest exact lowering runs instead, and ``"fastest"`` leaves both out; `ndconv.plan` says so.

    Raises:
        TypeError: If ``exact`` is no bool.

    Example:
        >>> import ndconv
        >>> ndconv.set_exact(True)
        >>> ndconv.get_exact()
        True
        >>> ndconv.set_exact(False)
    """
    global _exact
    if not isinstance(exact, bool):
        raise TypeError(f"set_exact: exact must be a bool, but is {exact!r}")
    _exact = exact


def get_exact() -> bool:
    """The value set by `set_exact`."""
    return _exact
