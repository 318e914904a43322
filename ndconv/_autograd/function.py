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
        # A compiler takes the operator, which has a derivative of its own. An exporter, which takes the steps, refuses
        # a Function with a jvp as soon as an operand requires grad; forward-mode AD needs the jvp.
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
    return program.compute(first, second)  # as in most backwards; a Function is a fifth of a small step


def _alive(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Operands out of the wrappers that a transform of torch.func has left behind, as `Function.apply` takes them."""
    return unwrap_if_dead(first), unwrap_if_dead(second)


class Trilinear(Function):
    """Both gradients of an open slot are the form with the operand's slot open instead."""

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

    With one operand mapped, its own index (n, c or d: the one it shares with the result alone) grows. With both
    mapped, the problems of the batch are so many groups that know nothing of one another.
    """
    if info.batch_size == 0:
        # Nothing cannot be shared out: one entry of zeros stands in, and is taken away again.
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
    """Keep what the gradients take: an operand only for the other one's, so that a frozen weight keeps no input."""
    ctx.derivatives = derivatives
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(first if need_second else None, second if need_first else None)


def _derivatives(form: Form, first: Tensor, second: Tensor) -> Derivatives:
    return form.derivatives(is_channels_last(first), is_channels_last(second))


def _gradients(ctx: Any, grad: Any) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of both operands, None where nobody needs one."""
    (first, second), (of_first, of_second) = ctx.saved_tensors, ctx.derivatives
    # Where tensors were named, one of two gradients may be for nobody.
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
        grad = grad.to(other.dtype)  # that of a wide result, which was rounded later
    if other.is_complex():
        other = other.conj()
    # An exporter traces a Function's backward with it, and this one has itself in its backward without end.
    derive = compute if is_compiling() else trilinear
    return derive(form, grad, other) if grad_first else derive(form, other, grad)


def _is_dropped(ctx: Any, position: int) -> bool:
    """Whether the running backward has no use for an operand's gradient: `torch.autograd.grad` asked for others only.

    A Function is told which gradients could be asked for. torch's own are told which are, by the question used here,
    which is private and raises for a leaf that was asked for itself. So a leaf's is put by a node of torch's own, which
    leads to nothing else and gives nothing if that is not wanted; dispatch modes would see it.
    """
    recording = torch.is_grad_enabled()
    try:
        node = ctx.next_functions[position][0]
        leaf = getattr(node, "variable", None)
        if leaf is None or torch._C._len_torch_dispatch_stack():
            return not torch._C._will_engine_execute_node(node)
        if is_functorch_wrapped_tensor(leaf):
            return False  # a node would be put to the tensor inside, which nobody may have asked for
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
    """Functions have no place here: torch calls this with the transform still in force, for operators below it."""
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
    """`Trilinear` of operands that nobody transforms, told the program."""

    setup_context = Function.setup_context

    @staticmethod
    def forward(ctx: Any, program: Program, first: Tensor, second: Tensor) -> Tensor:  # type: ignore[override]
        _, need_first, need_second = ctx.needs_input_grad
        _save(ctx, program.derivatives, first, second, need_first, need_second)
        return program.compute(first, second)


# What Function.apply comes to outside of torch.func's transforms. Its look at signature and operands takes as long as a
# small product.
_apply, _apply_forward, _apply_program = (
    super(Function, each).apply for each in (Trilinear, ForwardTrilinear, ProgramTrilinear)
)
