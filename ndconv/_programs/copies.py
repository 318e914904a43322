"""The cost of copies, and views of the same elements that are easier to copy or to write down."""

from __future__ import annotations

from collections.abc import Iterable

from ndconv._programs.steps import Copied
from ndconv._programs.values import REMADE, START, Value, contiguous_strides, merged, view_strides

# Matrices with fewer rows or columns gain nothing from blocks.
_BLOCK = 32


def settled(value: Value) -> Value:
    """The value, whose shape a malleable variable takes on."""
    variable = value.variable
    if not variable.malleable or value.numel() != variable.elements:
        return value
    turned = not value.is_contiguous()
    if turned and not value.mT.is_contiguous():
        return value
    variable.shape = value.mT.shape if turned else value.shape
    variable.strides, variable.malleable = contiguous_strides(variable.shape), False
    whole = Value(value.builder, variable, variable.shape, variable.strides, root=variable.shape)
    return whole.mT if turned else whole


def moved(source: Value, target: Value | None = None) -> Copied:
    """The elements that a copy moves, to a contiguous tensor if no target is given."""
    if target is None:
        runs = merged(source.shape, source.strides, contiguous_strides(source.shape))
    else:
        axes = sorted(zip(source.shape, source.strides, target.strides, strict=True), key=lambda axis: -axis[2])
        runs = merged(*zip(*axes, strict=True)) if axes else []
    *_, second, first = (1, 1, 1), (1, 1, 1), *runs
    row, step, other = first
    distinct = min(source.numel(), source.variable.elements)
    apart = max(_nearest(step for _, step, _ in runs), _nearest(step for _, _, step in runs))
    return Copied(source.numel() + distinct, row, row * second[0], len(runs), apart * (step > 1 or other != 1))


def _nearest(steps: Iterable[int]) -> int:
    """The smallest distance of two elements, by the strides of all axes."""
    return min((step for step in steps if step), default=1)


def bare(value: Value, lead: int) -> Value:
    """The value without axes of one element among the first ``lead``; the variable itself if only such axes differ."""
    whole = value.variable
    kept = [(size, step) for size, step in zip(value.shape[:lead], value.strides[:lead], strict=True) if size != 1]
    kept += zip(value.shape[lead:], value.strides[lead:], strict=True)
    same = [(size, step) for size, step in zip(whole.shape, whole.strides, strict=True) if size != 1]
    if kept == same and value.offset == START and not whole.malleable:
        return value.builder._whole(whole)
    for axis in reversed(range(lead)):
        value = value.squeeze(axis)
    return value


def slim(target: Value, source: Value) -> tuple[Value, Value]:
    """Two values of one shape, without axes of one element, and with axes merged where both values allow it."""
    if target.variable.opaque or source.variable.opaque:
        return target, source
    axes = merged(target.shape, target.strides, source.strides)
    shape, steps, others = (tuple(each) for each in zip(*axes, strict=True)) if axes else ((), (), ())
    for wanted in (source.variable.shape, target.variable.shape, target.variable.shape[1:]):
        one, other = view_strides(shape, steps, wanted), view_strides(shape, others, wanted)
        if one is not None and other is not None:
            shape, steps, others = wanted, one, other
            break
    return (
        Value(target.builder, target.variable, shape, steps, target.offset, REMADE),
        Value(source.builder, source.variable, shape, others, source.offset, REMADE),
    )


def transposed(value: Value) -> Value:
    """The value; as a matrix if it is a large transposed one, which torch copies in blocks if it has no other axes.

    Copied row by row, all elements of a column may fall into one cache set, because sizes are often powers of two.
    """
    axes = merged(value.shape, value.strides)
    if value.variable.opaque or len(axes) != 2 or min(axes)[0] < _BLOCK:
        return value
    shape, strides, _ = zip(*axes, strict=True)
    if strides != (1, shape[0]):
        return value
    return Value(value.builder, value.variable, shape, strides, value.offset, REMADE)


def plain(value: Value) -> Value:
    """A value from which torch makes contiguous results: it would keep what looks like a channels-last order."""
    if value.dim() not in (4, 5) or value.strides[1] > min(value.strides[2:]):
        return value
    # What is contiguous may have other strides on axes of one element, and torch looks at these too.
    return value.builder.laid_out(value.contiguous(), False)
