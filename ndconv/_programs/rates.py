"""How fast a machine goes, by kinds of step: what a program takes is the sum of its steps at these rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ndconv._programs.steps import Copied, Product, Work
from ndconv._programs.values import ITEMSIZES, REAL, wide_dtype

_LINE = 64
"""Bytes that a cache holds or lets go at once."""


class ProductRate(NamedTuple):
    """What a library's matrix products in one dtype take, in nanoseconds.

    Args:
        multiply_add: Each.
        narrow: Those of one row and one term at least, however few columns there are, if rows of the second operand lie
            side by side.
        vector: Each where the first operand has one row or the second one column, reading all there is included.
        read: For every element of an operand.
        written: For every element of the result.
        each: For every further product of a batch, or of those that torch multiplies one after the other.
        start: Beside what starting any operation takes.
    """

    multiply_add: float
    narrow: float
    vector: float
    read: float
    written: float
    each: float
    start: float

    def nanoseconds(self, product: Product) -> float:
        """What so many products take."""
        number, rows, terms, columns, _, by_columns = product
        vector = 1 in (rows, columns)
        each = self.vector if vector else self.multiply_add
        one = max(each * columns, 0.0 if by_columns else self.narrow) * rows * terms
        if not vector:
            one += self.read * (rows + columns) * terms + self.written * rows * columns
        return number * one + (number - 1) * self.each + self.start

    def complex(self) -> ProductRate:
        """The rate of complex products: four, of elements of two numbers."""
        times = 4, 4, 4, 2, 2, 1, 1
        return ProductRate(*(factor * rate for factor, rate in zip(times, self, strict=True)))


@dataclass(frozen=True, eq=False)
class Rates:
    """Rates of one machine, in nanoseconds.

    Args:
        products: By dtype, then by who computes them: ``"blas"`` one, ``"batch"`` several at once, as `torch.bmm` does,
            and ``"onednn"`` one.
        call: Starting an operation.
        view: Making a view for it.
        cached: Moving a byte once more, where a cache holds it. What is touched meanwhile may not fit: then a share is.
        streamed: Moving a byte for the first time.
        cache: How many bytes a cache holds.
        row: Starting on a row of elements that lie side by side.
        block: Starting on so many rows as have one gap between them, for each axis of what is copied.
        apart: Moving an element with gaps on either side.
        fresh: A byte of a buffer that the system gives anew at every call.
        large: From how many bytes on it does.
    """

    products: Mapping[str, Mapping[str, ProductRate]]
    call: float
    view: float
    cached: float
    streamed: float
    cache: int
    row: float
    block: float
    apart: float
    fresh: float
    large: int

    def libraries(self, dtype: str) -> Mapping[str, ProductRate]:
        """Who multiplies a dtype, and how fast; nobody that is known of, if it is not in the profile."""
        if dtype in REAL and dtype not in self.products:
            return {name: rate.complex() for name, rate in self.libraries(REAL[dtype]).items() if name != "onednn"}
        return self.products.get(dtype, {})

    def is_slow(self, dtype: str) -> bool:
        """Whether products of a half type take longer than those of the dtype in which their sums are taken."""
        own, wide = (
            min((rate.multiply_add for rate in self.libraries(each).values()), default=float("inf"))
            for each in (dtype, wide_dtype(dtype))
        )
        return own > wide

    def taking(self, work: Work, dtype: str, touched: int = 0) -> float:
        """What a step takes, for the first time or again; its products no less than moving all they read and write."""
        copied, product, calls, _ = work
        taken = calls * self.call
        if copied:
            taken += self.moving(copied, dtype, touched)
        if product and product.library is not None:
            moved = self.moving(Copied.plain(product.elements), dtype, touched)
            taken += max(self.multiplying(product, dtype), moved)
        return taken

    def multiplying(self, product: Product, dtype: str) -> float:
        """What products take; those that no library computes are passes over elements."""
        if product.library is None:
            return 0.0
        found = self.libraries(dtype) or self.libraries("float32")
        return found[product.library].nanoseconds(product)

    def moving(self, copied: Copied, dtype: str, touched: int = 0) -> float:
        """What it takes to move elements: for the first time, or once more with so many bytes touched meanwhile."""
        elements, row, block, axes, apart = copied
        held, size = min(1.0, self.cache / touched) if touched else 0.0, ITEMSIZES[dtype]
        byte = held * self.cached + (1.0 - held) * self.streamed
        if apart:  # one side moves what lies between elements too, up to a line of the cache
            each = max(byte * (size + max(size, min(_LINE, size * apart))) / 2, self.apart)
        else:
            each = max(byte * size, self.row / (2 * max(1, row)))
        return elements * (each + axes * self.block / (2 * max(1, block)))
