"""The examples in the docstrings of torch's convolutions, with ndconv's functions and classes in torch's place."""

from __future__ import annotations

import doctest
import inspect
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import grad

import ndconv


class Unfold(nn.Unfold):
    def forward(self, input: Tensor) -> Tensor:
        return ndconv.functional.unfoldnd(input, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(nn.Fold):
    def forward(self, input: Tensor) -> Tensor:
        size: Any = self.output_size
        return ndconv.functional.foldnd(input, size, self.kernel_size, self.dilation, self.padding, self.stride)


class Instead:
    """One of torch's modules, in which some names are somebody else's."""

    def __init__(self, theirs: Any, **ours: Any) -> None:
        self.theirs, self.ours = theirs, ours

    def __getattr__(self, name: str) -> Any:
        return self.ours[name] if name in self.ours else getattr(self.theirs, name)


def named(module: Any, like: Any) -> dict[str, Any]:
    return {name: getattr(module, name) for name in module.__all__ if hasattr(like, name)}


GRAD = Instead(grad, **named(ndconv.grad, grad))
FUNCTIONAL = Instead(
    F, **named(ndconv.functional, F), grad=GRAD, unfold=ndconv.functional.unfoldnd, fold=ndconv.functional.foldnd
)
NN = Instead(nn, **named(ndconv.nn, nn), Unfold=Unfold, Fold=Fold, functional=FUNCTIONAL, grad=GRAD)
OURS = {"torch": Instead(torch, nn=NN), "nn": NN, "F": FUNCTIONAL}
THEIRS = {"torch": torch, "nn": nn, "F": F}

# What names a thing that the example has not, or stands for what the reader has.
INCOMPLETE = ("fold_params", "input_ones", "divisor", "grad(output, filter,")

DOCUMENTED = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module, ours in ((F, FUNCTIONAL), (nn, NN), (grad, GRAD))
    for name in ours.ours
    if name not in ("grad", "functional")
}
EXAMPLES = {
    name: doctest.DocTestParser().get_examples(inspect.getdoc(thing) or "") for name, thing in DOCUMENTED.items()
}


def ran(name: str, modules: dict[str, Any]) -> list[Any]:
    """Every value that an example computes, line by line, of one seed."""
    torch.manual_seed(0)
    scope, values = dict(modules), []
    for line in EXAMPLES[name]:
        if any(word in line.source for word in INCOMPLETE):
            continue
        target, _, expression = line.source.rpartition(" = ")
        value = eval(expression.strip(), scope)
        if target:
            scope[target.strip()] = value
        values.append(value)
    return values


def numbers(value: Any) -> list[Tensor]:
    """The tensors of a value, or of a layer's parameters."""
    if isinstance(value, nn.Module):
        return [parameter.detach() for parameter in value.parameters()]
    if isinstance(value, tuple) and not isinstance(value, torch.Size):
        return list(itertools.chain.from_iterable(map(numbers, value)))
    return [value.detach() if isinstance(value, Tensor) else torch.tensor(value)]


@pytest.mark.parametrize("name", [name for name, lines in EXAMPLES.items() if lines])
def test_examples(name: str) -> None:
    for found, expected in zip(ran(name, OURS), ran(name, THEIRS), strict=True):
        assert type(found).__name__ == type(expected).__name__
        assert repr(found) == repr(expected) or not isinstance(expected, nn.Module)
        for got, want in zip(numbers(found), numbers(expected), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)  # float32, and sums of a hundred products


def test_no_example_is_overlooked() -> None:
    without = {name for name, lines in EXAMPLES.items() if not lines}
    lazy = {name for name in DOCUMENTED if "Lazy" in name}
    assert without == lazy | {"torch.nn.functional.unfold", "torch.nn.functional.fold"}
    assert len(EXAMPLES) - len(without) == 20
