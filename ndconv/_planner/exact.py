"""Whether only exact lowerings may run, even where another is asked for."""

from __future__ import annotations

_exact = False


def set_exact(exact: bool) -> None:
    """Forbid lowerings that are not exact, ``"winograd"`` and ``"fourier"``, or allow them again.

    The others, and so ``"auto"``, sum the products of a convolution as they are. Sums of integers held in floats are
    exact, an element of the result depends on nothing outside its window, and its error is relative to its own
    products. The two run only if one is named or ``"fastest"`` finds it quicker, and never for integer dtypes.

    Args:
        exact: Whether to forbid them in these cases too, for the whole process; False at the start. The cheapest exact
            lowering then runs instead of a named one, as `ndconv.plan` says, and ``"fastest"`` leaves both out.

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
    """Whether `set_exact` forbids lowerings that are not exact."""
    return _exact
