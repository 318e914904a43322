"""The reference lowering: a window view and one einsum. Correct for everything, and the mathematics as it stands."""

from __future__ import annotations

import math

from opt_einsum.parser import convert_to_valid_einsum_chars

from ndconv._form.cache import cached
from ndconv._form.geometry import Slot
from ndconv._form.subscripts import equation
from ndconv._lowerings._windowed import Views, Windowed
from ndconv._programs.steps import Product
from ndconv._programs.values import Array, Steps


@cached
def _equation(ndim: int, slot: Slot) -> str:
    """Of the letters that torch knows, the equation's own if it knows them; no path is to be found for two operands.

    The gradient of windows comes as the product does that is behind it, ``[g,c,*k,n,*o]``, so that nothing is copied.
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
        ((view,), ndim) = views, w.dim() - 3
        n, g, c, *places = view.shape
        shape, terms = (n, g, w.shape[1], *places[:ndim]), c * math.prod(places[ndim:])
        product = Product(g, w.shape[1], terms, n * math.prod(places[:ndim]), dense=False)
        return b.einsum(_equation(ndim, Slot.OUTPUT), view, w, shape, product)

    def product_input(self, b: Steps, w: Array, y: Array) -> Array:
        ndim, (g, d, c, *kernel), (n, _, _, *positions) = w.dim() - 3, w.shape, y.shape
        product = Product(g, c * math.prod(kernel), d, n * math.prod(positions), dense=False)
        columns = b.einsum(_equation(ndim, Slot.INPUT), w, y, (g, c, *kernel, n, *positions), product)
        return columns.movedim(2 + ndim, 0)

    def product_weight(self, b: Steps, views: Views, y: Array) -> Array:
        ((view,), ndim) = views, y.dim() - 3
        (n, g, c, *places), d = view.shape, y.shape[2]
        shape, terms = (g, d, c, *places[ndim:]), n * math.prod(places[:ndim])
        product = Product(g, d, terms, c * math.prod(places[ndim:]), dense=False)
        return b.einsum(_equation(ndim, Slot.WEIGHT), view, y, shape, product)
