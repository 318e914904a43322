"""Integers and symbols: sizes, slots and generated equations."""

from __future__ import annotations

import pickle

import pytest
import torch
from opt_einsum import contract

from ndconv._form.geometry import Form, Geometry, Slot
from ndconv._form.subscripts import equation, terms
from ndconv.testing import sample

EQUATIONS = {
    (0, Slot.OUTPUT): "ngc,gdc->ngd",
    (1, Slot.OUTPUT): "ngcok,gdck->ngdo",
    (2, Slot.OUTPUT): "ngcopkl,gdckl->ngdop",
    (2, Slot.INPUT): "gdckl,ngdop->ngcopkl",
    (2, Slot.WEIGHT): "ngcopkl,ngdop->gdckl",
    (4, Slot.WEIGHT): "ngcopqrklms,ngdopqr->gdcklms",
}


@pytest.mark.parametrize(("key", "expected"), EQUATIONS.items(), ids=EQUATIONS.values())
def test_equation(key: tuple[int, Slot], expected: str) -> None:
    assert equation(*key) == expected


@pytest.mark.parametrize("ndim", [0, 1, 2, 3, 8, 40])
def test_symbols_are_distinct_however_many(ndim: int) -> None:
    subscripts = terms(ndim)
    assert len(set(subscripts[Slot.INPUT])) == len(subscripts[Slot.INPUT]) == 3 + 2 * ndim
    assert len(set("".join(subscripts.values()))) == 4 + 2 * ndim


@pytest.mark.parametrize("slot", Slot)
def test_many_axes_contract(slot: Slot) -> None:
    # 24 axes need all 52 symbols that torch's einsum takes, some of them renamed by opt_einsum.
    operands = [torch.ones((1,) * len(terms(24)[operand])) for operand in slot.operands]
    assert contract(equation(24, slot), *operands).shape == (1,) * len(terms(24)[slot])


def test_sizes_count_windows() -> None:
    for case in sample(200, (1, 2, 3)):
        geometry = Geometry(case.kernel, case.stride, case.padding, case.dilation, case.groups)
        output_size = geometry.output_size(case.input_size)
        for axis in range(case.ndim):
            lo, hi = case.padding[axis]
            padded, step = case.input_size[axis] + lo + hi, case.stride[axis]
            starts = [o for o in range(0, padded, step) if o + geometry.extent[axis] <= padded]
            assert output_size[axis] == len(starts)
            assert geometry.reach(output_size)[axis] == starts[-1] + geometry.extent[axis]
            before, after = geometry.fit(case.input_size, geometry.reach(output_size))[axis]
            assert before + case.input_size[axis] + after == geometry.reach(output_size)[axis]


def test_negative_padding_crops() -> None:
    geometry = Geometry(kernel=(3,), stride=(2,), padding=((-2, -1),), dilation=(1,))
    assert geometry.output_size((10,)) == (3,)


def test_equal_geometries_are_one_key() -> None:
    first, second = (Geometry((3,), (1,), ((0, 0),), (1,), 2) for _ in range(2))
    assert {first: 1}[second] == 1


def test_no_hash_goes_to_another_process() -> None:
    """Strings have other hashes there, and equal keys would not be found."""
    form = Form(Slot.OUTPUT, Geometry((3,), (1,), ((0, 0),), (1,)), (8,), "auto")
    hash(form)
    sent = pickle.loads(pickle.dumps(form))
    assert sent == form
    assert "_hash" in vars(form)
    assert "_hash" not in vars(sent)
    assert "_hash" not in vars(sent.geometry)
