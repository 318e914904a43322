"""The timed parts of a convolution: each slot turns a contender and its operands into a call without arguments.

Autograd derives all but the per-sample gradient from the forward, in the same way for every contender. Work that is not
timed, such as the forward before a gradient, runs once beforehand.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import grad

from benchmarks.workloads import Workload

Tensors = tuple[Tensor, ...]
Convolve = Callable[[Tensor, Tensor], Tensor]
Call = Callable[[], Tensors]


def operands(workload: Workload, dtype: str = "float32", device: str = "cpu") -> Tensors:
    """A random input, weight and gradient of the output."""
    generator = torch.Generator().manual_seed(0)
    kind = getattr(torch, dtype)
    draw = torch.complex64 if kind.is_complex else torch.float32
    shapes = (workload.input, workload.weight, workload.output)
    x, w, g = (torch.randn(shape, generator=generator, dtype=draw).to(device, kind) for shape in shapes)
    return x, w, g


def forward(convolve: Convolve, x: Tensor, w: Tensor, g: Tensor) -> Call:
    """The output."""
    return lambda: (convolve(x, w),)


def input(convolve: Convolve, x: Tensor, w: Tensor, g: Tensor) -> Call:
    """The gradient of the input alone."""
    x = x.clone().requires_grad_()
    y = convolve(x, w)
    return lambda: grad(y, (x,), g, retain_graph=True)


def weight(convolve: Convolve, x: Tensor, w: Tensor, g: Tensor) -> Call:
    """The gradient of the weight alone."""
    w = w.clone().requires_grad_()
    y = convolve(x, w)
    return lambda: grad(y, (w,), g, retain_graph=True)


def step(convolve: Convolve, x: Tensor, w: Tensor, g: Tensor) -> Call:
    """The output and both gradients: a step of training."""
    x, w = (operand.clone().requires_grad_() for operand in (x, w))

    def run() -> Tensors:
        y = convolve(x, w)
        return (y.detach(), *grad(y, (x, w), g))

    return run


def double_backward(convolve: Convolve, x: Tensor, w: Tensor, g: Tensor) -> Call:
    """The gradients of both gradients, as a gradient penalty needs them."""
    x, w, g = (operand.clone().requires_grad_() for operand in (x, w, g))
    first = grad(convolve(x, w), (x, w), g, create_graph=True)
    directions = (x.detach(), w.detach())
    return lambda: grad(first, (x, w, g), directions, retain_graph=True)


def per_sample(gradient: Callable[[Tensor, Tensor, Tensor], Tensor], x: Tensor, w: Tensor, g: Tensor) -> Call:
    """The per-sample gradient of the weight; it has contenders of its own."""
    return lambda: (gradient(x, w, g),)


SLOTS: dict[str, Callable[..., Call]] = {
    "step": step,
    "forward": forward,
    "input": input,
    "weight": weight,
    "double backward": double_backward,
    "per sample": per_sample,
}
