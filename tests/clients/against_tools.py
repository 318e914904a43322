"""Tools that look up ``type(module)`` in a table of their own: what becomes of our classes, and how they are taught.

What it shows stands in docs/compatibility.md, "Tools that look at a module's class"; when one of these fails, that
table is out of date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import thop
import torch
from backpack import backpack, extend, extensions
from captum.attr import LRP
from captum.attr._utils.lrp_rules import EpsilonRule
from kronfluence.module.conv2d import TrackedConv2d
from kronfluence.module.tracked_module import TrackedModule
from kronfluence.module.utils import wrap_tracked_modules
from opacus import GradSampleModule
from opacus.grad_sample import register_grad_sampler
from opacus.grad_sample.gsm_exp_weights import GradSampleModuleExpandedWeights
from thop.vision.basic_hooks import count_convNd
from torch import Tensor, nn

import ndconv
from tests.clients.checks import refusal

Row = Callable[[str, str], None]

X, LABELS = torch.randn(2, 3, 8, 8), torch.tensor([0, 1])


def network(kind: str) -> nn.Sequential:
    """The same small classifier of torch's layers, of ours, or of ours made torch's again."""
    torch.manual_seed(0)
    lib: Any = nn if kind == "torch" else ndconv
    first, second = lib.Conv2d(3, 8, 3, padding=1), lib.Conv2d(8, 4, 3, stride=2)
    model = nn.Sequential(first, nn.ReLU(), second, nn.Flatten(), nn.Linear(36, 2))
    if kind == "reverted":
        assert len(ndconv.revert(model)) == 2
    return model


def operations(kind: str, **keywords: Any) -> float:
    count: float = thop.profile(network(kind), (X,), verbose=False, **keywords)[0]
    return count


@pytest.mark.client("thop")
def test_thop_counts_no_convolution_in_silence(row: Row) -> None:
    assert operations("ours") < operations("torch") / 100
    assert operations("reverted") == operations("torch")
    assert operations("ours", custom_ops={ndconv.Conv2d: count_convNd}) == operations("torch")
    row("`profile`", "silent: 0 operations for each of our layers; right with `custom_ops`, or reverted")


EXTENSIONS = ["BatchGrad", "SumGradSquared", "DiagGGNExact", "DiagHessian", "KFAC"]


def quantity(kind: str, name: str, *, taught: bool = False) -> Any:
    """What BackPACK saves at the first weight."""
    extension = getattr(extensions, name)()
    if taught:
        exts = extension._BackpropExtension__module_extensions
        extension.set_module_extension(ndconv.Conv2d, exts[nn.Conv2d])
    model, loss = extend(network(kind)), extend(nn.CrossEntropyLoss())
    with backpack(extension):
        loss(model(X), LABELS).backward()
    return getattr(model[0].weight, extension.savefield)


@pytest.mark.client("backpack-for-pytorch")
@pytest.mark.parametrize("name", EXTENSIONS)
def test_backpack_lacks_an_extension(name: str, row: Row) -> None:
    # Of first order it warns and computes nothing: the attribute is missing.
    with pytest.raises(
        (AttributeError, NotImplementedError), match=r"has no attribute|does not have an extension"
    ) as info:
        quantity("ours", name)
    want = quantity("torch", name)
    torch.testing.assert_close(quantity("reverted", name), want)
    torch.testing.assert_close(quantity("ours", name, taught=True), want)
    row(f"`{name}`", f"{refusal(info)}; right with `set_module_extension`, or reverted")


def wrapped(kind: str) -> nn.Sequential:
    model: nn.Sequential = wrap_tracked_modules(network(kind))
    return model


@pytest.fixture
def tracked() -> Iterator[None]:
    TrackedModule.SUPPORTED_MODULES[ndconv.Conv2d] = TrackedConv2d
    yield
    del TrackedModule.SUPPORTED_MODULES[ndconv.Conv2d]


@pytest.mark.client("kronfluence")
def test_kronfluence_looks_up_the_very_class(row: Row) -> None:
    with pytest.raises(KeyError, match=r"ndconv\.nn\._conv\.Conv2d") as info:
        wrapped("ours")
    assert [type(module) for module in wrapped("reverted")] == [type(module) for module in wrapped("torch")]
    row("`wrap_tracked_modules`", f"{refusal(info)}; right with an entry in `SUPPORTED_MODULES`, or reverted")


@pytest.mark.client("kronfluence")
def test_kronfluence_taught(tracked: None) -> None:
    ours, theirs = wrapped("ours"), wrapped("torch")
    assert [type(module) for module in ours] == [type(module) for module in theirs]
    torch.testing.assert_close(ours(X), theirs(X))


def samples(kind: str, wrapper: Any) -> list[Tensor]:
    """Per-sample gradients of the convolutions."""
    model = wrapper(network(kind))
    model(X).square().sum().backward()
    return [parameter.grad_sample for parameter in model.parameters()]


def sampler(layer: Any, activations: list[Tensor], grad_output: Tensor) -> dict[nn.Parameter, Tensor]:
    """One call for all samples, over any number of axes; Opacus' own tells torch's classes apart and fails on ours."""
    arguments = activations[0], layer.weight.shape, grad_output, layer.stride, layer.padding, layer.dilation
    how = {"padding_mode": layer.padding_mode, "per_sample": True}
    weight = ndconv.grad.convnd_weight(*arguments, layer.groups, **how)
    return {layer.weight: weight, layer.bias: grad_output.flatten(2).sum(2)}


@pytest.mark.client("opacus")
def test_opacus_takes_what_it_does_not_know_by_torch_func(row: Row) -> None:
    want = samples("torch", GradSampleModule)
    torch.testing.assert_close(samples("ours", GradSampleModule), want)
    torch.testing.assert_close(samples("reverted", GradSampleModule), want)
    row('`GradSampleModule` in mode `"hooks"`', "same per-sample gradients")


@pytest.fixture
def sampled() -> Iterator[list[nn.Module]]:
    """The layers that `sampler` was asked about."""
    seen: list[nn.Module] = []
    register_grad_sampler(ndconv.Conv2d)(lambda layer, *rest: seen.append(layer) or sampler(layer, *rest))  # type: ignore[func-returns-value]
    yield seen
    del GradSampleModule.GRAD_SAMPLERS[ndconv.Conv2d]


@pytest.mark.client("opacus")
def test_opacus_taught(sampled: list[nn.Module]) -> None:
    torch.testing.assert_close(samples("ours", GradSampleModule), samples("torch", GradSampleModule))
    assert len(sampled) == 2


@pytest.mark.client("opacus")
def test_opacus_expanded_weights_know_torchs_functions_alone(row: Row) -> None:
    with pytest.raises(RuntimeError, match="Expanded Weights") as info:
        samples("ours", GradSampleModuleExpandedWeights)
    want = samples("torch", GradSampleModuleExpandedWeights)
    torch.testing.assert_close(samples("reverted", GradSampleModuleExpandedWeights), want)
    row('`GradSampleModule` in mode `"ew"`', f"{refusal(info)}; right when reverted")


def relevance(kind: str, *, taught: bool = False) -> Tensor:
    model: Any = network(kind)[:3]
    for layer in model:
        if taught and isinstance(layer, ndconv.Conv2d):
            layer.rule = EpsilonRule()
    result: Tensor = LRP(model).attribute(X, target=(0, 0, 0))
    return result


@pytest.mark.client("captum")
def test_captum_has_no_rule(row: Row) -> None:
    with pytest.raises(TypeError, match="no rule defined") as info:
        relevance("ours")
    want = relevance("torch")
    torch.testing.assert_close(relevance("reverted"), want)
    torch.testing.assert_close(relevance("ours", taught=True), want)
    row("`LRP`", f"{refusal(info)}; right with `layer.rule`, or reverted")
