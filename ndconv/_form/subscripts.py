"""Einsum equations of the three slots, generated for any number of axes.

The input enters an equation through its windows ``x[n,g,c,*o,*k]``, a view in which every tied input index of the
trilinear form is written as the pair ``(o, k)``. The equation of a slot is then the same three terms, with the open one
as the result:

    ngcopkl, gdckl -> ngdop       OUTPUT, two axes: o, p count windows and k, l kernel elements
    gdckl, ngdop -> ngcopkl       INPUT: one gradient per window element, still to be added up where windows overlap
    ngcopkl, ngdop -> gdckl       WEIGHT

Without spatial axes all three are a matrix product and its two gradients.
"""

from __future__ import annotations

from itertools import count

from opt_einsum import get_symbol

from ndconv._form.geometry import Slot

# The indices of `Slot.indices`; the other symbols go to the spatial axes.
_RESERVED = "ngcd"


def _symbols(first: str, number: int, taken: str) -> str:
    """The next ``number`` symbols from ``first`` on that are not taken; never runs out of alphabet."""
    start = next(index for index in count() if get_symbol(index) == first)
    free = (symbol for symbol in map(get_symbol, count(start)) if symbol not in taken)
    return "".join(next(free) for _ in range(number))


def terms(ndim: int) -> dict[Slot, str]:
    """Subscripts of the input's windows, the weight and the output.

    Example:
        >>> terms(3).values()
        dict_values(['ngcopqklm', 'gdcklm', 'ngdopq'])
    """
    outputs = _symbols("o", ndim, _RESERVED)
    kernels = _symbols("k", ndim, _RESERVED + outputs)
    spatial = {Slot.INPUT: outputs + kernels, Slot.WEIGHT: kernels, Slot.OUTPUT: outputs}
    return {slot: slot.indices + axes for slot, axes in spatial.items()}


def equation(ndim: int, slot: Slot) -> str:
    """The einsum equation that computes the open slot from the other two.

    Args:
        ndim: Number of spatial axes.
        slot: The open slot.

    Returns:
        An equation over windows of the input, for `opt_einsum.contract`.

    Example:
        >>> equation(2, Slot.OUTPUT)
        'ngcopkl,gdckl->ngdop'
        >>> equation(0, Slot.WEIGHT)
        'ngc,ngd->gdc'
    """
    subscripts = terms(ndim)
    first, second = slot.operands
    return f"{subscripts[first]},{subscripts[second]}->{subscripts[slot]}"
