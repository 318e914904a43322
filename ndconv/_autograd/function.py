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
from torch._C._functorch import is_functorch_wrapped_tensor, unwrap_if_dead
from torch.autograd import forward_ad
from torch.autograd.function import Function
from torch.compiler import is_compiling
from torch.nn import functional as F

from ndconv._autograd.operator import LIBRARY, NAME, compute, form_of, operator
from ndconv._form.geometry import Derivatives, Form, Slot
from ndconv._planner.choice import FASTEST
from ndconv._programs.windows import unflatten, ungroup
from ndconv._tensors.execute import Program, fastest, ready
from ndconv._tensors.layout import is_channels_last
from ndconv._tensors.tracing import is_exporting

_ENGINE: Any = torch.autograd.Variable._execution_engine


def trilinear(form: Form, first: Tensor, second: Tensor) -> Tensor:
    """Compute the open slot from its two operands, differentiably.

    Args:
        form: The form and its open slot.
        first: Operand ``form.slot.operands[0]``, groups folded into channels.
        second: Operand ``form.slot.operands[1]``, likewise.

    Returns:
        The tensor of the open slot.
    """
    program = (fastest if form.lowering == FASTEST else ready)(form, first, second)
    if isinstance(program, Program):
        return run(program, first, second)
    apply: Callable[..., Tensor]
    if is_compiling():
        # A compiler takes the operator, which has a derivative of its own. An exporter takes the steps; it refuses a
        # Function with a jvp, which only forward-mode AD needs, as soon as an operand requires grad.
        apply = Trilinear.apply if is_exporting() else compute
        return apply(form, first, second)
    first, second = _alive(first, second)
    if torch._C._are_functorch_transforms_active():
        apply = ForwardTrilinear.apply
    elif forward_ad._current_level >= 0:
        apply = _apply_forward
    elif torch.is_grad_enabled() and (first.requires_grad or second.requires_grad):
        apply = _apply
    else:
        apply = compute
    return apply(form, first, second)


def run(program: Program, first: Tensor, second: Tensor) -> Tensor:
    """`trilinear` of operands that `ready` found a program for."""
    if torch.is_grad_enabled():
        first, second = _alive(first, second)
        if first.requires_grad or second.requires_grad:
            apply: Callable[..., Tensor] = _apply_program
            return apply(program, first, second)
    return program.compute(first, second)  # as in most backward passes; a Function takes a fifth of a small step


def _alive(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Operands without the dead wrappers that a torch.func transform left behind; `Function.apply` removes them too."""
    return unwrap_if_dead(first), unwrap_if_dead(second)


class Trilinear(Function):
    """The gradient of an operand is the form with that operand's slot open instead."""

    @staticmethod
    def forward(form: Form, first: Tensor, second: Tensor) -> Tensor:
        return compute(form, first, second)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, *need = ctx.needs_input_grad
        _save(ctx, _derivatives(*inputs), *inputs[1:], *need)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        return None, *_gradients(ctx, grad)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], form: Form, *operands: Any) -> tuple[Tensor, int]:
        return _map(trilinear, info, in_dims[1:], form, *operands)


def _map(
    solve: Callable[..., Tensor], info: Any, dims: tuple[int | None, ...], form: Form, *operands: Tensor
) -> tuple[Tensor, int]:
    """Fold the mapped axis into the index that only one operand has, or into the groups if both are mapped.

    With one operand mapped, its own index grows: n, c or d, the one that it shares with the result alone. With both
    mapped, the problems of the batch become further groups, which are independent anyway.
    """
    if info.batch_size == 0:
        # An empty batch cannot be unfolded again: one entry of zeros stands in and is dropped afterwards.
        grown = [
            operand if dim is None else F.pad(operand.movedim(dim, -1), (0, 1)).movedim(-1, 0)
            for operand, dim in zip(operands, dims, strict=True)
        ]
        first = tuple(None if dim is None else 0 for dim in dims)
        result, _ = _map(solve, info._replace(batch_size=1), first, form, *grown)
        return result[:0], 0
    slot, geometry = form.slot, form.geometry
    mapped = [name for name, dim in zip(slot.operands, dims, strict=True) if dim is not None]
    own = next(i for i in mapped[0].indices if i != "g" and i in slot.indices)
    index = "g" if len(mapped) == 2 else own
    folded = [
        operand if dim is None else _fold(operand.movedim(dim, 0), name, index, geometry.groups)
        for name, operand, dim in zip(slot.operands, operands, dims, strict=True)
    ]
    wider = geometry.grouped(geometry.groups * info.batch_size) if index == "g" else geometry
    result = solve(replace(form, geometry=wider), *folded)
    return _unfold(result, slot, index, wider.groups, info.batch_size), 0


def _save(
    ctx: Any, derivatives: Derivatives, first: Tensor, second: Tensor, need_first: bool, need_second: bool
) -> None:
    """Keep an operand only for the gradient of the other one, so that a frozen weight keeps no input."""
    ctx.derivatives = derivatives
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(first if need_second else None, second if need_first else None)


def _derivatives(form: Form, first: Tensor, second: Tensor) -> Derivatives:
    return form.derivatives(is_channels_last(first), is_channels_last(second))


def _gradients(ctx: Any, grad: Any) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of both operands, None where not needed."""
    (first, second), (of_first, of_second) = ctx.saved_tensors, ctx.derivatives
    # `torch.autograd.grad` names tensors, and so may need only one of two gradients.
    named = first is not None and second is not None and not _ENGINE.is_checkpoint_valid()
    unused_first = grad is None or second is None or (named and _is_dropped(ctx, 0))
    unused_second = grad is None or first is None or (named and _is_dropped(ctx, 1))
    return (
        None if unused_first else _gradient(of_first, grad, second),
        None if unused_second else _gradient(of_second, grad, first),
    )


def _gradient(derivative: tuple[Form, bool], grad: Tensor, other: Tensor) -> Tensor:
    """The gradient of one operand from the result's and the other operand."""
    form, grad_first = derivative
    if grad.dtype != other.dtype:
        grad = grad.to(other.dtype)  # of a wide result, which was rounded later
    if other.is_complex():
        other = other.conj()
    # An exporter traces a Function's backward too, and this Function's backward is the Function again, without end.
    derive = compute if is_compiling() else trilinear
    return derive(form, grad, other) if grad_first else derive(form, other, grad)


def _is_dropped(ctx: Any, position: int) -> bool:
    """Whether the running backward does not need an operand's gradient: `torch.autograd.grad` asked for others only.

    A Function is told which gradients may be needed. torch's own nodes ask which ones are, by the private call below;
    it raises for a leaf that was asked for. So for a leaf, a node of torch's own asks: one that leads to this leaf
    alone, and returns None if its gradient is not needed. Dispatch modes would see that node, so they do without.
    """
    recording = torch.is_grad_enabled()
    try:
        node = ctx.next_functions[position][0]
        leaf = getattr(node, "variable", None)
        if leaf is None or torch._C._len_torch_dispatch_stack():
            return not torch._C._will_engine_execute_node(node)
        if is_functorch_wrapped_tensor(leaf):
            return False  # a node would lead to the tensor inside, which may not be the one asked for
        torch._C._set_grad_enabled(True)
        return leaf.transpose(0, 1).grad_fn(leaf) is None
    except (AttributeError, RuntimeError, TypeError):
        return False
    finally:
        torch._C._set_grad_enabled(recording)


def _save_for_operator(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    first, second, *arguments = inputs
    _save(ctx, _derivatives(form_of(*arguments), first, second), first, second, *ctx.needs_input_grad[:2])
    ctx.arguments = len(arguments)


def _gradients_of_operator(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
    return *_gradients(ctx, grad), *(None,) * ctx.arguments


def _map_operator(info: Any, in_dims: tuple[Any, ...], first: Tensor, second: Tensor, *arguments: Any) -> Any:
    """No Function may run here: torch calls this with the transform still active, for operators below it."""
    return _map(operator, info, in_dims[:2], form_of(*arguments), first, second)


torch.library.register_autograd(NAME, _gradients_of_operator, setup_context=_save_for_operator, lib=LIBRARY)
torch.library.register_vmap(NAME, _map_operator, lib=LIBRARY)


def _fold(tensor: Tensor, slot: Slot, index: str, groups: int) -> Tensor:
    """Merge the leading axis of a slot's tensor into one of its indices."""
    axis, position = slot.group_axis, slot.indices.index(index)
    apart: Tensor = ungroup(tensor, axis + 1, groups)
    return apart.movedim(0, position).flatten(position, position + 1).flatten(axis, axis + 1)


def _unfold(tensor: Tensor, slot: Slot, index: str, groups: int, size: int) -> Tensor:
    """Inverse of `_fold`: ``size`` problems out of an index, as a leading axis."""
    axis, position = slot.group_axis, slot.indices.index(index)
    apart = ungroup(tensor, axis, groups)
    single: Tensor = unflatten(apart, position, (size, apart.shape[position] // size)).movedim(position, 0)
    return single.flatten(axis + 1, axis + 2)


class ForwardTrilinear(Trilinear):
    """`Trilinear` with forward-mode differentiation."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        Trilinear.setup_context(ctx, inputs, output)
        ctx.form, *operands = inputs
        ctx.save_for_forward(*operands)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor | None:
        first, second = ctx.saved_tensors
        _, first_tangent, second_tangent = tangents
        terms = [(first_tangent, second), (first, second_tangent)]
        parts = [trilinear(ctx.form, a, b) for a, b in terms if a is not None and b is not None]
        return sum(parts[1:], parts[0]) if parts else None


class ProgramTrilinear(Trilinear):
    """`Trilinear` with a given program, for operands outside of all transforms."""

    setup_context = Function.setup_context

    @staticmethod
    def forward(ctx: Any, program: Program, first: Tensor, second: Tensor) -> Tensor:  # type: ignore[override]
        _, need_first, need_second = ctx.needs_input_grad
        _save(ctx, program.derivatives, first, second, need_first, need_second)
        return program.compute(first, second)


# What Function.apply ends up calling outside of torch.func's transforms. Its checks of signature and operands before
# take as long as a small product.
_apply, _apply_forward, _apply_program = (
    super(Function, each).apply for each in (Trilinear, ForwardTrilinear, ProgramTrilinear)
)
