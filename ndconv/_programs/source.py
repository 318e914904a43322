"""A program as text: one Python function that needs torch and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ndconv._form.geometry import Ints
from ndconv._programs.builder import Builder
from ndconv._programs.expressions import expression, view_call
from ndconv._programs.lifetimes import last_uses, needed
from ndconv._programs.lines import WIDTH, broken, commented, wrapped
from ndconv._programs.steps import COPY, Change, Make, Repeat, Step, Unless
from ndconv._programs.values import REMADE, START, Value, Variable, merged, view_strides

_END = 10**9
# Larger tensors are deleted as soon as they are not needed any more.
_LARGE = 2**20


def source(name: str, builder: Builder, result: Value) -> str:
    """Text of a function that runs the steps and returns the result."""
    arguments, steps, constants = builder.operands, builder.steps, builder.constants
    writer = _Writer(arguments, steps, result)
    last = steps[-1] if steps else None
    inline = isinstance(last, Make) and last.target is result.variable and not result.is_view
    body = writer.block(steps[:-1] if inline else steps, 1)
    shapes = ", ".join(f"{each.name} {each.shape}" for each in arguments)
    head = f"def {name}({', '.join(each.name for each in arguments)}):"
    lines = [commented(head, shapes) if len(head) + len(shapes) < WIDTH - 4 else f"{head}\n    # {shapes}"]
    lines += body
    returned = writer.computed(last) if inline and isinstance(last, Make) else writer.text(result)
    lines += wrapped("return ", returned, str(result.shape), 1)
    imports = ["from math import isfinite", ""] * any("isfinite(" in line for line in lines) + ["import torch"]
    imports += [""] * bool(constants)
    for constant, text in constants.items():
        imports += broken(f"{constant} = {text}", "")
    return "\n".join([*imports, "", "", *lines, ""])


class _Names(dict[Variable, str]):
    """Constants have names of their own."""

    def __missing__(self, variable: Variable) -> str:
        return variable.name


class _Writer:
    """Names variables while they live."""

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
                lines += wrapped("", step.head, "", depth, ":")
                lines += self.block(step.steps, depth + 1)
                self.position += 1
            elif isinstance(step, Unless):
                value, dtype = self.text(step.watched), step.watched.dtype
                wide = "dtype=torch.float32" if dtype in ("float16", "bfloat16") else ""
                total = f"{value}.sum({wide})" + ".abs()" * dtype.startswith("complex")
                finite = f"{step.unseen}isfinite({total}) or {value}.isfinite().all()"
                lines += wrapped("if ", f"not ({finite})", "", depth, ":")
                lines += self.block(step.steps, depth + 1)
                self.position += 1
            else:
                text = self.computed(step)
                if isinstance(step, Make):
                    lines += wrapped(f"{self._named(step.target)} = ", text, str(step.target.shape), depth)
                else:
                    lines += wrapped("", text, "", depth)
            lines += self._given_back(step, depth)
        return lines

    def computed(self, step: Make | Change) -> str:
        """The computation of a step, as an expression."""
        if isinstance(step, Make) and step.line == COPY:
            return self._copied(step.operands[0], step.target.shape)
        return step.line.format(*map(self.text, step.operands))

    def _named(self, variable: Variable) -> str:
        """The variable's own name, unless a variable that is still needed has it."""
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
            for value in needed(step)
            if self.last.get(value.variable, 0) <= self.position and value.variable in self.names
        }
        large = sorted(self.names[each] for each in dead if each.owned and each.bytes >= _LARGE)
        if large and self.position < self.made:
            for name in large:
                self.names.pop(self.owners.pop(name))
            yield "    " * depth + f"del {', '.join(large)}"

    def _copied(self, value: Value, shape: Ints) -> str:
        """A contiguous copy in some shape, from the view that is the shortest to write."""
        whole, name = value.variable, self.names[value.variable]
        axes = [(size, stride) for size, stride in zip(value.shape, value.strides, strict=True) if size != 1]
        places = {axis: place for place, axis in enumerate(zip(whole.shape, whole.strides, strict=True))}
        if value.root == whole.shape and (len(value.chain) <= 1 or whole.opaque):
            text, view = self.text(value), value
        elif sorted(axes) == sorted(places) and len(axes) == len(places):
            order = [places[axis] for axis in axes]
            view = Value(value.builder, whole, whole.shape, whole.strides, root=whole.shape).permute(order)
            text = name + _written(view)
        else:
            runs = merged(value.shape, value.strides)
            view = replace(value, shape=tuple(size for size, _, _ in runs), strides=tuple(step for _, step, _ in runs))
            text = self.text(replace(view, chain=REMADE))
        if view_strides(view.shape, view.strides, shape) is None:
            return f"{text}.reshape({', '.join(map(str, shape)) or '()'})"
        # A reshape would be a view to torch.
        return f"{text}.contiguous()" + (view_call(shape) if view.shape != shape else "")

    def text(self, value: Value) -> str:
        """An expression for a view of a variable."""
        whole, name = value.variable, self.names[value.variable]
        if whole.opaque and value.is_view:
            return name + _written(value)
        return expression(name, value, whole.shape, whole.strides, START, whole.owned)


def _written(view: Value) -> str:
    """The calls that make a view."""
    return "".join(call() for call in view.chain)
