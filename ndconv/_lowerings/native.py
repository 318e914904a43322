"""torch's own convolution, for up to three axes: what the others are measured against, and what "fastest" may pick."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndconv._cache import cached
from ndconv._geometry import Geometry, Ints, Pairs, Problem, Slot
from ndconv._lowerings._base import Cost, Lowering
from ndconv._windows import pad, ungroup, unpad


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
        call = _call(problem)
        y = torch.convolution(pad(x, call.first).flatten(1, 2), w.flatten(0, 1), None, *call.arguments)
        return ungroup(y, 1, problem.geometry.groups)

    def input(self, problem: Problem, w: Tensor, y: Tensor) -> Tensor:
        call = _call(problem)
        # The same kernel as of the backward, which wants an input to look at the shape of.
        x = torch.convolution(y.flatten(1, 2), w.flatten(0, 1), None, *call.transposed)
        return unpad(ungroup(x, 1, problem.geometry.groups), call.first)

    def weight(self, problem: Problem, x: Tensor, y: Tensor) -> Tensor:
        call, (g, d, *rest) = _call(problem), problem.shape(Slot.WEIGHT)
        operands = y.flatten(1, 2), pad(x, call.first).flatten(1, 2), y.new_empty(g * d, *rest)
        _, w, _ = torch.ops.aten.convolution_backward(*operands, None, *call.arguments, (False, True, False))
        return ungroup(w, 0, problem.geometry.groups)


def arguments(problem: Problem) -> tuple[Any, ...] | None:
    """Arguments of ``torch.convolution`` after the bias that compute OUTPUT or INPUT; None if torch cannot pad so."""
    call = _call(problem)
    return None if call.first else call.transposed if problem.slot is Slot.INPUT else call.arguments


class Call(NamedTuple):
    """What torch is asked for.

    Args:
        first: Padding to do first.
        arguments: Those of ``torch.convolution`` after the bias, for the convolution.
        transposed: For the transposed convolution that is the gradient of the input.
    """

    first: Pairs
    arguments: tuple[Any, ...]
    transposed: tuple[Any, ...]


def _call(problem: Problem) -> Call:
    return call_of(problem.geometry, problem.input_size, problem.output_size)


@cached
def call_of(geometry: Geometry, input_size: Ints, output_size: Ints) -> Call:
    """How torch is asked for a convolution of these sizes, and for the gradient of its input."""
    stride, dilation, groups = geometry.stride, geometry.dilation, geometry.groups
    both = tuple(max(0, min(pair)) for pair in geometry.padding)
    first = tuple((lo - p, hi - p) for (lo, hi), p in zip(geometry.padding, both, strict=True))
    sizes = zip(input_size, geometry.padding, geometry.reach(output_size), strict=True)
    unread = tuple(size + lo + hi - reached for size, (lo, hi), reached in sizes)
    return Call(
        first if any(map(any, first)) else (),
        (stride, both, dilation, False, (0,) * geometry.ndim, groups),
        (stride, both, dilation, True, unread, groups),
    )
