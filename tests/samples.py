"""Sample calls, and calls that fail, for torch's operators: tables of our own, after torch's documentation.

Nearly every row stands for one, two and three axes: a tuple or list of three values is cut to the number of axes, so
(8, 7, 6) reads (8, 7) with two. Calls are made on a namespace ``nn``, which is `torch.nn` or `ndconv`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

import torch
from torch import Tensor, ones

Shape = tuple[int, ...]

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_COMPLEX = (torch.complex64, torch.complex128)
# On the CPU, the same for the six functions.
DTYPES: dict[str, tuple[torch.dtype, ...]] = {
    "forward": (*_FLOATS, *_COMPLEX, torch.int64),
    "backward": (*_FLOATS, *_COMPLEX),
    "module": (*_FLOATS, *_COMPLEX),
    "documented": (torch.complex32,),  # as well; torch warns of it, and cannot reflect or replicate it
}


def _text(value: object) -> str:
    """A short text; tensors as their shape, and their dtype unless it is float32."""
    if isinstance(value, Tensor):
        dtype = "" if value.dtype == torch.float32 else str(value.dtype).removeprefix("torch.")
        return dtype + _text(tuple(value.shape))
    return str(value).replace(" ", "")


def _id(name: str, shapes: tuple[Shape | None, ...], arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> str:
    sizes = ["x".join(map(str, shape)) for shape in shapes if shape is not None]
    options = [_text(value) for value in arguments] + [f"{key}={_text(value)}" for key, value in keywords.items()]
    return "-".join([name, *sizes, *options])


def _cut(value: Any, ndim: int) -> Any:
    return value[:ndim] if isinstance(value, (tuple, list)) and len(value) == 3 else value


@dataclass(frozen=True)
class Sample:
    """A call of a function: the shapes of its operands, and its further arguments in torch's order or by name."""

    function: str
    input: Shape
    weight: Shape
    bias: Shape | None
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return _id(self.function, (self.input, self.weight, self.bias), self.arguments, self.keywords)

    def call(self, nn: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Call the function, without a bias of None where it can be left out."""
        given = (bias, *self.arguments) if bias is not None or self.arguments else ()
        result: Tensor = getattr(nn.functional, self.function)(input, weight, *given, **self.keywords)
        return result


@dataclass(frozen=True)
class ModuleSample:
    """A module with its constructor's arguments, the shape of its input, and its forward's further arguments."""

    module: str
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    input: Shape
    forward: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return _id(self.module, (self.input,), self.arguments, {**self.keywords, **self.forward})

    def build(self, nn: Any, **factory: Any) -> torch.nn.Module:
        """The module, with ``device`` and ``dtype`` from the caller."""
        module: torch.nn.Module = getattr(nn, self.module)(*self.arguments, **self.keywords, **factory)
        return module


@dataclass(frozen=True)
class ErrorSample:
    """A call on a namespace that fails, and the exception that torch raises."""

    id: str
    call: Callable[[Any], object]
    exception: type[Exception]


_Row = TypeVar("_Row", Sample, ModuleSample, ErrorSample)


def _unique(*rows: Iterable[_Row]) -> list[_Row]:
    """Without duplicates: different rows may be the same on fewer axes."""
    return list({sample.id: sample for row in rows for sample in row}.values())


def _functions(
    prefix: str,
    channels: tuple[int, int],
    size: tuple[int, int, int],
    kernel: tuple[int, int, int],
    *arguments: Any,
    batch: int = 2,
    bias: bool = True,
    **keywords: Any,
) -> Iterator[Sample]:
    """With one, two and three axes, each batched and unbatched."""
    ins, outs = channels
    first, second = (ins, outs) if prefix == "conv_transpose" else (outs, ins)
    groups = arguments[3] if len(arguments) > 3 else keywords.get("groups", 1)  # both orders have it there
    for ndim in (1, 2, 3):
        operands = (
            (first, second // groups, *kernel[:ndim]),
            (outs,) if bias else None,
            tuple(_cut(value, ndim) for value in arguments),
            {key: _cut(value, ndim) for key, value in keywords.items()},
        )
        yield Sample(f"{prefix}{ndim}d", (batch, ins, *size[:ndim]), *operands)
        if batch:
            yield Sample(f"{prefix}{ndim}d", (ins, *size[:ndim]), *operands)


_conv, _transposed = partial(_functions, "conv"), partial(_functions, "conv_transpose")
# Channels in and out, size, kernel; then the arguments after bias.
_FUNCTIONS = [
    # the defaults; one pixel of kernel, of input, of output
    _conv((4, 3), (5, 5, 5), (3, 3, 3), batch=1, bias=False),
    _conv((4, 6), (7, 6, 5), (3, 2, 1)),
    _conv((1, 1), (4, 4, 4), (1, 1, 1)),
    _conv((3, 5), (4, 3, 5), (1, 1, 1), stride=2, padding=1, bias=False),
    _conv((4, 4), (1, 1, 1), (3, 3, 3), batch=1, padding=1),
    _conv((4, 4), (1, 1, 1), (5, 5, 5), batch=1, padding=2),
    _conv((2, 3), (4, 3, 4), (4, 3, 4), stride=2),
    _conv((1, 1), (10, 1, 1), (4, 1, 1), padding="valid", bias=False),
    _conv((3, 4), (7, 5, 4), (3, 2, 3), batch=0),
    _conv((3, 4), (7, 5, 4), (3, 2, 3), batch=0, padding="same"),
    # numbers, tuples, lists, one value for all axes; a kernel larger than the input, padding larger than the kernel
    _conv((3, 3), (4, 4, 4), (3, 3, 3), batch=1, stride=(2, 2, 2), padding=2, groups=1),
    _conv((2, 4), (4, 3, 5), (3, 4, 6), bias=False, stride=2, padding=1),
    _conv((2, 3), (6, 5, 4), (2, 3, 2), stride=[3, 2, 1], padding=[1, 0, 2], dilation=[2, 1, 3]),
    _conv((2, 3), (6, 5, 4), (2, 3, 2), stride=(2,), padding=[1], dilation=(1,)),
    _conv((2, 3), (6, 5, 4), (2, 3, 2), stride=torch.Size((1, 2, 3)), padding=(0, 1, 2)),
    _conv((2, 3), (4, 3, 2), (2, 2, 1), padding=(5, 4, 3)),
    _conv((2, 3), (4, 3, 2), (1, 2, 2), stride=(5, 4, 6), padding=(2, 0, 1)),
    _conv((1, 2), (5, 5, 5), (3, 3, 3), dilation=2),
    _conv((4, 2), (7, 5, 6), (2, 3, 2), batch=1, stride=2, padding=1, dilation=(2, 3, 1)),
    _conv((2, 4), (7, 6, 5), (3, 2, 1), (2, 1, 3), (1, 0, 2), (1, 2, 1), 2),
    _conv((2, 4), (7, 6, 5), (3, 2, 1), 2, "valid", 1, 1, bias=False),
    # padding by name: odd and even kernels, odd and even totals, more than the input
    _conv((4, 1), (5, 6, 5), (3, 2, 3), bias=False, stride=(2, 1, 3), padding="valid"),
    _conv((4, 1), (5, 5, 5), (2, 3, 2), batch=1, stride=2, padding="valid"),
    _conv((4, 1), (8, 7, 9), (2, 3, 4), stride=2, padding="valid", dilation=(3, 2, 1)),
    _conv((2, 4), (6, 5, 4), (3, 3, 3), padding="same"),
    _conv((2, 4), (6, 5, 4), (1, 1, 1), padding="same"),
    _conv((1, 1), (10, 11, 12), (1, 2, 5), bias=False, padding="same"),
    _conv((1, 1), (10, 11, 12), (5, 1, 2), bias=False, padding="same", dilation=2),
    _conv((1, 2), (10, 11, 12), (4, 4, 4), batch=1, bias=False, padding="same", dilation=3),
    _conv((2, 2), (4, 3, 5), (4, 2, 3), padding="same", stride=(1,), dilation=(2, 1, 3), groups=2),
    _conv((1, 2), (3, 2, 4), (4, 5, 6), padding="same", dilation=[3, 2, 1], stride=[1, 1, 1]),
    # groups; as many as channels, with one filter each and with two
    _conv((4, 2), (8, 8, 8), (3, 2, 3), stride=(3, 2, 1), padding=(2, 1, 0), dilation=(2, 4, 3), groups=2),
    _conv((4, 6), (6, 5, 4), (3, 2, 3), groups=2),
    _conv((9, 3), (3, 1, 9), (3, 1, 9), batch=3, groups=3),
    _conv((9, 3), (3, 1, 9), (3, 1, 9), batch=3, groups=3, stride=(2, 2, 2), dilation=1),
    _conv((4, 4), (6, 6, 6), (3, 3, 3), groups=4),
    _conv((4, 8), (6, 6, 6), (3, 3, 3), groups=4),
    _conv((4, 8), (6, 6, 6), (3, 3, 3), groups=4, bias=False),
    _conv((4, 4), (6, 6, 6), (3, 3, 3), groups=4, stride=(3, 2, 1)),
    _conv((4, 4), (6, 6, 6), (3, 3, 3), groups=4, padding=(1, 1, 1)),
    _conv((4, 4), (5, 5, 5), (2, 2, 2), groups=4, dilation=(2, 2, 2)),
    # the defaults; one pixel of kernel, of input, of output
    _transposed((4, 8), (5, 5, 5), (3, 3, 3), batch=1, bias=False),
    _transposed((4, 6), (5, 4, 3), (3, 2, 1)),
    _transposed((1, 1), (4, 4, 4), (1, 1, 1)),
    _transposed((3, 5), (4, 3, 5), (1, 1, 1), stride=(3, 2, 4), output_padding=(2, 1, 3), bias=False),
    _transposed((4, 4), (1, 1, 1), (3, 5, 4)),
    _transposed((4, 4), (1, 1, 1), (3, 3, 3), padding=1),
    _transposed((3, 4), (4, 3, 2), (3, 2, 3), batch=0),
    _transposed((3, 4), (4, 3, 2), (3, 2, 3), batch=0, stride=2, padding=1, output_padding=1),
    # numbers, tuples, lists, one value for all axes; padding larger than the kernel
    _transposed((3, 3), (4, 4, 4), (3, 3, 3), batch=1, stride=(2, 2, 2), padding=2, output_padding=(1, 1, 1), groups=1),
    _transposed((1, 2), (4, 3, 4), (3, 4, 5), bias=False, stride=2, padding=1, output_padding=1),
    _transposed((2, 3), (4, 3, 4), (3, 2, 2), stride=[3, 2, 1], padding=[1, 0, 2], dilation=[2, 1, 3]),
    _transposed((2, 3), (4, 3, 4), (3, 2, 4), stride=(3,), padding=[1], output_padding=(2,), dilation=(1,)),
    _transposed((2, 3), (4, 3, 4), (3, 2, 4), stride=torch.Size((2, 1, 3)), padding=(0, 1, 2)),
    _transposed((2, 3), (7, 6, 5), (2, 1, 2), padding=(3, 2, 2)),
    _transposed((2, 3), (4, 3, 4), (2, 3, 1), stride=(4, 5, 3)),
    _transposed((2, 3), (4, 3, 4), (3, 3, 3), dilation=2),
    _transposed((2, 4), (4, 3, 5), (3, 2, 1), (2, 1, 3), (1, 0, 2), (1, 0, 2), 2, (1, 2, 1)),
    _transposed((2, 4), (4, 3, 5), (3, 2, 1), 2, 0, 1, 1, 1, bias=False),
    # output padding beside dilation: no smaller than the stride where it is smaller than the dilation
    _transposed((1, 1), (4, 5, 2), (4, 3, 1), stride=2, padding=1, output_padding=1, dilation=(2, 3, 2)),
    _transposed((2, 4), (4, 3, 4), (3, 2, 3), stride=1, output_padding=1, dilation=2),
    _transposed((2, 4), (4, 3, 4), (3, 2, 3), stride=(2, 1, 2), output_padding=(2, 3, 1), dilation=(3, 4, 2)),
    _transposed((2, 4), (4, 3, 4), (3, 2, 1), stride=2, padding=(3, 1, 0), output_padding=3, dilation=4, bias=False),
    _transposed((2, 4), (4, 3, 4), (1, 1, 1), stride=2, output_padding=[4, 1, 2], dilation=[5, 1, 3]),
    # groups; as many as channels, with one filter each and with two
    _transposed((2, 4), (4, 4, 4), (4, 5, 6), (3, 2, 1), (1, 2, 3), (2, 3, 1), groups=2, dilation=4),
    _transposed((4, 6), (5, 4, 3), (3, 2, 3), stride=3, padding=1, output_padding=1, groups=2),
    _transposed((9, 3), (3, 1, 2), (3, 1, 2), groups=3, stride=2, bias=False),
    _transposed((4, 4), (4, 4, 4), (3, 3, 3), groups=4, bias=False),
    _transposed((4, 8), (4, 4, 4), (3, 3, 3), groups=4, stride=2, padding=1, output_padding=(1, 0, 1)),
]
FUNCTIONS = _unique(*_FUNCTIONS)


def _modules(
    suffix: str,
    *arguments: Any,
    size: tuple[int, int, int] = (3, 4, 5),
    batch: int = 2,
    output_size: tuple[int, int, int] | None = None,
    **keywords: Any,
) -> Iterator[ModuleSample]:
    """With one, two and three axes, batched and unbatched, eager and lazy, the output size in every form."""
    for ndim in (1, 2, 3):
        positional = tuple(_cut(value, ndim) for value in arguments)
        named = {key: _cut(value, ndim) for key, value in keywords.items()}
        for lead in ((batch,), ()) if batch else ((batch,),):
            forwards: list[dict[str, Any]] = [{}]
            if output_size is not None:
                spatial = output_size[:ndim]
                whole = torch.Size((*lead, arguments[1], *spatial))
                forwards = [{"output_size": value} for value in (spatial, list(spatial), whole)]
            for forward in forwards:
                shape = (*lead, arguments[0], *size[:ndim])
                yield ModuleSample(f"{suffix}{ndim}d", positional, named, shape, forward)
                yield ModuleSample(f"Lazy{suffix}{ndim}d", positional[1:], named, shape, forward)


# Channels in and out, kernel; then the arguments after those.
_MODULES = [
    _modules("Conv", 4, 5, 3),
    _modules("Conv", 4, 5, 3, 2, size=(10, 6, 7)),
    _modules("Conv", 4, 5, 3, 1, 1),
    _modules("Conv", 4, 4, 5, 1, 2, batch=1, size=(1, 1, 1)),
    _modules("Conv", 3, 4, (3, 2, 4), batch=0, size=(7, 5, 6)),
    _modules("Conv", 3, 4, (2, 3, 4), bias=False),
    _modules("Conv", 2, 3, 1, bias=False),
    _modules("Conv", 3, 2, (3, 3, 3), (2, 2, 2), (1, 1, 1), (2, 2, 2), size=(8, 7, 6)),
    _modules("Conv", 4, 6, [2, 3, 2], [1, 2, 3], [2, 0, 1], [1, 2, 1], 2, False, "zeros", size=(6, 5, 4)),
    _modules("Conv", 4, 6, kernel_size=(3, 2, 1), groups=2),
    _modules("Conv", 4, 4, 3, groups=4, stride=2, size=(6, 5, 4)),
    _modules("Conv", 4, 8, 2, groups=4, padding=1, dilation=2),
    _modules("Conv", 3, 4, (3, 2, 4), padding="valid", stride=2, size=(6, 5, 4)),
    _modules("Conv", 4, 5, 3, padding="same"),
    _modules("Conv", 3, 4, (4, 3, 2), padding="same", size=(6, 5, 4)),
    _modules("Conv", 3, 4, (4, 3, 2), padding="same", dilation=(2, 1, 3)),
    *(
        row
        for mode in ("zeros", "reflect", "replicate", "circular")
        for row in (
            _modules("Conv", 2, 3, 3, 2, (1, 2, 3), 1, 1, True, mode, size=(4, 4, 4)),
            _modules("Conv", 2, 4, (3, 2, 4), padding=[2, 0, 1], dilation=(1, 2, 1), groups=2, padding_mode=mode),
            _modules("Conv", 2, 3, 3, padding="same", padding_mode=mode),
            _modules("Conv", 2, 3, (4, 2, 3), padding="same", dilation=(1, 3, 2), bias=False, padding_mode=mode),
            _modules("Conv", 2, 3, (3, 2, 1), padding="valid", padding_mode=mode),
            _modules("Conv", 2, 3, 3, padding=1, batch=0, padding_mode=mode),
        )
    ),
    # As far as each mode can pad; replicate knows no end.
    _modules("Conv", 1, 2, 3, padding=(2, 3, 4), padding_mode="reflect"),
    _modules("Conv", 1, 2, 3, padding=(3, 4, 5), padding_mode="circular"),
    _modules("Conv", 1, 2, 3, padding=(4, 6, 7), padding_mode="replicate"),
    _modules("ConvTranspose", 4, 5, 3),
    _modules("ConvTranspose", 3, 4, (2, 3, 2), batch=0),
    _modules("ConvTranspose", 3, 4, 1, stride=2, bias=False),
    _modules("ConvTranspose", 3, 4, 3, (3, 2, 2), padding=1, output_padding=(1, 1, 0)),
    _modules("ConvTranspose", 3, 4, 3, (2, 3, 2), 1, (1, 1, 1), 1, False, (2, 2, 2)),
    _modules("ConvTranspose", 4, 6, [2, 3, 2], [2, 1, 3], [1, 0, 1], [1, 0, 2], 2, True, [1, 2, 1], "zeros"),
    _modules("ConvTranspose", 2, 3, (2, 3, 2), 1, 0, 0, 1, True, 2),
    _modules("ConvTranspose", 2, 4, (2, 3, 1), groups=2),
    _modules("ConvTranspose", 4, 4, kernel_size=3, groups=4, stride=2, padding=(2, 1, 0)),
    _modules("ConvTranspose", 2, 3, 3, stride=1, output_padding=(1, 2, 1), dilation=(2, 3, 2)),
    # The smallest output size, the largest, one between; with dilation, and in place of an output padding.
    _modules("ConvTranspose", 3, 4, 3, stride=3, padding=1, output_size=(7, 10, 13)),
    _modules("ConvTranspose", 3, 4, 3, stride=3, padding=1, output_size=(9, 12, 15)),
    _modules("ConvTranspose", 4, 6, (3, 2, 1), stride=(2, 3, 1), groups=2, bias=False, output_size=(8, 12, 5)),
    _modules("ConvTranspose", 2, 3, 3, stride=2, dilation=(2, 1, 3), output_size=(10, 9, 15)),
    _modules("ConvTranspose", 2, 3, 3, stride=2, output_padding=1, output_size=(7, 10, 11)),
    _modules("ConvTranspose", 2, 3, 3, stride=2, padding=1, batch=0, output_size=(6, 7, 9)),
]
MODULES = _unique(*_MODULES)


def _options(**values: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [{key: value} for key, several in values.items() for value in several]


def _fails(
    name: str, exception: type[Exception], usual: Mapping[str, Any], changes: Mapping[str, Any], *calls: tuple[Any, ...]
) -> ErrorSample:
    """A call of the named function or class, with the usual arguments but for changes, and calls of its result."""

    def call(nn: Any) -> None:
        result = attrgetter(name)(nn)(**{**usual, **changes})
        for arguments in calls:
            result(*arguments)

    id = f"{name}({','.join(f'{key}={_text(value)}' for key, value in changes.items())})"
    return ErrorSample(id + "".join(f"({','.join(map(_text, arguments))})" for arguments in calls), call, exception)


def _function_errors(prefix: str, ndim: int) -> Iterator[ErrorSample]:
    """Errors of calls with four channels in, six out, sizes of five, kernels of three and no bias; see `_text`."""
    transposed = prefix == "conv_transpose"
    size, zeros = (5,) * ndim, (0,) * (ndim - 1)
    x, b = ones(2, 4, *size), ones(6)
    w = ones(4, 6, *(3,) * ndim) if transposed else ones(6, 4, *(3,) * ndim)
    no_channels, many = w[:, :0] if transposed else w[:0], (1,) * (ndim + 1)
    fits_not = _options(
        input=(ones(()), ones(*size), x[None], x[:, :3], x[:0, :3], x[0, :3], ones(2, 5, *size), x.to(torch.complex64)),
        weight=(w[..., 0], w[..., None], no_channels, w[..., :0], w.double(), w.to(torch.complex64)),
        # torch without oneDNN adds the double to transposed convolutions of one and two axes.
        bias=(ones(()), b[:1], b[:5], b[:, None], b.double(), b.to(torch.complex64)),
        stride=(0, -1, (-1,), (*many[2:], 0), (), many),
        padding=(-1, (-1,), (*zeros, -1), many),
        dilation=(0, -1, (-1,), many),
        groups=(0, -1, 8),
    )
    fits_not += [
        {"input": x[..., :0], "padding": 3},
        {"input": x.long(), "weight": w.long(), "bias": b},
        {"weight": w[:, :1], "groups": 3 if transposed else 4},
        {"bias": b, "groups": 2},
    ]
    wrong_type = _options(
        input=(None, [1.0]),
        weight=(None, 3),
        bias=(1.0, [1.0]),
        stride=(None, "1", 1.0, True, (1.5,) * ndim),
        padding=(None, 0.5, (0.5,) * ndim),
        dilation=(None, 1.0),
        groups=(None, 1.0, True),
        output_size=(size,),
    )
    if transposed:
        fits_not += [
            *_options(output_padding=(-1, (-1,), 1, (*zeros, 1), many), padding=(5, (*zeros, 4))),
            {"output_padding": -1, "stride": 2},
            {"output_padding": 2, "stride": 2},
            {"output_padding": 3, "stride": 2, "dilation": 3},
            {"output_padding": 1, "stride": (*(2,) * (ndim - 1), 1)},
        ]
        wrong_type += _options(output_padding=(None, 1.0, "1"))
    else:
        same = _options(weight=(w[..., 0],), input=(x[:, :3],), groups=(0, -1, 8), dilation=(0, -1), stride=(-1,))
        fits_not += [
            *_options(weight=(ones(6, 4, *(7,) * ndim),), dilation=(3,), padding=("full", "SAME")),
            {"dilation": 3, "padding": "valid"},
            *({"padding": "same", **options} for options in same),
        ]
        wrong_type += _options(output_padding=(0,))
    for exception, rows in ((RuntimeError, fits_not), (TypeError, wrong_type)):
        for changes in rows:
            yield _fails(f"functional.{prefix}{ndim}d", exception, {"input": x, "weight": w}, changes)


def _modules_fail(
    suffix: str, ndim: int, rows: Iterable[tuple[Any, ...]], eager: bool = True, lazy: bool = True
) -> Iterator[ErrorSample]:
    """From the exception, changes to a module of four channels to six with kernels of three, and calls of it."""
    usual = {"out_channels": 6, "kernel_size": 3}
    for exception, changes, *calls in rows:
        if eager:
            yield _fails(f"{suffix}{ndim}d", exception, {"in_channels": 4, **usual}, changes, *calls)
        if lazy:
            yield _fails(f"Lazy{suffix}{ndim}d", exception, usual, changes, *calls)


def _module_errors(suffix: str, ndim: int) -> Iterator[ErrorSample]:
    x, fits = ones(2, 4, *(5,) * ndim), (11,) * (ndim - 1)
    wrong_type = _options(in_channels=(4.0,), out_channels=(6.0,), kernel_size=(3.0, "3", None))
    eager = [
        *((ValueError, {"groups": groups}) for groups in (3, 4)),
        *((TypeError, changes) for changes in wrong_type),
        *((RuntimeError, {}, (input,)) for input in (x[:, :3], x[0, :3])),
    ]
    lazy = [(ValueError, {"groups": 3}, (x,)), (RuntimeError, {}, (x,), (x[:, :3],)), (TypeError, {"in_channels": 4})]
    both: list[tuple[Any, ...]] = [
        *((ValueError, changes) for changes in _options(groups=(0, -1), padding_mode=("constant", None))),
        *((RuntimeError, {}, (input,)) for input in (x[0, 0], x[None], x.double(), x.long())),
        (RuntimeError, {"padding": 3}, (x[..., :0],)),
        (TypeError, {}, ()),
    ]
    if suffix == "ConvTranspose":
        # A stride of 2 lets sizes of 11 and 12 be had, one of 1 leaves no choice.
        sizes = ((*fits, 10), (*fits, 13), (2, 6, *fits, 13), (6, *fits, 11), (1, 2, 6, *fits, 11), ())
        both += [(ValueError, {"stride": 2}, (x, output_size)) for output_size in sizes]
        both += [(ValueError, {"stride": 2}, (x[0], size)) for size in ((*fits, 10), (6, *fits, 13), (2, 6, *fits, 11))]
        both += [(TypeError, {"stride": 2}, (x, output_size)) for output_size in (11, (*fits, 11.0))]
        both += [(ValueError, {"dilation": 3}, (x, (*fits, 12)))]
    else:
        both += [
            *((ValueError, {"padding": name}) for name in ("full", "SAME")),
            *((RuntimeError, changes, (x,)) for changes in _options(kernel_size=(7,), dilation=(3,))),
            (RuntimeError, {"padding": 5, "padding_mode": "reflect"}, (x,)),
            (RuntimeError, {"padding": 6, "padding_mode": "circular"}, (x,)),
            (TypeError, {}, (x, (5,) * ndim)),
        ]
    yield from _modules_fail(suffix, ndim, eager, lazy=False)
    yield from _modules_fail(suffix, ndim, lazy, eager=False)
    yield from _modules_fail(suffix, ndim, both)


def _late_errors(suffix: str, ndim: int) -> Iterator[ErrorSample]:
    x, many = ones(2, 4, *(5,) * ndim), (1,) * (ndim + 1)
    late = _options(kernel_size=(-1, many), stride=(0, -1, many), dilation=(0, -1), padding=(-1, many))
    if suffix == "ConvTranspose":
        late += _options(output_padding=(1, -1, many), padding=(5,))
    yield from _modules_fail(suffix, ndim, [(RuntimeError, changes, (x,)) for changes in late])


def _extensions(ndim: int) -> Iterator[ErrorSample]:
    operands = {"input": ones(2, 6, *(7,) * ndim), "weight": ones(3, 2, *(3,) * ndim), "groups": 3}
    names: list[dict[str, Any]] = [
        {"padding": "same", "stride": 2},
        {"padding": "same", "stride": (*(1,) * (ndim - 1), 2)},
        {"padding": "causal"},
    ]
    for changes in names:
        yield _fails(f"functional.conv{ndim}d", RuntimeError, operands, changes)
    yield _fails(f"functional.conv{ndim}d", TypeError, operands, {"padding": ((1, 0),) * ndim})
    yield from _modules_fail("Conv", ndim, [(ValueError, changes) for changes in names])
    x, w = ones(2, 4, *(5,) * ndim), ones(4, 6, *(3,) * ndim)
    for name in ("same", "valid", "causal"):
        yield _fails(f"functional.conv_transpose{ndim}d", TypeError, {"input": x, "weight": w}, {"padding": name})
        yield from _modules_fail("ConvTranspose", ndim, [(TypeError, {"padding": name}, (x,))])
    modes: list[dict[str, Any]] = [{"padding_mode": mode} for mode in ("reflect", "replicate", "circular")]
    yield from _modules_fail("ConvTranspose", ndim, [(ValueError, changes) for changes in modes])


_SUFFIXES = [(suffix, ndim) for suffix in ("Conv", "ConvTranspose") for ndim in (1, 2, 3)]
ERRORS = _unique(
    *(_function_errors(prefix, ndim) for prefix in ("conv", "conv_transpose") for ndim in (1, 2, 3)),
    *(_module_errors(*suffix) for suffix in _SUFFIXES),
)
# torch's constructors let these pass, and the parameters or the first call raise.
LATE_ERRORS = _unique(*(_late_errors(*suffix) for suffix in _SUFFIXES))
# torch refuses these, and ndconv documents what they mean.
EXTENSIONS = _unique(*(_extensions(ndim) for ndim in (1, 2, 3)))
