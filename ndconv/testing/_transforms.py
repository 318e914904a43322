"""What is checked of a trial whose function is transformed: compiled, mapped, differentiated forwards or twice."""

from __future__ import annotations

from collections.abc import Callable
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
    needs_numbers,
    outer,
    requiring,
    same,
    same_gradients,
    tolerance,
)
from ndconv.testing._oracle import Array
from ndconv.testing._subject import Subject


def compiled(subject: Subject) -> None:
    """torch.compile traces function and backward into one graph each (backend aot_eager), and nothing changes."""
    needs_numbers(subject)
    torch.compiler.reset()
    tensors, chosen = differentiated(subject)
    traced: Any = torch.compile(subject.call, backend="aot_eager", fullgraph=True, dynamic=False)
    result = traced(*tensors, subject.bias())
    same("the compiled result", result, subject.grown(subject.result()), subject)
    same_gradients(", compiled,", result, chosen, subject)


def mapped(subject: Subject) -> None:
    """torch.func.vmap over one operand, the other or both, along any axis, is a loop over calls; gradients too."""
    for dims in ((0, None), (None, -1), (1, 0)):
        # Two of what is mapped, and the same twice of what is not.
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
        if not chosen:
            continue
        grads = [subject.numbers(subject.open, role) for role in (0, 1)]
        found = torch.autograd.grad(result, chosen, torch.stack([*map(subject.tensor, grads)]))
        for name, got in zip(subject.needed, found, strict=True):
            parts = [subject.gradient(name, pair, grad) for pair, grad in zip(pairs, grads, strict=True)]
            dim = dims[subject.operands.index(name)]
            total = sum(parts[1:], parts[0]) if dim is None else np.stack(parts, dim)
            same(f"the gradient of {name} through vmap over {dims}", got, total, subject)


def _moved(subject: Subject) -> Array:
    """The result's first-order change, as the operands that need a gradient take the numbers of role 1 for steps."""
    values, steps = subject.filled(), subject.filled(role=1)
    parts = [subject.expected(subject.open, {**values, name: steps[name]}) for name in subject.needed]
    return sum(parts[1:], parts[0])


def forward_mode(subject: Subject) -> None:
    """torch.func.jvp: the sum of the function with each operand exchanged for its tangent."""
    bias, primals = subject.bias(), dict(zip(subject.operands, subject.tensors(), strict=True))
    tangents = dict(zip(subject.operands, subject.tensors(role=1), strict=True))

    def function(*moving: Tensor) -> Tensor:
        given = {**primals, **dict(zip(subject.needed, moving, strict=True))}
        return subject.call(given[subject.first], given[subject.second], bias)

    points, directions = (tuple(named[name] for name in subject.needed) for named in (primals, tangents))
    found: Any = jvp(function, points, directions)
    result, derivative = found
    same("the result of jvp", result, subject.grown(subject.result()), subject)
    same("the forward derivative", derivative, _moved(subject), subject)


def double_backward(subject: Subject) -> None:
    """Gradients of gradients, with respect to both operands and the result's gradient."""
    tensors, chosen = differentiated(subject)
    numbers, grad = outer(subject)
    result = subject.call(*tensors, subject.bias())
    found = torch.autograd.grad(result, chosen, grad.requires_grad_(), create_graph=True)
    steps = subject.filled(role=1)
    second = torch.autograd.grad(
        found, (grad, *chosen), [subject.tensor(steps[name]) for name in subject.needed], allow_unused=True
    )
    same("the gradient of the result's gradient", second[0], _moved(subject), subject)
    for name, got in zip(subject.needed, second[1:], strict=True):
        (other,) = set(subject.operands) - {name}
        if other in subject.needed:
            want = subject.expected(name, {other: steps[other].conj(), subject.open: numbers})
            same(f"the second gradient of {name}", got, want, subject)
        elif got is not None:
            raise UnmetError(f"the gradient of {name} does not depend on {name}, but has a gradient for it")
    try:
        function, operands = differentiable(subject)
    except NotApplicableError:
        return
    wide = subject.tensor(numbers, dtype=operands[0].dtype)
    gradgradcheck(function, operands, wide.requires_grad_(), eps=1.0, atol=tolerance(subject), rtol=0)


def per_sample(subject: Subject) -> None:
    """One weight gradient per sample, as a loop gives them: by ``per_sample=True``, or by vmap of the pullback."""
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
    same("the gradients per sample", got, np.stack(want), subject)


# By the level of the parameter; an eager trial has nothing further.
TRANSFORMS: dict[str, Callable[[Subject], None]] = {
    "compile": compiled,
    "vmap": mapped,
    "jvp": forward_mode,
    "double_backward": double_backward,
    "per_sample": per_sample,
}
