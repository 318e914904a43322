"""The reference lowering: a window view and one einsum. Correct for everything, and the mathematics as it stands."""

from __future__ import annotations

from opt_einsum.parser import convert_to_valid_einsum_chars
from torch import Tensor, einsum

from ndconv._cache import cached
from ndconv._geometry import Slot
from ndconv._lowerings._windowed import Views, Windowed
from ndconv._subscripts import equation
from ndconv._windows import kernel_first


@cached
def _equation(ndim: int, slot: Slot) -> str:
    """Of the letters that torch knows: two operands leave no path to find, so its own einsum does."""
    renamed: str = convert_to_valid_einsum_chars(equation(ndim, slot))
    return renamed


def _contract(slot: Slot, ndim: int, a: Tensor, b: Tensor) -> Tensor:
    return einsum(_equation(ndim, slot), a, b)


class Window(Windowed):
    """Contract the generated equation over a strided view of all windows; add them back up for INPUT."""

    name = "window"
    dense = False
    passes = 5

    def product_output(self, views: Views, w: Tensor) -> Tensor:
        (view,) = views
        return _contract(Slot.OUTPUT, w.dim() - 3, view, w)

    def product_input(self, w: Tensor, y: Tensor) -> Tensor:
        return kernel_first(_contract(Slot.INPUT, w.dim() - 3, w, y), w.dim() - 3)

    def product_weight(self, views: Views, y: Tensor) -> Tensor:
        (view,) = views
        return _contract(Slot.WEIGHT, y.dim() - 3, view, y)
