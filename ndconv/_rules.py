"""What every call must satisfy: the one place that refuses bad input, before any work is done.

A message names the function, the rule and both values. Types are torch's for the same mistake: `TypeError` for a value
of the wrong type, `RuntimeError` for everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from torch import Tensor

from ndconv._geometry import Geometry, Ints, Pairs

IntOrInts = int | Sequence[int]
Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]
PADDING_NAMES = ("valid", "same", "causal")


def _refuse(function: str, rule: str, found: str) -> NoReturn:
    raise RuntimeError(f"{function}: {rule}, but {found}")


def _is_integer(value: object) -> bool:
    return isinstance(value, int) or (hasattr(value, "__index__") and not isinstance(value, Tensor))


def positive(function: str, name: str, value: int, *, least: int = 1) -> None:
    """One integer, not below ``least``."""
    if not _is_integer(value):
        raise TypeError(f"{function}: {name} must be an integer, but is {value!r}")
    if value < least:
        _refuse(function, f"{name} must be {'positive' if least else 'non-negative'}", f"is {value}")


def channels(function: str, in_channels: int, out_channels: int, groups: int) -> None:
    """Groups divide the channels of input and output."""
    positive(function, "groups", groups)
    for name, count in (("in_channels", in_channels), ("out_channels", out_channels)):
        if count % groups:
            _refuse(function, f"groups must divide {name}", f"{groups} does not divide {count}")


def sizes(function: str, name: str, value: Sequence[int]) -> Ints:
    """A shape given by the user as a tuple of non-negative integers."""
    if not isinstance(value, Sequence) or not all(map(_is_integer, value)):
        raise TypeError(f"{function}: {name} must be a sequence of integers, but is {value!r}")
    if any(size < 0 for size in value):
        _refuse(function, f"{name} must not be negative", f"is {tuple(value)}")
    return tuple(value)


def _entries(function: str, name: str, value: Sequence[object], ndim: int) -> list[object]:
    if len(value) == 1:
        return list(value) * ndim
    if len(value) != ndim:
        pairs = "; (lo, hi) pairs are written ((lo, hi), ...)" if name == "padding" else ""
        _refuse(
            function, f"{name} must be an integer or {ndim} of them, one per spatial axis", f"is {tuple(value)}{pairs}"
        )
    return list(value)


def per_axis(function: str, name: str, value: IntOrInts, ndim: int, *, least: int = 1) -> Ints:
    """One integer per axis from an integer for all axes or a sequence, none below ``least``."""
    if _is_integer(value):
        axes: Ints = (value,) * ndim  # type: ignore[assignment]
    elif isinstance(value, Sequence) and not isinstance(value, str) and all(map(_is_integer, value)):
        axes = tuple(_entries(function, name, value, ndim))  # type: ignore[arg-type]
    else:
        raise TypeError(f"{function}: {name} must be an integer or a sequence of integers, but is {value!r}")
    if any(size < least for size in axes):
        _refuse(function, f"{name} must be {'positive' if least else 'non-negative'}", f"is {axes}")
    return axes


def padding_argument(function: str, value: Padding, ndim: int) -> str | Ints | Pairs:
    """Padding in the form that modules keep: a name, one integer per axis, or one ``(lo, hi)`` pair per axis."""
    if isinstance(value, str):
        if value not in PADDING_NAMES:
            _refuse(
                function, f"padding must be a number or one of {', '.join(map(repr, PADDING_NAMES))}", f"is {value!r}"
            )
        return value
    if _is_integer(value) or not isinstance(value, Sequence) or all(map(_is_integer, value)):
        return per_axis(function, "padding", value, ndim, least=0)  # type: ignore[arg-type]
    pairs = []
    for entry in _entries(function, "padding", value, ndim):
        pair = (entry, entry) if _is_integer(entry) else entry
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2 or not all(map(_is_integer, pair)):
            raise TypeError(f"{function}: padding must hold integers or (lo, hi) pairs, but holds {entry!r}")
        if min(pair) < 0:
            _refuse(function, "padding must be non-negative", f"is {tuple(value)}")
        pairs.append(tuple(pair))
    return tuple(pairs)


def _padding_pairs(padding: str | Ints | Pairs, input_size: Ints, extent: Ints, stride: Ints) -> Pairs:
    if padding == "valid":
        return ((0, 0),) * len(extent)
    if padding == "causal":
        return tuple((e - 1, 0) for e in extent)
    if padding == "same":
        # The output is ceil(I / S); an odd total puts the extra element on the high side, as TensorFlow and JAX do.
        totals = (
            max(0, ((size - 1) // s) * s + e - size) for size, e, s in zip(input_size, extent, stride, strict=True)
        )
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple(p if isinstance(p, tuple) else (p, p) for p in padding)  # type: ignore[misc]


def convolution(
    function: str,
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: IntOrInts,
    padding: Padding,
    dilation: IntOrInts,
    groups: int,
    *,
    ndim: int | None = None,
    names: tuple[str, str] = ("input", "weight"),
) -> Geometry:
    """The geometry of a convolution of a batched or unbatched input with a weight.

    Args:
        function: Name of the public function, for messages.
        input_shape: ``(n, g*c, *I)`` or ``(g*c, *I)``.
        weight_shape: ``(g*d, c, *K)``.
        stride: One or N positive integers.
        padding: One or N non-negative integers, N ``(lo, hi)`` pairs, or ``"valid"``, ``"same"``, ``"causal"``.
        dilation: One or N positive integers.
        groups: Positive, divides both channel counts.
        ndim: N, or None to take it from the weight.
        names: What the function calls the two shapes.

    Returns:
        A validated `Geometry`.

    Raises:
        RuntimeError: If a rule is broken.
        TypeError: If a value has the wrong type.
    """
    x_name, w_name = names
    x_shape, w_shape = tuple(input_shape), tuple(weight_shape)
    if ndim is None:
        ndim = len(w_shape) - 2
        if ndim < 0:
            _refuse(function, f"{w_name} must have at least 2 dimensions", f"has {len(w_shape)}: {w_shape}")
    elif len(w_shape) != ndim + 2:
        _refuse(function, f"{w_name} must have {ndim + 2} dimensions", f"has {len(w_shape)}: {w_shape}")
    if len(x_shape) not in (ndim + 1, ndim + 2):
        rule = f"{x_name} must have {ndim + 1} (unbatched) or {ndim + 2} dimensions"
        _refuse(function, rule, f"has {len(x_shape)}: {x_shape}")
    strides = per_axis(function, "stride", stride, ndim)
    dilations = per_axis(function, "dilation", dilation, ndim)
    padding = padding_argument(function, padding, ndim)
    positive(function, "groups", groups)

    split = len(x_shape) - ndim
    channels, input_size, kernel = x_shape[split - 1], x_shape[split:], w_shape[2:]
    if w_shape[0] < groups or w_shape[0] % groups:
        rule = f"{w_name} must have a positive number of output channels that groups divides"
        _refuse(function, rule, f"has {w_shape[0]} with groups = {groups}")
    if channels != groups * w_shape[1]:
        factor = "weight.shape[1]" if w_name == "weight" else f"{w_name}[1]"
        expected = f"{w_name} expects groups * {factor} = {groups} * {w_shape[1]} = {groups * w_shape[1]}"
        _refuse(function, f"{x_name} has {channels} channels", expected)
    if any(k < 1 for k in kernel):
        _refuse(function, "kernel size must be positive", f"is {kernel}")
    if any(size < 1 for size in input_size):
        _refuse(function, f"{x_name} may be empty in its batch or channels only", f"has shape {x_shape}")
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True))
    geometry = Geometry(kernel, strides, _padding_pairs(padding, input_size, extent, strides), dilations, groups)
    padded = tuple(size + lo + hi for size, (lo, hi) in zip(input_size, geometry.padding, strict=True))
    if any(e > size for e, size in zip(extent, padded, strict=True)):
        rule = "kernel must fit into the padded input"
        _refuse(function, rule, f"spans {extent}, dilation included, of {padded}")
    return geometry


def bias(function: str, features: int, shape: Sequence[int]) -> None:
    """A bias has one element per output channel; torch lets some other shapes pass."""
    if tuple(shape) != (features,):
        _refuse(function, f"bias must have shape ({features},)", f"has {tuple(shape)}")


def grad_output(
    function: str,
    geometry: Geometry,
    input_shape: Ints,
    weight_shape: Ints,
    shape: Sequence[int],
    names: tuple[str, str],
) -> None:
    """A gradient of the output has the shape of the output."""
    split = len(input_shape) - geometry.ndim
    expected = (*input_shape[: split - 1], weight_shape[0], *geometry.output_size(input_shape[split:]))
    if tuple(shape) != expected:
        reason = f"as {names[0]} {input_shape} and {names[1]} {weight_shape} give"
        _refuse(function, f"grad_output must have shape {expected}, {reason}", f"has {tuple(shape)}")


def tensors(function: str, **operands: Tensor) -> None:
    """All operands are tensors of one dtype on one device."""
    for name, value in operands.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{function}: {name} must be a Tensor, but is {type(value).__name__}")
    (first, reference), *others = operands.items()
    for name, value in others:
        if value.dtype != reference.dtype:
            _refuse(function, f"{first} has dtype {reference.dtype}", f"{name} has {value.dtype}")
        if value.device != reference.device:
            _refuse(function, f"{first} is on device {reference.device}", f"{name} is on {value.device}")
