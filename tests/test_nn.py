"""Modules stand in for torch's."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ndconv

OURS = (ndconv.Conv1d, ndconv.Conv2d, ndconv.Conv3d)
THEIRS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
PAIRS = list(zip(OURS, THEIRS, strict=True))
ARGUMENTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "all": {"stride": 2, "padding": 1, "dilation": 2, "groups": 2, "bias": False},
    "valid": {"padding": "valid"},
    "same": {"padding": "same", "dilation": 2},
    "lists": {"stride": [2], "padding": [1]},
}


def _twins(ours: Any, theirs: Any, arguments: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    layers = []
    for module in (ours, theirs):
        torch.manual_seed(7)
        layers.append(module(4, 6, 3, **arguments, dtype=torch.float64))
    return layers[0], layers[1]


def _input(ndim: int) -> Tensor:
    return torch.randint(-3, 4, (2, 4, *(7,) * ndim)).double()


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=[theirs.__name__ for theirs in THEIRS])
class TestTwins:
    def test_same_draws_from_the_same_seed(self, ours: Any, theirs: Any, arguments: dict[str, Any]) -> None:
        one, other = _twins(ours, theirs, arguments)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.equal(a, b)

    def test_same_repr_and_kind(self, ours: Any, theirs: Any, arguments: dict[str, Any]) -> None:
        one, other = _twins(ours, theirs, arguments)
        assert isinstance(one, theirs)
        if "lists" not in str(arguments) and not isinstance(arguments.get("stride"), list):
            assert repr(one) == repr(other)

    def test_state_dict_goes_both_ways(self, ours: Any, theirs: Any, arguments: dict[str, Any]) -> None:
        one, other = _twins(ours, theirs, arguments)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(1)
        one.load_state_dict(other.state_dict())
        other.load_state_dict(one.state_dict())
        assert list(one.state_dict()) == list(other.state_dict())

    def test_same_outputs_and_gradients(self, ours: Any, theirs: Any, arguments: dict[str, Any]) -> None:
        one, other = _twins(ours, theirs, arguments)
        with torch.no_grad():
            for a, b in zip(one.parameters(), other.parameters(), strict=True):
                a.copy_((a * 8).round())
                b.copy_(a)
        x = _input(one.weight.dim() - 2)  # type: ignore[operator]
        got, want = one(x), other(x)
        assert torch.equal(got, want)
        got.sum().backward()
        want.sum().backward()
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            assert a.grad is not None
            assert b.grad is not None
            assert torch.equal(a.grad, b.grad)
        assert torch.equal(one(x[0]), other(x[0]))
        assert one(x[:0]).shape == other(x[:0]).shape


def test_training_takes_the_same_way() -> None:
    x, target = _input(2), torch.randn(2, 6, 2, 2, dtype=torch.float64)
    layers = _twins(ndconv.Conv2d, nn.Conv2d, {"stride": 2, "groups": 2})
    for layer in layers:
        optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3, momentum=0.9)
        for _ in range(20):
            optimizer.zero_grad()
            (layer(x)[..., :2, :2] - target).square().mean().backward()
            optimizer.step()
    for a, b in zip(layers[0].parameters(), layers[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ndim", [0, 1, 2, 3, 4, 5])
def test_any_number_of_axes(ndim: int) -> None:
    layer = ndconv.ConvNd(ndim, 2, 3, 2, padding="same", stride=2)
    assert layer.weight.shape == (3, 2, *(2,) * ndim)
    x = torch.randn(4, 2, *(3,) * ndim)
    assert layer(x).shape == (4, 3, *(2,) * ndim)
    torch.testing.assert_close(layer(x[0]), layer(x)[0])


@pytest.mark.parametrize(("padding", "size"), [(((2, 0), (0, 1)), (7, 6)), ("causal", (7, 7)), ("same", (7, 7))])
def test_padding_that_torch_lacks(padding: Any, size: tuple[int, int]) -> None:
    layer = ndconv.Conv2d(1, 1, 3, padding=padding)
    assert layer(torch.randn(1, 1, 7, 7)).shape[2:] == size
    assert f"padding={padding}" in repr(layer)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies(copied: Any) -> None:
    layer = ndconv.Conv2d(3, 4, 3, padding="causal", lowering="taps")
    twin, x = copied(layer), torch.randn(2, 3, 5, 5)
    assert torch.equal(twin(x), layer(x))
    assert repr(twin) == repr(layer)


def test_a_lowering_of_its_own() -> None:
    layer = ndconv.Conv2d(3, 4, 3, lowering="window")
    with ndconv.lowering("taps"):
        assert layer.plan((2, 3, 8, 8)).output.lowering == "window"
        assert ndconv.Conv2d(3, 4, 3).plan((2, 3, 8, 8)).output.lowering == "taps"
    assert "lowering='window'" in repr(layer)


def test_weight_norm() -> None:
    layer = nn.utils.parametrizations.weight_norm(ndconv.Conv2d(3, 4, 3))
    layer(torch.randn(2, 3, 5, 5)).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_integers_of_every_kind() -> None:
    """As torch accepts them: NumPy's integers, and tensors of one element and no axis."""
    x = torch.randn(2, 4, 7, 7)
    two: Any
    for two in (np.int64(2), np.uint8(2), torch.tensor(2)):
        arguments: Any = {"stride": two, "padding": two, "dilation": (two, 1), "groups": int(two)}
        torch.manual_seed(0)
        six: Any = np.int64(6)
        ours = ndconv.Conv2d(4, six, two, **arguments)
        torch.manual_seed(0)
        theirs = nn.Conv2d(4, 6, int(two), **{**arguments, "stride": 2, "padding": 2, "dilation": (2, 1)})
        torch.testing.assert_close(ours(x), theirs(x))
        assert {type(size) for size in (*ours.stride, *ours.kernel_size, ours.out_channels)} == {int}
        assert ours.plan((two, 4, 7, 7)).output_shape == ours(x).shape
        pairs: Any = ((two, 0), (two, two))
        assert ndconv.functional.conv2d(x, x, None, two, pairs, 1).shape == (2, 2, 2, 3)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
@pytest.mark.parametrize("ndim", [1, 2, 3, 5])
def test_without_input_channels_the_result_is_the_bias(ndim: int) -> None:
    """The result of torch then has no channels, and its bias gradient is 0."""
    layer = ndconv.ConvNd(ndim, 0, 4, 3)
    result = layer(torch.empty(2, 0, *(4,) * ndim))
    assert torch.equal(result, layer.bias.view(-1, *(1,) * ndim).expand(2, 4, *(2,) * ndim))  # type: ignore[union-attr]
    result.sum().backward()
    assert torch.equal(layer.bias.grad, torch.full((4,), 2.0 * 2**ndim))  # type: ignore[union-attr, arg-type]
    if ndim <= 3:
        theirs: Any = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)[ndim - 1](0, 4, 3)
        empty = theirs(torch.empty(2, 0, *(4,) * ndim))
        empty.sum().backward()
        assert empty.shape[1] == 0
        assert not theirs.bias.grad.any()
