"""Kernel elements and outputs that see zeros alone are left out, so that memory depends on tensors, not strides."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import ndconv
from ndconv._form.geometry import Form, Geometry, Slot
from ndconv._planner.ties import ties

FAR = 2**31
# Input size, kernel, stride, padding, dilation.
GEOMETRIES: dict[str, tuple[Any, ...]] = {
    "dilation": ((1000,), (3,), (1,), ((FAR, FAR),), (FAR,)),
    "dilation, the first tap": ((1000,), (3,), (1,), ((0, 2 * FAR),), (FAR,)),
    "dilation, no tap": ((1000,), (2,), (1,), ((FAR // 2, FAR // 2),), (FAR,)),
    "dilation of one axis": ((30, 20), (3, 3), (1, 2), ((FAR, FAR), (1, 1)), (FAR, 2)),
    "stride": ((1000,), (3,), (FAR,), ((0, 0),), (1,)),
    "stride and padding": ((1000,), (3,), (FAR,), ((FAR + 1, FAR),), (1,)),
    "stride and dilation": ((10,), (3,), (FAR,), ((2 * FAR, 2 * FAR),), (FAR,)),
    "stride and dilation without a divisor": ((10,), (3,), (FAR,), ((2 * FAR, 2 * FAR),), (FAR - 1,)),
    "padding": ((10,), (3,), (1,), ((10_000, 20_000),), (1,)),
    "kernel": ((10,), (101,), (1,), ((100, 100),), (1,)),
}
LOWERINGS = ("auto", "window", "columns", "reshape", "taps", "winograd", "fourier", "native")


def tied(axis: int, geometry: tuple[Any, ...], positions: int) -> list[tuple[int, int, int]]:
    """All ``(i, k, o)`` of an axis, kernel element by kernel element."""
    (size, kernel, stride, (lo, _), dilation), found = (values[axis] for values in geometry), []
    for k in range(kernel):
        start = dilation * k - lo
        first, last = max(0, -(start // stride)), min(positions - 1, (size - 1 - start) // stride)
        found += [(stride * o + start, k, o) for o in range(first, last + 1)]
    return found


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that an operator returned."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        if isinstance(result, Tensor):
            self.elements = max(self.elements, result.untyped_storage().nbytes() // result.element_size())
        return result


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_memory_follows_tensors(name: str, lowering: str) -> None:
    input_size, kernel, stride, padding, dilation = GEOMETRIES[name]
    output_size = Geometry(kernel, stride, padding, dilation).output_size(input_size)
    shapes = (2, 2, *input_size), (2, 2, *kernel), (2, 2, *output_size)
    x, w, y = (torch.randint(-3, 4, shape).double() for shape in shapes)
    rest: Any = stride, padding, dilation
    with Largest() as largest:
        found = (
            ndconv.functional.convnd(x, w, None, *rest, lowering=lowering),
            ndconv.grad.convnd_input(x.shape, w, y, *rest, lowering=lowering),
            ndconv.grad.convnd_weight(x, w.shape, y, *rest, lowering=lowering),
        )
    assert largest.elements <= 80 * sum(map(math.prod, shapes))

    want = tuple(np.zeros(tensor.shape) for tensor in (y, x, w))
    axes = [tied(axis, GEOMETRIES[name], n) for axis, n in enumerate(output_size)]
    for index in np.ndindex(*map(len, axes)):
        i, k, o = (tuple(axes[axis][at][which] for axis, at in enumerate(index)) for which in range(3))
        here_x, here_w, here_y = (tensor.numpy()[(..., *at)] for tensor, at in ((x, i), (w, k), (y, o)))
        want[0][(..., *o)] += here_x @ here_w.T
        want[1][(..., *i)] += here_y @ here_w
        want[2][(..., *k)] += here_y.T @ here_x
    for got, expected in zip(found, want, strict=True):
        assert np.abs(got.numpy() - expected).max() <= (1e-9 if lowering in ("winograd", "fourier") else 0)


def test_nothing_is_left_out_of_what_is_tied() -> None:
    for padding, dilation in ((0, 1), (1, 1), (2, 1), (4, 2)):
        geometry = Geometry((3, 3), (2, 1), ((padding, padding),) * 2, (dilation,) * 2)
        assert ties(Form(Slot.OUTPUT, geometry, (9, 9), "auto")) is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_left_out_counts_as_read(value: float) -> None:
    """Kernel elements and outputs that see zeros alone: 0 * NaN is NaN, as with the input padded beforehand."""
    x, w, y = torch.ones(1, 1, 5), torch.ones(2, 1, 3), torch.ones(1, 2, 5)
    w[0, 0, 0] = value
    got = ndconv.functional.conv1d(x, w, padding=20, dilation=20)
    assert got[0, 0].isnan().all()
    assert got[0, 1].tolist() == [1.0] * 5
    assert ndconv.grad.conv1d_input(x.shape, w, y, padding=20, dilation=20).tolist() == [[[2.0] * 5]]

    y = torch.ones(1, 2, 23)
    y[0, 1, 0] = value
    got = ndconv.grad.conv1d_weight(x, w.shape, y, padding=10)
    assert got[0].isfinite().all()
    assert got[1].isnan().all()
    y = torch.ones(1, 1, 23)
    assert ndconv.grad.conv1d_weight(x, (1, 1, 3), y, padding=10).tolist() == [[[5.0] * 3]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_parts_are_rounded_once(dtype: torch.dtype) -> None:
    """Even where kernel elements are computed one by one."""
    x, w = torch.full((1, 1, 4), 3.0).to(dtype), torch.tensor([[[1000.0, 1.0, 1000.0]]]).to(dtype)
    got = ndconv.grad.conv1d_input((1, 1, 1), w, x[:, :, :3], stride=FAR, padding=2 * FAR, dilation=FAR)
    assert got.item() == torch.tensor(6003.0).to(dtype).item()


def test_a_plan_says_what_is_left() -> None:
    plan = ndconv.plan((2, 4, 1000), (8, 4, 3), padding=FAR, dilation=FAR)
    assert {slot.lowering for slot in (plan.output, plan.grad_input, plan.grad_weight)} == {"reshape"}
    assert plan.output.multiply_adds == 2 * 8 * 4 * 1000
    assert plan.output.problem.multiply_adds == 3 * plan.output.multiply_adds
