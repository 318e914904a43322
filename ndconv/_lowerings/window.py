"""The reference lowering: a window view and one einsum. Correct for everything, and the mathematics as it stands."""

from __future__ import annotations

from functools import lru_cache

from opt_einsum import contract_expression
from torch import Tensor, einsum
from torch.compiler import is_compiling

from ndconv._cache import cached
from ndconv._geometry import Slot
from ndconv._lowerings._windowed import Views, Windowed
from ndconv._subscripts import equation
from ndconv._windows import kernel_first

_equation = cached(equation)
_expression = lru_cache(maxsize=4096)(contract_expression)


def _contract(slot: Slot, ndim: int, a: Tensor, b: Tensor) -> Tensor:
    subscripts = _equation(ndim, slot)
    if is_compiling():
        # A compiler cannot trace opt_einsum. Two operands leave no path to find, so einsum does the same.
        return einsum(subscripts, a, b)
    product: Tensor = _expression(subscripts, tuple(a.shape), tuple(b.shape))(a, b, backend="torch")
    return product


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
