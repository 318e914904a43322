"""The gradient of the input, put together from convolutions of the output with stride 1."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

import pytest
import torch

from ndconv._form.geometry import Geometry, Problem, Slot
from ndconv._lowerings._phases import kinds, phases
from ndconv.testing import Case, sample
from tests.programs import recorded, run

CASES = [case for overlap in (True, False) for case in sample(40, (0, 1, 2, 3), seed=8, overlap=overlap)]


def problem(case: Case) -> Problem:
    geometry = Geometry(case.kernel, case.stride, case.padding, case.dilation, case.groups)
    return Problem(Slot.INPUT, geometry, 2, 3, 2, case.input_size, case.output_size, 8)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_phases_are_the_gradient_of_the_input(case: Case) -> None:
    whole = problem(case)
    w, y = (torch.randint(-4, 5, whole.shape(slot)).double() for slot in whole.slot.operands)
    x = y.new_zeros(whole.shape(Slot.INPUT))
    for phase in phases(whole):
        one = phase.problem
        assert math.prod(one.geometry.stride) == 1
        assert one.geometry.output_size(one.input_size) == one.output_size
        weight = recorded(lambda b, w, phase=phase: phase.weight(w), w)
        phase.of(x).add_(run("window", one, y, weight))
    assert torch.equal(x, run("window", whole, w, y))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_tap_is_in_one_combination_of_residues(case: Case) -> None:
    """No more taps than the kernel has: nothing is multiplied by an inserted zero."""
    taps = [math.prod(phase.problem.geometry.kernel) for phase in phases(problem(case))]
    assert sum(taps) <= math.prod(case.kernel)


AXES = [*product((1, 2, 3, 7, 12), (1, 2, 5, 8, 9, 21), (0, 2), (1, 2, 5, 6, 13, 21), (1, 4))]


def test_kinds_count_the_phases() -> None:
    """Kinds differ in taps and elements alone, for strides and dilations with any common factor."""
    for kernel, stride, lo, dilation, outputs in AXES:
        extent = dilation * (kernel - 1) + 1
        for more in range(min(stride, 3)):
            size = stride * (outputs - 1) + extent - lo + more
            if size < 1:
                continue
            geometry = Geometry((kernel,), (stride,), ((lo, 0),), (dilation,), 1)
            whole = Problem(Slot.INPUT, geometry, 1, 1, 1, (size,), (outputs,), 8)
            found, counted = Counter[object](), Counter[object]()
            for phase in phases(whole):
                found[_size(phase.problem)] += 1
            for times, kind in kinds(whole):
                counted[_size(kind)] += times
            assert found == counted, (kernel, stride, lo, dilation, outputs, more)


def _size(problem: Problem) -> object:
    (padding,) = problem.geometry.padding
    return problem.geometry.kernel, problem.geometry.dilation, sum(padding), problem.input_size, problem.output_size
