"""What a statistic is taken of: a convolution, transposed or not, and tensors as its contractions want them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

from torch import Tensor

from ndconv._autograd.convolution import compute_weight, framed
from ndconv._autograd.linear import linear
from ndconv._form.geometry import Convolution, Geometry, Ints
from ndconv._planner.choice import AUTO
from ndconv._planner.workspace import get_workspace_limit
from ndconv._tensors.borders import extend, retract
from ndconv._tensors.columns import folded, folded_transposed, unfolded, unfolded_transposed
from ndconv._tensors.dtypes import wide_dtype

# Bytes that are best held at once: what is made of them is read again from a cache.
_CACHED = 16 * 2**20


@dataclass(frozen=True)
class Operands:
    """A convolution of which the statistics of transposed ones are taken too, with the two tensors exchanged.

    ``x`` is the convolution's input ``(n, g*c, *I)`` and ``y`` its output ``(n, g*d, *O)``; a transposed convolution
    takes ``y`` and gives ``x``.

    Args:
        asked: The convolution with the border that its padding mode fills.
        transposed: Whether it is the convolution of a transposed one.
    """

    asked: Convolution
    transposed: bool

    @cached_property
    def convolution(self) -> Convolution:
        """The convolution of an input that has its border."""
        bare = self.asked
        return Convolution(bare.geometry, bare.framed_size, ((0, 0),) * bare.geometry.ndim, "zeros")

    @property
    def geometry(self) -> Geometry:
        """Its geometry."""
        return self.asked.geometry

    @property
    def ndim(self) -> int:
        """N."""
        return self.geometry.ndim

    @property
    def taps(self) -> int:
        """Kernel elements."""
        return math.prod(self.geometry.kernel)

    @property
    def positions(self) -> int:
        """Positions of windows."""
        return math.prod(self.asked.output_size)

    @property
    def row(self) -> int:
        """Positions of windows that lie side by side."""
        return (1, *self.asked.output_size)[-1]

    @property
    def source_size(self) -> Ints:
        """Spatial size of what the operation takes, with its border."""
        return self.asked.output_size if self.transposed else self.asked.framed_size

    def ordered(self, input: Tensor, grad_output: Tensor) -> tuple[Tensor, Tensor]:
        """``x`` and ``y`` of what the operation takes and gives, both batched."""
        x, y = (grad_output, input) if self.transposed else (input, grad_output)
        return self.batched(x), self.batched(y)

    @property
    def results(self) -> int:
        """Elements of the operation's result per channel and sample."""
        return math.prod(self.asked.input_size) if self.transposed else self.positions

    def is_batched(self, tensor: Tensor) -> bool:
        """Whether a tensor has an axis for its samples."""
        return tensor.dim() == self.ndim + 2

    def batched(self, tensor: Tensor) -> Tensor:
        """A tensor with the axis of its samples."""
        return tensor if self.is_batched(tensor) else tensor.unsqueeze(0)

    def framed(self, x: Tensor) -> Tensor:
        """Samples of the convolution's input with their border, in the dtype of sums."""
        return framed(self.asked, wide(x))

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        """The weight's gradient of each sample, ``(n, g*d, c, *K)``; ``x`` has its border."""
        return compute_weight(self.convolution, AUTO, x, y, per_sample=True)

    def gradient_elements(self, channels: int, features: int) -> int:
        """Elements of a sample's gradient and of the windows that it is made of, which are best cut by samples.

        Args:
            channels: Of the convolution's input, all groups together.
            features: Of its output, likewise.
        """
        return channels * self.taps * (features // self.geometry.groups + self.positions)

    def matrices(self, y: Tensor) -> Tensor:
        """The convolution's output as ``(n, g, d, prod(O))``, in the dtype of sums."""
        groups = self.geometry.groups
        return wide(y).reshape(len(y), groups, y.shape[1] // groups, self.positions)

    def windows(self, x: Tensor) -> Tensor:
        """Windows as columns ``(n, g, c*prod(K), prod(O))``; ``x`` has its border."""
        maps = partial(unfolded, convolution=self.convolution), partial(folded, convolution=self.convolution)
        columns: Tensor = linear(*maps, x).unflatten(1, (self.geometry.groups, -1))
        return columns

    def shares(self, y: Tensor) -> Tensor:
        """What the elements of the convolution's input get: columns ``(n, g, d*prod(K), prod(I))``, no border."""
        maps = (
            partial(unfolded_transposed, convolution=self.convolution),
            partial(folded_transposed, convolution=self.convolution),
        )
        columns = linear(*maps, y)
        if self.asked.mode != "zeros":
            border, mode = self.asked.border, self.asked.mode
            image = columns.unflatten(-1, self.asked.framed_size)
            columns = linear(
                partial(retract, border=border, mode=mode), partial(extend, border=border, mode=mode), image
            ).flatten(2)
        shares: Tensor = columns.unflatten(1, (self.geometry.groups, -1))
        return shares


def wide(tensor: Tensor) -> Tensor:
    """A tensor in the dtype in which its sums are taken."""
    return tensor.to(wide_dtype(tensor.dtype))


def real(tensor: Tensor) -> Tensor:
    """The real part of numbers that may be complex."""
    return tensor.real if tensor.is_complex() else tensor


def squares(tensor: Tensor) -> Tensor:
    """Squared absolute values."""
    return tensor.real.square() + tensor.imag.square() if tensor.is_complex() else tensor.square()


def blocks(count: int, each: int, *, cached: bool = True) -> Iterator[slice]:
    """Slices of an axis, each as long as the workspace holds and a cache likes, at least one element.

    Args:
        count: Length of the axis.
        each: Bytes that one element takes.
        cached: Whether a cache is to hold them.
    """
    number = -(-count // block_length(count, each, cached=cached)) if count else 0
    for index in range(number):
        yield slice(index * count // number, (index + 1) * count // number)


def parts(count: int, each: int) -> list[slice]:
    """`blocks` for results that are put together again: one of no samples if there are none."""
    return [*blocks(count, each)] or [slice(None)]


def position_sums(batched: Tensor) -> Tensor:
    """A gradient ``(n, g*d, *O)`` summed over positions, in the dtype of sums."""
    return wide(batched).reshape(*batched.shape[:2], math.prod(batched.shape[2:])).sum(2)


def block_length(count: int, each: int, *, cached: bool = True) -> int:
    """The length of the longest of `blocks`."""
    limit = get_workspace_limit()
    return max(1, min(count, (min(limit, _CACHED) if cached else limit) // max(1, each)))
