"""Checks of trials with a transformed function: compiled, exported, mapped, in forward mode or differentiated twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import gradgradcheck
from torch.func import jvp, vjp, vmap

from ndconv.testing._checks import differentiable
from ndconv.testing._compare import (
    NotApplicableError,
    UnmetError,
    differentiated,
    needs_compiler,
    outer,
    requiring,
    same,
    same_gradients,
    same_second_gradients,
    tolerance,
)
from ndconv.testing._oracle import Array
from ndconv.testing._subject import Subject


def compiled(subject: Subject) -> None:
    """torch.compile traces function and backward into one graph each (backend aot_eager), and nothing changes."""
    needs_compiler(subject)
    torch.compiler.reset()
    tensors, chosen = differentiated(subject)
    traced: Any = torch.compile(subject.call, backend="aot_eager", fullgraph=True, dynamic=False)
    result = traced(*tensors, subject.bias())
    same("the compiled result", result, subject.grown(subject.result()), subject)
    same_gradients(", compiled,", result, chosen, subject)


class _Called(torch.nn.Module):
    """A trial's function as a module, for exporters."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.subject = subject

    def forward(self, first: Tensor, second: Tensor, bias: Tensor | None) -> Tensor:
        return self.subject.call(first, second, bias)


def exported(subject: Subject) -> None:
    """torch.export traces the function into operators of torch alone, and nothing changes; gradients too."""
    needs_compiler(subject)
    tensors, chosen = differentiated(subject)
    arguments = *tensors, subject.bias()
    program = torch.export.export(_Called(subject), arguments)
    if foreign := {str(node.target) for node in program.graph.nodes if "ndconv" in str(node.target)}:
        raise UnmetError(f"the exported program needs {', '.join(foreign)}")
    result = program.module()(*arguments)
    same("the exported result", result, subject.grown(subject.result()), subject)
    if subject.trial.case.batch:  # without samples, the exported program is a constant
        same_gradients(", exported,", result, chosen, subject)


def mapped(subject: Subject) -> None:
    """torch.func.vmap over one operand or both, along any axis, equals a loop over calls; gradients too."""
    for dims in ((0, None), (None, -1), (1, 0)):
        # Two different entries of mapped operands, and the same one twice of the others.
        pairs = [
            {name: subject.numbers(name, role if dim is not None else 0)
             for name, dim in zip(subject.operands, dims, strict=True)}
            for role in (0, 1)
        ]  # fmt: skip
        tensors = [
            subject.tensor(pairs[0][name])
            if dim is None
            else torch.stack([subject.tensor(pair[name]) for pair in pairs], dim)
            for name, dim in zip(subject.operands, dims, strict=True)
        ]
        chosen, bias = requiring(subject, tensors), subject.bias()
        result = vmap(lambda first, second, bias=bias: subject.call(first, second, bias), dims)(*tensors)
        want = [subject.grown(subject.expected(subject.open, pair)) for pair in pairs]
        same(f"vmap over {dims}", result, np.stack(want), subject)
        _mapped_over_nothing(subject, dims, tensors)
        if not chosen:
            continue
        grads = [subject.numbers(subject.open, role) for role in (0, 1)]
        found = torch.autograd.grad(result, chosen, torch.stack([*map(subject.tensor, grads)]))
        for name, got in zip(subject.needed, found, strict=True):
            parts = [subject.gradient(name, pair, grad) for pair, grad in zip(pairs, grads, strict=True)]
            dim = dims[subject.operands.index(name)]
            total = sum(parts[1:], parts[0]) if dim is None else np.stack(parts, dim)
            same(f"the gradient of {name} through vmap over {dims}", got, total, subject)


def _mapped_over_nothing(subject: Subject, dims: tuple[int | None, ...], tensors: Sequence[Tensor]) -> None:
    """A map over no entries has no results, and operands that are not mapped have zero gradients."""
    empty = [tensor if dim is None else tensor.narrow(dim, 0, 0) for tensor, dim in zip(tensors, dims, strict=True)]
    bias = subject.bias()
    result = vmap(lambda first, second: subject.call(first, second, bias), dims)(*empty)
    same(f"vmap over {dims}, of no entries,", result, np.empty((0, *subject.shapes[subject.open])), subject)
    needed = [tensor for tensor in empty if tensor.requires_grad]
    for tensor, grad in zip(needed, torch.autograd.grad(result, needed, result) if needed else (), strict=True):
        same(f"a gradient through vmap over {dims}, of no entries,", grad, np.zeros(tensor.shape), subject)


def _moved(subject: Subject) -> Array:
    """The directional derivative of the result along the numbers of role 1, over operands that need a gradient."""
    values, steps = subject.filled(), subject.filled(role=1)
    parts = [subject.expected(subject.open, {**values, name: steps[name]}) for name in subject.needed]
    return sum(parts[1:], parts[0])


def _of_needed(subject: Subject, tensors: Sequence[Tensor]) -> Callable[..., Tensor]:
    """The trial's function of the operands that need a gradient, with the others fixed."""
    bias, held = subject.bias(), dict(zip(subject.operands, tensors, strict=True))

    def function(*moving: Tensor) -> Tensor:
        given = {**held, **dict(zip(subject.needed, moving, strict=True))}
        return subject.call(given[subject.first], given[subject.second], bias)

    return function


def forward_mode(subject: Subject) -> None:
    """torch.func.jvp equals the sum over operands of the function with that operand replaced by its tangent."""
    tensors = subject.tensors()
    primals = dict(zip(subject.operands, tensors, strict=True))
    tangents = dict(zip(subject.operands, subject.tensors(role=1), strict=True))
    points, directions = (tuple(named[name] for name in subject.needed) for named in (primals, tangents))
    found: Any = jvp(_of_needed(subject, tensors), points, directions)
    result, derivative = found
    same("the result of jvp", result, subject.grown(subject.result()), subject)
    same("the forward derivative", derivative, _moved(subject), subject)


def double_backward(subject: Subject) -> None:
    """Second derivatives, by autograd and of the pullback of torch.func.vjp."""
    tensors, chosen = differentiated(subject)
    numbers, grad = outer(subject)
    result = subject.call(*tensors, subject.bias())
    pull: Any = vjp(_of_needed(subject, tensors), *chosen)[1]
    found = torch.autograd.grad(result, chosen, grad.requires_grad_(), create_graph=True)
    steps = subject.filled(role=1)
    for how, grads in (("", found), (" of vjp", pull(grad))):
        for name, got in zip(subject.needed, grads, strict=True):
            same(f"the gradient of {name}{how}", got, subject.gradient(name, subject.filled(), numbers), subject)
        second = torch.autograd.grad(
            grads, (grad, *chosen), [subject.tensor(steps[name]) for name in subject.needed], allow_unused=True
        )
        same(f"the gradient of the result's gradient{how}", second[0], _moved(subject), subject)
        same_second_gradients(how, second[1:], steps, numbers, subject)
    try:
        function, operands = differentiable(subject)
    except NotApplicableError:
        return
    wide = subject.tensor(numbers, dtype=operands[0].dtype)
    gradgradcheck(function, operands, wide.requires_grad_(), eps=1.0, atol=tolerance(subject), rtol=0)


def per_sample(subject: Subject) -> None:
    """Per-sample weight gradients equal a loop's, by ``per_sample=True`` or by vmap of the pullback."""
    case, values = subject.trial.case, subject.filled()
    single, samples = subject.altered(case=replace(case, batch=1)), range(case.batch)
    if subject.trial.slot == "weight":
        got = subject.call(*subject.tensors(), per_sample=True)
        want = [single.expected("w", {name: part[[i]] for name, part in values.items()}) for i in samples]
    else:
        bias = subject.bias()
        numbers, grad = outer(subject)

        def pullback(x: Tensor, w: Tensor, y: Tensor) -> Tensor:
            pull: Any = vjp(lambda w: subject.call(x, w, bias), w)[1]
            gradient: Tensor = pull(y)[0]
            return gradient

        got = vmap(pullback, (0, None, 0))(*subject.tensors(), grad)
        given = values[subject.first]
        want = [single.gradient("w", {subject.first: given[[i]]}, numbers[[i]]) for i in samples]
    same("the per-sample gradients", got, np.stack(want), subject)


# By the level of the parameter; an eager trial needs no further check.
TRANSFORMS: dict[str, Callable[[Subject], None]] = {
    "compile": compiled,
    "export": exported,
    "vmap": mapped,
    "jvp": forward_mode,
    "double_backward": double_backward,
    "per_sample": per_sample,
}
