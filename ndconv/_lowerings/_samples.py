"""Samples as one more axis, the last. Copies run along rows, and rows of small images are short.

A batch is one sample with a further axis, on which the kernel has one element: ``x[n,g,c,*i]`` becomes
``x[1,g,c,*i,n]``. Rows are then longer by the number of samples, which may be worth transposing operands and result.
"""

from __future__ import annotations

from dataclasses import replace

from ndconv._form.cache import cached
from ndconv._form.geometry import Geometry, Problem, Slot
from ndconv._programs.values import Array


@cached
def samples_last(problem: Problem) -> Problem:
    """The same problem as one sample, with the samples along a further axis.

    Example:
        >>> geometry = Geometry(kernel=(3,), stride=(2,), padding=((1, 1),), dilation=(1,))
        >>> found = samples_last(Problem(Slot.OUTPUT, geometry, 32, 1, 1, (8,), (4,), 4))
        >>> found.batch, found.input_size, found.geometry.kernel
        (1, (8, 32), (3, 1))
    """
    old, samples = problem.geometry, problem.batch
    new = Geometry((*old.kernel, 1), (*old.stride, 1), (*old.padding, (0, 0)), (*old.dilation, 1), old.groups)
    sizes = (*problem.input_size, samples), (*problem.output_size, samples)
    return replace(problem, geometry=new, batch=1, input_size=sizes[0], output_size=sizes[1])


def move_last(tensor: Array, slot: Slot) -> Array:
    """The tensor of a slot of `samples_last`."""
    return tensor.unsqueeze(-1) if slot is Slot.WEIGHT else tensor.movedim(0, -1).contiguous().unsqueeze(0)


def move_back(tensor: Array, slot: Slot) -> Array:
    """Inverse of `move_last`, as a view."""
    return tensor.squeeze(-1) if slot is Slot.WEIGHT else tensor.squeeze(0).movedim(-1, 0)
