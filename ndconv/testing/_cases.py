"""Cases as data: geometries drawn from a seed, with ids that are parsed back into them."""

from __future__ import annotations

import math
import random
import re
import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

# Integers up to this size are exact in the dtype.
EXACT = {
    torch.float64: 2**53,
    torch.float32: 2**24,
    torch.float16: 2**11,
    torch.bfloat16: 2**8,
    torch.complex128: 2**53,
    torch.complex64: 2**24,
}

_ID = re.compile(
    r"n(\d+)g(\d+)c(\d+)d(\d+)-k([\dx]+)-s([\dx]+)-p([\d.x]+)-d([\dx]+)-i([\dx]+)(?:-(reflect|replicate|circular))?"
)


@dataclass(frozen=True)
class Case:
    """One convolution: sizes and hyper-parameters.

    Args:
        batch: Number of samples.
        groups: Number of groups.
        channels: Input channels of one group.
        features: Output channels of one group.
        kernel: Kernel size per axis.
        stride: Per axis.
        padding: ``(lo, hi)`` per axis.
        dilation: Per axis.
        input_size: Per axis.
        mode: How padding is filled, as ``padding_mode``.

    Example:
        >>> case = Case.parse("n2g1c3d4-k3x2-s2x1-p1.1x0.0-d1x2-i8x5")
        >>> case.input_shape, case.weight_shape, case.output_shape
        ((2, 3, 8, 5), (4, 3, 3, 2), (2, 4, 4, 3))
    """

    batch: int
    groups: int
    channels: int
    features: int
    kernel: Ints
    stride: Ints
    padding: Pairs
    dilation: Ints
    input_size: Ints
    mode: str = "zeros"

    @classmethod
    def parse(cls, id: str) -> Case:
        """The case that an id names.

        Raises:
            ValueError: If it is not the id of a case.
        """
        match = _ID.fullmatch(id)
        if match is None:
            raise ValueError(f"not the id of a case: {id!r}, one looks like n2g1c3d4-k3x2-s2x1-p1.1x0.0-d1x2-i8x5")
        *counts, kernel, stride, padding, dilation, size, mode = match.groups()
        pairs = tuple((int(lo), int(hi)) for lo, hi in (pair.split(".") for pair in padding.split("x")))
        kernel, stride, dilation, size = (tuple(map(int, axes.split("x"))) for axes in (kernel, stride, dilation, size))
        batch, groups, channels, features = map(int, counts)
        return cls(batch, groups, channels, features, kernel, stride, pairs, dilation, size, mode or "zeros")

    @property
    def id(self) -> str:
        """A readable name that `parse` turns back into the case."""
        counts = f"n{self.batch}g{self.groups}c{self.channels}d{self.features}"
        kernel, stride, dilation, size = (
            "x".join(map(str, axes)) for axes in (self.kernel, self.stride, self.dilation, self.input_size)
        )
        padding = "x".join(f"{lo}.{hi}" for lo, hi in self.padding)
        return f"{counts}-k{kernel}-s{stride}-p{padding}-d{dilation}-i{size}" + f"-{self.mode}" * (self.mode != "zeros")

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    @property
    def output_size(self) -> Ints:
        """Spatial size of the output."""
        return tuple(
            (i + lo + hi - d * (k - 1) - 1) // s + 1
            for i, (lo, hi), d, k, s in zip(
                self.input_size, self.padding, self.dilation, self.kernel, self.stride, strict=True
            )
        )

    @property
    def remainder(self) -> Ints:
        """Padded input elements after the last window, per axis: the output padding of the transposed convolution."""
        return tuple(
            (i + lo + hi - d * (k - 1) - 1) % s
            for i, (lo, hi), d, k, s in zip(
                self.input_size, self.padding, self.dilation, self.kernel, self.stride, strict=True
            )
        )

    @property
    def input_shape(self) -> Ints:
        """``(n, g*c, *I)``."""
        return (self.batch, self.groups * self.channels, *self.input_size)

    @property
    def weight_shape(self) -> Ints:
        """``(g*d, c, *K)``."""
        return (self.groups * self.features, self.channels, *self.kernel)

    @property
    def output_shape(self) -> Ints:
        """``(n, g*d, *O)``."""
        return (self.batch, self.groups * self.features, *self.output_size)

    @property
    def symmetric_padding(self) -> Ints | None:
        """Padding as torch takes it, or None if the two sides differ."""
        return tuple(lo for lo, _ in self.padding) if all(lo == hi for lo, hi in self.padding) else None

    @property
    def longest_sum(self) -> int:
        """Products in the longest sum of any slot, at least one."""
        kernel, positions = math.prod(self.kernel), self.batch * math.prod(self.output_size)
        # All of the padding may copy one element of the input.
        shown = 1 if self.mode == "zeros" else math.prod(1 + lo + hi for lo, hi in self.padding)
        return max(self.channels * kernel, self.features * kernel * shown, positions, 1)

    def largest_value(self, dtype: torch.dtype) -> int:
        """The largest operand value up to 4 for which every partial sum of every slot is exact, 0 if there is none."""
        return min(4, math.isqrt(EXACT[dtype] // self.longest_sum))

    def operands(self, dtype: torch.dtype, device: str | torch.device = "cpu") -> tuple[Tensor, Tensor, Tensor]:
        """Input, weight and output gradient as small integers, the same for every call and device."""
        generator = torch.Generator().manual_seed(zlib.crc32(self.id.encode()))
        bound = self.largest_value(dtype)
        x, w, y = (
            torch.randint(-bound, bound + 1, shape, generator=generator).to(device, dtype)
            for shape in (self.input_shape, self.weight_shape, self.output_shape)
        )
        return x, w, y


def sample(
    count: int,
    ndims: Ints,
    *,
    seed: int = 0,
    overlap: bool = True,
    symmetric: bool = False,
    modes: tuple[str, ...] = ("zeros",),
) -> list[Case]:
    """Draw distinct cases.

    The output size is drawn and the input built from it, so that every case is valid and every stride remainder occurs.

    Args:
        count: Number of cases.
        ndims: Numbers of spatial axes, taken in turn.
        seed: The same seed draws the same cases.
        overlap: Whether windows may overlap; if not, the `reshape` lowering applies to every case.
        symmetric: Whether both sides are padded alike, as torch needs.
        modes: Padding modes to draw from; zeros where a mode does not allow so much padding.

    Returns:
        ``count`` cases.
    """
    draw = random.Random(seed)
    cases: dict[Case, None] = {}
    while len(cases) < count:
        cases[_draw(draw, ndims[len(cases) % len(ndims)], overlap, symmetric, modes)] = None
    return list(cases)


def _draw(draw: random.Random, ndim: int, overlap: bool, symmetric: bool, modes: tuple[str, ...]) -> Case:
    # With many axes sizes are small, as the oracle's loop grows with the product of outputs and kernel elements.
    largest = {1: 5, 2: 4, 3: 3}.get(ndim, 2)
    kernel: list[int] = []
    stride: list[int] = []
    padding: list[tuple[int, int]] = []
    dilation: list[int] = []
    size: list[int] = []
    for _ in range(ndim):
        k, d, out = draw.randint(1, largest), draw.randint(1, 3), draw.randint(1, largest + 1)
        extent = d * (k - 1) + 1
        s = draw.randint(1, 3) if overlap or out == 1 else extent + draw.randint(0, 1)
        span = s * (out - 1) + extent + draw.randint(0, s - 1)
        lo = draw.randint(0, min(2, (span - 1) // 2))
        hi = lo if symmetric else draw.randint(0, min(3, span - 1 - lo))
        kernel.append(k)
        stride.append(s)
        padding.append((lo, hi))
        dilation.append(d)
        size.append(span - lo - hi)
    kind = draw.choice(("plain", "plain", "grouped", "depthwise"))
    groups = 1 if kind == "plain" else draw.randint(2, 3)
    channels = 1 if kind == "depthwise" else draw.randint(1, 3)
    batch = draw.choice((0, 1, 2, 3, 3))
    features = draw.randint(1, 3)
    mode = draw.choice(modes) if len(modes) > 1 else modes[0]
    most = {"reflect": -1, "circular": 0}.get(mode)
    if most is not None and any(max(pair) > n + most for pair, n in zip(padding, size, strict=True)):
        mode = "zeros"
    axes = tuple(kernel), tuple(stride), tuple(padding), tuple(dilation), tuple(size)
    return Case(batch, groups, channels, features, *axes, mode)
