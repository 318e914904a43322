"""Recording a program: a lowering's code runs on `Value`, and every computation is written down as a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

from ndconv._form.geometry import Ints, Pairs
from ndconv._programs.copies import bare, moved, plain, slim, transposed
from ndconv._programs.lines import listed
from ndconv._programs.products import Products
from ndconv._programs.steps import COPY, Change, Copied, Make, Product, Repeat, Step, Unless, Work
from ndconv._programs.target import Target
from ndconv._programs.values import (
    COMPLEX,
    REAL,
    REMADE,
    Place,
    Span,
    Value,
    Variable,
    contiguous_strides,
    is_channels_last,
    layout_strides,
    view_strides,
    wide_dtype,
)

# Products that can be written straight to their destination.
_OUT = {"{0} @ {1}": "torch.mm({1}, {2}, out={0})", "torch.bmm({0}, {1})": "torch.bmm({1}, {2}, out={0})"}
# The overhead of an einsum: the operations that it starts, and the views that it makes.
_EINSUM = {"calls": 5, "views": 7}
# An `index_select` takes as long as so many copies.
_SELECTED = 3


class TooDear(Exception):  # noqa: N818  # nothing has gone wrong
    """The recorded program takes longer than it may."""


class Builder(Products):
    """Records the steps of one program.

    Args:
        target: The device and its settings.
        prices: Whether the program is priced only.
        most: Nanoseconds from which on the price does not matter: `TooDear` is raised.
    """

    symbolic = False
    """Whether sizes may be symbols, which must not be compared."""

    def __init__(self, target: Target, *, prices: bool = False, most: float = math.inf) -> None:
        super().__init__(target.limit, target.rates.worth_a_chunk)
        self.target, self.prices, self._left = target, prices, most
        self.kind, self.emulated, self.widening = target.kind, target.emulated, target.widening
        self._on_device = "" if target.device == "cpu" else f', device="{target.device}"'
        self.operands: list[Variable] = []
        self.constants: dict[str, str] = {}
        self.steps: list[Step] = []
        self._open, self._times = [self.steps], 1
        self._in_use: list[str] = []

    def operand(self, name: str, shape: Ints, strides: Ints | None, dtype: str) -> Value:
        """An argument of the program."""
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
        """A value in the accumulation dtype of its own: float32 for half types."""
        return self.cast(value, wide_dtype(value.dtype))

    # Making tensors.

    def _whole(self, variable: Variable) -> Value:
        return Value(self, variable, variable.shape, variable.strides, root=variable.shape)

    def make(
        self, name: str, shape: Sequence[int], dtype: str, line: str, operands: tuple[Value, ...], work: Work
    ) -> Value:
        shape = tuple(shape)
        variable = Variable(name, shape, contiguous_strides(shape), dtype)
        self._record(Make(variable, line, operands, work))
        return self._whole(variable)

    def _record(self, step: Make | Change) -> None:
        """Write a step down; give up where even a lower bound of the time is too much: loops that stay in a cache."""
        self._open[-1].append(step)
        if self.prices:
            touched = int(len(self._open) > 1)
            self._left -= self._times * self.target.rates.taking(step.work, step.operands[0].dtype, touched)
            if self._left < 0:
                raise TooDear

    def call(
        self, function: str, shape: Sequence[int], *arguments: Any, name: str = "result", dtype: str = "",
        work: Work | None = None, item: int | None = None, plain: bool = False, **keywords: Any,
    ) -> Value:  # fmt: skip
        """A tensor by any function of torch, or an item of its result; made contiguous if ``plain``."""
        operands = tuple(each for each in arguments if isinstance(each, Value))
        line = f"torch.{function}({_arguments(arguments, keywords)})" + ("" if item is None else f"[{item}]")
        line += ".contiguous()" * plain
        made = self.make(name, shape, dtype or operands[0].dtype, line, operands, work or Work())
        made.variable.opaque = not plain
        return made

    def part(self, value: Value, name: str) -> Value:
        """The real or the imaginary part of a value."""
        return self.make(
            name, value.shape, REAL[value.dtype], f"{{0}}.{name}.contiguous()", (value,), Work(moved(value))
        )

    def complex(self, products: Sequence[Value]) -> Value:
        """The complex product from four real ones: real by real, imaginary by imaginary, and the two mixed ones."""
        whole = COMPLEX[products[0].dtype]
        elements = products[0].numel()
        work = Work(Copied.plain(8 * elements), calls=3)
        return self.make(
            "product", products[0].shape, whole, "torch.complex({0} - {1}, {2} + {3})", tuple(products), work
        )

    def conjugated(self, value: Value) -> None:
        """Conjugate in place."""
        self.change("{0}.conj_physical_()", value, work=Work(Copied.plain(2 * value.numel())))

    def kronecker(self, name: str, factors: Sequence[Sequence[Sequence[Fraction]]], like: Value) -> Value:
        """The Kronecker product of matrices of numbers, made when the program is compiled."""
        shape = math.prod(len(rows) for rows in factors), math.prod(len(rows[0]) for rows in factors)
        names = []
        for rows in factors:
            lines = "".join(f"    [{', '.join(map(str, row))}],\n" for row in rows)
            names.append(self.constant(f"{name}_1d", f"torch.tensor([\n{lines}], dtype=torch.float64)"))
        product = names[0]
        for other in names[1:]:
            product = f"torch.kron({product}, {other})"
        device = f'"{self.target.device}", ' if self._on_device else ""
        name = self.constant(name, f"{product}.to({device}torch.{like.dtype})")
        return self._whole(Variable(name, shape, contiguous_strides(shape), like.dtype, owned=False))

    def constant(self, name: str, text: str) -> str:
        """The name of a constant, changed if another constant has it."""
        known = next((each for each, other in self.constants.items() if other == text), None)
        if known is None:
            known = name + "_" * sum(each.rstrip("_") == name for each in self.constants)
            self.constants[known] = text
        return known

    def allocated(self, like: Value, shape: Ints, dtype: str, fill: str, name: str = "result") -> Value:
        """A new tensor, empty or of zeros."""
        elements = math.prod(shape) if fill == "zeros" else 0
        made = _without_ones(shape)
        line = f"{{0}}.new_{fill}({listed(made)}" + ("" if dtype == like.dtype else f", dtype=torch.{dtype}") + ")"
        whole = (self._whole(like.variable),)
        return self.make(name, made, dtype, line, whole, Work(Copied.plain(elements))).view(*shape)

    def new_result(self, like: Value, shape: Ints, fill: str) -> Value:
        """A new tensor for results of products, empty or of zeros."""
        return self.allocated(like, shape, self.product_dtype(like), fill)

    def total(self, like: Value) -> Total:
        """A sum over the loop that follows."""
        return Total(self, like, self._open[-1])

    def zeros(self, shape: Ints, dtype: str, like: Value) -> Value:
        """A new tensor of zeros."""
        return self.allocated(like, shape, dtype, "zeros")

    def wide_zeros(self, shape: Ints, like: Value) -> Value:
        """The same in the accumulation dtype of a value's dtype."""
        return self.allocated(like, shape, wide_dtype(like.dtype), "zeros")

    def copied(self, value: Value) -> Value:
        """A contiguous copy."""
        line = "{0}.clone(memory_format=torch.contiguous_format)"
        return self.make(value.variable.name, value.shape, value.dtype, line, (value,), Work(moved(value)))

    def laid_out(self, value: Value, channels_last: bool) -> Value:
        """Contiguous, or channels-last where torch has that; strides of axes of one element included."""
        strides = layout_strides(value.shape, channels_last)
        axes = zip(value.shape, value.strides, strides, strict=True)
        if value.variable.opaque or any(size > 1 and has != wanted for size, has, wanted in axes):
            if strides == contiguous_strides(value.shape):
                source, line = transposed(value), "{0}.contiguous()"
            else:
                source = value
                line = f"{{0}}.contiguous(memory_format=torch.channels_last{'_3d' * (value.dim() == 5)})"
            made = self.make(value.variable.name, source.shape, value.dtype, line, (source,), Work(moved(value)))
            if source is value:
                made.variable.strides = strides
            value = self._whole(made.variable).view(*value.shape)
        if value.strides == strides:
            return value
        return Value(self, value.variable, value.shape, strides, value.offset, REMADE, value.root)

    def times_zero(self, value: Value) -> Value:
        """Zeros, or NaN where a value is not finite."""
        work = Work(Copied.plain(2 * value.numel()))
        return self.make("unseen", value.shape, value.dtype, "({0} * 0).contiguous()", (value,), work)

    def summed(self, value: Value, axes: Sequence[int]) -> Value:
        """Sum over axes, without keeping them."""
        shape = [size for axis, size in enumerate(value.shape) if axis not in axes]
        line = f"{{0}}.sum({listed(axes)}, dtype=torch.{value.dtype})"
        return self.make("sums", shape, value.dtype, line, (value,), Work(moved(value)))

    def digit(self, value: Value, place: int, count: int, bits: int, dtype: str) -> Value:
        """A digit of ``bits`` bits of integers, in a float; all digits but the highest are non-negative."""
        shifted = f"({{0}} >> {bits * place})" if place else "{0}"
        masked = f"({shifted} & {2**bits - 1})" if place < count - 1 else shifted
        line = f"{masked}.to(torch.{dtype}).contiguous()"
        work = Work(Copied.plain(4 * value.numel()), calls=3)
        return self.make("digit", value.shape, dtype, line, (value,), work)

    def add_digit(self, total: Value, product: Value, shift: int) -> None:
        """Add the product of two digits, shifted to its place."""
        line = "{0}.add_({1}.to(torch.int64)" + (f" << {shift})" if shift else ")")
        self.change(line, total, product, work=Work(Copied.plain(5 * total.numel()), calls=3))

    def reshaped(self, value: Value, shape: Ints, name: str = "") -> Value:
        """A contiguous copy in another shape."""
        name, source = name or value.variable.name, transposed(value)
        wanted = _without_ones(shape) if source is value else source.shape
        made = self.make(name, wanted, value.dtype, COPY, (source,), Work(moved(value)))
        made.variable.malleable = True
        return made.view(*shape)

    def flipped(self, value: Value, axes: Ints) -> Value:
        """A copy in reverse order."""
        whole = bare(value, value.dim())
        wide, kept = ([axis for axis, size in enumerate(each.shape) if size > 1] for each in (value, whole))
        line = f"{{0}}.flip({', '.join(str(kept[wide.index(axis)]) for axis in axes)})"
        made = self.make(value.variable.name, whole.shape, value.dtype, line, (whole,), Work(_gathered(value)))
        return made.view(*value.shape)

    def named(self, name: str, value: Value) -> Value:
        """Give the variable behind a value another name, unless it is an operand's."""
        if value.variable.owned:
            value.variable.name = name
        return value

    def cast(self, value: Value, dtype: str) -> Value:
        """The value with another element type: a contiguous copy, unless it has that type already."""
        if dtype == value.dtype:
            return value
        line = "{0}" + f".to(torch.{dtype})" + ("" if value.is_contiguous() else ".contiguous()")
        return self.make(value.variable.name, value.shape, dtype, line, (value,), Work(moved(value)))

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
            line = f"torch.constant_pad_nd({{0}}, {listed(flat)})"
            rows = sizes[-2] if len(sizes) > 1 else 1
            work = Work(Copied(math.prod(shape) + 2 * value.numel(), sizes[-1], rows * sizes[-1], value.dim()))
            source = plain(bare(value, lead + first))
            padded = (*source.shape[: source.dim() - len(grown[first:])], *grown[first:])
            value = self.make(name, padded, value.dtype, line, (source,), work).view(*shape)
        if not crops:
            return value
        parts = (slice(max(0, -lo), size - max(0, -hi)) for size, (lo, hi) in zip(grown, amounts, strict=True))
        return value[(*(slice(None),) * lead, *parts)]

    def unpad(self, value: Value, amounts: Pairs) -> Value:
        """Adjoint of `pad`: crop what it added and put zeros where it cropped."""
        return self.pad(value, tuple((-lo, -hi) for lo, hi in amounts))

    def take(self, value: Value, axis: int, indices: Ints) -> Value:
        """`torch.index_select` with known indices."""
        if not self.prices:
            index = self.constant("order", f"torch.tensor({list(indices)}{self._on_device})")
            line = f"{{0}}.index_select({axis}, {index})"
        else:
            line = ""
        return self.make("taps", value.shape, value.dtype, line, (plain(value),), Work(_gathered(value, _SELECTED)))

    def cat(self, values: Sequence[Value], axis: int, name: str = "joined") -> Value:
        """`torch.cat`."""
        if len(values) == 1:
            return values[0]
        shape = list(values[0].shape)
        shape[axis] = sum(value.shape[axis] for value in values)
        places = ", ".join(f"{{{index}}}" for index in range(len(values)))
        copied = [moved(value) for value in values]
        largest = max(copied, key=lambda each: each.elements)
        work = largest._replace(elements=sum(each.elements for each in copied))
        operands = tuple(plain(value) for value in values)
        return self.make(name, shape, values[0].dtype, f"torch.cat(({places}), {axis})", operands, Work(work))

    def einsum(self, equation: str, first: Value, second: Value) -> Value:
        """`torch.einsum` of two operands. The equation has a letter for every axis; shape and cost follow from it."""
        shape, product, copied = _contracted(equation, first, second)
        line = f'torch.einsum("{equation}", {{0}}, {{1}}).contiguous()'
        work = Work(copied, product, inside=product.elements * first.itemsize, **_EINSUM)
        return self.make("product", shape, first.dtype, line, (first, second), work)

    # Changing tensors.

    def change(self, line: str, *operands: Value, work: Work) -> None:
        """Any line of torch that writes to its first operand."""
        self._record(Change(line, operands, work))

    def written(self, target: Value, source: Value) -> None:
        """Copy a value into another."""
        source = source.expand(*target.shape)
        if self._is_product_in_place(target, source):
            return
        work = Work(moved(source, target))
        self.change("{0}.copy_({1})", *slim(target, source), work=work)

    def _is_product_in_place(self, target: Value, source: Value) -> bool:
        """Write the product of the last step straight to its destination; False if that cannot be done."""
        steps, made = self._open[-1], source.variable
        last = steps[-1] if steps else None
        if not isinstance(last, Make) or last.target is not made or last.line not in _OUT:
            return False
        place = view_strides(target.shape, target.strides, made.shape)
        whole = source.numel() == made.elements and source.is_contiguous() and target.dtype == source.dtype
        if not whole or place != contiguous_strides(made.shape):
            return False
        out = Value(self, target.variable, made.shape, place, target.offset, REMADE)
        steps[-1] = Change(_OUT[last.line], (out, *last.operands), last.work)
        return True

    def zeroed(self, target: Value) -> None:
        """Fill with zeros."""
        self.change("{0}.zero_()", target, work=Work(Copied(target.numel(), target.shape[-1], target.numel())))

    def added(self, target: Value, source: Value) -> None:
        """Add a value to another."""
        source = source.expand(*target.shape)
        copied = moved(source, target)
        work = Work(copied._replace(elements=copied.elements * 3 // 2))
        self.change("{0}.add_({1})", *slim(target, source), work=work)

    # Repeating.

    @contextmanager
    def _inside(self, steps: list[Step], times: int) -> Iterator[None]:
        """Record steps that run ``times`` times in all; 0 for a rare branch."""
        outside, self._times = self._times, times
        self._open.append(steps)
        yield
        self._open.pop()
        self._times = outside

    def ranged(self, start: int, stop: int, step: int, name: str) -> Iterator[Place]:
        """Every ``step``-th number of a range, in a loop unless there is only one."""
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
        with self._inside(loop.steps, self._times * loop.count):
            yield Place(0, ((name, 1),))
        self._in_use.remove(name)

    def span(self, start: Place | int, length: int, step: int = 1, factor: int = 1) -> Span:
        """``length`` elements of an axis, every ``step``-th, from ``factor * start`` on."""
        return Span((start if isinstance(start, Place) else Place(start)).times(factor), length, step)

    def table(self, names: Sequence[str], count: int, rows: Sequence[Ints]) -> Iterator[tuple[Place, ...]]:
        """The numbers of each row; for a program that is only priced, ``count`` is enough."""
        loop = Repeat(f"for {', '.join(names)} in {_table(rows)}" if rows else "", count)
        self._open[-1].append(loop)
        with self._inside(loop.steps, self._times * count):
            yield tuple(Place(0, ((name, 1),)) for name in names)

    def unless_finite(
        self, watched: Sequence[Value], result: Value, otherwise: Callable[..., Value], *operands: Value
    ) -> Value:
        """``result`` if the smallest watched value has finite elements only, else ``otherwise(*operands)``."""
        if self.kind == "meta":
            return result  # there are no numbers to look at
        result = result.contiguous()
        smallest = min(watched, key=Value.numel)
        whole = smallest.variable
        watch = self._whole(whole) if whole.elements == smallest.numel() else bare(smallest, smallest.dim())
        # While a CUDA graph is captured no value can be read.
        steps = Unless(watch, "torch.cuda.is_current_stream_capturing() or " * (self.kind == "cuda"))
        self._open[-1].append(steps)
        with self._inside(steps.steps, 0):
            if self.prices and not any(each.variable.malleable for each in operands):
                # The rare branch costs no time, but keeps its operands alive.
                self.change("", result, *operands, work=Work())
            else:
                result.copy_(otherwise(*operands))
        return result


class Total:
    """A sum with the layout of its terms, so that no term has to be transposed.

    Args:
        builder: Records the steps.
        like: A value of the dtype.
        steps: The steps before the loop, which set the sum to zeros.
    """

    def __init__(self, builder: Builder, like: Value, steps: list[Step]) -> None:
        self._builder, self._like, self._steps, self._place = builder, like, steps, len(steps)
        self._value: Value | None = None

    @property
    def value(self) -> Value:
        """The sum, once something has been added."""
        assert self._value is not None
        return self._value

    def add(self, other: Value) -> None:
        """Add a value. All have the same shape and layout."""
        if self._value is None:
            before: list[Step] = []
            with self._builder._inside(before, 1):
                begin = self._builder.zeros(other.variable.shape, other.dtype, self._like).view(*other.variable.shape)
            self._steps[self._place : self._place] = before
            self._value = Value(self._builder, begin.variable, other.shape, other.strides, other.offset, REMADE)
        self._builder.added(self._value, other)


def _without_ones(shape: Ints) -> Ints:
    """A shape without axes of one element; if it has no others, one stays."""
    return tuple(size for size in shape if size != 1) or shape[:1]


def _contracted(equation: str, first: Value, second: Value) -> tuple[Ints, Product, Copied]:
    """Shape of an einsum's result, the matrix products behind it, and the copies that make matrices."""
    inputs, _, out = equation.partition("->")
    operands = list(zip(inputs.split(","), (first, second), strict=True))
    sizes = {letter: size for letters, value in operands for letter, size in zip(letters, value.shape, strict=True)}
    shared = set(operands[0][0]) & set(operands[1][0])
    # torch's first matrix is the operand that has the first unshared letter of the result.
    own = next((letter for letter in out if letter not in shared), "")
    (one, left), (other, right) = operands if own in operands[0][0] else operands[::-1]
    batch, terms = ([each for each in one if each in shared and (each in out) == kept] for kept in (True, False))
    rows, columns = ([each for each in letters if each not in shared] for letters in (one, other))
    made, shape = (*batch, *rows, *columns), tuple(sizes[each] for each in out)
    counts = [math.prod(sizes[each] for each in some) for some in (batch, rows, terms, columns)]
    product = Product(counts[0], counts[1], counts[2], counts[3], "batch")
    left = left.permute([one.index(each) for each in (*batch, *rows, *terms)])
    right = right.permute([other.index(each) for each in (*batch, *terms, *columns)])
    strides = dict(zip(made, contiguous_strides(tuple(sizes[each] for each in made)), strict=True))
    result = Value(first.builder, first.variable, shape, tuple(strides[each] for each in out))
    # An operand that can be viewed as matrices is not copied.
    copies = [
        moved(value)
        for value, *sides in (
            (left, product.rows, product.terms),
            (right, product.terms, product.columns),
            (result, product.rows, product.columns),
        )
        if view_strides(value.shape, value.strides, (product.number, *sides)) is None
    ]
    if not copies:
        return shape, product, Copied.plain(0)
    shortest = min(copies, key=lambda each: each.row)
    return shape, product, shortest._replace(elements=sum(each.elements for each in copies))


def _gathered(value: Value, times: int = 1) -> Copied:
    """A copy element by element, as torch's `flip` and `index_select` make it, that takes ``times`` as long."""
    return Copied.plain(2 * times * value.numel())._replace(apart=1)


def _arguments(arguments: Sequence[Any], keywords: dict[str, Any]) -> str:
    """Arguments of a call, with placeholders for the values."""
    texts, places = [], 0
    for each in arguments:
        texts.append(f"{{{places}}}" if isinstance(each, Value) else str(each))
        places += isinstance(each, Value)
    return ", ".join([*texts, *(f"{name}={value!r}" for name, value in keywords.items())])


def _table(rows: Sequence[Ints]) -> str:
    return f"({', '.join(listed(row) for row in rows)},)"
