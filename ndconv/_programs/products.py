"""Matrix products, each by the quicker library."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from ndconv._form.geometry import Ints
from ndconv._programs.chunks import Chunks
from ndconv._programs.copies import settled
from ndconv._programs.steps import Copied, Product, Work
from ndconv._programs.target import Target
from ndconv._programs.values import Place, Value, wide_dtype

# Below so many multiply-adds torch runs a batch of products in a loop of its own, whatever the strides of the results.
_SMALL = 400
# From this length of the sums on, oneDNN saves more on the transposed product than one transpose costs.
_LONG_SUM = 1024
# Lines of one product and of several.
_PRODUCTS = "{0} @ {1}", "torch.bmm({0}, {1})"
_UNROUNDED = tuple(f"torch.{name}({{0}}, {{1}}, out_dtype=torch.float32)" for name in ("mm", "bmm"))
_LINEAR = 'linear({0}, {1}, None, "none", [], "")'


class Products(Chunks):
    """Records products of values."""

    target: Target
    _unrounded = False

    @abstractmethod
    def make(self, name: str, shape: Ints, dtype: str, line: str, operands: tuple[Value, ...], work: Work) -> Value:
        """A contiguous tensor by a line of torch, with placeholders ``{0}``, ``{1}``, ... for its operands."""

    @abstractmethod
    def allocated(self, like: Value, shape: Ints, dtype: str, fill: str, name: str = "result") -> Value:
        """A new tensor, empty or of zeros."""

    @abstractmethod
    def change(self, line: str, *operands: Value, work: Work) -> None:
        """Any line of torch that writes to its first operand."""

    @abstractmethod
    def added(self, target: Value, source: Value) -> None:
        """Add a value to another."""

    @abstractmethod
    def constant(self, name: str, text: str) -> str:
        """The name of a tensor that is made when the program is compiled."""

    @contextmanager
    def unrounded(self, wanted: bool) -> Iterator[None]:
        """Record products of half types that give float32, if wanted."""
        self._unrounded = wanted
        yield
        self._unrounded = False

    def product_dtype(self, value: Value) -> str:
        """The dtype of a value's products."""
        return wide_dtype(value.dtype) if self._unrounded else value.dtype

    def matmul(self, first: Value, second: Value, name: str = "product") -> Value:
        """``first @ second`` for every item of a batch, ``(b, i, j)`` and ``(*a, b, j, k)`` give ``(*a, b, i, k)``."""
        first, second = _matrices(first), _matrices(second)
        lead, (rows, terms), columns = second.shape[:-2], first.shape[-2:], second.shape[-1]
        number = math.prod(lead)
        if self._is_for_onednn(first, second, again=number > 1):
            return self._by_onednn(first, second, name)
        work, dtype = Work(None, _by_blas(rows, second)), self.product_dtype(first)
        alone, several = _PRODUCTS if dtype == first.dtype else _UNROUNDED
        if number == 1:
            a, b = settled(first[0]), settled(second[(0,) * len(lead)])
            product = self.make(name, (rows, columns), dtype, alone, (a, b), work)
        else:
            a = first if second.dim() == 3 else first.expand(*lead, rows, terms).flatten(0, -3)
            a, b = settled(a), settled(second.flatten(0, -3))
            product = self.make(name, (number, rows, columns), dtype, several, (a, b), work)
        return product.view(*lead, rows, columns)

    def accumulate(self, total: Value, first: Value, second: Value, *, fresh: bool = False) -> None:
        """``total += first @ second``, or ``=`` if fresh: ``(b, i, k)``, ``(b, i, j)`` and ``(b, j, k)``."""
        first, second = _matrices(first), _matrices(second)
        number, rows = first.shape[:2]
        if not fresh and self._is_for_onednn(first, second, again=True):
            for index in self.each(number, "g"):
                self.added(total[index], self._linear(first[index], second[index], "product"))
            return
        product = _by_blas(rows, second)
        if not total.is_contiguous() and product.multiply_adds >= _SMALL * number:
            product = product._replace(library="blas")  # torch multiplies one after the other
        function, operands = "baddbmm_", (total, first, second)
        if number == 1:
            function, operands = "addmm_", (total[0], first[0], second[0])
        line = f"{{0}}.{function}({{1}}, {{2}}{', beta=0' * fresh})"
        self.change(line, *operands, work=Work(None, product))

    def _is_for_onednn(self, first: Value, second: Value, *, again: bool) -> bool:
        """Whether oneDNN takes these operands, and is quicker, the copies of its results included."""
        rates, dtype = self.target.rates, first.dtype
        dense = second.is_contiguous() or second.mT.is_contiguous()
        if not self.target.onednn or not dense or "onednn" not in rates.libraries(dtype):
            return False
        number, rows, (terms, columns) = math.prod(second.shape[:-2]), first.shape[-2], second.shape[-2:]
        one = Product(1, rows, terms, columns, "onednn")
        other = rates.multiplying(one, dtype) + rates.call
        if again:
            other += rates.moving(Copied.plain(2 * rows * columns), dtype) + rates.call
        return number * other < rates.multiplying(_by_blas(rows, second), dtype) + rates.call

    def _by_onednn(self, first: Value, second: Value, name: str) -> Value:
        lead, rows, columns = second.shape[:-2], first.shape[-2], second.shape[-1]
        if math.prod(lead) == 1:
            product = self._linear(first[0], second[(0,) * len(lead)], name)
            return product[(None,) * len(lead)]
        first = first.contiguous()
        result = self.allocated(first, (*lead, rows, columns), first.dtype, "empty", name)
        self._each_product(lead, (), first, second, result)
        return result

    def _each_product(
        self, lead: Ints, index: tuple[int | Place, ...], first: Value, second: Value, out: Value
    ) -> None:
        if len(index) < len(lead):
            for place in self.each(lead[len(index)], "ng"[len(index) - len(lead)]):
                self._each_product(lead, (*index, place), first, second, out)
            return
        out[index].copy_(self._linear(first[index[-1]], second[index], "product"))

    def _linear(self, first: Value, second: Value, name: str) -> Value:
        """``first @ second`` by oneDNN, as a view of its transpose if that is quicker."""
        self.constant("linear", "torch.ops.mkldnn._linear_pointwise  # x @ w.T by oneDNN")
        (rows, inner), columns = first.shape, second.shape[1]
        work = Work(None, Product(1, rows, inner, columns, "onednn"))
        if rows < columns and inner >= _LONG_SUM and second.mT.is_contiguous():
            operands = settled(second).mT, settled(first.contiguous())
            return self.make(name, (columns, rows), first.dtype, _LINEAR, operands, work).mT
        return self.make(name, (rows, columns), first.dtype, _LINEAR, (settled(first), settled(second).mT), work)


def _matrices(value: Value) -> Value:
    """Matrices whose rows or columns are contiguous; torch would silently copy others."""
    (rows, columns), (row, column) = value.shape[-2:], value.strides[-2:]
    by_rows = (column == 1 or columns == 1) and (row >= columns or rows == 1)
    by_columns = (row == 1 or rows == 1) and (column >= rows or columns == 1)
    return value if by_rows or by_columns else value.contiguous()


def _by_blas(rows: int, second: Value) -> Product:
    number, (terms, columns) = math.prod(second.shape[:-2]), second.shape[-2:]
    return Product(number, rows, terms, columns, "blas" if number == 1 else "batch", second.strides[-1] != 1)
