"""Recording a program: a lowering's code runs on `Value`, and what it would compute is written down as steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

from ndconv._programs.chunks import Chunks
from ndconv._programs.steps import COPY, Change, Copied, Make, Product, Repeat, Step, Unless, Work
from ndconv._programs.target import Target
from ndconv._programs.values import (
    Ints,
    Place,
    Span,
    Value,
    Variable,
    contiguous_strides,
    is_channels_last,
    layout_strides,
    view_strides,
)

Pairs = tuple[tuple[int, int], ...]

# Below this, starting oneDNN takes longer than it saves.
_LEAST_MULTIPLY_ADDS = 2 * 10**6
# Shorter sums gain less than it takes to put the results of a batch together.
_LEAST_SUM = 32
# Sums from this length on save more than it takes to transpose the result, once.
_LONG_SUM = 1024
# How a product is written to where it is wanted.
_OUT = {"{0} @ {1}": "torch.mm({1}, {2}, out={0})", "torch.bmm({0}, {1})": "torch.bmm({1}, {2}, out={0})"}
# Operations of torch that an einsum takes as long as to start.
_EINSUM = 8
_LINEAR = 'linear({0}, {1}, None, "none", [], "")'
_WIDE = {"float16": "float32", "bfloat16": "float32", "complex32": "complex64"}


class Builder(Chunks):
    """Records the steps of one program.

    Args:
        target: What it may count on.
        prices: Whether it is only to be priced.
    """

    symbolic = False
    """Whether sizes may be symbols, which nobody must compare."""

    def __init__(self, target: Target, *, prices: bool = False) -> None:
        super().__init__(target.limit)
        self.target, self.prices = target, prices
        self.kind, self.emulated = target.kind, target.emulated
        self._on_device = "" if target.device == "cpu" else f', device="{target.device}"'
        self.operands: list[Variable] = []
        self.constants: dict[str, str] = {}
        self.steps: list[Step] = []
        self._open = [self.steps]
        self._in_use: list[str] = []

    def operand(self, name: str, shape: Ints, strides: Ints | None, dtype: str) -> Value:
        """A tensor that the program is given."""
        variable = Variable(name, shape, strides or contiguous_strides(shape), dtype, owned=False)
        self.operands.append(variable)
        return self._whole(variable)

    def dtype(self, value: Value) -> str:
        """Element type, by torch's name."""
        return value.dtype

    def is_channels_last(self, value: Value) -> bool:
        """Whether torch calls a tensor with these strides channels-last."""
        return is_channels_last(value.shape, value.strides)

    def wide(self, value: Value) -> Value:
        """A value in the dtype in which sums of its dtype are taken."""
        return self.cast(value, _WIDE.get(value.dtype, value.dtype))

    # Making tensors.

    def _whole(self, variable: Variable) -> Value:
        return Value(self, variable, variable.shape, variable.strides, root=variable.shape)

    def _make(
        self, name: str, shape: Sequence[int], dtype: str, line: str, operands: tuple[Value, ...], work: Work
    ) -> Value:
        shape = tuple(shape)
        variable = Variable(name, shape, contiguous_strides(shape), dtype)
        self._open[-1].append(Make(variable, line, operands, work))
        return self._whole(variable)

    def call(
        self, function: str, shape: Sequence[int], *arguments: Any, name: str = "result", dtype: str = "",
        work: Work | None = None, item: int | None = None, plain: bool = False, **keywords: Any,
    ) -> Value:  # fmt: skip
        """A tensor by any function of torch, or an item of what it returns; made contiguous if it is to be plain."""
        operands = tuple(each for each in arguments if isinstance(each, Value))
        line = f"torch.{function}({_arguments(arguments, keywords)})" + ("" if item is None else f"[{item}]")
        line += ".contiguous()" * plain
        made = self._make(name, shape, dtype or operands[0].dtype, line, operands, work or Work())
        made.variable.opaque = not plain
        return made

    def part(self, value: Value, name: str) -> Value:
        """The real or the imaginary part of a value."""
        real = {"complex128": "float64", "complex64": "float32"}[value.dtype]
        return self._make(name, value.shape, real, f"{{0}}.{name}.contiguous()", (value,), Work(_moved(value)))

    def complex(self, products: Sequence[Value]) -> Value:
        """Of two numbers' products real by real, imaginary by imaginary and the two others: the complex product."""
        whole = {"float64": "complex128", "float32": "complex64"}[products[0].dtype]
        elements = products[0].numel()
        work = Work(Copied(8 * elements, elements), calls=3)
        return self._make(
            "product", products[0].shape, whole, "torch.complex({0} - {1}, {2} + {3})", tuple(products), work
        )

    def conjugated(self, value: Value) -> None:
        """Conjugate in place."""
        self.change("{0}.conj_physical_()", value, work=Work(Copied(2 * value.numel(), value.numel())))

    def kronecker(self, name: str, factors: Sequence[Sequence[Sequence[Fraction]]], like: Value) -> Value:
        """The Kronecker product of matrices of numbers, made when the program is compiled."""
        shape = math.prod(len(rows) for rows in factors), math.prod(len(rows[0]) for rows in factors)
        names = []
        for rows in factors:
            lines = "".join(f"    [{', '.join(map(str, row))}],\n" for row in rows)
            names.append(self._constant(f"{name}_1d", f"torch.tensor([\n{lines}], dtype=torch.float64)"))
        product = names[0]
        for other in names[1:]:
            product = f"torch.kron({product}, {other})"
        device = f'"{self.target.device}", ' if self._on_device else ""
        name = self._constant(name, f"{product}.to({device}torch.{like.dtype})")
        return self._whole(Variable(name, shape, contiguous_strides(shape), like.dtype, owned=False))

    def _constant(self, name: str, text: str) -> str:
        """The name of a constant, another one if there is another of that name."""
        known = next((each for each, other in self.constants.items() if other == text), None)
        if known is None:
            known = name + "_" * sum(each.rstrip("_") == name for each in self.constants)
            self.constants[known] = text
        return known

    def allocated(self, like: Value, shape: Ints, dtype: str, fill: str, name: str = "result") -> Value:
        """A new tensor, empty or of zeros."""
        elements = math.prod(shape) if fill == "zeros" else 0
        bare = tuple(size for size in shape if size != 1) or shape[:1]
        line = f"{{0}}.new_{fill}({_text(bare)}" + ("" if dtype == like.dtype else f", dtype=torch.{dtype}") + ")"
        whole = (self._whole(like.variable),)
        return self._make(name, bare, dtype, line, whole, Work(Copied(elements, elements))).view(*shape)

    def total(self, like: Value) -> Total:
        """A sum of what a loop that follows computes."""
        return Total(self, like, self._open[-1])

    def zeros(self, shape: Ints, dtype: str, like: Value) -> Value:
        """A new tensor of zeros."""
        return self.allocated(like, shape, dtype, "zeros")

    def wide_zeros(self, shape: Ints, like: Value) -> Value:
        """The same in the dtype in which sums of a value's dtype are taken."""
        return self.allocated(like, shape, _WIDE.get(like.dtype, like.dtype), "zeros")

    def copied(self, value: Value) -> Value:
        """A contiguous copy."""
        line = "{0}.clone(memory_format=torch.contiguous_format)"
        return self._make(value.variable.name, value.shape, value.dtype, line, (value,), Work(_moved(value)))

    def laid_out(self, value: Value, channels_last: bool) -> Value:
        """Contiguous, or channels-last where torch has that; also on axes of one element."""
        strides = layout_strides(value.shape, channels_last)
        axes = zip(value.shape, value.strides, strides, strict=True)
        if value.variable.opaque or any(size > 1 and has != wanted for size, has, wanted in axes):
            if strides == contiguous_strides(value.shape):
                line = "{0}.contiguous()"
            else:
                line = f"{{0}}.contiguous(memory_format=torch.channels_last{'_3d' * (value.dim() == 5)})"
            value = self._make(value.variable.name, value.shape, value.dtype, line, (value,), Work(_moved(value)))
            value.variable.strides = strides
            value = self._whole(value.variable)
        if value.strides == strides:
            return value
        return Value(self, value.variable, value.shape, strides, value.offset, ("", ""), value.root)

    def times_zero(self, value: Value) -> Value:
        """Zeros, or NaN where a value is not finite."""
        work = Work(Copied(2 * value.numel(), value.numel()))
        return self._make("unseen", value.shape, value.dtype, "({0} * 0).contiguous()", (value,), work)

    def summed(self, value: Value, axes: Sequence[int]) -> Value:
        """Sum over axes, which are gone then."""
        shape = [size for axis, size in enumerate(value.shape) if axis not in axes]
        line = f"{{0}}.sum({_text(axes)}, dtype=torch.{value.dtype})"
        return self._make("sums", shape, value.dtype, line, (value,), Work(_moved(value)))

    def digit(self, value: Value, place: int, count: int, bits: int, dtype: str) -> Value:
        """So many bits of integers, in a float; all digits but the highest are non-negative."""
        shifted = f"({{0}} >> {bits * place})" if place else "{0}"
        masked = f"({shifted} & {2**bits - 1})" if place < count - 1 else shifted
        line = f"{masked}.to(torch.{dtype}).contiguous()"
        work = Work(Copied(4 * value.numel(), value.numel()), calls=3)
        return self._make("digit", value.shape, dtype, line, (value,), work)

    def add_digit(self, total: Value, product: Value, shift: int) -> None:
        """Add the product of digits, which stands so many bits further up."""
        line = "{0}.add_({1}.to(torch.int64)" + (f" << {shift})" if shift else ")")
        self.change(line, total, product, work=Work(Copied(5 * total.numel(), total.numel()), calls=3))

    def reshaped(self, value: Value, shape: Ints, name: str = "") -> Value:
        """A contiguous copy in another shape."""
        bare = tuple(size for size in shape if size != 1) or shape[:1]
        made = self._make(name or value.variable.name, bare, value.dtype, COPY, (value,), Work(_moved(value)))
        made.variable.malleable = True
        return made.view(*shape)

    def flipped(self, value: Value, axes: Ints) -> Value:
        """A copy in reverse order."""
        bare = _bare(value, value.dim())
        wide, kept = ([axis for axis, size in enumerate(each.shape) if size > 1] for each in (value, bare))
        line = f"{{0}}.flip({', '.join(str(kept[wide.index(axis)]) for axis in axes)})"
        made = self._make(value.variable.name, bare.shape, value.dtype, line, (bare,), Work(_moved(value)))
        return made.view(*value.shape)

    def named(self, name: str, value: Value) -> Value:
        """Give the variable behind a value another name, unless it is an operand's."""
        if value.variable.owned:
            value.variable.name = name
        return value

    def cast(self, value: Value, dtype: str) -> Value:
        """The value with another element type: a contiguous copy, unless it has that."""
        if dtype == value.dtype:
            return value
        line = "{0}" + f".to(torch.{dtype})" + ("" if value.is_contiguous() else ".contiguous()")
        return self._make(value.variable.name, value.shape, dtype, line, (value,), Work(_moved(value)))

    def pad(self, value: Value, amounts: Pairs, name: str = "padded") -> Value:
        """Pad the last axes with zeros, ``(lo, hi)`` per axis; negative amounts crop."""
        if not any(map(any, amounts)):
            return value
        lead = value.dim() - len(amounts)
        sizes = value.shape[lead:]
        grown = [size + max(lo, 0) + max(hi, 0) for size, (lo, hi) in zip(sizes, amounts, strict=True)]
        crops = any(min(pair) < 0 for pair in amounts)
        if any(max(pair) > 0 for pair in amounts):
            first = next(axis for axis, pair in enumerate(amounts) if max(pair) > 0)
            flat = [max(0, amount) for pair in reversed(amounts[first:]) for amount in pair]
            shape = (*value.shape[:lead], *grown)
            line = f"torch.constant_pad_nd({{0}}, {_text(flat)})"
            work = Work(Copied(math.prod(shape) + value.numel(), shape[-1]))
            bare = _plain(_bare(value, lead + first))
            padded = (*bare.shape[: bare.dim() - len(grown[first:])], *grown[first:])
            value = self._make(name, padded, value.dtype, line, (bare,), work).view(*shape)
        if not crops:
            return value
        parts = (slice(max(0, -lo), size - max(0, -hi)) for size, (lo, hi) in zip(grown, amounts, strict=True))
        return value[(*(slice(None),) * lead, *parts)]

    def unpad(self, value: Value, amounts: Pairs) -> Value:
        """Adjoint of `pad`: crop what it added and put zeros where it cropped."""
        return self.pad(value, tuple((-lo, -hi) for lo, hi in amounts))

    def take(self, value: Value, axis: int, indices: Ints) -> Value:
        """`torch.index_select` with indices that are known."""
        if not self.prices:
            index = self._constant("order", f"torch.tensor({list(indices)}{self._on_device})")
            line = f"{{0}}.index_select({axis}, {index})"
        else:
            line = ""
        return self._make("taps", value.shape, value.dtype, line, (_plain(value),), Work(_moved(value)))

    def cat(self, values: Sequence[Value], axis: int, name: str = "joined") -> Value:
        """`torch.cat`."""
        if len(values) == 1:
            return values[0]
        shape = list(values[0].shape)
        shape[axis] = sum(value.shape[axis] for value in values)
        places = ", ".join(f"{{{index}}}" for index in range(len(values)))
        moved = [_moved(value) for value in values]
        work = Copied(
            sum(each.elements for each in moved), min(each.row for each in moved), any(m.apart for m in moved)
        )
        operands = tuple(_plain(value) for value in values)
        return self._make(name, shape, values[0].dtype, f"torch.cat(({places}), {axis})", operands, Work(work))

    def einsum(
        self, equation: str, first: Value, second: Value, shape: Ints | None = None, product: Product | None = None
    ) -> Value:
        """`torch.einsum` of two operands; the equation, a letter for every axis, tells what is not given."""
        if shape is None or product is None:
            shape, product = _contracted(equation, first.shape, second.shape)
        moved = Copied(2 * (first.numel() + second.numel() + math.prod(shape)), 1)
        line = f'torch.einsum("{equation}", {{0}}, {{1}}).contiguous()'
        # It multiplies copies, and what it multiplies them to may be copied again.
        inside = (first.numel() + second.numel() + math.prod(shape)) * first.itemsize
        work = Work(moved, product, _EINSUM, inside=inside)
        return self._make("product", shape, first.dtype, line, (first, second), work)

    # Changing tensors.

    def change(self, line: str, *operands: Value, work: Work) -> None:
        """Any line of torch that writes to its first operand."""
        self._open[-1].append(Change(line, operands, work))

    def written(self, target: Value, source: Value) -> None:
        """Copy a value to where another is."""
        source = source.expand(*target.shape)
        if self._is_product_in_place(target, source):
            return
        work = Work(_moved(source, target))
        self.change("{0}.copy_({1})", *_slim(target, source), work=work)

    def _is_product_in_place(self, target: Value, source: Value) -> bool:
        """Have the product that was just computed, if it was one, written to where it is wanted; or say no."""
        steps, made = self._open[-1], source.variable
        last = steps[-1] if steps else None
        if not isinstance(last, Make) or last.target is not made or last.line not in _OUT:
            return False
        place = view_strides(target.shape, target.strides, made.shape)
        whole = source.numel() == made.elements and source.is_contiguous() and target.dtype == source.dtype
        if not whole or place != contiguous_strides(made.shape):
            return False
        steps.pop()
        out = Value(self, target.variable, made.shape, place, target.offset, ("", ""))
        self.change(_OUT[last.line], out, *last.operands, work=last.work)
        return True

    def zeroed(self, target: Value) -> None:
        """Fill with zeros."""
        self.change("{0}.zero_()", target, work=Work(Copied(target.numel(), target.shape[-1])))

    def added(self, target: Value, source: Value) -> None:
        """Add a value to another."""
        source = source.expand(*target.shape)
        moved = _moved(source, target)
        work = Work(moved._replace(elements=moved.elements * 3 // 2))
        self.change("{0}.add_({1})", *_slim(target, source), work=work)

    # Matrix products.

    def matmul(self, first: Value, second: Value, name: str = "product") -> Value:
        """``first @ second`` for every item of a batch, ``(b, i, j)`` and ``(*a, b, j, k)`` give ``(*a, b, i, k)``."""
        lead, (rows, terms), columns = second.shape[:-2], first.shape[-2:], second.shape[-1]
        number = math.prod(lead)
        if self._suits(first, second):
            return self._by_onednn(first, second, name)
        work = Work(None, Product(number, rows, terms, columns, _is_dense(first) and _is_dense(second)))
        if number == 1:
            a, b = _settled(first[0]), _settled(second[(0,) * len(lead)])
            product = self._make(name, (rows, columns), first.dtype, "{0} @ {1}", (a, b), work)
        else:
            a = first if second.dim() == 3 else first.expand(*lead, rows, terms).flatten(0, -3)
            a, b = _settled(a), _settled(second.flatten(0, -3))
            product = self._make(name, (number, rows, columns), first.dtype, "torch.bmm({0}, {1})", (a, b), work)
        return product.view(*lead, rows, columns)

    def accumulate(self, total: Value, first: Value, second: Value, *, fresh: bool = False) -> None:
        """``total += first @ second``, or ``=`` if fresh: ``(b, i, k)``, ``(b, i, j)`` and ``(b, j, k)``."""
        number, rows, terms = first.shape
        product = Product(number, rows, terms, second.shape[2], _is_dense(first) and _is_dense(second))
        beta = ", beta=0" if fresh else ""
        if not fresh and self._suits(first, second):
            for index in self.each(number, "g"):
                self.added(total[index], self._linear(first[index], second[index], "product"))
        elif number == 1:
            self.change(
                f"{{0}}.addmm_({{1}}, {{2}}{beta})", total[0], first[0], second[0], work=Work(None, product, again=True)
            )
        else:
            self.change(
                f"{{0}}.baddbmm_({{1}}, {{2}}{beta})", total, first, second, work=Work(None, product, again=True)
            )

    def _suits(self, first: Value, second: Value) -> bool:
        """Whether oneDNN takes these operands, and takes less time."""
        rows, (inner, columns) = first.shape[-2], second.shape[-2:]
        return (
            self.target.onednn
            and first.dtype == "float32"
            and rows * inner * columns >= _LEAST_MULTIPLY_ADDS
            and (inner >= _LEAST_SUM or math.prod(second.shape[:-2]) == 1)
            and (second.is_contiguous() or second.mT.is_contiguous())
        )

    def _by_onednn(self, first: Value, second: Value, name: str) -> Value:
        lead, rows, columns = second.shape[:-2], first.shape[-2], second.shape[-1]
        if math.prod(lead) == 1:
            product = self._linear(first[0], second[(0,) * len(lead)], name)
            return product[(None,) * len(lead)]
        first = first.contiguous()
        result = self.allocated(first, (*lead, rows, columns), first.dtype, "empty", name)
        self._each_product(lead, (), first, second, result)
        return result

    def _each_product(
        self, lead: Ints, index: tuple[int | Place, ...], first: Value, second: Value, out: Value
    ) -> None:
        if len(index) < len(lead):
            for place in self.each(lead[len(index)], "ng"[len(index) - len(lead)]):
                self._each_product(lead, (*index, place), first, second, out)
            return
        out[index].copy_(self._linear(first[index[-1]], second[index], "product"))

    def _linear(self, first: Value, second: Value, name: str) -> Value:
        """``first @ second`` by oneDNN, as a view of its transpose if that is quicker."""
        self._constant("linear", "torch.ops.mkldnn._linear_pointwise  # x @ w.T by oneDNN")
        (rows, inner), columns = first.shape, second.shape[1]
        work = Work(None, Product(1, rows, inner, columns))
        if rows < columns and inner >= _LONG_SUM and second.mT.is_contiguous():
            operands = _settled(second).mT, _settled(first.contiguous())
            return self._make(name, (columns, rows), first.dtype, _LINEAR, operands, work).mT
        return self._make(name, (rows, columns), first.dtype, _LINEAR, (_settled(first), _settled(second).mT), work)

    # Repeating.

    @contextmanager
    def _inside(self, steps: list[Step]) -> Iterator[None]:
        self._open.append(steps)
        yield
        self._open.pop()

    def ranged(self, start: int, stop: int, step: int, name: str) -> Iterator[Place]:
        """Every ``step``-th number of a range, in a loop unless there is one only."""
        numbers = range(start, stop, step)
        if len(numbers) <= 1:
            for number in numbers:
                yield Place(number)
            return
        while name in self._in_use:
            name += "_"
        text = f"range({stop})" if (start, step) == (0, 1) else repr(numbers)
        loop = Repeat(f"for {name} in {text}", len(numbers))
        self._open[-1].append(loop)
        self._in_use.append(name)
        with self._inside(loop.steps):
            yield Place(0, ((name, 1),))
        self._in_use.remove(name)

    def span(self, start: Place | int, length: int, step: int = 1, factor: int = 1) -> Span:
        """So many elements of an axis, every ``step``-th, from ``factor`` times a place on."""
        return Span((start if isinstance(start, Place) else Place(start)).times(factor), length, step)

    def table(self, names: Sequence[str], count: int, rows: Sequence[Ints]) -> Iterator[tuple[Place, ...]]:
        """The numbers of each row; a program that is only priced needs no more than how many there are."""
        loop = Repeat(f"for {', '.join(names)} in {_table(rows)}" if rows else "", count)
        self._open[-1].append(loop)
        with self._inside(loop.steps):
            yield tuple(Place(0, ((name, 1),)) for name in names)

    def unless_finite(self, watched: Sequence[Value], result: Value, otherwise: Callable[[], Value]) -> Value:
        """A result, or another one unless the elements of the smallest of some values are all finite."""
        if self.kind == "meta":
            return result  # there are no numbers to look at
        result = result.contiguous()
        smallest = min(watched, key=Value.numel)
        whole = smallest.variable
        steps = Unless(self._whole(whole) if whole.elements == smallest.numel() else _bare(smallest, smallest.dim()))
        self._open[-1].append(steps)
        with self._inside(steps.steps):
            result.copy_(otherwise())
        return result


class Total:
    """A sum that is laid out as what is added to it, so that nothing is transposed again and again.

    Args:
        builder: What records the steps.
        like: A value of the dtype.
        steps: Where the sum begins with zeros, before the loop.
    """

    def __init__(self, builder: Builder, like: Value, steps: list[Step]) -> None:
        self._builder, self._like, self._steps, self._place = builder, like, steps, len(steps)
        self._value: Value | None = None

    @property
    def value(self) -> Value:
        """The sum; something must have been added."""
        assert self._value is not None
        return self._value

    def add(self, other: Value) -> None:
        """Add a value, all of one shape and layout."""
        if self._value is None:
            begin = self._builder.zeros(other.variable.shape, other.dtype, self._like).view(*other.variable.shape)
            self._steps.insert(self._place, self._builder._open[-1].pop())
            self._value = Value(self._builder, begin.variable, other.shape, other.strides, other.offset, ("", ""))
        self._builder.added(self._value, other)


def _text(numbers: Sequence[int]) -> str:
    return f"({numbers[0]},)" if len(numbers) == 1 else f"({', '.join(map(str, numbers))})"


def _contracted(equation: str, first: Ints, second: Ints) -> tuple[Ints, Product]:
    """Shape of the result of an einsum, and the matrix products that it amounts to."""
    inputs, _, out = equation.partition("->")
    one, _, other = inputs.partition(",")
    sizes = {**dict(zip(one, first, strict=True)), **dict(zip(other, second, strict=True))}
    batch, shared = set(one) & set(other) & set(out), set(one) & set(other)
    groups = batch, set(one) - shared, shared - batch, set(other) - shared
    number, rows, terms, columns = (math.prod(sizes[letter] for letter in group) for group in groups)
    return tuple(sizes[letter] for letter in out), Product(number, rows, terms, columns, dense=False)


def _arguments(arguments: Sequence[Any], keywords: dict[str, Any]) -> str:
    """Arguments of a call, with places for the values."""
    texts, places = [], 0
    for each in arguments:
        texts.append(f"{{{places}}}" if isinstance(each, Value) else str(each))
        places += isinstance(each, Value)
    return ", ".join([*texts, *(f"{name}={value!r}" for name, value in keywords.items())])


def _table(rows: Sequence[Ints]) -> str:
    return f"({', '.join(_text(row) for row in rows)},)"


def _is_dense(value: Value) -> bool:
    return value.is_contiguous() or value.mT.is_contiguous()


def _settled(value: Value) -> Value:
    """The value, of a variable that has its shape if it can have any."""
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


def _moved(source: Value, target: Value | None = None) -> Copied:
    """What it takes to copy a value, to a contiguous tensor if none is named."""
    places = target.strides if target is not None else contiguous_strides(source.shape)
    row, apart, unit, length = 1, False, (1, 1), 1
    for size, step, other in zip(reversed(source.shape), reversed(source.strides), reversed(places), strict=True):
        if size == 1:
            continue
        if length == 1:
            row, length, unit, apart = size, size, (step, other), step not in (0, 1) or other != 1
        elif (step, other) == (unit[0] * length, unit[1] * length):
            row, length = row * size, length * size
        else:
            break
    distinct = min(source.numel(), source.variable.elements)
    return Copied(source.numel() + distinct, row, apart)


def _bare(value: Value, lead: int) -> Value:
    """The value without axes of one element among the first so many; as the variable is, if only such axes differ."""
    whole = value.variable
    kept = [(size, step) for size, step in zip(value.shape[:lead], value.strides[:lead], strict=True) if size != 1]
    kept += zip(value.shape[lead:], value.strides[lead:], strict=True)
    same = [(size, step) for size, step in zip(whole.shape, whole.strides, strict=True) if size != 1]
    if kept == same and value.offset == Place() and not whole.malleable:
        return value.builder._whole(whole)
    for axis in reversed(range(lead)):
        value = value.squeeze(axis)
    return value


def _slim(target: Value, source: Value) -> tuple[Value, Value]:
    """Two values of one shape without axes of one element, and with those merged that lie one inside the other."""
    if target.variable.opaque or source.variable.opaque:
        return target, source
    axes: list[tuple[int, int, int]] = []
    for size, step, between in zip(target.shape, target.strides, source.strides, strict=True):
        if size == 1:
            continue
        if axes and axes[-1][1:] == (size * step, size * between):
            axes[-1] = axes[-1][0] * size, step, between
        else:
            axes.append((size, step, between))
    shape, steps, others = (tuple(each) for each in zip(*axes, strict=True)) if axes else ((), (), ())
    for wanted in (source.variable.shape, target.variable.shape, target.variable.shape[1:]):
        one, other = view_strides(shape, steps, wanted), view_strides(shape, others, wanted)
        if one is not None and other is not None:
            shape, steps, others = wanted, one, other
            break
    return (
        Value(target.builder, target.variable, shape, steps, target.offset, ("", "")),
        Value(source.builder, source.variable, shape, others, source.offset, ("", "")),
    )


def _plain(value: Value) -> Value:
    """A value of which torch makes contiguous tensors: it keeps a channels-last order where it may see one."""
    return value.contiguous() if value.dim() in (4, 5) and value.strides[1] <= min(value.strides[2:]) else value
