"""Kernel elements and outputs that read at least one input element, so that no work is done for the others.

With a large dilation or padding most of a window may read zeros only, as with a dilation of 2**31 on a thousand
elements. Along an axis the kernel indices and the outputs that ``i = S*o + D*k - lo`` ties to the input are a range
each, and the others are left out. If stride and dilation both exceed the input, even these would span far more than the
input: then kernel elements are computed one by one.

The parts left out read zeros of the padding. These count as elements, so their product with a NaN or an infinity is
NaN, in OUTPUT and WEIGHT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

from ndconv._form.geometry import Form, Geometry, Ints, Slot
from ndconv._programs.values import Array, Steps

# Kernel elements are computed one by one if a padded input is more than so many times as large as the three tensors.
_FAR = 8


class Part(NamedTuple):
    """Kernel elements and outputs that form a convolution of their own.

    Args:
        taps: The kernel elements, a slice per axis.
        outputs: The outputs, likewise.
        form: Their form.
    """

    taps: tuple[slice, ...]
    outputs: tuple[slice, ...]
    form: Form

    def of(self, tensor: Array, slot: Slot) -> Array:
        """View of this part in a slot's tensor; the input is not divided."""
        if slot is Slot.INPUT:
            return tensor
        index: tuple[Any, ...] = (..., *(self.taps if slot is Slot.WEIGHT else self.outputs))
        return tensor[index]


class _Axis(NamedTuple):
    taps: range
    outputs: range
    stride: int
    dilation: int


def ties(form: Form) -> tuple[Part, ...] | None:
    """The parts of a convolution that are tied to its input; None if that is all of it.

    Example:
        >>> far = Geometry(kernel=(3,), stride=(1,), padding=((2**31, 2**31),), dilation=(2**31,))
        >>> (part,) = ties(Form(Slot.OUTPUT, far, (1000,), "auto"))
        >>> part.taps, part.outputs, part.form.geometry.kernel, part.form.geometry.padding
        ((slice(1, 2, None),), (slice(0, 1000, None),), (1,), ((0, 0),))
    """
    geometry, output_size = form.geometry, form.geometry.output_size(form.input_size)
    fields = geometry.kernel, geometry.stride, geometry.padding, geometry.dilation
    axes = [*map(_axis, *fields, form.input_size, output_size)]
    sizes = zip(geometry.kernel, output_size, geometry.stride, geometry.dilation, strict=True)
    if axes == [[_Axis(range(kernel), range(positions), *steps)] for kernel, positions, *steps in sizes]:
        return None
    combined = [*product(*axes)]
    wide = form.wide or len(combined) > 1
    return tuple(
        Part(
            tuple(slice(axis.taps.start, axis.taps.stop) for axis in part),
            tuple(slice(axis.outputs.start, axis.outputs.stop) for axis in part),
            replace(form, geometry=_geometry(geometry, part, form.input_size), wide=wide),
        )
        for part in combined
    )


def _axis(kernel: int, stride: int, padding: tuple[int, int], dilation: int, size: int, positions: int) -> list[_Axis]:
    """The tied kernel indices and outputs of an axis, as one range each or one kernel index at a time."""
    lo = padding[0]

    def seen_by(taps: range) -> range:
        """Outputs whose windows may reach the input with these kernel elements."""
        first, last = lo - dilation * taps[-1], lo - dilation * taps[0] + size - 1
        return range(max(0, -(-first // stride)), min(positions, last // stride + 1))

    def of(taps: range) -> _Axis:
        outputs = seen_by(taps)
        # One window needs no stride and one element no dilation: values larger than the input are dropped.
        alone = [len(each) == 1 and step > size for each, step in ((outputs, stride), (taps, dilation))]
        return _Axis(taps, outputs, 1 if alone[0] else stride, 1 if alone[1] else dilation)

    taps, before, outputs = range(kernel), None, range(positions)
    while taps != before and outputs:
        # Each range narrows the other, until neither changes.
        first, last = lo - stride * outputs[-1], lo - stride * outputs[0] + size - 1
        before, taps = taps, range(max(taps.start, -(-first // dilation)), min(taps.stop, last // dilation + 1))
        outputs = seen_by(taps) if taps else range(0)
    if not outputs:
        return []
    together = of(taps)
    reach = together.stride * (len(together.outputs) - 1) + dilation * (len(taps) - 1) + 1
    far = reach > _FAR * (size + len(taps) + len(together.outputs))
    found = [of(range(k, k + 1)) for k in taps] if far and len(taps) > 1 else [together]
    return [axis for axis in found if axis.outputs]


def _geometry(geometry: Geometry, part: tuple[_Axis, ...], input_size: Ints) -> Geometry:
    """Geometry of a part, which reads the whole input."""
    fields = zip(part, geometry.stride, geometry.padding, geometry.dilation, strict=True)
    sides = tuple((lo - s * axis.outputs.start - d * axis.taps.start, 0) for axis, s, (lo, _), d in fields)
    kernel, output_size = (tuple(map(len, ranges)) for ranges in zip(*(axis[:2] for axis in part), strict=True))
    stride, dilation = zip(*(axis[2:] for axis in part), strict=True)
    found = Geometry(kernel, stride, sides, dilation, geometry.groups)
    return found.padded(found.fit(input_size, found.reach(output_size)))


def assembled(
    b: Steps,
    form: Form,
    parts: tuple[Part, ...],
    operands: tuple[Array, Array],
    shape: Ints,
    compute: Callable[[Form, Array, Array], Array],
) -> Array:
    """The open slot's tensor, put together from its parts.

    Args:
        b: What records the steps.
        form: The whole form.
        parts: Its `ties`.
        operands: In the order of `Slot.operands`, groups folded into channels.
        shape: Shape of the result, likewise.
        compute: Computes a part.
    """
    slot, (first, second) = form.slot, operands
    one, other = slot.operands
    dtype = b.dtype(first)
    total = b.wide_zeros(shape, first)
    values = ((part, compute(part.form, part.of(first, one), part.of(second, other))) for part in parts)
    if slot is Slot.INPUT:
        for _, value in values:
            total += value
        return total if form.wide else b.cast(total, dtype)

    # The value of elements that read zeros only: zero, or NaN.
    unseen = b.times_zero(b.wide(second))
    if slot is Slot.WEIGHT:
        total += _by_feature(b, unseen, slot)
        for part, value in values:
            others = b.copied(unseen)
            part.of(others, other).zero_()
            part.of(total, slot).copy_(value)
            seen = part.of(total, slot)
            seen += _by_feature(b, others, slot)
    else:
        for part, value in values:
            beside = b.copied(_by_feature(b, part.of(unseen, other), slot).expand(*shape))
            part.of(beside, slot).copy_(value)
            total += beside
            part.of(unseen, other).zero_()
        total += _by_feature(b, unseen, slot)
    return total if form.wide else b.cast(total, dtype)


def _by_feature(b: Steps, tensor: Array, slot: Slot) -> Array:
    """Sum of an operand (not the input) for each feature, along the open slot's feature axis."""
    axis = {Slot.OUTPUT: Slot.WEIGHT, Slot.WEIGHT: Slot.OUTPUT}[slot].group_axis
    sums = b.summed(tensor, [each for each in range(tensor.dim()) if each != axis])
    return sums.view([-1 if each == slot.group_axis else 1 for each in range(tensor.dim())])
