"""The one autograd.Function, told which slot of the trilinear form is open.

The form is linear in each operand, and its derivative with respect to an operand is the same form with that operand's
slot open. So the backward is this Function itself with another slot, the forward-mode derivative is this Function
twice, and derivatives of every order come with no further code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import Function
from torch.compiler import is_compiling

from ndconv._cache import cached
from ndconv._flops import compute
from ndconv._geometry import Form, Slot
from ndconv._layout import is_channels_last
from ndconv._windows import unflatten, ungroup


def trilinear(form: Form, first: Tensor, second: Tensor) -> Tensor:
    """Compute the open slot from its two operands, differentiably.

    Args:
        form: The form and its open slot.
        first: Operand ``form.slot.operands[0]``, groups folded into channels.
        second: Operand ``form.slot.operands[1]``, likewise.

    Returns:
        The tensor of the open slot.
    """
    if is_compiling():
        # It refuses a Function with a jvp as soon as an operand requires grad; forward-mode AD needs the jvp.
        apply: Callable[..., Tensor] = Trilinear.apply
    elif torch._C._are_functorch_transforms_active():
        apply = ForwardTrilinear.apply
    elif _is_differentiated(first, second):
        apply = _apply
    else:
        apply = compute
    return apply(form, first, second)


def _is_differentiated(first: Tensor, second: Tensor) -> bool:
    """Whether anybody can ask for a derivative; if not, as in most backwards, a Function is a fifth of a small step."""
    recorded = torch.is_grad_enabled() and (first.requires_grad or second.requires_grad)
    return recorded or forward_ad._current_level >= 0


class Trilinear(Function):
    """Both gradients of an open slot are the form with the operand's slot open instead."""

    @staticmethod
    def forward(form: Form, first: Tensor, second: Tensor) -> Tensor:
        return compute(form, first, second)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.form, first, second = inputs
        ctx.set_materialize_grads(False)
        # An operand is kept only for the other one's gradient: a frozen weight keeps no input alive.
        _, need_first, need_second = ctx.needs_input_grad
        ctx.save_for_backward(first if need_second else None, second if need_first else None)
        if need_first or need_second:
            ctx.channels_last = _layouts(ctx.form, first, second)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        form, slots, saved = ctx.form, ctx.form.slot.operands, ctx.saved_tensors
        # A compiler traces a Function's backward with it, and this one has itself in its backward without end.
        derive = compute if is_compiling() else trilinear
        grads: list[Tensor | None] = [None, None]
        for position, (wanted, other) in enumerate(zip(slots, reversed(saved), strict=True)):
            if grad is not None and other is not None:
                # A wide result was rounded later, and so its gradient fits the operands' dtype.
                filled = grad.to(other.dtype), other.conj()
                first, second = filled if wanted.operands[0] is form.slot else reversed(filled)
                grads[position] = derive(_derivative(form, wanted, ctx.channels_last[position]), first, second)
        return None, *grads

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], form: Form, *operands: Any) -> tuple[Tensor, int]:
        """Fold the mapped axis into the index that only one operand has, or into the groups if both are mapped.

        With one operand mapped, its own index (n, c or d: the one it shares with the result alone) grows. With both
        mapped, the problems of the batch are so many groups that know nothing of one another.
        """
        slot, geometry = form.slot, form.geometry
        mapped = [name for name, dim in zip(slot.operands, in_dims[1:], strict=True) if dim is not None]
        own = next(i for i in mapped[0].indices if i != "g" and i in slot.indices)
        index = "g" if len(mapped) == 2 else own
        folded = [
            operand if dim is None else _fold(operand.movedim(dim, 0), name, index, geometry.groups)
            for name, operand, dim in zip(slot.operands, operands, in_dims[1:], strict=True)
        ]
        grown = geometry.grouped(geometry.groups * info.batch_size) if index == "g" else geometry
        result = trilinear(replace(form, geometry=grown), *folded)
        return _unfold(result, slot, index, grown.groups, info.batch_size), 0


@cached
def _derivative(form: Form, slot: Slot, channels_last: bool) -> Form:
    return form.derivative(slot, channels_last)


def _layouts(form: Form, first: Tensor, second: Tensor) -> tuple[bool, ...]:
    """Whether the operands' gradients are to be channels-last; the result's gradient cannot tell, if it is expanded.

    A weight's gradient is laid out as the weight, so that nobody has to copy it, and an input's as the result, which is
    channels-last if an operand is.
    """
    own = is_channels_last(first), is_channels_last(second)
    result = any(own) if form.channels_last is None else form.channels_last
    return tuple(last if slot is Slot.WEIGHT else result for slot, last in zip(form.slot.operands, own, strict=True))


def _fold(tensor: Tensor, slot: Slot, index: str, groups: int) -> Tensor:
    """Merge the leading axis of a slot's tensor into one of its indices."""
    axis, position = slot.group_axis, slot.indices.index(index)
    apart = ungroup(tensor, axis + 1, groups)
    return apart.movedim(0, position).flatten(position, position + 1).flatten(axis, axis + 1)


def _unfold(tensor: Tensor, slot: Slot, index: str, groups: int, size: int) -> Tensor:
    """Inverse of `_fold`: ``size`` problems out of an index, as a leading axis."""
    axis, position = slot.group_axis, slot.indices.index(index)
    apart = ungroup(tensor, axis, groups)
    single = unflatten(apart, position, (size, apart.shape[position] // size)).movedim(position, 0)
    return single.flatten(axis + 1, axis + 2)


class ForwardTrilinear(Trilinear):
    """`Trilinear` with forward-mode differentiation."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        Trilinear.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor | None:
        first, second = ctx.saved_tensors
        _, first_tangent, second_tangent = tangents
        terms = [(first_tangent, second), (first, second_tangent)]
        parts = [trilinear(ctx.form, a, b) for a, b in terms if a is not None and b is not None]
        return sum(parts[1:], parts[0]) if parts else None


# What Function.apply comes to outside of torch.func's transforms. Its look at signature and operands takes as long as a
# small product.
_apply = super(Function, ForwardTrilinear).apply
