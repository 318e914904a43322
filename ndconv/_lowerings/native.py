"""torch's own convolution, for up to three axes: what the others are measured against, and what "fastest" may pick."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ndconv._geometry import Pairs, Problem, Slot
from ndconv._lowerings._base import Cost, Lowering
from ndconv._windows import pad, unpad

# (output, input and weight of a backward, gradients of input, weight and bias)
_INPUT, _WEIGHT = (True, False, False), (False, True, False)


class Native(Lowering):
    """The kernel that `torch.nn.functional.conv2d` and its backward run.

    torch pads both sides of an axis alike. What a side has beyond the other, and what is cropped, is padded first.
    """

    name = "native"
    automatic = False

    def run(self, problem: Problem, first: Tensor, second: Tensor) -> Tensor:
        if first.is_complex():
            # torch has no gradients of complex kernels: it, too, takes them apart.
            real, imaginary = (
                sign * super(Native, self).run(problem, a, b) + super(Native, self).run(problem, c, d)
                for sign, a, b, c, d in (
                    (-1, first.imag, second.imag, first.real, second.real),
                    (1, first.imag, second.real, first.real, second.imag),
                )
            )
            return torch.complex(real, imaginary)
        return super().run(problem, first, second)

    def refusal(self, problem: Problem) -> str | None:
        axes = problem.geometry.ndim
        return None if 1 <= axes <= 3 else f"torch has no convolution with {axes} axes"

    def accumulates(self, problem: Problem) -> bool:
        return False

    def cost(self, problem: Problem) -> Cost:
        x, w, y = (math.prod(problem.shape(slot)) for slot in Slot)
        return Cost(problem.multiply_adds, x + w + y, 0, 0, "a kernel of torch", 1)

    def output(self, problem: Problem, x: Tensor, w: Tensor) -> Tensor:
        before, after = _split(problem)
        padded = pad(x, before).flatten(1, 2)
        y = torch.convolution(padded, w.flatten(0, 1), None, *_arguments(problem, after))
        return y.reshape(problem.shape(Slot.OUTPUT))

    def input(self, problem: Problem, w: Tensor, y: Tensor) -> Tensor:
        before, after = _split(problem)
        size = [n + lo + hi for n, (lo, hi) in zip(problem.input_size, before, strict=True)]
        # Only its shape is looked at. One element expanded would be copied until it is contiguous.
        x = y.new_empty(problem.batch, problem.geometry.groups * problem.channels, *size)
        grad = _backward(y.flatten(1, 2), x, w.flatten(0, 1), problem, after, _INPUT)
        return unpad(grad.reshape(*problem.shape(Slot.INPUT)[:3], *size), before)

    def weight(self, problem: Problem, x: Tensor, y: Tensor) -> Tensor:
        before, after = _split(problem)
        shape = problem.shape(Slot.WEIGHT)
        if x.dtype == torch.float16 and x.device.type == "cpu":
            # torch's kernel rounds after every sample.
            return self.weight(problem, x.float(), y.float()).half()
        w = y.new_empty(shape[0] * shape[1], *shape[2:])
        return _backward(y.flatten(1, 2), pad(x, before).flatten(1, 2), w, problem, after, _WEIGHT).reshape(shape)


def _split(problem: Problem) -> tuple[Pairs, tuple[int, ...]]:
    """Padding to do first, and what torch does itself on both sides."""
    both = tuple(max(0, min(pair)) for pair in problem.geometry.padding)
    first = tuple((lo - p, hi - p) for (lo, hi), p in zip(problem.geometry.padding, both, strict=True))
    return first, both


def _arguments(problem: Problem, padding: tuple[int, ...]) -> Any:
    """Of ``aten.convolution`` after the bias: stride, padding, dilation, transposed, output_padding, groups."""
    geometry = problem.geometry
    return geometry.stride, padding, geometry.dilation, False, (0,) * geometry.ndim, geometry.groups


def _backward(
    y: Tensor, x: Tensor, w: Tensor, problem: Problem, padding: tuple[int, ...], wanted: tuple[bool, bool, bool]
) -> Tensor:
    grads = torch.ops.aten.convolution_backward(y, x, w, None, *_arguments(problem, padding), wanted)
    grad: Tensor = grads[wanted.index(True)]
    return grad
