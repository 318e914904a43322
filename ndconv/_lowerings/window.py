"""The reference lowering: a window view and one einsum. Correct for everything, and the mathematics as it stands."""

from __future__ import annotations

from opt_einsum.parser import convert_to_valid_einsum_chars

from ndconv._form.cache import cached
from ndconv._form.geometry import Slot
from ndconv._form.subscripts import equation
from ndconv._lowerings._windowed import Views, Windowed
from ndconv._programs.values import Array, Steps


@cached
def _equation(ndim: int, slot: Slot) -> str:
    """The equation, in letters that torch accepts; its own if they are ASCII. Two operands need no contraction path.

    The gradient of windows has the order of the product behind it, ``[g,c,*k,n,*o]``, so that nothing is copied.
    """
    found = equation(ndim, slot)
    if slot is Slot.INPUT:
        operands, result = found.split("->")
        found = f"{operands}->gc{result[3 + ndim :]}n{result[3 : 3 + ndim]}"
    renamed: str = found if found.isascii() else convert_to_valid_einsum_chars(found)
    return renamed


class Window(Windowed):
    """Contract the generated equation over a strided view of all windows; add them back up for INPUT."""

    name = "window"

    def product_output(self, b: Steps, views: Views, w: Array) -> Array:
        return b.einsum(_equation(w.dim() - 3, Slot.OUTPUT), *views, w)

    def product_input(self, b: Steps, w: Array, y: Array) -> Array:
        ndim = w.dim() - 3
        return b.einsum(_equation(ndim, Slot.INPUT), w, y).movedim(2 + ndim, 0)

    def product_weight(self, b: Steps, views: Views, y: Array) -> Array:
        return b.einsum(_equation(y.dim() - 3, Slot.WEIGHT), *views, y)
