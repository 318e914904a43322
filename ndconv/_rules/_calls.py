"""Whole calls: shapes and hyper-parameters that must fit one another, and the `Convolution` they make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ndconv._form.cache import recalled
from ndconv._form.geometry import Convolution, Geometry, Ints, Pairs
from ndconv._rules._arguments import (
    IntOrInts,
    Padding,
    integers,
    padding_argument,
    padding_mode,
    per_axis,
    positive,
    refuse,
    sizes,
    tupled,
)

Names = tuple[str, str]


def _known(function: str, shape: Sequence[int]) -> Ints:
    """A shape as a tuple; refuses sizes that `torch.jit.trace` has turned into tensors."""
    if any(not isinstance(size, int) and hasattr(size, "numel") for size in shape):
        raise NotImplementedError(
            f"{function}: torch.jit.trace can record convolutions and transposed convolutions, but not this function; "
            f"use torch.export"
        )
    return tuple(shape)


def sample(function: str, shape: Sequence[int], ndim: int, *, name: str = "input") -> Ints:
    """A shape without its batch axis, if it has one: channels and N axes."""
    shape = tuple(shape)
    if len(shape) not in (ndim + 1, ndim + 2):
        rule = f"{name} must have {ndim + 1} (unbatched) or {ndim + 2} dimensions"
        refuse(function, rule, f"has {len(shape)}: {shape}")
    return shape[len(shape) - ndim - 1 :]


def _split(function: str, names: Names, first: Ints, weight: Ints, ndim: int | None) -> tuple[Ints, Ints]:
    """Check the numbers of dimensions; ``(channels, *space)`` of the first shape and the kernel."""
    x_name, w_name = names
    if ndim is None:
        ndim = len(weight) - 2
        if ndim < 0:
            refuse(function, f"{w_name} must have at least 2 dimensions", f"has {len(weight)}: {weight}")
    elif len(weight) != ndim + 2:
        refuse(function, f"{w_name} must have {ndim + 2} dimensions", f"has {len(weight)}: {weight}")
    return sample(function, first, ndim, name=x_name), weight[2:]


def _nothing_empty(function: str, name: str, shape: Ints, space: Ints, kernel: Ints) -> None:
    if any(k < 1 for k in kernel):
        refuse(function, "kernel size must be positive", f"is {kernel}")
    if any(size < 1 for size in space):
        refuse(function, f"{name} may be empty in its batch or channels only", f"has shape {shape}")


def _sides(padding: str | Ints | Pairs, input_size: Ints, extent: Ints, stride: Ints) -> Pairs:
    """Padding of a convolution as a pair per axis."""
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


def _windows(
    function: str, bare: Geometry, padding: str | Ints | Pairs, input_size: Ints, name: str, mode: str = "zeros"
) -> Convolution:
    """Give a geometry its padding; at least one window must fit into the input."""
    extent, sides = bare.extent, _sides(padding, input_size, bare.extent, bare.stride)
    padded = tuple(size + lo + hi for size, (lo, hi) in zip(input_size, sides, strict=True))
    if any(e > size for e, size in zip(extent, padded, strict=True)):
        rule = f"kernel must fit into the padded {name}"
        refuse(function, rule, f"spans {extent}, dilation included, of {padded}")
    _border(function, mode, padding, sides, input_size)
    return Convolution.of(bare.padded(sides), input_size, sides, mode)


def _border(function: str, mode: str, padding: str | Ints | Pairs, sides: Pairs, input_size: Ints) -> None:
    """A border may not repeat more than the input has."""
    if mode == "zeros":
        return
    if padding == "causal" and mode != "replicate":
        rule = "padding 'causal' needs padding_mode 'zeros' or 'replicate', for no output may see a later input"
        refuse(function, rule, f"padding_mode is {mode!r}")
    most = {"reflect": -1, "circular": 0}.get(mode)
    if most is not None and any(max(pair) > size + most for pair, size in zip(sides, input_size, strict=True)):
        rule = f"padding must be {'less than' if most else 'at most'} the size for padding_mode {mode!r}"
        refuse(function, rule, f"is {sides} for size {input_size}")


@recalled
def convolution(
    function: str,
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: IntOrInts,
    padding: Padding,
    dilation: IntOrInts,
    groups: int,
    *,
    mode: str = "zeros",
    ndim: int | None = None,
    names: Names = ("input", "weight"),
) -> Convolution:
    """A convolution of a batched or unbatched input with a weight.

    Args:
        function: Name of the public function, for messages.
        input_shape: ``(n, g*c, *I)`` or ``(g*c, *I)``.
        weight_shape: ``(g*d, c, *K)``.
        stride: One or N positive integers.
        padding: One or N non-negative integers, N ``(lo, hi)`` pairs, or ``"valid"``, ``"same"``, ``"causal"``.
        dilation: One or N positive integers.
        groups: Positive, divides both channel counts.
        mode: How padding is filled.
        ndim: N, or None to take it from the weight.
        names: The function's names of the two shapes.

    Returns:
        The convolution.

    Raises:
        RuntimeError: If a rule is broken.
        TypeError: If a value has the wrong type.
    """
    x_name, w_name = names
    x_shape, w_shape = _known(function, input_shape), _known(function, weight_shape)
    (channels, *size), kernel = _split(function, names, x_shape, w_shape, ndim)
    ndim, input_size = len(kernel), tuple(size)
    strides = per_axis(function, "stride", stride, ndim)
    dilations = per_axis(function, "dilation", dilation, ndim)
    padding = padding_argument(function, padding, ndim)
    groups = positive(function, "groups", groups)
    padding_mode(function, mode)

    if w_shape[0] < groups or w_shape[0] % groups:
        rule = f"{w_name} must have a positive number of output channels that groups divides"
        refuse(function, rule, f"has {w_shape[0]} with groups = {groups}")
    if channels != groups * w_shape[1]:
        factor = "weight.shape[1]" if w_name == "weight" else f"{w_name}[1]"
        expected = f"{w_name} expects groups * {factor} = {groups} * {w_shape[1]} = {groups * w_shape[1]}"
        refuse(function, f"{x_name} has {channels} channels", expected)
    _nothing_empty(function, x_name, x_shape, input_size, kernel)
    return _windows(function, Geometry(kernel, strides, (), dilations, groups), padding, input_size, "input", mode)


def _chosen_size(
    function: str, output_size: Sequence[int], smallest: Ints, largest: Ints, name: str, shape: Ints
) -> Ints:
    """The spatial part of an ``output_size``, which must be one of the sizes that the stride leaves open."""
    given, ndim = integers(function, "output_size", output_size), len(smallest)
    size = given[len(given) - ndim :]
    fits = len(given) in (ndim, len(shape)) and all(
        lo <= n <= hi for lo, n, hi in zip(smallest, size, largest, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{function}: output_size must be from {smallest} to {largest}, with or without batch and channels, for "
            f"{name} {shape}, but is {given}"
        )
    return size


@recalled
def transposed(
    function: str,
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: IntOrInts,
    padding: Padding,
    output_padding: IntOrInts,
    groups: int,
    dilation: IntOrInts,
    *,
    output_size: Sequence[int] | None = None,
    mode: str = "zeros",
    ndim: int | None = None,
    names: Names = ("input", "weight"),
) -> Convolution:
    """The convolution whose input gradient a transposed convolution is.

    Its input is as large as the transposed convolution's result; its output is the transposed convolution's input.

    Args:
        function: Name of the public function, for messages.
        input_shape: ``(n, g*d, *O)`` or ``(g*d, *O)``.
        weight_shape: ``(g*d, c, *K)``.
        stride: One or N positive integers.
        padding: The convolution's padding, which is cut off here. ``"same"`` and ``"causal"`` make the result S times
            as large as the input; ``"causal"`` cuts nothing off on the low side.
        output_padding: One or N integers less than stride or dilation: further elements on the high side.
        groups: Positive, divides both channel counts.
        dilation: One or N positive integers.
        output_size: Size of the result, with or without batch and channels, instead of ``output_padding``.
        mode: How the convolution's padding is filled.
        ndim: N, or None to take it from the weight.
        names: The function's names of the two shapes.

    Returns:
        The convolution.

    Raises:
        RuntimeError: If a rule is broken.
        TypeError: If a value has the wrong type.
        ValueError: If ``output_size`` does not fit, as torch has it.
    """
    x_name, w_name = names
    y_shape, w_shape = _known(function, input_shape), _known(function, weight_shape)
    (features, *size), kernel = _split(function, names, y_shape, w_shape, ndim)
    ndim, positions = len(kernel), tuple(size)
    strides = per_axis(function, "stride", stride, ndim)
    dilations = per_axis(function, "dilation", dilation, ndim)
    padding = padding_argument(function, padding, ndim)
    extra = per_axis(function, "output_padding", output_padding, ndim, least=0)
    groups = positive(function, "groups", groups)
    padding_mode(function, mode)

    if w_shape[0] < groups or w_shape[0] % groups:
        rule = f"{w_name} must have a positive number of input channels that groups divides"
        refuse(function, rule, f"has {w_shape[0]} with groups = {groups}")
    if w_shape[1] < 1:
        refuse(function, f"{w_name} must have a positive number of output channels", f"has shape {w_shape}")
    if features != w_shape[0]:
        factor = "weight.shape[0]" if w_name == "weight" else f"{w_name}[0]"
        refuse(function, f"{x_name} has {features} channels", f"{w_name} expects {factor} = {w_shape[0]}")
    _nothing_empty(function, x_name, y_shape, positions, kernel)
    if any(p >= max(s, d) for p, s, d in zip(extra, strides, dilations, strict=True)):
        rule = "output_padding must be smaller than stride or dilation"
        refuse(function, rule, f"is {extra} with stride {strides} and dilation {dilations}")
    named = padding in ("same", "causal")
    if named and any(extra):
        refuse(function, f"output_padding must be 0 with padding {padding!r}", f"is {extra}")

    bare = Geometry(kernel, strides, (), dilations, groups)
    spans = bare.reach(positions)
    if named:
        largest = tuple(s * o for s, o in zip(strides, positions, strict=True))
        smallest = tuple(n - s + 1 for n, s in zip(largest, strides, strict=True))
        result = largest
    else:
        cut = (lo + hi for lo, hi in _sides(padding, (), bare.extent, strides))
        smallest = tuple(span - total for span, total in zip(spans, cut, strict=True))
        largest = tuple(n + s - 1 for n, s in zip(smallest, strides, strict=True))
        result = tuple(n + p for n, p in zip(smallest, extra, strict=True))
    if output_size is not None:
        result = _chosen_size(function, output_size, smallest, largest, x_name, y_shape)
    if any(n < 1 for n in result):
        refuse(function, "the result must not be empty", f"{x_name} {y_shape} gives size {result}")

    if padding == "causal":
        sides: Pairs = tuple((0, max(0, span - n)) for span, n in zip(spans, result, strict=True))
    else:
        sides = _sides(padding, result, bare.extent, strides)
    if padding == "causal" and mode != "zeros":
        refuse(function, "padding 'causal' needs padding_mode 'zeros'", f"padding_mode is {mode!r}")
    _border(function, mode, padding, sides, result)
    # With this padding the windows end where the padded result ends. It is negative where no window reaches that far.
    exact = tuple((lo, span - lo - n) for (lo, _), span, n in zip(sides, spans, result, strict=True))
    return Convolution.of(bare.padded(exact), result, sides, mode)


def bias(function: str, features: int, shape: Sequence[int]) -> None:
    """A bias has one element per output channel; torch lets some other shapes pass."""
    if tuple(shape) != (features,):
        refuse(function, f"bias must have shape ({features},)", f"has {tuple(shape)}")


def grad_output(
    function: str, names: Names, shapes: tuple[Sequence[int], Sequence[int]], expected: Ints, shape: Sequence[int]
) -> None:
    """A gradient of the result has the shape of the result."""
    if tuple(shape) != expected:
        reason = f"as {names[0]} {tuple(shapes[0])} and {names[1]} {tuple(shapes[1])} give"
        refuse(function, f"grad_output must have shape {expected}, {reason}", f"has {tuple(shape)}")


def per_sample(function: str, wanted: bool, input_shape: Sequence[int], weight_shape: Sequence[int]) -> None:
    """Per-sample gradients need samples."""
    if wanted and len(input_shape) < len(weight_shape):
        refuse(function, "per_sample needs a batched input", f"input has shape {tuple(input_shape)}")


def biased(function: str, shape: Ints, ndim: int | None, per_sample: bool) -> None:
    """A gradient that is summed to the bias's gradient; without N it must have a batch."""
    if ndim is None:
        if len(shape) < 2:
            refuse(function, "grad_output must have at least 2 dimensions", f"has {len(shape)}: {shape}")
    elif len(shape) not in ((ndim + 2,) if per_sample else (ndim + 1, ndim + 2)):
        rule = f"{ndim + 2} dimensions" if per_sample else f"{ndim + 1} (unbatched) or {ndim + 2} dimensions"
        refuse(function, f"grad_output must have {rule}", f"has {len(shape)}: {shape}")


def kernel(function: str, ndim: int | None, shape: Sequence[int], kernel_size: IntOrInts, **others: object) -> Ints:
    """A kernel size of N numbers. The length of every tuple is N; without a tuple the shape counts as batched."""
    if ndim is None:
        told = _axes(function, kernel_size=tupled(kernel_size), **{name: tupled(each) for name, each in others.items()})
        ndim = max(0, len(shape) - 2) if told is None else told
    size = per_axis(function, "kernel_size", kernel_size, ndim)
    sample(function, shape, ndim)
    return size


def projected(
    function: str, ndim: int | None, groups: int, left: Sequence[int], right: Sequence[int], *, transposed: bool
) -> Ints:
    """Shape of the weight whose gradient is projected by ``left (g, p, c, *K)`` and ``right (g, q, d)``."""
    ndim = len(left) - 3 if ndim is None else ndim
    groups = positive(function, "groups", groups)
    if ndim < 0 or len(left) != ndim + 3:
        rule = f"left must have {max(0, ndim) + 3} dimensions (groups, p, channels, *K)"
        refuse(function, rule, f"has {len(left)}: {tuple(left)}")
    if len(right) != 3:
        refuse(function, "right must have 3 dimensions (groups, q, channels)", f"has {len(right)}: {tuple(right)}")
    for name, shape in (("left", left), ("right", right)):
        if shape[0] != groups:
            refuse(function, f"{name} must have {groups} groups", f"has shape {tuple(shape)}")
    if transposed:
        return groups * left[2], right[2], *left[3:]
    return groups * right[2], left[2], *left[3:]


def _axes(function: str, **arguments: object) -> int | None:
    """N, the length of every tuple among the arguments; None if there is no tuple."""
    lengths = {name: len(value) for name, value in arguments.items() if isinstance(value, tuple)}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        refuse(function, "tuples must have one entry per spatial axis", found)
    return next(iter(lengths.values()), None)


@recalled
def unfolding(
    function: str,
    shape: Sequence[int],
    kernel_size: IntOrInts,
    dilation: IntOrInts,
    padding: Padding,
    stride: IntOrInts,
    *,
    output_size: Sequence[int] | None = None,
) -> Convolution:
    """The windows that an unfold takes out of ``shape``, or a fold of ``shape`` adds up into ``output_size``.

    Args:
        function: Name of the public function, for messages.
        shape: ``(n, c, *I)`` or ``(c, *I)``; with ``output_size``, ``(n, c * prod(K), prod(O))`` or unbatched.
        kernel_size: A positive integer, or N as a tuple: every tuple tells N. Without one the shape counts as batched.
        dilation: A positive integer or N.
        padding: As in `convolution`.
        stride: A positive integer or N.
        output_size: I of a fold, whose length is N.

    Returns:
        The windows, as a convolution.

    Raises:
        RuntimeError: If a rule is broken.
        TypeError: If a value has the wrong type.
    """
    shape, folds = _known(function, shape), output_size is not None
    size = sizes(function, "output_size", output_size) if output_size is not None else None
    given: Any = (tupled(value) for value in (kernel_size, dilation, padding, stride))
    kernel_size, dilation, padding, stride = given
    ndim = _axes(function, output_size=size, kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride)
    if ndim is None:
        ndim = max(0, len(shape) - 2)
    _, *space = sample(function, shape, 1 if folds else ndim)
    if size is None:
        size = tuple(space)
    kernel = per_axis(function, "kernel_size", kernel_size, ndim)
    strides = per_axis(function, "stride", stride, ndim)
    dilations = per_axis(function, "dilation", dilation, ndim)
    padding = padding_argument(function, padding, ndim)
    name = "output_size" if folds else "input"
    _nothing_empty(function, name, size if folds else shape, size, kernel)
    found = _windows(function, Geometry(kernel, strides, (), dilations), padding, size, name)
    if folds and (shape[-2] % math.prod(kernel) or shape[-1] != math.prod(found.output_size)):
        rule = f"input must have a multiple of {math.prod(kernel)} channels at {math.prod(found.output_size)} positions"
        refuse(function, f"{rule}, as kernel_size {kernel} and output_size {size} give", f"has shape {shape}")
    return found
