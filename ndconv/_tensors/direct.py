"""The steps of a lowering, run on tensors at once: for compilers and exporters with symbolic sizes, and for subclasses.

It has the methods of `ndconv._programs.builder.Builder`, but makes no chunks: a compiler plans memory itself.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling, is_dynamo_compiling

from ndconv._form.geometry import Ints, Pairs
from ndconv._programs.values import wide_dtype
from ndconv._tensors.dtypes import name_of
from ndconv._tensors.layout import is_channels_last, lay_out


class Direct:
    """Runs the steps that a `Builder` would write down.

    Args:
        kind: The type of the device.
        emulated: Half types that are multiplied in their accumulation dtype there.
    """

    symbolic, prices, widening = True, False, False

    def __init__(self, kind: str, emulated: Sequence[str]) -> None:
        self.kind, self.emulated = kind, emulated

    def dtype(self, tensor: Tensor) -> str:
        """Element type, by torch's name."""
        return name_of(tensor.dtype)

    def cast(self, tensor: Tensor, dtype: str) -> Tensor:
        """The tensor with another element type."""
        return tensor.to(getattr(torch, dtype))

    def wide(self, tensor: Tensor) -> Tensor:
        """A tensor in the accumulation dtype of its own: float32 for half types."""
        return self.cast(tensor, wide_dtype(self.dtype(tensor)))

    def zeros(self, shape: Ints, dtype: str, like: Tensor) -> Tensor:
        """A new tensor of zeros."""
        return like.new_zeros(shape, dtype=getattr(torch, dtype))

    def new_result(self, like: Tensor, shape: Ints, fill: str) -> Tensor:
        """A new tensor for results, empty or of zeros."""
        return like.new_zeros(shape) if fill == "zeros" else like.new_empty(shape)

    @staticmethod
    def unrounded(wanted: bool) -> nullcontext[None]:
        """Nothing: products here give the dtype of their operands."""
        return nullcontext()

    def wide_zeros(self, shape: Ints, like: Tensor) -> Tensor:
        """The same in the accumulation dtype of a tensor's dtype."""
        return self.zeros(shape, wide_dtype(self.dtype(like)), like)

    def copied(self, tensor: Tensor) -> Tensor:
        """A contiguous copy."""
        return tensor.clone(memory_format=torch.contiguous_format)

    def times_zero(self, tensor: Tensor) -> Tensor:
        """Zeros, or NaN where a tensor is not finite."""
        return tensor * 0

    def summed(self, tensor: Tensor, axes: Sequence[int]) -> Tensor:
        """Sum over axes, without keeping them."""
        return tensor.sum(tuple(axes), dtype=tensor.dtype)

    def digit(self, tensor: Tensor, place: int, count: int, bits: int, dtype: str) -> Tensor:
        """A digit of ``bits`` bits of integers, in a float; all digits but the highest are non-negative."""
        shifted = tensor >> (bits * place)
        return self.cast(shifted & (2**bits - 1) if place < count - 1 else shifted, dtype)

    def add_digit(self, total: Tensor, product: Tensor, shift: int) -> None:
        """Add the product of two digits, shifted to its place."""
        total += product.to(torch.int64) << shift

    def is_channels_last(self, tensor: Tensor) -> bool:
        """Whether torch calls the tensor channels-last."""
        return is_channels_last(tensor)

    def laid_out(self, tensor: Tensor, channels_last: bool) -> Tensor:
        """Contiguous, or channels-last where torch has that."""
        return lay_out(tensor, channels_last)

    def named(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor."""
        return tensor

    def call(self, function: str, shape: Ints, *arguments: Any, item: int | None = None, **keywords: Any) -> Tensor:
        """The result of a function of torch, or an item of it."""
        for each in ("name", "dtype", "work", "plain"):
            keywords.pop(each, None)
        found: Any = operator.attrgetter(function)(torch)(*arguments, **keywords)
        result: Tensor = found if item is None else found[item]
        return result

    def part(self, tensor: Tensor, name: str) -> Tensor:
        """The real or the imaginary part of a tensor."""
        part: Tensor = getattr(tensor, name)
        return part

    def complex(self, products: Sequence[Tensor]) -> Tensor:
        """The complex product from four real ones: real by real, imaginary by imaginary, and the two mixed ones."""
        a, c, d, e = products
        return torch.complex(a - c, d + e)

    def pad(self, tensor: Tensor, amounts: Pairs, name: str = "") -> Tensor:
        """Pad the last axes with zeros, ``(lo, hi)`` per axis; negative amounts crop."""
        return pad(tensor, amounts)

    def unpad(self, tensor: Tensor, amounts: Pairs) -> Tensor:
        """Adjoint of `pad`."""
        return unpad(tensor, amounts)

    def cat(self, tensors: Sequence[Tensor], axis: int, name: str = "") -> Tensor:
        """`torch.cat`."""
        return torch.cat(tuple(tensors), axis) if len(tensors) > 1 else tensors[0]

    def einsum(self, equation: str, first: Tensor, second: Tensor) -> Tensor:
        """`torch.einsum`."""
        return torch.einsum(equation, first, second)

    def matmul(self, first: Tensor, second: Tensor, name: str = "") -> Tensor:
        """``first @ second`` for every item of a batch, ``(b, i, j)`` and ``(*a, b, j, k)`` give ``(*a, b, i, k)``."""
        if second.dim() == 3:
            return torch.bmm(first, second)
        # bmm accepts a batch that is expanded with stride 0; matmul would copy the other batch into one matrix.
        repeated = first.expand(*second.shape[:-2], *first.shape[1:]).flatten(0, -3)
        return torch.bmm(repeated, second.flatten(0, -3)).view(*second.shape[:-2], first.shape[1], -1)

    def accumulate(self, total: Tensor, first: Tensor, second: Tensor, *, fresh: bool = False) -> None:
        """``total += first @ second`` in place, or ``=`` if fresh."""
        total.baddbmm_(first, second, beta=0 if fresh else 1)

    def each(self, length: int, name: str, start: int = 0) -> Iterator[int]:
        """Every index of an axis from ``start`` on."""
        yield from range(start, length)

    def chunks(self, length: int, *_: Any, **__: Any) -> Iterator[slice]:
        """One slice."""
        yield slice(None)

    def blocks(self, sizes: Ints, *_: Any, **__: Any) -> Iterator[tuple[slice, ...]]:
        """One slice of each axis."""
        yield (slice(None),) * len(sizes)

    def span(self, start: int, length: int, step: int = 1, factor: int = 1) -> slice:
        """``length`` elements of an axis, every ``step``-th, from ``factor * start`` on."""
        return slice(factor * start, factor * start + step * (length - 1) + 1, step)

    def take(self, tensor: Tensor, axis: int, indices: Ints) -> Tensor:
        """`torch.index_select` with known indices."""
        return tensor.index_select(axis, torch.tensor(indices, device=tensor.device))

    def table(self, names: Sequence[str], count: int, rows: Sequence[Ints]) -> Iterator[Ints]:
        """The numbers of each row."""
        yield from rows

    def unless_finite(
        self, watched: Sequence[Tensor], result: Tensor, otherwise: Callable[..., Tensor], *operands: Tensor
    ) -> Tensor:
        """The result: numbers must not be read here."""
        return result


def pad(tensor: Tensor, amounts: Pairs) -> Tensor:
    """Pad the last ``len(amounts)`` axes with zeros, ``(lo, hi)`` per axis; negative amounts crop.

    Its adjoint is `pad` itself with the amounts negated: see `unpad`.
    """
    if not any(amount != 0 for pair in amounts for amount in pair):
        return tensor
    sizes = tensor.shape[tensor.dim() - len(amounts) :]
    if (not is_compiling() or _are_known(sizes, amounts)) and any(
        min(pair) < -size and max(pair) > 0 for pair, size in zip(amounts, sizes, strict=True)
    ):
        # torch crops before it pads, and cannot crop more than there is.
        grown = pad(tensor, tuple((max(lo, 0), max(hi, 0)) for lo, hi in amounts))
        return pad(grown, tuple((min(lo, 0), min(hi, 0)) for lo, hi in amounts))
    return constant_pad(tensor, amounts)


def unpad(tensor: Tensor, amounts: Pairs) -> Tensor:
    """Adjoint of `pad`: crop what it added and put zeros where it cropped."""
    return pad(tensor, tuple((-lo, -hi) for lo, hi in amounts))


def constant_pad(tensor: Tensor, amounts: Pairs) -> Tensor:
    """`pad` by torch's operator alone, without a look at sizes."""
    return torch.constant_pad_nd(tensor, [amount for pair in reversed(amounts) for amount in pair])


def _are_known(sizes: Ints, amounts: Pairs) -> bool:
    """Whether these are numbers; a compiler's symbols must not be compared."""
    return not is_dynamo_compiling() and all(type(n) is int for n in (*sizes, *(n for pair in amounts for n in pair)))
