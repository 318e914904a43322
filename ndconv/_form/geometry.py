"""The integers of a convolution: which input index, output index and kernel index belong together.

Along each spatial axis a convolution ties an input index ``i``, an output index ``o`` and a kernel index ``k`` by

    i = S*o + D*k - lo            S stride, D dilation, (lo, hi) padding

and is the trilinear form ``T(x, w, y) = sum x[n,g,c,i] * w[g,d,c,k] * y[n,g,d,o]`` over all tied ``(i, k, o)``.
Leaving one of the three tensors open gives the convolution and its two gradients: see `Slot`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from ndconv._form.cache import cached

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


class Slot(Enum):
    """The tensor of the trilinear form that an operation leaves open, and so computes from the other two.

    ========  ============================  ================
    slot      operation                     operands
    ========  ============================  ================
    INPUT     gradient of the input         weight, output
    WEIGHT    gradient of the weight        input, output
    OUTPUT    the convolution               input, weight
    ========  ============================  ================
    """

    INPUT = "input"
    WEIGHT = "weight"
    OUTPUT = "output"

    # Members are single objects. Enum would hash their names, in Python, some twenty times per convolution.
    __hash__ = object.__hash__

    @property
    def operands(self) -> tuple[Slot, Slot]:
        """The two slots that are filled, in the order INPUT, WEIGHT, OUTPUT."""
        return _OPERANDS[self]

    @property
    def indices(self) -> str:
        """Indices of the tensor before its spatial ones: n batch, g group, c input channel, d output channel."""
        return _INDICES[self]

    @property
    def group_axis(self) -> int:
        """The axis on which torch's layout folds the groups with the index after them: ``(n, g*c)``, ``(g*d, c)``."""
        return _INDICES[self].index("g")


_OPERANDS = {
    Slot.INPUT: (Slot.WEIGHT, Slot.OUTPUT),
    Slot.WEIGHT: (Slot.INPUT, Slot.OUTPUT),
    Slot.OUTPUT: (Slot.INPUT, Slot.WEIGHT),
}
_INDICES = {Slot.INPUT: "ngc", Slot.WEIGHT: "gdc", Slot.OUTPUT: "ngd"}


class _Key:
    """Base of frozen dataclasses that compute their hash once: a convolution makes some twenty look-ups by them."""

    def _remembered(self) -> int:
        found: int | None = self.__dict__.get("_hash")
        if found is None:
            values: Any = self
            found = self.__dict__["_hash"] = hash(tuple(getattr(self, each.name) for each in fields(values)))
        return found

    def __getstate__(self) -> dict[str, Any]:
        # Strings have other hashes in another process.
        return {name: value for name, value in self.__dict__.items() if name != "_hash"}


@dataclass(frozen=True)
class Geometry(_Key):
    """Kernel, stride, padding, dilation and groups of a convolution with any number of spatial axes.

    Plain integers, hashable, without the sizes of input and output. Padding is a pair ``(lo, hi)`` per axis; negative
    padding crops. It assumes sensible values: `ndconv._rules` makes a Geometry from what a user wrote.

    Example:
        >>> geometry = Geometry(kernel=(3, 3), stride=(2, 1), padding=((1, 1), (0, 0)), dilation=(1, 2), groups=1)
        >>> geometry.output_size((8, 8))
        (4, 4)
    """

    kernel: Ints
    stride: Ints
    padding: Pairs
    dilation: Ints
    groups: int = 1

    __hash__ = _Key._remembered

    # `dataclasses.replace` would do for both, but older compilers cannot trace it.
    def padded(self, padding: Pairs) -> Geometry:
        """The same with another padding."""
        return Geometry(self.kernel, self.stride, padding, self.dilation, self.groups)

    def grouped(self, groups: int) -> Geometry:
        """The same with another number of groups."""
        return Geometry(self.kernel, self.stride, self.padding, self.dilation, groups)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    @property
    def row_stride(self) -> int:
        """Stride along the last axis, that of rows in memory; 1 without axes."""
        return (1, *self.stride)[-1]

    @property
    def extent(self) -> Ints:
        """Input elements that one dilated window spans, per axis: ``D*(K - 1) + 1``."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def output_size(self, input_size: Ints) -> Ints:
        """Number of window positions per axis: ``(I + lo + hi - extent) // S + 1``."""
        return tuple(
            (size + lo + hi - extent) // stride + 1
            for size, (lo, hi), extent, stride in zip(input_size, self.padding, self.extent, self.stride, strict=True)
        )

    def reach(self, output_size: Ints) -> Ints:
        """Padded input elements that ``output_size`` windows span, per axis, without the remainder that none reads."""
        return tuple(s * (o - 1) + e for s, o, e in zip(self.stride, output_size, self.extent, strict=True))

    def fit(self, input_size: Ints, length: Ints) -> Pairs:
        """Padding per axis that puts the input behind its ``lo`` and brings it to ``length``; negative crops."""
        return tuple(
            (lo, span - size - lo) for (lo, _), size, span in zip(self.padding, input_size, length, strict=True)
        )


@dataclass(frozen=True)
class Form(_Key):
    """The trilinear form with one slot open, and how to compute it.

    Args:
        slot: The open slot.
        geometry: The convolution.
        input_size: Spatial size of the input.
        lowering: Name of a lowering, or ``"auto"``; derivatives use it too.
        wide: Whether a result of half types stays in the dtype of its sums, to be rounded later.
        channels_last: Whether the result is channels-last; None if it is as soon as an operand is.
    """

    slot: Slot
    geometry: Geometry
    input_size: Ints
    lowering: str
    wide: bool = False
    channels_last: bool | None = None

    __hash__ = _Key._remembered

    def gives_channels_last(self, first: bool, second: bool) -> bool:
        """Whether the result is channels-last, by whether the operands are."""
        return first or second if self.channels_last is None else self.channels_last

    @cached
    def derivatives(self, *last: bool) -> Derivatives:
        """The forms of both operands' gradients, by whether the operands are channels-last.

        The layout of the incoming gradient tells nothing: it may be expanded. A weight's gradient has the weight's
        layout, so that nobody has to copy it. Any other has the result's, which is channels-last if an operand is.

        Returns:
            For each operand its form, and whether the result's gradient is the first of that form's operands.
        """
        result = self.gives_channels_last(*last)
        found = []
        for slot, own in zip(self.slot.operands, last, strict=True):
            layout = own if slot is Slot.WEIGHT else result
            form = Form(slot, self.geometry, self.input_size, self.lowering, False, layout)
            found.append((form, slot.operands[0] is self.slot))
        first, second = found
        return first, second


Derivatives = tuple[tuple[Form, bool], tuple[Form, bool]]


@dataclass(frozen=True)
class Convolution(_Key):
    """A convolution of inputs of one size: a geometry, and the border that a padding mode fills first.

    Args:
        geometry: Its padding holds zeros.
        input_size: Spatial size of the input without any padding.
        border: ``(lo, hi)`` elements per axis that ``mode`` adds before the geometry pads.
        mode: ``"zeros"`` (the border is empty), ``"reflect"``, ``"replicate"`` or ``"circular"``.
    """

    geometry: Geometry
    input_size: Ints
    border: Pairs
    mode: str

    __hash__ = _Key._remembered

    @classmethod
    def of(cls, geometry: Geometry, input_size: Ints, sides: Pairs, mode: str) -> Convolution:
        """Take ``sides`` out of the geometry's padding and make them the border, unless they are zeros anyway."""
        if mode == "zeros" or not any(map(any, sides)):
            return cls(geometry, input_size, ((0, 0),) * geometry.ndim, "zeros")
        rest = tuple((a - lo, b - hi) for (a, b), (lo, hi) in zip(geometry.padding, sides, strict=True))
        return cls(geometry.padded(rest), input_size, sides, mode)

    @property
    def framed_size(self) -> Ints:
        """Spatial size of the input with its border."""
        return tuple(size + lo + hi for size, (lo, hi) in zip(self.input_size, self.border, strict=True))

    @property
    def output_size(self) -> Ints:
        """Spatial size of the output."""
        return self.geometry.output_size(self.framed_size)

    def output_shape(self, input_shape: Sequence[int], weight_shape: Sequence[int]) -> Ints:
        """Shape of the output of an input, batched or not."""
        return (*input_shape[: len(input_shape) - self.geometry.ndim - 1], weight_shape[0], *self.output_size)

    def input_shape(self, output_shape: Sequence[int], weight_shape: Sequence[int]) -> Ints:
        """Shape of the input that belongs to an output, batched or not."""
        channels = self.geometry.groups * weight_shape[1]
        return (*output_shape[: len(output_shape) - self.geometry.ndim - 1], channels, *self.input_size)


@dataclass(frozen=True)
class Problem(_Key):
    """One operation to carry out: a geometry, the open slot and the sizes of all three tensors.

    Args:
        slot: The open slot.
        geometry: The convolution.
        batch: ``n``.
        channels: ``c``, input channels of one group.
        features: ``d``, output channels of one group.
        input_size: Spatial size of the input.
        output_size: Spatial size of the output.
        itemsize: Bytes of one element in the dtype of the computation.
    """

    slot: Slot
    geometry: Geometry
    batch: int
    channels: int
    features: int
    input_size: Ints
    output_size: Ints
    itemsize: int

    __hash__ = _Key._remembered

    def shape(self, slot: Slot) -> Ints:
        """Shape of a slot's tensor with its groups apart: ``x[n,g,c,*i]``, ``w[g,d,c,*k]`` or ``y[n,g,d,*o]``."""
        sizes = {"n": self.batch, "g": self.geometry.groups, "c": self.channels, "d": self.features}
        space = {Slot.INPUT: self.input_size, Slot.WEIGHT: self.geometry.kernel, Slot.OUTPUT: self.output_size}
        return (*(sizes[index] for index in slot.indices), *space[slot])

    def folded_shape(self, slot: Slot) -> Ints:
        """Shape of a slot's tensor as torch lays it out, with its groups folded into the axis after them."""
        shape, axis = self.shape(slot), slot.group_axis
        return (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])

    @property
    def terms(self) -> int:
        """Products in the longest sum of the open slot."""
        kernel, positions = math.prod(self.geometry.kernel), math.prod(self.output_size)
        return {
            Slot.INPUT: self.features * kernel,
            Slot.WEIGHT: self.batch * positions,
            Slot.OUTPUT: self.channels * kernel,
        }[self.slot]

    @property
    def multiply_adds(self) -> int:
        """Products that the trilinear form sums; windows that reach into the padding count in full."""
        pairs = math.prod(self.geometry.kernel) * math.prod(self.output_size)
        return self.batch * self.geometry.groups * self.channels * self.features * pairs
