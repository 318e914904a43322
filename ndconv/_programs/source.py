"""A program as text: one Python function that needs torch and nothing else."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ndconv._programs.builder import Builder
from ndconv._programs.steps import COPY, Make, Repeat, Step, Unless, operands
from ndconv._programs.values import Ints, Place, Span, Value, Variable, view_strides

_WIDTH = 120
_END = 10**9
# What is larger is given back as soon as nobody needs it any more.
_LARGE = 2**20


def source(name: str, builder: Builder, result: Value) -> str:
    """Text of a function that runs the steps and returns the result."""
    arguments, steps, constants = builder.operands, builder.steps, builder.constants
    writer = _Writer(arguments, steps, result)
    body = writer.block(steps, 1)
    shapes = ", ".join(f"{each.name} {each.shape}" for each in arguments)
    head = f"def {name}({', '.join(each.name for each in arguments)}):"
    lines = [_commented(head, shapes) if len(head) + len(shapes) < _WIDTH - 4 else f"{head}\n    # {shapes}"]
    lines += body
    lines += _wrapped("return ", writer.text(result), str(result.shape), 1)
    imports = ["from math import isfinite", ""] * any("isfinite(" in line for line in lines) + ["import torch"]
    imports += [""] * bool(constants) + [f"{name} = {text}" for name, text in constants.items()]
    return "\n".join([*imports, "", "", *lines, ""])


class _Names(dict[Variable, str]):
    """Constants have names of their own."""

    def __missing__(self, variable: Variable) -> str:
        return variable.name


class _Writer:
    """Gives names to variables as they come and go."""

    def __init__(self, arguments: Sequence[Variable], steps: Sequence[Step], result: Value) -> None:
        self.last, self.made = last_uses(steps)
        self.last[result.variable] = _END
        self.names = _Names({each: each.name for each in arguments})
        self.owners: dict[str, Variable] = {each.name: each for each in arguments}
        self.position = 0

    def block(self, steps: Sequence[Step], depth: int) -> list[str]:
        lines: list[str] = []
        for step in steps:
            self.position += 1
            if isinstance(step, Repeat):
                lines += _wrapped("", step.head, "", depth, ":")
                lines += self.block(step.steps, depth + 1)
                self.position += 1
            elif isinstance(step, Unless):
                value, dtype = self.text(step.watched), step.watched.dtype
                wide = "dtype=torch.float32" if dtype in ("float16", "bfloat16") else ""
                total = f"{value}.sum({wide})" + ".abs()" * dtype.startswith("complex")
                lines += _wrapped("if ", f"not isfinite({total}) and not {value}.isfinite().all()", "", depth, ":")
                lines += self.block(step.steps, depth + 1)
                self.position += 1
            else:
                if isinstance(step, Make) and step.line == COPY:
                    text = self._copied(step.operands[0], step.target.shape)
                else:
                    text = step.line.format(*map(self.text, step.operands))
                if isinstance(step, Make):
                    lines += _wrapped(f"{self._named(step.target)} = ", text, str(step.target.shape), depth)
                else:
                    lines += _wrapped("", text, "", depth)
            lines += self._given_back(step, depth)
        return lines

    def _named(self, variable: Variable) -> str:
        """Its own name, if nothing that is needed later has it."""
        name, number = variable.name, 1
        while name in self.owners and self.last.get(self.owners[name], 0) > self.position:
            number += 1
            name = f"{variable.name}_{number}"
        before = self.owners.get(name)
        if before is not None:
            self.names.pop(before, None)
        self.names[variable], self.owners[name] = name, variable
        return name

    def _given_back(self, step: Step, depth: int) -> Iterator[str]:
        dead = {
            value.variable
            for value in _needed(step)
            if self.last.get(value.variable, 0) <= self.position and value.variable in self.names
        }
        large = sorted(self.names[each] for each in dead if each.owned and each.bytes >= _LARGE)
        if large and self.position < self.made:
            for name in large:
                self.names.pop(self.owners.pop(name))
            yield "    " * depth + f"del {', '.join(large)}"

    def _copied(self, value: Value, shape: Ints) -> str:
        """A contiguous copy in some shape, of whatever view is the shortest."""
        whole, name = value.variable, self.names[value.variable]
        axes = [(size, stride) for size, stride in zip(value.shape, value.strides, strict=True) if size != 1]
        places = {axis: place for place, axis in enumerate(zip(whole.shape, whole.strides, strict=True))}
        if value.root == whole.shape and (len(value.chain) <= 1 or whole.opaque):
            text, view = self.text(value), value
        elif sorted(axes) == sorted(places) and len(axes) == len(places):
            order = [places[axis] for axis in axes]
            view = Value(value.builder, whole, whole.shape, whole.strides, root=whole.shape).permute(order)
            text = name + "".join(view.chain)
        else:
            merged = _merged(axes)
            view = replace(value, shape=tuple(size for size, _ in merged), strides=tuple(step for _, step in merged))
            text = self.text(replace(view, chain=("", "")))
        if view_strides(view.shape, view.strides, shape) is None:
            return f"{text}.reshape({', '.join(map(str, shape)) or '()'})"
        # To torch a view would do.
        return f"{text}.contiguous()" + (_view(shape) if view.shape != shape else "")

    def text(self, value: Value) -> str:
        """An expression for a view of a variable."""
        whole, name = value.variable, self.names[value.variable]
        if whole.opaque and value.is_view:
            return name + "".join(value.chain)
        return _expression(name, value, whole.shape, whole.strides, Place(), whole.owned)


def _expression(name: str, value: Value, shape: Ints, strides: Ints, start: Place, owned: bool) -> str:
    """A short expression for a view of what has a name, a shape and strides, and begins at some place."""
    if (value.shape, value.strides, value.offset) == (shape, strides, start):
        return name
    if len(value.chain) == 1 and value.root == shape and start == Place():
        return name + value.chain[0]
    if value.offset == start:
        if (value.shape, value.strides) == (shape[::-1], strides[::-1]) and len(shape) == 2:
            return f"{name}.T"
        if len(shape) > 2 and (value.shape, value.strides) == (_swapped(shape), _swapped(strides)):
            return f"{name}.mT"
        if view_strides(shape, strides, value.shape) == value.strides:
            return name + _view(value.shape)
    sliced = _sliced(value, shape, strides, start)
    if sliced is not None:
        return name + sliced
    index = _index(value, shape, strides, start)
    if index is not None:
        part = _expression(
            f"{name}[{index}]", value, shape[1:], strides[1:], start.plus(index.times(strides[0])), False
        )
        if ".as_strided" not in part:
            return part
    text = f"{name}.as_strided({_tuple(value.shape)}, {_tuple(value.strides)}"
    offset = value.offset.plus(start.times(-1))
    if offset == Place():
        return f"{text})"
    return f"{text}, {offset})" if owned else f"{text}, {name}.storage_offset() + {offset})"


def _index(value: Value, shape: Ints, strides: Ints, start: Place) -> Place | None:
    """The one index of the first axis that a view lies within, if there is one."""
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
    left, texts = value.offset.plus(start.times(-1)), []
    for size, step, length, has in zip(shape, strides, value.shape, value.strides, strict=True):
        if not step or (has == 0 and length > 1):
            return None
        mine = tuple((each, factor // step) for each, factor in left.factors if factor % step == 0)
        place = Place(left.constant // step, mine)
        left = Place(left.constant % step, tuple(pair for pair in left.factors if pair[1] % step))
        by, last = has // step, place.constant + (length - 1) * (has // step)
        if last >= size or place.constant < 0:
            return None
        if (place, length, by) == (Place(), size, 1):
            texts.append(":")
        elif mine:
            texts.append(str(Span(place, length)) if by == 1 else "")
        else:
            stop = last + 1 if last + by < size else size
            first, end = str(place.constant) if place.constant else "", str(stop) if stop < size else ""
            texts.append(f"{first}:{end}" + (f":{by}" if by > 1 else ""))
    if left != Place() or "" in texts:
        return None
    while texts and texts[-1] == ":":
        texts.pop()
    return f"[{', '.join(texts)}]" if texts else ""


def _swapped(values: Ints) -> Ints:
    return (*values[:-2], values[-1], values[-2])


def _needed(step: Step) -> Iterator[Value]:
    """What a step and those inside it read or write to, but for what is made in there."""
    yield from operands(step)
    if isinstance(step, Repeat | Unless):
        made = _made_in(step.steps)
        yield from (value for each in step.steps for value in _needed(each) if value.variable not in made)


def _made_in(steps: Sequence[Step]) -> set[Variable]:
    """What steps make, and those inside them."""
    found = {step.target for step in steps if isinstance(step, Make)}
    return found.union(*(_made_in(step.steps) for step in steps if isinstance(step, Repeat | Unless)))


def last_uses(steps: Sequence[Step]) -> tuple[dict[Variable, int], int]:
    """Position of the last step that needs each variable, and of the last that makes one.

    A loop needs until its end what was there before it.
    """
    last: dict[Variable, int] = {}
    _last_uses(steps, 0, last)
    made = max((last_made(steps)), default=0)
    return last, made


def last_made(steps: Sequence[Step], position: int = 0) -> list[int]:
    """Positions of what makes variables; that of a loop's end if the loop does."""
    found = []
    for step in steps:
        position += 1
        if isinstance(step, Repeat | Unless):
            inside = last_made(step.steps, position)
            position = _last_uses(step.steps, position, {}) + 1
            found += [position] if inside else []
        elif isinstance(step, Make):
            found.append(position)
    return found


def _last_uses(steps: Sequence[Step], position: int, last: dict[Variable, int]) -> int:
    for step in steps:
        position += 1
        for value in operands(step):
            last[value.variable] = position
        if isinstance(step, Make):
            last[step.target] = position
        if isinstance(step, Repeat | Unless):
            inside: dict[Variable, int] = {}
            position = _last_uses(step.steps, position, inside) + 1
            made = _made_in(step.steps)
            last.update({each: place if each in made else position for each, place in inside.items()})
    return position


def _merged(axes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sizes and strides of axes, those merged that lie one inside the other."""
    found: list[tuple[int, int]] = []
    for size, stride in axes:
        if found and found[-1][1] == size * stride:
            found[-1] = found[-1][0] * size, stride
        else:
            found.append((size, stride))
    return found


def _tuple(numbers: Sequence[int]) -> str:
    return f"({numbers[0]},)" if len(numbers) == 1 else f"({', '.join(map(str, numbers))})"


def _commented(line: str, comment: str) -> str:
    return f"{line}  # {comment}" if comment and len(line) + len(comment) + 4 <= _WIDTH else line


def _view(shape: Ints) -> str:
    return f".view({', '.join(map(str, shape)) or '()'})"


def _wrapped(start: str, text: str, comment: str, depth: int, end: str = "") -> list[str]:
    """A statement, in several lines if it is too long for one."""
    indent = "    " * depth
    line = f"{indent}{start}{text}{end}"
    if len(line) <= _WIDTH:
        return [_commented(line, comment)]
    if start.strip() and not end:
        inner = textwrap.wrap(text, _WIDTH - len(indent) - 4, break_long_words=False, break_on_hyphens=False)
        return [f"{indent}{start}(", *(f"{indent}    {each}" for each in inner), _commented(f"{indent})", comment)]
    return _broken(line.strip(), indent)


def _broken(line: str, indent: str) -> list[str]:
    """A line broken where that is inside of brackets."""
    first, *words = line.split(" ")
    lines, current = [], indent + first
    level = sum(first.count(each) for each in "([") - sum(first.count(each) for each in ")]")
    for word in words:
        if level > 0 and len(current) + len(word) >= _WIDTH:
            lines.append(current)
            current = f"{indent}    {word}"
        else:
            current = f"{current} {word}"
        level += sum(word.count(each) for each in "([") - sum(word.count(each) for each in ")]")
    return [*lines, current]
