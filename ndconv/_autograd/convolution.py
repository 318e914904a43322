"""The three operations on tensors as users hold them: with or without a batch axis, and with borders of every mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ndconv._autograd import recorded as _recorded
from ndconv._autograd.function import run, trilinear
from ndconv._autograd.linear import Map, linear
from ndconv._form.cache import cached, plain
from ndconv._form.geometry import Convolution, Form, Slot
from ndconv._planner.choice import FASTEST
from ndconv._programs.windows import unflatten
from ndconv._tensors.borders import extend, retract
from ndconv._tensors.execute import Program, fastest, is_simple, ready, torchs_own
from ndconv._tensors.layout import is_channels_last
from ndconv._tensors.placements import is_shared_out


def _border(convolution: Convolution) -> tuple[Map, Map]:
    """Adding the border, and its adjoint."""
    border, mode = convolution.border, convolution.mode
    return partial(extend, border=border, mode=mode), partial(retract, border=border, mode=mode)


def framed(convolution: Convolution, x: Tensor) -> Tensor:
    """The input with its border."""
    if convolution.mode == "zeros":
        return x
    add, remove = _border(convolution)
    return linear(add, remove, x)


def _unframed(convolution: Convolution, x: Tensor) -> Tensor:
    """Adjoint of `framed`."""
    if convolution.mode == "zeros":
        return x
    add, remove = _border(convolution)
    return linear(remove, add, x)


@cached
def _form(slot: Slot, convolution: Convolution, lowering: str, wide: bool, channels_last: bool | None) -> Form:
    return Form(slot, convolution.geometry, convolution.framed_size, lowering, wide, channels_last)


def _layout(convolution: Convolution, *operands: Tensor) -> bool | None:
    """`Form.channels_last`: a border may change an operand's layout, so the operands without their border decide."""
    return None if convolution.mode == "zeros" else any(map(is_channels_last, operands))


def known(
    slot: Slot,
    first: Tensor,
    second: Tensor,
    bias: Tensor | None,
    asked: tuple[Any, ...],
    checked: Callable[..., tuple[Convolution, str]],
    function: str,
) -> Tensor | None:
    """`compute_output` or `compute_input`, with no checks and no decisions if the same was asked for before.

    Args:
        slot: The open slot.
        first: Operand ``slot.operands[0]``.
        second: Operand ``slot.operands[1]``.
        bias: One number per channel of the result, or None.
        asked: What the user wrote; it ends with the padding mode and the lowering.
        checked: Checks name, operands, bias and what was asked; returns a convolution and a lowering.
        function: Name of the public function, for messages.

    Returns:
        The result; None if it takes more than a program, or torch's operator, and a bias.
    """
    if asked[-2] != "zeros" or not plain(asked) or not is_simple(first, second, bias):
        return None
    added = None if bias is None else (bias.shape, bias.dtype, bias.device, bias.layout)
    wanted = slot, asked, second.dtype, second.device, added
    form_of = _checked_form, slot, checked, function, bias, asked
    found = (
        fastest(wanted, first, second, bias, *form_of)
        if asked[-1] == FASTEST
        else ready(wanted, first, second, *form_of)
    )
    if found is None:
        return None
    if not isinstance(found, Program):
        return _by_torch(slot, first, second, bias, found)
    result = run(found, first, second)
    return result if bias is None else _rounded(result, bias, first.dtype)


def _checked_form(
    first: Tensor,
    second: Tensor,
    slot: Slot,
    checked: Callable[..., tuple[Convolution, str]],
    function: str,
    bias: Tensor | None,
    asked: tuple[Any, ...],
) -> Form:
    return _form(slot, *checked(function, first, second, bias, *asked), bias is not None, None)


def compute_output(convolution: Convolution, lowering: str, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve ``(n, g*c, *I)`` or unbatched with ``(g*d, c, *K)``; add ``(g*d,)``."""
    if x.dim() < w.dim():
        return compute_output(convolution, lowering, x.unsqueeze(0), w, bias).squeeze(0)
    if is_shared_out(x):
        from ndconv._sharded.convolution import compute_output as shared_output

        return shared_output(convolution, lowering, x, w, bias)
    if _recorded.records(convolution):
        return _recorded.output(convolution, framed(convolution, x), w, bias)
    form = _form(Slot.OUTPUT, convolution, lowering, bias is not None, _layout(convolution, x, w))
    if lowering == FASTEST and convolution.mode == "zeros" and (own := torchs_own(form, x, w, bias)):
        return _by_torch(Slot.OUTPUT, x, w, bias, own)
    return _rounded(trilinear(form, framed(convolution, x), w), bias, w.dtype)


def compute_input(convolution: Convolution, lowering: str, w: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    """Gradient of the input from ``(g*d, c, *K)`` and ``(n, g*d, *O)`` or unbatched; plus ``(g*c,)``."""
    if y.dim() < w.dim():
        return compute_input(convolution, lowering, w, y.unsqueeze(0), bias).squeeze(0)
    if is_shared_out(y):
        from ndconv._sharded.convolution import compute_input as shared_input

        return shared_input(convolution, lowering, w, y, bias)
    if _recorded.records(convolution):
        return _rounded(_unframed(convolution, _recorded.input(convolution, w, y)), bias, w.dtype)
    wide = bias is not None or convolution.mode != "zeros"
    form = _form(Slot.INPUT, convolution, lowering, wide, _layout(convolution, w, y))
    if lowering == FASTEST and convolution.mode == "zeros" and (own := torchs_own(form, w, y, bias)):
        return _by_torch(Slot.INPUT, w, y, bias, own)
    return _rounded(_unframed(convolution, trilinear(form, w, y)), bias, w.dtype)


def _by_torch(slot: Slot, first: Tensor, second: Tensor, bias: Tensor | None, arguments: tuple[Any, ...]) -> Tensor:
    """OUTPUT or INPUT by torch's own operator, which takes the weight second in both."""
    x, w = (second, first) if slot is Slot.INPUT else (first, second)
    return torch.convolution(x, w, bias, *arguments)


def _rounded(result: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Add one number per channel to a result that may be wide, and round the sum."""
    if bias is not None:
        result = result + bias.view(-1, *(1,) * (result.dim() - 2))
    return result if result.dtype == dtype else result.to(dtype)


def compute_weight(
    convolution: Convolution, lowering: str, x: Tensor, y: Tensor, *, per_sample: bool = False
) -> Tensor:
    """Gradient of the weight from ``(n, g*c, *I)`` and ``(n, g*d, *O)``, both batched or not.

    Per-sample gradients are the gradient of one sample whose groups are those of all samples.
    """
    if x.dim() == convolution.geometry.ndim + 1:
        return compute_weight(convolution, lowering, x.unsqueeze(0), y.unsqueeze(0))
    if is_shared_out(x):
        from ndconv._sharded.convolution import compute_weight as shared_weight

        return shared_weight(convolution, lowering, x, y, per_sample=per_sample)
    form = _form(Slot.WEIGHT, convolution, lowering, False, _layout(convolution, x, y))
    x = framed(convolution, x)
    if not per_sample:
        return trilinear(form, x, y)
    batch, geometry = x.shape[0], convolution.geometry
    if batch == 0:
        channels = x.shape[1] // geometry.groups
        return x.new_zeros(0, y.shape[1], channels, *geometry.kernel)
    apart = replace(form, geometry=geometry.grouped(batch * geometry.groups))
    x, y = (tensor.flatten(0, 1).unsqueeze(0) for tensor in (x, y))
    gradients: Tensor = unflatten(trilinear(apart, x, y), 0, (batch, -1))
    return gradients


def compute_bias(y: Tensor, *, per_sample: bool = False) -> Tensor:
    """Gradient of the bias from ``(n, g*d, *O)``."""
    if is_shared_out(y):
        from ndconv._sharded.convolution import compute_bias as shared_bias

        return shared_bias(y, per_sample=per_sample)
    apart = y.flatten(2) if y.dim() > 2 else y.unsqueeze(-1)
    return apart.sum(-1) if per_sample else apart.sum((0, -1))


def compute_gradients(
    operation: Slot,
    convolution: Convolution,
    lowering: str,
    source: Tensor,
    w: Tensor,
    grad: Tensor,
    wanted: Sequence[bool],
    *,
    per_sample: bool = False,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the operands and the bias of a convolution or a transposed one; None if not wanted.

    Args:
        operation: OUTPUT, or INPUT of the transposed convolution.
        convolution: The convolution.
        lowering: How to compute.
        source: The operand besides the weight.
        w: ``(g*d, c, *K)``.
        grad: Gradient of the result.
        wanted: Whether to compute those of source, weight and bias.
        per_sample: Whether those of weight and bias are per-sample gradients.
    """
    if grad.dim() < w.dim():
        source, grad = source.unsqueeze(0), grad.unsqueeze(0)
        first, of_weight, of_bias = compute_gradients(operation, convolution, lowering, source, w, grad, wanted)
        return None if first is None else first.squeeze(0), of_weight, of_bias
    if is_shared_out(grad):
        from ndconv._sharded.convolution import compute_gradients as shared_gradients

        return shared_gradients(operation, convolution, lowering, source, w, grad, wanted, per_sample=per_sample)
    plain = operation is Slot.OUTPUT
    x, y = (source, grad) if plain else (grad, source)
    of_source = None
    if wanted[0]:
        of_source = compute_input(convolution, lowering, w, y) if plain else compute_output(convolution, lowering, x, w)
    return (
        of_source,
        compute_weight(convolution, lowering, x, y, per_sample=per_sample) if wanted[1] else None,
        compute_bias(grad, per_sample=per_sample) if wanted[2] else None,
    )
