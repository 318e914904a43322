"""torch's own convolution, for up to three axes: the baseline for the others, and a candidate of "fastest"."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ndconv._form.cache import cached
from ndconv._form.geometry import Geometry, Ints, Pairs, Problem, Slot
from ndconv._lowerings._base import Lowering
from ndconv._programs.steps import Copied, Product, Work
from ndconv._programs.values import Array, Steps
from ndconv._programs.windows import ungroup


class Native(Lowering):
    """The kernel that `torch.nn.functional.conv2d` and its backward run.

    torch pads both sides of an axis alike. Where they differ or crop, the difference is padded first.
    """

    name = "native"
    compared = False
    automatic = False

    def build(self, b: Steps, problem: Problem, first: Array, second: Array) -> Array:
        if not first.is_complex():
            return super().build(b, problem, first, second)
        # torch has no gradients of complex kernels: it splits them into real and imaginary parts too.
        (a, c), (d, e) = ((b.part(operand, "real"), b.part(operand, "imag")) for operand in (first, second))
        products = [super(Native, self).build(b, problem, *pair) for pair in ((a, d), (c, e), (a, e), (c, d))]
        return b.complex(products)

    def refusal(self, problem: Problem) -> str | None:
        axes = problem.geometry.ndim
        return None if 1 <= axes <= 3 else f"torch has no convolution with {axes} axes"

    def accumulates(self, b: Steps, problem: Problem) -> bool:
        return False

    def output(self, b: Steps, problem: Problem, x: Array, w: Array) -> Array:
        call = _call(problem)
        operands = b.pad(x, call.first).flatten(1, 2), w.flatten(0, 1)
        y = b.call(
            "convolution", problem.folded_shape(Slot.OUTPUT), *operands, None, *call.arguments,
            name="y", work=_work(problem),
        )  # fmt: skip
        return ungroup(y, 1, problem.geometry.groups)

    def input(self, b: Steps, problem: Problem, w: Array, y: Array) -> Array:
        call = _call(problem)
        # The same kernel as in the backward, which would need an input tensor for its shape.
        shape, operands = problem.folded_shape(Slot.INPUT), (y.flatten(1, 2), w.flatten(0, 1))
        if call.first:
            shape = (*shape[:2], *(size + lo + hi for size, (lo, hi) in zip(shape[2:], call.first, strict=True)))
        x = b.call("convolution", shape, *operands, None, *call.transposed, name="x", work=_work(problem))
        return b.unpad(ungroup(x, 1, problem.geometry.groups), call.first)

    def weight(self, b: Steps, problem: Problem, x: Array, y: Array) -> Array:
        call, shape = _call(problem), problem.folded_shape(Slot.WEIGHT)
        w = y.new_empty(shape)
        operands = y.flatten(1, 2), b.pad(x, call.first).flatten(1, 2), b.named("w", w)
        w = b.call(
            "ops.aten.convolution_backward", shape, *operands, None, *call.arguments, (False, True, False),
            item=1, name="w", work=_work(problem),
        )  # fmt: skip
        return ungroup(w, 0, problem.geometry.groups)


def _work(problem: Problem) -> Work:
    x, w, y = (math.prod(problem.shape(slot)) for slot in Slot)
    terms = problem.channels * math.prod(problem.geometry.kernel)
    positions = problem.batch * math.prod(problem.output_size)
    return Work(Copied.plain(x + w + y), Product(problem.geometry.groups, problem.features, terms, positions, "batch"))


def arguments(problem: Problem) -> tuple[Any, ...] | None:
    """Arguments of ``torch.convolution`` after the bias that compute OUTPUT or INPUT; None if torch cannot pad so."""
    call = _call(problem)
    return None if call.first else call.transposed if problem.slot is Slot.INPUT else call.arguments


class Call(NamedTuple):
    """Arguments of torch's convolution.

    Args:
        first: Padding to apply before.
        arguments: Those of ``torch.convolution`` after the bias, for the convolution.
        transposed: The same for the transposed convolution that is the gradient of the input.
    """

    first: Pairs
    arguments: tuple[Any, ...]
    transposed: tuple[Any, ...]


def _call(problem: Problem) -> Call:
    return call_of(problem.geometry, problem.input_size, problem.output_size)


@cached
def call_of(geometry: Geometry, input_size: Ints, output_size: Ints) -> Call:
    """The `Call` for a convolution of these sizes and the gradient of its input."""
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
