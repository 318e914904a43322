"""How fast a machine is, by kind of step: the time of a program is the sum of its steps at these rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ndconv._programs.steps import Copied, Product, Work
from ndconv._programs.values import ITEMSIZES, REAL, wide_dtype

_LINE = 64
"""Bytes of a cache line."""
_CHUNK = 8
"""So many calls take as long as moving the least chunk."""


class ProductRate(NamedTuple):
    """Times of a library's matrix products in one dtype, in nanoseconds.

    Args:
        multiply_add: For every multiply-add.
        narrow: The least for one row and one term, however few the columns, if rows of the second operand are
            contiguous.
        vector: For every multiply-add of a matrix-vector product, reading its operands included.
        read: For every element of an operand.
        written: For every element of the result.
        each: For every further product of a batch, or of those that torch multiplies one after the other.
        start: Beside the overhead of any call.
    """

    multiply_add: float
    narrow: float
    vector: float
    read: float
    written: float
    each: float
    start: float

    def nanoseconds(self, product: Product) -> float:
        """Time of these products."""
        number, rows, terms, columns, _, by_columns = product
        vector = 1 in (rows, columns)
        each = self.vector if vector else self.multiply_add
        one = max(each * columns, 0.0 if by_columns else self.narrow) * rows * terms
        if not vector:
            one += self.read * (rows + columns) * terms + self.written * rows * columns
        return number * one + (number - 1) * self.each + self.start

    def complex(self) -> ProductRate:
        """The rate of complex products: four real ones, on elements of two numbers."""
        times = 4, 4, 4, 2, 2, 1, 1
        return ProductRate(*(factor * rate for factor, rate in zip(times, self, strict=True)))


@dataclass(frozen=True, eq=False)
class Rates:
    """Rates of one machine, in nanoseconds.

    Args:
        products: By dtype, then by library: ``"blas"`` one product, ``"batch"`` several at once, as `torch.bmm` does,
            and ``"onednn"`` one.
        call: The overhead of a call.
        view: Making a view for it.
        cached: Moving a byte again from a cache. If more was touched meanwhile than fits, only a share is there.
        streamed: Moving a byte for the first time.
        cache: How many bytes a cache holds.
        row: Starting a row of contiguous elements.
        block: Starting a block of rows with equal gaps, for each axis of the copy.
        apart: Moving an element with gaps on either side.
        fresh: A byte of a buffer that the system allocates anew at every call.
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
        """The libraries that multiply a dtype, and how fast; none if the profile lacks the dtype."""
        if dtype in REAL and dtype not in self.products:
            return {name: rate.complex() for name, rate in self.libraries(REAL[dtype]).items() if name != "onednn"}
        return self.products.get(dtype, {})

    @property
    def worth_a_chunk(self) -> int:
        """Bytes that take so much longer than a call that the few calls for a chunk of them hardly count."""
        return int(_CHUNK * self.call / max(self.cached, 1e-9))

    def is_slow(self, dtype: str) -> bool:
        """Whether products of a half type take longer than those of its accumulation dtype."""
        own, wide = (
            min((rate.multiply_add for rate in self.libraries(each).values()), default=float("inf"))
            for each in (dtype, wide_dtype(dtype))
        )
        return own > wide

    def taking(self, work: Work, dtype: str, touched: int = 0) -> float:
        """Time of a step, first or repeated. Products take no less than moving all their operands and results."""
        copied, product, calls, _, views = work
        taken = calls * self.call + views * self.view
        if copied:
            taken += self.moving(copied, dtype, touched)
        if product and product.library is not None:
            moved = self.moving(Copied.plain(product.elements), dtype, touched)
            taken += max(self.multiplying(product, dtype), moved)
        return taken

    def multiplying(self, product: Product, dtype: str) -> float:
        """Time of products; those without a library count as passes over elements."""
        if product.library is None:
            return 0.0
        found = self.libraries(dtype) or self.libraries("float32")
        return found[product.library].nanoseconds(product)

    def moving(self, copied: Copied, dtype: str, touched: int = 0) -> float:
        """Time to move elements: for the first time, or again after ``touched`` bytes were touched meanwhile."""
        elements, row, block, axes, apart = copied
        held, size = min(1.0, self.cache / touched) if touched else 0.0, ITEMSIZES[dtype]
        byte = held * self.cached + (1.0 - held) * self.streamed
        if apart:  # one side moves the gaps too, up to a cache line
            each = max(byte * (size + max(size, min(_LINE, size * apart))) / 2, self.apart)
        else:
            each = max(byte * size, self.row / (2 * max(1, row)))
        return elements * (each + axes * self.block / (2 * max(1, block)))
