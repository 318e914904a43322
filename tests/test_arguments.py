"""Everything that torch accepts for one or several integers is accepted here, with the same meaning."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ndconv
from ndconv import functional, grad


class Index:
    """An object with ``__index__``."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    def __add__(self, other: int) -> Index:
        return Index(self.value + other)


# Ways to write one number, and two.
SINGLE: dict[str, Callable[[int], Any]] = {
    "int": int,
    "np.int64": np.int64,
    "np.uint8": np.uint8,
    "array without axes": np.array,
    "array of one": lambda value: np.array([value]),
    "tensor without axes": torch.tensor,
    "tensor of one": lambda value: torch.tensor([value]),
    "tuple of one": lambda value: (value,),
    "index": Index,
}
SEVERAL: dict[str, Callable[[list[int]], Any]] = {
    "tuple": tuple,
    "list": list,
    "torch.Size": torch.Size,
    "range": lambda values: range(values[0], 2 * values[1] - values[0], values[1] - values[0]),
    "deque": deque,
    "array.array": lambda values: array("q", values),
    "memoryview": lambda values: memoryview(array("q", values)),
    "np.int64": np.array,
    "np.int32": lambda values: np.array(values, np.int32),
    "np.uint8": lambda values: np.array(values, np.uint8),
    "np.object": lambda values: np.array(values, object),
    "transposed array": lambda values: np.array([values, values]).T[:, 0],
    "tensor": torch.tensor,
    "int32 tensor": lambda values: torch.tensor(values, dtype=torch.int32),
    "tuple of np.int64": lambda values: tuple(map(np.int64, values)),
    "list of tensors": lambda values: [*map(torch.tensor, values)],
    "tuple of tensors of one": lambda values: tuple(torch.tensor([value]) for value in values),
    "list of indices": lambda values: [*map(Index, values)],
    "generator": lambda values: (value for value in values),
    "keys": lambda values: dict.fromkeys(values).keys(),
}
REFUSED: dict[str, Any] = {
    "float": 2.0,
    "np.float64": np.float64(2),
    "floats": (2.0, 1.0),
    "array of floats": np.array([2.0, 1.0]),
    "tensor of floats": torch.tensor([2.0, 1.0]),
    "tensor of a float": torch.tensor(2.0),
    "array of bools": np.array([True, True]),
    "tensor of bools": torch.tensor([True, True]),
    "nested": np.array([[[2, 1]]]),
    "nested tensor": torch.tensor([[[2, 1]]]),
    "complex": 2j,
    "None": None,
    "string": "21",
    "array of strings": np.array(["2", "1"]),
}


def call(name: str, lib: Any, functions: Any, value: Any) -> Tensor:
    """Call a layer or function by its name, with the value as one argument."""
    torch.manual_seed(0)
    kind, argument = name.split(".")
    transposed = "ranspose" in kind
    x = torch.randn(1, 2, 5, 5) if transposed else torch.randn(1, 2, 12, 12)
    keywords: dict[str, Any] = {"stride": 3} if argument in ("output_padding", "output_size") else {}
    if argument == "output_size":
        layer = lib.ConvTranspose2d(2, 2, 2, **keywords)
        result: Tensor = layer(x, output_size=value)
    elif kind.startswith("conv"):
        weight = torch.randn(2, 1 if argument == "groups" else 2, 2, 2)
        result = getattr(functions, kind)(x, weight, **keywords, **{argument: value})
    else:
        given = {"out_channels": 2, "kernel_size": 2, **keywords, argument: value}
        if not kind.startswith("Lazy"):
            given = {"in_channels": 2, **given}
        result = getattr(lib, kind)(**given)(x)
    return result


PLACES = [
    *(
        f"{kind}.{argument}"
        for kind in ("conv2d", "Conv2d", "LazyConv2d")
        for argument in ("stride", "padding", "dilation")
    ),
    *(
        f"{kind}.{argument}"
        for kind in ("conv_transpose2d", "ConvTranspose2d", "LazyConvTranspose2d")
        for argument in ("stride", "padding", "dilation", "output_padding")
    ),
    *(f"{kind}.kernel_size" for kind in ("Conv2d", "LazyConv2d", "ConvTranspose2d", "LazyConvTranspose2d")),
]
COUNTS = ["conv2d.groups", "Conv2d.groups", "Conv2d.in_channels", "Conv2d.out_channels", "ConvTranspose2d.groups"]


def outcome(name: str, lib: Any, functions: Any, value: Any) -> Tensor | None:
    """The result of `call`; None if it is refused."""
    try:
        return call(name, lib, functions, value)
    except (RuntimeError, TypeError, ValueError):
        return None


def both(name: str, write: Callable[[Any], Any], value: Any) -> tuple[Tensor | None, Tensor | None, Tensor]:
    """The results of a notation here and in torch, and of plain integers."""
    here, there = (ndconv, functional), (nn, F)
    return outcome(name, *here, write(value)), outcome(name, *there, write(value)), call(name, *there, value)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("notation", SEVERAL)
def test_several_integers(notation: str, place: str) -> None:
    ours, theirs, want = both(place, SEVERAL[notation], [1, 2])
    if theirs is not None:
        torch.testing.assert_close(theirs, want, rtol=0, atol=0)
    assert ours is not None
    torch.testing.assert_close(ours, want)


@pytest.mark.parametrize("notation", SEVERAL)
def test_several_integers_as_output_size(notation: str) -> None:
    ours, _, want = both("ConvTranspose2d.output_size", SEVERAL[notation], [14, 15])
    assert ours is not None
    torch.testing.assert_close(ours, want)


@pytest.mark.parametrize("place", [*PLACES, *COUNTS])
@pytest.mark.parametrize("notation", SINGLE)
def test_one_integer(notation: str, place: str) -> None:
    ours, theirs, want = both(place, SINGLE[notation], 2)
    if place in COUNTS and notation in ("array of one", "tuple of one"):
        assert ours is theirs is None
    else:
        assert ours is not None
        torch.testing.assert_close(ours, want)


@pytest.mark.parametrize("place", [*PLACES, "conv2d.groups", "Conv2d.groups"])
@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_what_torch_does_not_take_either(value: Any, place: str) -> None:
    assert outcome(place, nn, F, value) is None
    with pytest.raises((TypeError, ValueError, RuntimeError), match="must"):
        call(place, ndconv, functional, value)


def test_a_module_keeps_integers() -> None:
    arguments: Any = np.array([3, 1]), torch.tensor([2, 1]), np.array([[1, 0], [0, 2]]), 1, np.int64(2)
    layer = ndconv.ConvNd(2, 2, 4, *arguments)
    kept = (layer.kernel_size, layer.stride, layer.padding, layer.groups, layer.in_channels)
    assert repr(kept) == "((3, 1), (2, 1), ((1, 0), (0, 2)), 2, 2)"


def test_gradient_functions_and_plans_take_arrays() -> None:
    x, w = torch.randn(2, 4, 9, 9), torch.randn(4, 2, 3, 3)
    plain: Any = {"stride": (2, 1), "padding": ((1, 0), (0, 2)), "dilation": (1, 2), "groups": 2}
    arrays: Any = {name: np.array(value) for name, value in plain.items()}
    shapes: Any = np.array(x.shape), np.array(w.shape)
    y = functional.convnd(x, w, **plain)
    assert torch.equal(functional.convnd(x, w, torch.zeros(4), **arrays), y)
    assert torch.equal(grad.convnd_input(shapes[0], w, y, **arrays), grad.convnd_input(x.shape, w, y, **plain))
    assert torch.equal(grad.convnd_weight(x, shapes[1], y, **arrays), grad.convnd_weight(x, w.shape, y, **plain))
    assert str(ndconv.plan(*shapes, **arrays)) == str(ndconv.plan(x, w, **plain))
    back = functional.conv_transposend(y, w, torch.zeros(4), **arrays)
    assert torch.equal(back, functional.conv_transposend(y, w, **plain))
    assert str(ndconv.plan(y, w, transposed=True, **arrays)) == str(ndconv.plan(y, w, transposed=True, **plain))
    columns = functional.unfoldnd(x, (3, 3), padding=(1, 1))
    sized: Any = np.array([9, 9]), np.array([3, 3]), 1, torch.tensor([1, 1])
    assert torch.equal(functional.unfoldnd(x, *sized[1:]), columns)
    assert torch.equal(functional.foldnd(columns, *sized), functional.foldnd(columns, (9, 9), 3, 1, 1))
