"""The independent reference: the trilinear form as a loop over output and kernel indices, in NumPy.

It shares no code with the library and uses neither windows nor strides. Indices outside the input are left out of its
gradient. Where the input is read, it is padded with zeros, which are multiplied like any other number. Operands and
results are integers, so sums are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ndconv.testing._cases import Case, Ints, Pairs

Array = NDArray[Any]
ALL: Any = slice(None)


def _tied(
    input_size: Ints, kernel: Ints, output_size: Ints, stride: Ints, padding: Pairs, dilation: Ints
) -> Iterator[tuple[Ints, Ints, Ints]]:
    """All ``(i, k, o)`` with ``i = S*o + D*k - lo`` inside the input on every axis."""
    for o in np.ndindex(*output_size):
        for k in np.ndindex(*kernel):
            i = tuple(
                s * o_ + d * k_ - lo for s, o_, d, k_, (lo, _) in zip(stride, o, dilation, k, padding, strict=True)
            )
            if all(0 <= i_ < size for i_, size in zip(i, input_size, strict=True)):
                yield i, k, o


def _blocks(groups: int, channels: int, features: int) -> Iterator[tuple[Any, Any]]:
    """Slices of input and output channels of each group."""
    for g in range(groups):
        yield slice(g * channels, (g + 1) * channels), slice(g * features, (g + 1) * features)


def output(x: Array, w: Array, output_size: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Array:
    """The convolution of ``x[n, g*c, *I]`` with ``w[g*d, c, *K]``."""
    y = np.zeros((x.shape[0], w.shape[0], *output_size), np.result_type(x, w))
    for i, k, o in _tied(x.shape[2:], w.shape[2:], output_size, stride, padding, dilation):
        for c, d in _blocks(groups, w.shape[1], w.shape[0] // groups):
            y[(ALL, d, *o)] += x[(ALL, c, *i)] @ w[(d, ALL, *k)].T
    return y


def grad_input(
    w: Array, y: Array, input_size: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Array:
    """The gradient of the input for ``y[n, g*d, *O]``."""
    x = np.zeros((y.shape[0], groups * w.shape[1], *input_size), np.result_type(w, y))
    for i, k, o in _tied(input_size, w.shape[2:], y.shape[2:], stride, padding, dilation):
        for c, d in _blocks(groups, w.shape[1], w.shape[0] // groups):
            x[(ALL, c, *i)] += y[(ALL, d, *o)] @ w[(d, ALL, *k)]
    return x


def grad_weight(x: Array, y: Array, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Array:
    """The gradient of the weight for ``x[n, g*c, *I]`` and ``y[n, g*d, *O]``."""
    channels, features = x.shape[1] // groups, y.shape[1] // groups
    w = np.zeros((y.shape[1], channels, *kernel), np.result_type(x, y))
    for i, k, o in _tied(x.shape[2:], kernel, y.shape[2:], stride, padding, dilation):
        for c, d in _blocks(groups, channels, features):
            w[(d, ALL, *k)] += y[(ALL, d, *o)].T @ x[(ALL, c, *i)]
    return w


_MODES: Any = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def shown(input_size: Ints, padding: Pairs, mode: str) -> Array:
    """The flat input index that every element of the padded input copies, by NumPy's padding."""
    return np.pad(np.arange(math.prod(input_size)).reshape(input_size), padding, _MODES[mode])


def extend(x: Array, indices: Array) -> Array:
    """The elements of ``x[n, c, *I]`` at flat indices."""
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))[:, :, indices]


def retract(x: Array, indices: Array, input_size: Ints) -> Array:
    """Adjoint of `extend`: add every element to the one that it copies."""
    flat = np.zeros((*x.shape[:2], math.prod(input_size)), x.dtype)
    np.add.at(flat, (ALL, ALL, indices.ravel()), x.reshape(*x.shape[:2], indices.size))
    return flat.reshape(*x.shape[:2], *input_size)


def form(case: Case, slot: str, filled: Mapping[str, Array]) -> Array:
    """The tensor of the trilinear form's open slot.

    Args:
        case: The convolution, its padding mode included.
        slot: ``"x"``, ``"w"`` or ``"y"``, the tensor to compute.
        filled: The two others by name, batched.

    Returns:
        The tensor of the open slot, read-only. Complex numbers are not conjugated.
    """
    return _form(case, slot, tuple((name, a.shape, a.dtype.str, a.tobytes()) for name, a in filled.items()))


@lru_cache(maxsize=4096)  # a trial's checks ask for the same sums about ten times
def _form(case: Case, slot: str, filled: tuple[tuple[str, Ints, str, bytes], ...]) -> Array:
    arrays = {name: np.frombuffer(data, dtype).reshape(shape) for name, shape, dtype, data in filled}
    with np.errstate(invalid="ignore"):
        result = _sum(case, slot, arrays)
    result.flags.writeable = False
    return result


def _sum(case: Case, slot: str, arrays: dict[str, Array]) -> Array:
    size, padding, indices = case.input_size, case.padding, None
    if case.mode != "zeros":
        indices = shown(size, padding, case.mode)
        size, padding = indices.shape, ((0, 0),) * case.ndim
        if "x" in arrays:
            arrays["x"] = extend(arrays["x"], indices)
    elif "x" in arrays:
        # Zeros are multiplied, as zero times NaN is NaN.
        arrays["x"], padding = np.pad(arrays["x"], ((0, 0), (0, 0), *padding)), ((0, 0),) * case.ndim
    rest = case.stride, padding, case.dilation, case.groups
    if slot == "y":
        return output(arrays["x"], arrays["w"], case.output_size, *rest)
    if slot == "w":
        return grad_weight(arrays["x"], arrays["y"], case.kernel, *rest)
    gradient = grad_input(arrays["w"], arrays["y"], size, *rest)
    return gradient if indices is None else retract(gradient, indices, case.input_size)


def reference(case: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Output, input gradient and weight gradient of a case by the NumPy loop, in int64 and so exact.

    Args:
        case: The convolution.
        dtype: The dtype whose `Case.operands` to take.

    Returns:
        Tensors of shapes ``case.output_shape``, ``case.input_shape`` and ``case.weight_shape``.
    """
    x, w, y = (operand.to(torch.int64).numpy() for operand in case.operands(dtype))
    pairs = (("y", {"x": x, "w": w}), ("x", {"w": w, "y": y}), ("w", {"x": x, "y": y}))
    found, grad_input, grad_weight = (torch.from_numpy(form(case, slot, filled).copy()) for slot, filled in pairs)
    return found, grad_input, grad_weight


def windows(case: Case, x: Array) -> Array:
    """The windows ``[n, g, c, *K, *O]`` of a padded input, one element at a time."""
    x, padding, indices = x.reshape(x.shape[0], case.groups, case.channels, *x.shape[2:]), case.padding, None
    if case.mode != "zeros":
        indices = shown(case.input_size, padding, case.mode)
        x, padding = x.reshape(*x.shape[:3], math.prod(x.shape[3:]))[..., indices], ((0, 0),) * case.ndim
    found = np.zeros((*x.shape[:3], *case.kernel, *case.output_size), x.dtype)
    size = case.input_size if indices is None else indices.shape
    for i, k, o in _tied(size, case.kernel, case.output_size, case.stride, padding, case.dilation):
        found[(ALL, ALL, ALL, *k, *o)] = x[(ALL, ALL, ALL, *i)]
    return found


def shares(case: Case, y: Array) -> Array:
    """The im2col of the transposed convolution, ``[n, g, d, *K, *I]``, one element at a time."""
    y, padding, indices = y.reshape(y.shape[0], case.groups, case.features, *y.shape[2:]), case.padding, None
    if case.mode != "zeros":
        indices, padding = shown(case.input_size, padding, case.mode), ((0, 0),) * case.ndim
    size = case.input_size if indices is None else indices.shape
    found = np.zeros((*y.shape[:3], *case.kernel, *size), y.dtype)
    for i, k, o in _tied(size, case.kernel, case.output_size, case.stride, padding, case.dilation):
        found[(ALL, ALL, ALL, *k, *i)] = y[(ALL, ALL, ALL, *o)]
    if indices is None:
        return found
    flat = found.reshape(1, math.prod(found.shape[: 3 + case.ndim]), *size)
    return retract(flat, indices, case.input_size).reshape(*found.shape[: 3 + case.ndim], *case.input_size)
