"""Only gradients that autograd's engine needs are computed, as by torch's own convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import ndconv

Layer = torch.nn.Conv2d | torch.nn.ConvTranspose2d


class Gradients(TorchDispatchMode):
    """Counts computed gradients of inputs and of weights, by torch's operator or ours."""

    def __init__(self) -> None:
        super().__init__()
        self.input = self.weight = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution_backward.default:
            input, weight, _ = args[-1]
            self.input, self.weight = self.input + input, self.weight + weight
        elif func is torch.ops.ndconv.trilinear.default:
            # In a backward, for the gradient of a convolution's input is a transposed one's output.
            self.input, self.weight = self.input + (args[2] != "weight"), self.weight + (args[2] == "weight")
        return func(*args, **kwargs or {})


def _hooked(layers: list[Layer], x: Tensor, y: Tensor) -> None:
    for layer in layers:
        layer.weight.register_hook(lambda grad: 2 * grad)
        layer.weight.register_post_accumulate_grad_hook(lambda weight: None)
    torch.autograd.grad(y, x)


def _twice(layers: list[Layer], x: Tensor, y: Tensor) -> None:
    torch.autograd.grad(y, x, retain_graph=True)
    torch.autograd.grad(y, layers[0].weight)


def _penalty(layers: list[Layer], x: Tensor, y: Tensor) -> None:
    """The first step of a gradient penalty; the operators of the second step are torch's own."""
    torch.autograd.grad(y, x, create_graph=True)


ASKED: dict[str, Callable[[list[Layer], Tensor, Tensor], Any]] = {
    "all": lambda layers, x, y: y.backward(),
    "input": lambda layers, x, y: torch.autograd.grad(y, x),
    "first weight": lambda layers, x, y: torch.autograd.grad(y, layers[0].weight),
    "last weight": lambda layers, x, y: torch.autograd.grad(y, layers[-1].weight),
    "input and last weight": lambda layers, x, y: torch.autograd.grad(y, (x, layers[-1].weight)),
    "biases": lambda layers, x, y: torch.autograd.grad(y, [layer.bias for layer in layers if layer.bias is not None]),
    "backward to the input": lambda layers, x, y: y.backward(inputs=[x]),
    "backward to a weight": lambda layers, x, y: y.backward(inputs=[layers[1].weight]),
    "one after the other": _twice,
    "hooks on weights": _hooked,
    "gradient penalty": _penalty,
}


def _layers(library: Any, padding_mode: str) -> list[Layer]:
    torch.manual_seed(0)
    return [
        library.Conv2d(2, 4, 3, padding=1, padding_mode=padding_mode),
        library.ConvTranspose2d(4, 4, 3, groups=2),
        library.Conv2d(4, 1, 3, stride=2),
    ]


def _run(library: Any, asked: str, mode: str, reentrant: bool | None) -> Gradients:
    layers = _layers(library, mode)
    x = torch.randn(2, 2, 8, 8, requires_grad=True)
    network = torch.nn.Sequential(*layers)
    y: Tensor = network(x) if reentrant is None else checkpoint(network, x, use_reentrant=reentrant)
    gradients = Gradients()
    with gradients:
        ASKED[asked](layers, x, y.sum())
    return gradients


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("asked", ASKED)
def test_as_many_gradients_as_torch_computes(asked: str, mode: str) -> None:
    ours, theirs = (_run(library, asked, mode, None) for library in (ndconv, torch.nn))
    assert (ours.input, ours.weight) == (theirs.input, theirs.weight)
    assert ours.input + ours.weight > 0 or asked == "biases"


@pytest.mark.parametrize("asked", ["all", "input", "last weight"])
def test_as_many_under_a_checkpoint(asked: str) -> None:
    """The forward runs again, and counts as two convolutions and a transposed one."""
    ours, theirs = (_run(library, asked, "zeros", False) for library in (ndconv, torch.nn))
    assert (ours.input - 3, ours.weight) == (theirs.input, theirs.weight)


def test_as_many_under_a_reentrant_checkpoint() -> None:
    ours, theirs = (_run(library, "all", "zeros", True) for library in (ndconv, torch.nn))
    assert (ours.input - 3, ours.weight) == (theirs.input, theirs.weight)


@pytest.mark.parametrize("wanted", ["x", "w", "both"])
def test_second_derivatives_are_asked_for_likewise(wanted: str) -> None:
    """The gradients of a squared input gradient equal torch's, and no slot runs that is not needed."""
    found = {}
    for library in (ndconv.functional, torch.nn.functional):
        torch.manual_seed(0)
        x, w = torch.randn(2, 2, 6, 6, requires_grad=True), torch.randn(3, 2, 3, 3, requires_grad=True)
        (first,) = torch.autograd.grad(library.conv2d(x, w).pow(3).sum(), x, create_graph=True)
        operands = {"x": [x], "w": [w], "both": [x, w]}[wanted]
        with Gradients() as gradients:
            second = torch.autograd.grad(first.square().sum(), operands)
        found[library] = second, gradients
    for got, want in zip(*(second for second, _ in found.values()), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    ours = found[ndconv.functional][1]
    # The gradient of the input has w and the result's gradient for operands, the result x and w.
    assert (ours.input, ours.weight) == {"x": (2, 0), "w": (1, 2), "both": (2, 2)}[wanted]


def test_selective_checkpoint_policies_name_the_operator() -> None:
    from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

    asked: list[Any] = []

    def policy(context: Any, operator: Any, *args: Any, **keywords: Any) -> CheckpointPolicy:
        asked.append(operator)
        keep = operator is torch.ops.ndconv.trilinear.default
        return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE

    network = torch.nn.Sequential(*_layers(ndconv, "zeros"))
    x = torch.randn(2, 2, 8, 8, requires_grad=True)
    want = torch.autograd.grad(network(x).sum(), (x, *network.parameters()))
    y = checkpoint(network, x, use_reentrant=False, context_fn=lambda: create_selective_checkpoint_contexts(policy))
    with Gradients() as gradients:
        found = torch.autograd.grad(y.sum(), (x, *network.parameters()))
    assert torch.ops.ndconv.trilinear.default in asked
    assert all(map(torch.equal, found, want))
    assert (gradients.input, gradients.weight) == (3, 3)  # no convolution was computed again
