"""One axis of a convolution: its size worked out, what is padded and not read, and the pattern of its ties."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from docs.answers.layer import Layer

# Elements of the input, and windows, that a drawing may have.
_COLUMNS, _ROWS = 30, 12
_COUNTED = 10**6
"""Ties of an axis up to which the elements that no window reads are counted."""


@dataclass(frozen=True)
class Axis:
    """The integers of one axis; ``size`` is that of ``x``, the convolution's input and a transposed one's output.

    Args:
        size: I.
        windows: O.
        kernel: K.
        stride: S.
        dilation: D.
        lo: What is padded before, borders of all kinds.
        hi: What is padded behind.
        extra: Output padding.
    """

    size: int
    windows: int
    kernel: int
    stride: int
    dilation: int
    lo: int
    hi: int
    extra: int

    @property
    def extent(self) -> int:
        """Elements that a window spans."""
        return self.dilation * (self.kernel - 1) + 1

    def position(self, window: int, element: int) -> int:
        """The input element that a window and a kernel element are tied to; less than 0, or I and more, is padding."""
        return self.stride * window + self.dilation * element - self.lo

    def arithmetic(self, transposed: bool) -> str:
        """How the size of the result is calculated.

        Example:
            >>> Axis(8, 4, 3, 2, 1, 1, 1, 0).arithmetic(False)
            '(8 + 1 + 1 - (1*(3 - 1) + 1)) // 2 + 1 = 4'
            >>> Axis(8, 4, 4, 2, 1, 1, 1, 0).arithmetic(True)
            '2*(4 - 1) + 1*(4 - 1) + 1 - 1 - 1 + 0 = 8'
        """
        span = f"{self.dilation}*({self.kernel} - 1) + 1"
        if transposed:
            cut = f"{self.lo} - {self.hi} + {self.extra}"
            return f"{self.stride}*({self.windows} - 1) + {span} - {cut} = {self.size}"
        return f"({self.size} + {self.lo} + {self.hi} - ({span})) // {self.stride} + 1 = {self.windows}"

    def unread(self) -> tuple[int, int] | None:
        """Input elements that no window reads: those behind the last one, and those between; None for a huge axis."""
        if max(self.size, self.windows * self.kernel) > _COUNTED:
            return None
        read = bytearray(self.size)
        for element in range(self.kernel):
            first = self.position(0, element)
            skipped = max(0, -(first // self.stride))
            begin = first + skipped * self.stride
            end = min(self.size, self.position(self.windows - 1, element) + 1)
            if begin < end:
                read[begin : end : self.stride] = b"\1" * len(range(begin, end, self.stride))
        behind = self.size - (read.rfind(1) + 1)
        return behind, read.count(0) - behind

    def shortened(self) -> Axis:
        """A shorter axis with the same borders, for drawing: fewer windows, and as many strides fewer elements."""
        columns = self.size + self.lo + self.hi - _COLUMNS
        fewer = max(0, self.windows - _ROWS, -(-columns // self.stride))
        fewer = min(fewer, max(0, self.windows - 3))
        return replace(self, size=self.size - fewer * self.stride, windows=self.windows - fewer)


def alike(axes: Iterable[Axis]) -> dict[Axis, list[int]]:
    """Distinct axes, each with the numbers of the axes that equal it."""
    found: dict[Axis, list[int]] = {}
    for number, axis in enumerate(axes):
        found.setdefault(axis, []).append(number)
    return found


def axes_of(layer: Layer) -> list[Axis]:
    """The axes of a layer, each by itself."""
    geometry = layer.convolution.geometry
    arguments = layer.arguments
    padding, extra = arguments["padding"], arguments["output_padding"]
    found = []
    for axis in range(geometry.ndim):
        side = padding[axis] if isinstance(padding, tuple) else padding
        lo, hi = side if isinstance(side, tuple) else (side, side)
        more = extra[axis] if isinstance(extra, tuple) else extra
        sizes = layer.convolution.input_size[axis], layer.convolution.output_size[axis]
        window = geometry.kernel[axis], geometry.stride[axis], geometry.dilation[axis]
        found.append(Axis(*sizes, *window, lo, hi, more))
    return found
