"""The operands of a statistic: a convolution, transposed or not, and tensors in the layout of its contractions."""

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

# Bytes of a block, so that results are read again from a cache.
_CACHED = 16 * 2**20


@dataclass(frozen=True)
class Operands:
    """A convolution, which also serves for statistics of its transposed convolution, with the two tensors exchanged.

    ``x`` is the convolution's input ``(n, g*c, *I)`` and ``y`` its output ``(n, g*d, *O)``; a transposed convolution
    takes ``y`` and gives ``x``.

    Args:
        asked: The convolution, with the border that its padding mode fills.
        transposed: Whether the operation is the transposed convolution.
    """

    asked: Convolution
    transposed: bool

    @cached_property
    def convolution(self) -> Convolution:
        """The convolution of an input that already has its border."""
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
        """Number of kernel elements."""
        return math.prod(self.geometry.kernel)

    @property
    def positions(self) -> int:
        """Number of positions of windows."""
        return math.prod(self.asked.output_size)

    @property
    def row(self) -> int:
        """Positions of windows that lie side by side."""
        return (1, *self.asked.output_size)[-1]

    @property
    def source_size(self) -> Ints:
        """Spatial size of the operation's input, with its border."""
        return self.asked.output_size if self.transposed else self.asked.framed_size

    def ordered(self, input: Tensor, grad_output: Tensor) -> tuple[Tensor, Tensor]:
        """``x`` and ``y`` from the operation's input and the gradient of its output, both batched."""
        x, y = (grad_output, input) if self.transposed else (input, grad_output)
        return self.batched(x), self.batched(y)

    @property
    def results(self) -> int:
        """Elements of the operation's output per channel and sample."""
        return math.prod(self.asked.input_size) if self.transposed else self.positions

    def is_batched(self, tensor: Tensor) -> bool:
        """Whether a tensor has a batch axis."""
        return tensor.dim() == self.ndim + 2

    def batched(self, tensor: Tensor) -> Tensor:
        """A tensor with a batch axis."""
        return tensor if self.is_batched(tensor) else tensor.unsqueeze(0)

    def framed(self, x: Tensor) -> Tensor:
        """Samples of the convolution's input with their border, in the dtype of sums."""
        return framed(self.asked, wide(x))

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        """Per-sample weight gradients, ``(n, g*d, c, *K)``; ``x`` has its border."""
        return compute_weight(self.convolution, AUTO, x, y, per_sample=True)

    def gradient_elements(self, channels: int, features: int) -> int:
        """Elements of a sample's gradient and of the windows behind it, by which samples are cut into blocks.

        Args:
            channels: Channels of the convolution's input, of all groups.
            features: Channels of its output, likewise.
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
        """The im2col of the transposed convolution: columns ``(n, g, d*prod(K), prod(I))``, without border."""
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
    """Slices of an axis that fit the workspace and a cache, of at least one element.

    Args:
        count: Length of the axis.
        each: Bytes per element.
        cached: Whether they must fit a cache.
    """
    number = -(-count // block_length(count, each, cached=cached)) if count else 0
    for index in range(number):
        yield slice(index * count // number, (index + 1) * count // number)


def parts(count: int, each: int) -> list[slice]:
    """`blocks` for results that are concatenated: one empty slice if there are no samples."""
    return [*blocks(count, each)] or [slice(None)]


def position_sums(batched: Tensor) -> Tensor:
    """A gradient ``(n, g*d, *O)`` summed over positions, in the dtype of sums."""
    return wide(batched).reshape(*batched.shape[:2], math.prod(batched.shape[2:])).sum(2)


def block_length(count: int, each: int, *, cached: bool = True) -> int:
    """The length of the longest of `blocks`."""
    limit = get_workspace_limit()
    return max(1, min(count, (min(limit, _CACHED) if cached else limit) // max(1, each)))
