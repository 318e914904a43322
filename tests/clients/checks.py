"""One model of torch's layers and the same model converted: outputs, all gradients, a step of training, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

import ndconv

# A model, and its positional or named inputs.
Made = Callable[[], tuple[nn.Module, Any]]

# Of an element, or of the largest of all outputs, gradients or parameters: two correct programs add in different
# orders; where a norm follows, the gradient of a bias is rounding and nothing else, and what lies at the kink of a ReLU
# may come to lie on its other side.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-3}

# What these packages derive from torch's classes, and `convert` leaves alone.
OWN = {
    "CogVideoXSafeConv3d",
    "Conv3DSimple",
    "EfficientNetDepthwiseConv2d",
    "ScaledStdConv2d",
    "WanCausalConv3d",
    "WeightStandardizedConv2d",
}


@dataclass(frozen=True)
class Shown:
    """How far a model went: convolutions in it, how many of them changed, how many of these were called."""

    convolutions: int
    changed: int
    called: int
    left: tuple[str, ...]
    """Classes that were left alone."""

    def told(self, name: str) -> tuple[str, str]:
        """What was tried and how it went."""
        count = f"{self.changed} of " * (self.changed < self.convolutions) + str(self.convolutions)
        left = f"; left alone: {', '.join(f'`{name}`' for name in self.left)}" if self.left else ""
        idle = "; none is called, for the model takes their weights to torch's functions"
        called = "" if self.called or not self.changed else idle
        return f"{name} ({count})", f"same outputs, gradients and step{left}{called}"


def refusal(info: pytest.ExceptionInfo[Exception]) -> str:
    """What a tool says that does not work: the exception, and the first line of its message."""
    first = str(info.value).strip().splitlines()[0]
    return f"`{info.typename}: {first[:100] + (first[100:] and '...')}`"


def is_ours(module: nn.Module) -> bool:
    return isinstance(module, ndconv.ConvNd | ndconv.ConvTransposeNd)


def tensors(result: Any) -> Iterator[Tensor]:
    """Every tensor of floats in what goes into a model or comes out of it, however it is wrapped."""
    if isinstance(result, Tensor):
        if result.is_floating_point():
            yield result
    elif isinstance(result, Mapping):
        for each in result.values():
            yield from tensors(each)
    elif isinstance(result, list | tuple):
        for each in result:
            yield from tensors(each)
    elif is_dataclass(result):
        for field in fields(result):
            yield from tensors(getattr(result, field.name))


def leaves(inputs: Any, dtype: torch.dtype) -> Any:
    """The inputs, floats among them of a dtype and in want of a gradient."""

    def one(value: Any) -> Any:
        floats = isinstance(value, Tensor) and value.is_floating_point()
        return value.to(dtype, copy=True).requires_grad_() if floats else value

    if isinstance(inputs, Mapping):
        return {name: one(value) for name, value in inputs.items()}
    return [one(value) for value in inputs]


def call(model: nn.Module, inputs: Any) -> list[Tensor]:
    """A forward pass with the draws of one seed, so that dropout agrees."""
    torch.manual_seed(0)
    return list(tensors(model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)))


def step(model: nn.Module, inputs: Any, dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Outputs, gradients of inputs and parameters, and what a step of training makes of parameters and buffers."""
    inputs = leaves(inputs, dtype)
    outputs = [output for output in call(model, inputs) if output.requires_grad]
    weights = [torch.linspace(-1, 1, output.numel(), dtype=dtype).view_as(output) for output in outputs]
    torch.stack([(output * weight).sum() for output, weight in zip(outputs, weights, strict=True)]).sum().backward()
    named = dict(model.named_parameters())
    gradients = [leaf.grad for leaf in (*tensors(inputs), *named.values()) if leaf.grad is not None]
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    return [output.detach() for output in outputs], gradients, list(tensors(model.state_dict()))


def close(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected) > 0
    tolerance = TOLERANCE[expected[0].dtype]
    scale = max(float(each.abs().max()) for each in expected if each.numel())
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance * scale)


def there_and_back(make: Made, dtype: torch.dtype) -> Shown:
    """Hold a model to all that `convert` and `revert` promise."""

    def made() -> tuple[nn.Module, Any]:
        torch.manual_seed(0)
        model, inputs = make()
        return model.to(dtype).train(), inputs

    (theirs, inputs), (model, _) = made(), made()
    printed = repr(model)
    changes = ndconv.convert(model)
    ours = [module for module in model.modules() if is_ours(module)]
    assert len(changes) == len(ours)
    seen: set[nn.Module] = set()
    hooks = [module.register_forward_hook(lambda module, *_: seen.add(module)) for module in ours]
    for found, expected in zip(step(model, inputs, dtype), step(theirs, inputs, dtype), strict=True):
        close(found, expected)
    for hook in hooks:
        hook.remove()

    assert len(ndconv.revert(model)) == len(changes)
    assert not any(is_ours(module) for module in model.modules())
    assert repr(model) == printed
    left = dict.fromkeys(change.before for change in changes if change.after is None)
    assert left.keys() <= OWN
    return Shown(sum(isinstance(each, _ConvNd) for each in model.modules()), len(changes), len(seen), tuple(left))
