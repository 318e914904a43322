"""A tensor of which everything but its numbers is known: shape, strides, and where its memory is.

`Value` has torch's methods for views, which are arithmetic on these integers. Methods that compute or must copy ask the
`Builder` to record a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ndconv._form.geometry import Ints

if TYPE_CHECKING:
    from ndconv._programs.builder import Builder

Array = Any
"""A `Value`, or a tensor where the steps are computed at once."""
Steps = Any
"""A `ndconv._programs.builder.Builder`, or an object that computes at once."""


class Place(NamedTuple):
    """A number that is known up to loop variables: ``constant + sum of factor * variable``."""

    constant: int = 0
    factors: tuple[tuple[str, int], ...] = ()

    def plus(self, other: Place | int) -> Place:
        """The sum."""
        if isinstance(other, int):
            return Place(self.constant + other, self.factors) if other else self
        if not other.factors:
            return self.plus(other.constant)
        factors = dict(self.factors)
        for name, factor in other.factors:
            factors[name] = factors.get(name, 0) + factor
        kept = tuple((name, factor) for name, factor in factors.items() if factor)
        return Place(self.constant + other.constant, kept)

    def times(self, factor: int) -> Place:
        """The product with an integer."""
        if not self.factors:
            return Place(self.constant * factor)
        return Place(self.constant * factor, tuple((name, each * factor) for name, each in self.factors if factor))

    def __str__(self) -> str:
        terms = [name if factor == 1 else f"{factor} * {name}" for name, factor in self.factors]
        if self.constant or not terms:
            terms.append(str(self.constant))
        return " + ".join(terms).replace("+ -", "- ")


class Span(NamedTuple):
    """``length`` elements of an axis from ``start`` on, every ``step``-th."""

    start: Place
    length: int
    step: int = 1

    def __str__(self) -> str:
        text = f"{self.start}:{self.start.plus(self.step * (self.length - 1) + 1)}"
        return text if self.step == 1 else f"{text}:{self.step}"


START = Place()
REMADE = (str, str)
"""A `Value.chain` of unknown calls."""
_ALL = slice(None)


@dataclass(eq=False, slots=True)
class Variable:
    """A tensor that has a name in a program.

    Args:
        name: Its name, unless another variable that is still needed has it.
        shape: Its shape.
        strides: Its strides in elements.
        dtype: Element type, by torch's name.
        owned: Whether its memory starts with its first element, as for all tensors that the program makes.
        opaque: Whether the strides are not reliable.
        malleable: Whether it is a copy made by ``reshape``, which may as well take another shape of as many elements.
    """

    name: str
    shape: Ints
    strides: Ints
    dtype: str
    owned: bool = True
    opaque: bool = False
    malleable: bool = False

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Their size."""
        return self.elements * ITEMSIZES[self.dtype]


def contiguous_strides(shape: Ints) -> Ints:
    """Strides of a contiguous tensor.

    Example:
        >>> contiguous_strides((2, 3, 4))
        (12, 4, 1)
    """
    strides, length = [], 1
    for size in reversed(shape):
        strides.append(length)
        length *= size or 1
    return tuple(strides[::-1])


def is_channels_last(shape: Ints, stride: Ints) -> bool:
    """Whether torch calls such a tensor channels-last rather than contiguous; strides of single elements count too.

    Example:
        >>> is_channels_last((2, 3, 4, 4), (48, 16, 4, 1)), is_channels_last((2, 3, 4, 4), (48, 1, 12, 3))
        (False, True)
    """
    if len(shape) not in (4, 5) or stride[1] != 1 or 0 in shape:
        return False
    least = shape[1]
    for axis in range(len(shape) - 1, 1, -1):
        if stride[axis] < least:
            return False
        least = stride[axis] * shape[axis]
    # If only channels have more than one element, both formats are the same, and torch says contiguous.
    return stride[0] >= least != 1


def layout_strides(shape: Ints, channels_last: bool) -> Ints:
    """Strides of a tensor that is contiguous, or channels-last where torch has that.

    Example:
        >>> layout_strides((2, 3, 4, 5), False), layout_strides((2, 3, 4, 5), True)
        ((60, 20, 5, 1), (60, 1, 15, 3))
    """
    if not channels_last or len(shape) not in (4, 5):
        return contiguous_strides(shape)
    batch, *space, channels = contiguous_strides((shape[0], *shape[2:], shape[1]))
    return (batch, channels, *space)


@dataclass(eq=False, slots=True)
class Value:
    """A view of a variable, or all of it; immutable.

    Args:
        builder: Records the steps.
        variable: The tensor that has a name.
        shape: Of the view.
        strides: Of the view.
        offset: Elements from the variable's first to the view's.
        chain: The calls that make the view of the variable, as functions that write them out.
        root: The variable's shape at the time of these calls; they are valid while it has that shape.
    """

    builder: Builder
    variable: Variable
    shape: Ints
    strides: Ints
    offset: Place = START
    chain: tuple[Callable[[], str], ...] = ()
    root: Ints = ()

    @property
    def dtype(self) -> str:
        """Element type, by torch's name."""
        return self.variable.dtype

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return ITEMSIZES[self.dtype]

    @property
    def is_whole(self) -> bool:
        """Whether it is the variable as it is."""
        whole = self.variable
        return (self.shape, self.strides, self.offset) == (whole.shape, whole.strides, START)

    @property
    def is_view(self) -> bool:
        """Whether it is a view of another tensor, and not a whole tensor that the program has made."""
        return not (self.is_whole and self.variable.owned)

    def dim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def stride(self) -> Ints:
        """Strides in elements."""
        return self.strides

    def is_complex(self) -> bool:
        """Whether its numbers are complex."""
        return self.dtype.startswith("complex")

    def is_contiguous(self) -> bool:
        """Whether it is contiguous; strides of axes of one element do not count."""
        length = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != length:
                return 0 in self.shape
            length *= size
        return True

    def shows(self, other: Value) -> bool:
        """Whether both are the same elements."""
        mine, its = ((each.variable, each.shape, each.strides, each.offset) for each in (self, other))
        return mine == its

    # Views.

    def _viewed(
        self, shape: Sequence[int], strides: Sequence[int], call: Callable[[], str], offset: Place | None = None
    ) -> Value:
        shape, strides = tuple(shape), tuple(strides)
        offset = self.offset if offset is None else offset
        if shape == self.shape and strides == self.strides and offset == self.offset:
            return self
        return Value(self.builder, self.variable, shape, strides, offset, (*self.chain, call), self.root)

    def permute(self, *order: Any) -> Value:
        """As `torch.Tensor.permute`."""
        places: Sequence[int] = order[0] if order and not isinstance(order[0], int) else order
        shape, strides = self.shape, self.strides
        axes = [axis % len(shape) for axis in places]
        return self._viewed([shape[axis] for axis in axes], [strides[axis] for axis in axes], lambda: _turn(axes))

    def transpose(self, first: int, second: int) -> Value:
        """As `torch.Tensor.transpose`."""
        order = list(range(self.dim()))
        order[first], order[second] = order[second], order[first]
        return self.permute(order)

    @property
    def mT(self) -> Value:  # noqa: N802  # torch's name
        """The transposed matrices of the last two axes."""
        return self.transpose(-2, -1)

    def movedim(self, source: int, destination: int) -> Value:
        """As `torch.Tensor.movedim`, of one axis."""
        order = list(range(self.dim()))
        order.insert(destination % self.dim(), order.pop(source % self.dim()))
        return self.permute(order)

    def unsqueeze(self, axis: int) -> Value:
        """As `torch.Tensor.unsqueeze`."""
        axis %= self.dim() + 1
        stride = self.shape[axis] * self.strides[axis] if axis < self.dim() else 1
        shape, strides = list(self.shape), list(self.strides)
        shape.insert(axis, 1)
        strides.insert(axis, stride)
        return self._viewed(shape, strides, lambda: f".unsqueeze({axis})")

    def squeeze(self, axis: int) -> Value:
        """As `torch.Tensor.squeeze`, of one axis."""
        axis %= self.dim()
        if self.shape[axis] != 1:
            return self
        return self._viewed(_without(self.shape, axis), _without(self.strides, axis), lambda: f".squeeze({axis})")

    def expand(self, *shape: int) -> Value:
        """As `torch.Tensor.expand`; -1 keeps an axis."""
        extra = len(shape) - self.dim()
        old = (*(1,) * extra, *self.shape), (*(0,) * extra, *self.strides)
        sizes = tuple(had if size == -1 else size for size, had in zip(shape, old[0], strict=True))
        strides = [0 if had == 1 != size else step for size, had, step in zip(sizes, *old, strict=True)]
        return self._viewed(sizes, strides, lambda: f".expand({', '.join(map(str, sizes))})")

    def unfold(self, axis: int, size: int, step: int) -> Value:
        """As `torch.Tensor.unfold`."""
        axis %= self.dim()
        shape, strides = list(self.shape), list(self.strides)
        shape[axis] = (shape[axis] - size) // step + 1
        strides[axis] *= step
        return self._viewed([*shape, size], [*strides, self.strides[axis]], lambda: f".unfold({axis}, {size}, {step})")

    def narrow(self, axis: int, start: int, length: int) -> Value:
        """As `torch.Tensor.narrow`."""
        axis %= self.dim()
        return self[(*(slice(None),) * axis, slice(start, start + length))]

    def __getitem__(self, index: Any) -> Value:
        """As with a tensor: slices, spans, integers, leading None and one ellipsis."""
        parts = list(index) if isinstance(index, tuple) and not isinstance(index, Span | Place) else [index]
        if None in parts:
            place = parts.index(None)
            before = sum(not isinstance(each, int | Place) for each in parts[:place])
            return self[(*parts[:place], *parts[place + 1 :])].unsqueeze(before)
        if Ellipsis in parts:
            place = parts.index(Ellipsis)
            parts[place : place + 1] = [slice(None)] * (self.dim() - len(parts) + 1)
        shape, strides, offset = [], [], self.offset
        for part, size, stride in zip(parts, self.shape, self.strides, strict=False):
            if part == _ALL:
                shape.append(size)
                strides.append(stride)
                continue
            if isinstance(part, int | Place):
                offset = offset.plus(_start(part, size).times(stride))
                continue
            if isinstance(part, Span):
                offset, length, step = offset.plus(part.start.times(stride)), part.length, part.step
            else:
                first, stop, step = part.indices(size)
                length = max(0, -((first - stop) // step))  # len(range(...)) has a limit
                offset = offset.plus(first * stride)
            shape.append(length)
            strides.append(stride * step)
        rest, whole = len(parts), self.shape
        return self._viewed(
            [*shape, *whole[rest:]], [*strides, *self.strides[rest:]], lambda: _index(parts, whole), offset
        )

    def unbind(self, axis: int) -> list[Value]:
        """As `torch.Tensor.unbind`."""
        axis %= self.dim()
        return [self[(*(slice(None),) * axis, index)] for index in range(self.shape[axis])]

    def flatten(self, first: int = 0, last: int = -1) -> Value:
        """As `torch.Tensor.flatten`: a view, or a copy if there is none."""
        first, last = first % max(1, self.dim()), last % max(1, self.dim())
        merged = math.prod(self.shape[first : last + 1])
        return self.reshape(*self.shape[:first], merged, *self.shape[last + 1 :])

    def view(self, *shape: Any) -> Value:
        """As `torch.Tensor.view`."""
        sizes = self._sizes(shape)
        shown = self._shown(sizes)
        if shown is None:
            raise ValueError(f"no view of {self.shape} with strides {self.strides} has the shape {sizes}")
        return shown

    def reshape(self, *shape: Any) -> Value:
        """As `torch.Tensor.reshape`: a view, or a copy if there is none."""
        sizes = self._sizes(shape)
        shown = self._shown(sizes)
        return self.builder.reshaped(self, sizes) if shown is None else shown

    def _shown(self, sizes: Ints) -> Value | None:
        """A view of that shape, if there is one."""
        strides = view_strides(self.shape, self.strides, sizes)
        if strides is None:
            return None
        return self._viewed(sizes, strides, lambda: f".view({', '.join(map(str, sizes)) or '()'})")

    def _sizes(self, shape: tuple[Any, ...]) -> Ints:
        sizes = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else tuple(shape)
        if -1 in sizes:
            known = -math.prod(sizes)
            sizes = tuple((self.numel() // known if known else 0) if size == -1 else size for size in sizes)
        return sizes

    # Recorded steps.

    def flip(self, axes: Sequence[int]) -> Value:
        """As `torch.Tensor.flip`, of a contiguous tensor."""
        turned = tuple(axis % self.dim() for axis in axes if self.shape[axis] > 1)
        return self.builder.flipped(self.contiguous(), turned) if turned else self

    def contiguous(self) -> Value:
        """As `torch.Tensor.contiguous`."""
        return self if self.is_contiguous() and not self.variable.opaque else self.builder.reshaped(self, self.shape)

    def new_empty(self, *shape: Any) -> Value:
        """As `torch.Tensor.new_empty`."""
        return self.builder.allocated(self, self._sizes(shape), self.dtype, "empty")

    def new_zeros(self, *shape: Any) -> Value:
        """As `torch.Tensor.new_zeros`."""
        return self.builder.allocated(self, self._sizes(shape), self.dtype, "zeros")

    def copy_(self, source: Value) -> Value:
        """As `torch.Tensor.copy_`."""
        self.builder.written(self, source)
        return self

    def zero_(self) -> Value:
        """As `torch.Tensor.zero_`."""
        self.builder.zeroed(self)
        return self

    def __setitem__(self, index: Any, source: Value) -> None:
        part = self[index]
        if not part.shows(source):  # `part += other` ends in a call of this
            part.copy_(source)

    def __iadd__(self, source: Value) -> Value:
        self.builder.added(self, source)
        return self

    def conj_physical_(self) -> Value:
        """As `torch.Tensor.conj_physical_`."""
        self.builder.conjugated(self)
        return self


ITEMSIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "complex128": 16, "complex64": 8, "complex32": 4,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip


COMPLEX = {"float32": "complex64", "float64": "complex128"}
"""The complex dtype of two parts in this one."""
REAL = {whole: part for part, whole in COMPLEX.items()}


_WIDE = {"float16": "float32", "bfloat16": "float32", "complex32": "complex64"}


def wide_dtype(dtype: str) -> str:
    """The accumulation dtype of this one: itself, unless it is a half type.

    Example:
        >>> wide_dtype("bfloat16"), wide_dtype("float64")
        ('float32', 'float64')
    """
    return _WIDE.get(dtype, dtype)


def _without(values: Ints, axis: int) -> Ints:
    return (*values[:axis], *values[axis + 1 :])


def _start(index: int | Place, size: int) -> Place:
    return index if isinstance(index, Place) else Place(index % max(size, 1))


def _turn(axes: Sequence[int]) -> str:
    """The call that permutes axes."""
    count, moved = len(axes), [axis for axis, source in enumerate(axes) if axis != source]
    if len(moved) != 2:
        return f".permute({', '.join(map(str, axes))})"
    first, second = (axis - count if count > 2 and axis > 1 else axis for axis in moved)
    turned = ".T" if count == 2 else ".mT" if (first, second) == (-2, -1) else ""
    return turned or f".transpose({first}, {second})"


def _index(parts: Sequence[Any], shape: Ints) -> str:
    """The index expression that takes parts of axes."""
    texts = []
    for part, size in zip(parts, shape, strict=False):
        if isinstance(part, int | Place):
            texts.append(str(_start(part, size)))
        elif isinstance(part, Span):
            texts.append(":" if part == (START, size, 1) else str(part))
        else:
            first, stop, step = part.indices(size)
            texts.append(_slice_text(first, stop, step, size))
    while texts and texts[-1] == ":":
        texts.pop()
    return f"[{', '.join(texts)}]"


def _slice_text(start: int, stop: int, step: int, size: int) -> str:
    first, last = "" if start == 0 else str(start), "" if stop == size else str(stop)
    return f"{first}:{last}" + (f":{step}" if step > 1 else "")


def merged(shape: Ints, strides: Ints, others: Ints = ()) -> list[tuple[int, int, int]]:
    """Axes of more than one element, with both strides; axes that both strides allow to merge are one.

    Example:
        >>> merged((2, 1, 3, 4), (12, 9, 4, 1)), merged((2, 3), (3, 1), (1, 2))
        ([(24, 1, 1)], [(2, 3, 1), (3, 1, 2)])
    """
    found: list[tuple[int, int, int]] = []
    length = outer = beyond = 0
    for size, step, other in zip(shape, strides, others or strides, strict=True):
        if size == 1:
            continue
        if found and outer == size * step and beyond == size * other:
            length *= size
            found[-1] = (length, step, other)
        else:
            length = size
            found.append((size, step, other))
        outer, beyond = step, other
    return found


def view_strides(shape: Ints, strides: Ints, wanted: Ints) -> Ints | None:
    """Strides with which a tensor can be viewed in another shape, or None: the rule of `torch.Tensor.view`.

    Example:
        >>> view_strides((4, 6), (6, 1), (2, 2, 6)), view_strides((6, 4), (1, 6), (24,))
        ((12, 6, 1), None)
    """
    if shape == wanted and 0 not in shape and 1 not in shape:
        return strides
    if math.prod(shape) != math.prod(wanted):
        return None
    if 0 in shape:
        return contiguous_strides(wanted)
    found, left, step, size = list[int](), list(wanted), strides[-1] if strides else 1, 1
    for axis in reversed(range(len(shape))):
        size *= shape[axis]
        if axis and (shape[axis - 1] == 1 or strides[axis - 1] == size * step):
            continue
        # Wanted axes are cut from a run of axes that can be merged; those of one element belong to the run before.
        cut = 1
        while left and (cut < size or left[-1] == 1):
            found.append(cut * step)
            cut *= left.pop()
        if cut != size:
            return None
        step, size = strides[axis - 1], 1
    found += [step] * len(left)
    return tuple(found[::-1])
