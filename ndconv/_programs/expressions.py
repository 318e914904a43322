"""The shortest expression for a view of a named tensor."""

from __future__ import annotations

from ndconv._form.geometry import Ints
from ndconv._programs.lines import listed
from ndconv._programs.values import START, Place, Span, Value, view_strides


def expression(name: str, value: Value, shape: Ints, strides: Ints, start: Place, owned: bool) -> str:
    """A short expression for a view of a tensor with this name, shape, strides and first element."""
    if (value.shape, value.strides, value.offset) == (shape, strides, start):
        return name
    if len(value.chain) == 1 and value.root == shape and start == START:
        return name + value.chain[0]()
    if value.offset == start:
        if (value.shape, value.strides) == (shape[::-1], strides[::-1]) and len(shape) == 2:
            return f"{name}.T"
        if len(shape) > 2 and (value.shape, value.strides) == (_swapped(shape), _swapped(strides)):
            return f"{name}.mT"
        if view_strides(shape, strides, value.shape) == value.strides:
            return name + view_call(value.shape)
    sliced = _sliced(value, shape, strides, start)
    if sliced is not None:
        return name + sliced
    index = _index(value, shape, strides, start)
    if index is not None:
        part = expression(f"{name}[{index}]", value, shape[1:], strides[1:], start.plus(index.times(strides[0])), False)
        if ".as_strided" not in part:
            return part
    text = f"{name}.as_strided({listed(value.shape)}, {listed(value.strides)}"
    offset = value.offset.plus(start.times(-1))
    if offset == START:
        return f"{text})"
    return f"{text}, {offset})" if owned else f"{text}, {name}.storage_offset() + {offset})"


def _index(value: Value, shape: Ints, strides: Ints, start: Place) -> Place | None:
    """The index of the first axis that the whole view lies in, if there is one."""
    if not shape or shape[0] == 1:
        return None
    offset, inside = (
        value.offset.plus(start.times(-1)),
        sum((size - 1) * step for size, step in zip(shape[1:], strides[1:], strict=True)),
    )
    reach = sum((size - 1) * step for size, step in zip(value.shape, value.strides, strict=True))
    step = strides[0]
    if step <= inside or any(factor % step for _, factor in offset.factors):
        return None
    place, rest = divmod(offset.constant, step)
    if rest + reach > inside:
        return None
    return Place(place, tuple((each, factor // step) for each, factor in offset.factors))


def _sliced(value: Value, shape: Ints, strides: Ints, start: Place) -> str | None:
    """The slices that make a view, if it is made of slices."""
    if len(shape) != len(value.shape) or any(
        has % step for has, step in zip(value.strides, strides, strict=True) if step
    ):
        return None
    left, texts = value.offset.plus(start.times(-1)), [":"] * len(shape)
    # The offset is split like a number into digits, the longest step first.
    for axis in sorted(range(len(shape)), key=lambda axis: -strides[axis]):
        size, step, length, has = shape[axis], strides[axis], value.shape[axis], value.strides[axis]
        if not step or length > size or (has == 0 and length > 1):
            return None
        if size == 1:
            continue
        mine = tuple((each, factor // step) for each, factor in left.factors if factor % step == 0)
        place = Place(left.constant // step, mine)
        left = Place(left.constant % step, tuple(pair for pair in left.factors if pair[1] % step))
        by, last = has // step, place.constant + (length - 1) * (has // step)
        # A view that fills an axis cannot move along it, so the loop variable belongs to another axis.
        if last >= size or place.constant < 0 or (mine and last == size - 1):
            return None
        if (place, length, by) == (START, size, 1):
            continue
        if mine:
            texts[axis] = str(Span(place, length, by))
        else:
            stop = last + 1 if last + by < size else size
            first, end = str(place.constant) if place.constant else "", str(stop) if stop < size else ""
            texts[axis] = f"{first}:{end}" + (f":{by}" if by > 1 else "")
    if left != START or "" in texts:
        return None
    while texts and texts[-1] == ":":
        texts.pop()
    return f"[{', '.join(texts)}]" if texts else ""


def _swapped(values: Ints) -> Ints:
    return (*values[:-2], values[-1], values[-2])


def view_call(shape: Ints) -> str:
    """The call that views a tensor in a shape."""
    return f".view({', '.join(map(str, shape)) or '()'})"
