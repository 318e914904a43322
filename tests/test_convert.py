"""Whole models converted in place from torch's layers, and back."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrizations import weight_norm

import ndconv
from tests.architectures import ARCHITECTURES

Made = Callable[[], tuple[nn.Module, Tensor]]


def convolutions(model: nn.Module) -> list[_ConvNd]:
    return [module for module in model.modules() if isinstance(module, _ConvNd)]


def step(model: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    leaf = x.clone().requires_grad_()
    output = model(leaf)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype, device=output.device).view_as(output)
    return output.detach(), *torch.autograd.grad((output * weights).sum(), (leaf, *model.parameters()))


@pytest.mark.parametrize("make", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_architectures_compute_the_same(make: Made, device: str) -> None:
    model, x = make()
    model, x = model.to(device), x.to(device)
    before, parameters = copy.deepcopy(model), list(model.parameters())
    done = ndconv.convert(model)

    assert len(done) == len(convolutions(before)) > 0
    assert all(isinstance(module, ndconv.ConvNd | ndconv.ConvTransposeNd) for module in convolutions(model))
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    for got, want in zip(step(model, x), step(before, x), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-9)

    assert len(ndconv.revert(model)) == len(done)
    assert repr(model) == repr(before)
    assert [vars(module).keys() for module in model.modules()] == [vars(module).keys() for module in before.modules()]
    for got, want in zip(step(model, x), step(before, x), strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("name", [name for name in ndconv.nn.__all__ if "N" not in name])
def test_every_class_there_and_back(name: str) -> None:
    first = (3, 4) if "Lazy" not in name else (4,)
    module = getattr(nn, name)(*first, kernel_size=3)
    ndconv.convert(module)
    assert type(module) is getattr(ndconv, name)
    x = torch.randn(2, 3, *(5,) * len(module.kernel_size))
    module(x)
    ndconv.revert(module)
    assert type(module) is getattr(nn, name.removeprefix("Lazy"))
    module(x)


def test_everything_but_the_class_stays() -> None:
    calls = []
    shared = nn.Conv2d(3, 3, 3, padding=1)
    model = nn.Sequential(shared, nn.Conv2d(3, 3, 1), shared).eval()
    model[1].weight = shared.weight = nn.Parameter(torch.randn(3, 3, 1, 1))
    shared.padding = (0, 0)
    model[1].register_buffer("mask", torch.ones(3))
    model[0].register_forward_hook(lambda module, args, output: calls.append(type(module)))
    model[1].requires_grad_(False)
    first, optimizer = model[0], torch.optim.SGD(model.parameters(), lr=0.1)

    ndconv.convert(model, lowering="taps")
    assert model[0] is first is model[2] is shared
    assert model[0].weight is model[1].weight is optimizer.param_groups[0]["params"][0]
    assert not model[1].training
    assert not model[1].weight.requires_grad
    assert "mask" in model[1].state_dict()
    model(torch.randn(1, 3, 5, 5))
    assert calls == [ndconv.Conv2d, ndconv.Conv2d]
    assert model[0].lowering == model[1].lowering == "taps"


def test_parametrizations_stay() -> None:
    model = nn.Sequential(weight_norm(nn.Conv1d(3, 4, 3)), weight_norm(nn.ConvTranspose1d(4, 3, 3)))
    x = torch.randn(2, 3, 9)
    expected = step(model, x)
    report = str(ndconv.convert(model))
    assert "ndconv.Conv1d" in report
    for got, want in zip(step(model, x), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    nn.utils.parametrize.remove_parametrizations(model[0], "weight")
    assert type(model[0]) is ndconv.Conv1d
    assert "ParametrizedConvTranspose1d" in repr(model)
    ndconv.revert(model)
    assert type(model[0]) is nn.Conv1d
    for got, want in zip(step(model, x)[:2], expected[:2], strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


class Standardized(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self._conv_forward(input, self.weight - self.weight.mean(), self.bias)
        return output


def model_of_kinds() -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "stem": nn.Conv2d(3, 4, 3),
            "stage": nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 1)),
            "up": nn.ConvTranspose2d(4, 4, 2, 2),
            "head": nn.Linear(4, 2),
        }
    )


@pytest.mark.parametrize(
    ("only", "names"),
    [
        (None, ["stem", "stage.0", "stage.1", "up"]),
        ("stage", ["stage.0", "stage.1"]),
        ("stage.1", ["stage.1"]),
        ("st*", ["stem", "stage.0", "stage.1"]),
        ("*.0", ["stage.0"]),
        (nn.ConvTranspose2d, ["up"]),
        (lambda name, module: module.groups > 1, ["stage.0"]),
        (["stem", nn.ConvTranspose2d], ["stem", "up"]),
        ([], []),
    ],
    ids=["all", "branch", "leaf", "star", "star-below", "class", "function", "several", "none"],
)
def test_a_selection(only: Any, names: list[str]) -> None:
    model = model_of_kinds()
    done = ndconv.convert(model, only=only)
    assert [change.name for change in done] == names
    assert {name for name, module in model.named_modules() if isinstance(module, ndconv.nn.ConvNd)} | {
        name for name, module in model.named_modules() if isinstance(module, ndconv.nn.ConvTransposeNd)
    } == set(names)
    assert [change.name for change in ndconv.revert(model, only=only)] == names
    assert repr(model) == repr(model_of_kinds())


def test_the_report_says_what_was_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), Standardized(4, 4, 3), ndconv.Conv2d(4, 4, 1), nn.ReLU())
    assert [re.split("  +", line) for line in str(ndconv.convert(model)).splitlines()] == [
        ["module", "before", "after", "arguments"],
        ["0", "Conv2d", "ndconv.Conv2d", "3, 4, kernel_size=(3, 3), stride=(2, 2)"],
        [
            *("1", "Standardized", "left alone: a class of its own, whose forward may do more"),
            "4, 4, kernel_size=(3, 3), stride=(1, 1)",
        ],
        ["1 of 2 convolutions changed"],
    ]
    assert type(model[1]) is Standardized
    assert len(ndconv.convert(model)) == 0
    assert str(ndconv.convert(nn.Conv2d(1, 1, 1))).splitlines()[1].startswith("(model)")


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (ndconv.ConvNd(4, 1, 1, 1), "torch has no convolution over 4 axes"),
        (ndconv.Conv2d(1, 1, 3, padding=((1, 0), (0, 1))), "torch has no padding by pairs"),
        (ndconv.Conv1d(1, 1, 3, padding="causal"), "torch has no padding 'causal'"),
        (ndconv.Conv1d(1, 1, 3, padding="same", stride=2), "torch has no strided padding 'same'"),
        (
            ndconv.ConvTranspose1d(1, 1, 3, padding="same"),
            "torch's transposed convolutions pad by numbers and zeros only",
        ),
        (
            ndconv.ConvTranspose1d(1, 1, 3, padding_mode="circular"),
            "torch's transposed convolutions pad by numbers and zeros only",
        ),
    ],
    ids=str,
)
def test_what_torch_lacks_is_not_reverted(module: nn.Module, reason: str) -> None:
    kind = type(module)
    (change,) = ndconv.revert(module)
    assert (change.reason, change.after, type(module)) == (reason, None, kind)


@pytest.mark.parametrize(
    ("ours", "arguments"),
    [
        (ndconv.Conv2d, {"padding": "same", "padding_mode": "reflect", "dilation": 2}),
        (ndconv.Conv2d, {"padding": (2, 1), "padding_mode": "circular", "stride": 2}),
        (ndconv.Conv3d, {"padding": "valid", "padding_mode": "replicate"}),
        (ndconv.ConvTranspose2d, {"padding": 1, "stride": 2, "output_padding": 1}),
    ],
    ids=str,
)
def test_modules_of_ours_become_torchs(ours: Any, arguments: dict[str, Any]) -> None:
    layer = ours(3, 4, 3, **arguments, dtype=torch.float64)
    x = torch.randn(2, 3, *(7,) * len(layer.kernel_size), dtype=torch.float64)
    expected = layer(x)
    ndconv.revert(layer)
    assert type(layer) is getattr(nn, ours.__name__)
    torch.testing.assert_close(layer(x), expected)


def test_convnd_becomes_torchs_of_that_many_axes() -> None:
    layer: nn.Module = ndconv.ConvNd(2, 3, 4, 3)
    ndconv.revert(layer)
    assert type(layer) is nn.Conv2d


def test_a_converted_model_is_copied_and_pickled() -> None:
    model: Any = model_of_kinds()
    ndconv.convert(model)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(twin["up"]) is ndconv.ConvTranspose2d
        assert torch.equal(twin["stem"].weight, model["stem"].weight)
