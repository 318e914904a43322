"""Tools for modules: fusing, pruning, parametrizations, hooks, checkpointing, counting, old pickles."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.ao import quantization
from torch.ao.nn import intrinsic, qat
from torch.ao.nn import quantized as quantized_classes
from torch.ao.quantization import quantize_fx
from torch.ao.quantization.fuser_method_mappings import fuse_conv_bn_relu
from torch.fx import GraphModule
from torch.fx.experimental import optimization
from torch.nn.utils import fuse_conv_bn_eval, parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import ndconv

OURS = {name: getattr(ndconv, name) for name in ndconv.nn.__all__ if not name.startswith("Lazy")}
MODULES = [pytest.param(cls, (4,) * ("N" in name), id=name) for name, cls in OURS.items()]


def made(cls: Any, ndim: tuple[int, ...], *arguments: Any, **keywords: Any) -> tuple[Any, Tensor]:
    """A layer from four channels to six, and an input."""
    layer = cls(*ndim, 4, 6, *arguments, **keywords)
    return layer, torch.randn(2, 4, *(5,) * len(layer.kernel_size), dtype=keywords.get("dtype"))


@pytest.mark.parametrize(("cls", "ndim"), [case for case in MODULES if "N" not in str(case.id)])
def test_batch_norm_is_fused(cls: Any, ndim: tuple[int, ...]) -> None:
    layer, x = made(cls, ndim, 3, groups=1)
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[len(layer.kernel_size) - 1](6)
    norm(layer(x))  # statistics
    fused = fuse_conv_bn_eval(layer.eval(), norm.eval(), transpose=layer.transposed)
    assert type(fused) is cls
    torch.testing.assert_close(fused(x), norm(layer(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("cls", "ndim"), MODULES)
def test_pruning(cls: Any, ndim: tuple[int, ...]) -> None:
    layer, x = made(cls, ndim, 3)
    prune.l1_unstructured(layer, "weight", 0.5)
    layer(x).sum().backward()
    assert torch.equal(layer.weight_orig.grad == 0, layer.weight_mask == 0)
    prune.remove(layer, "weight")
    assert (layer.weight == 0).float().mean() == 0.5
    assert type(layer) is cls


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm", "orthogonal"])
@pytest.mark.parametrize(("cls", "ndim"), MODULES)
def test_parametrizations(cls: Any, ndim: tuple[int, ...], name: str) -> None:
    layer, x = made(cls, ndim, 2)
    getattr(parametrizations, name)(layer)
    output = layer(x)
    output.sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is cls
    if name == "weight_norm":
        torch.testing.assert_close(layer(x), output)


@pytest.mark.parametrize(("cls", "ndim"), MODULES)
def test_hooks_checkpoints_and_copies(cls: Any, ndim: tuple[int, ...]) -> None:
    layer, x = made(cls, ndim, 3, padding=1, padding_mode="replicate", lowering="columns")
    seen: list[str] = []
    layer.register_forward_pre_hook(lambda *args: seen.append("before"))
    layer.register_forward_hook(lambda *args: seen.append("after"))
    layer.register_full_backward_hook(lambda *args: seen.append("backward"))
    want = torch.autograd.grad(layer(x.requires_grad_()).square().sum(), (x, layer.weight))
    assert seen == ["before", "after", "backward"]
    layer._forward_pre_hooks.clear()
    layer._forward_hooks.clear()
    layer._backward_hooks.clear()
    for reentrant in (True, False):
        output = checkpoint(layer, x, use_reentrant=reentrant)
        layer.zero_grad()
        x.grad = None
        output.square().sum().backward()
        assert torch.equal(x.grad, want[0])  # type: ignore[arg-type]
        assert torch.equal(layer.weight.grad, want[1])
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), layer(x))
        assert repr(twin) == repr(layer)
    buffers: dict[str, Any] = layer.state_dict()
    fresh = made(cls, ndim, 3, padding=1, padding_mode="replicate", lowering="columns")[0]
    fresh.load_state_dict(buffers, assign=True)
    assert torch.equal(fresh(x), layer(x))


@pytest.mark.parametrize(("cls", "ndim"), MODULES)
def test_pickles_older_than_an_attribute(cls: Any, ndim: tuple[int, ...]) -> None:
    layer, x = made(cls, ndim, 3)
    state = {key: value for key, value in layer.__getstate__().items() if key not in ("padding_mode", "lowering")}
    older = cls.__new__(cls)
    older.__setstate__(state)
    assert (older.padding_mode, older.lowering) == ("zeros", None)
    assert torch.equal(older(x), layer(x))


@pytest.mark.parametrize(("cls", "ndim"), MODULES)
def test_factory_arguments_and_no_memory_on_meta(cls: Any, ndim: tuple[int, ...]) -> None:
    layer, x = made(cls, ndim, 3, device="meta", dtype=torch.float64)
    assert layer(x.to("meta")).device.type == "meta"
    layer = layer.to_empty(device="cpu")
    layer.reset_parameters()
    assert layer(x).dtype == torch.float64
    assert torch.isfinite(layer(x)).all()


@pytest.mark.parametrize(("cls", "ndim"), MODULES)
def test_deterministic_algorithms_are_all_it_has(cls: Any, ndim: tuple[int, ...], device: str) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        for mode in ("zeros", "reflect", "replicate", "circular"):
            layer, x = made(cls, ndim, 3, padding=1, padding_mode=mode, device=device)
            x = x.to(device).requires_grad_()
            for lowering in ("auto", "window", "columns", "taps"):
                with ndconv.lowering(lowering):
                    runs = [torch.autograd.grad(layer(x).square().sum(), (x, layer.weight)) for _ in range(2)]
                assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    finally:
        torch.use_deterministic_algorithms(False)


ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"stride": 2, "padding": 1},
    {"groups": 2, "dilation": 2},
    {"padding": 1, "padding_mode": "circular"},
]


@pytest.mark.parametrize("device_of_data", ["cpu", "meta"])
@pytest.mark.parametrize("lowering", ["auto", "window", "columns", "taps"])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize(("cls", "ndim"), MODULES)
def test_flops_are_those_of_the_sum(
    cls: Any, ndim: tuple[int, ...], arguments: dict[str, Any], lowering: str, device_of_data: str
) -> None:
    """Two for each product in the trilinear form: kernel times output times channels, the same for each gradient."""
    layer, x = made(cls, ndim, 2, **arguments, lowering=lowering, device=device_of_data)
    x = x.to(device_of_data).requires_grad_()
    with FlopCounterMode(display=False) as forward:
        output = layer(x)
    with FlopCounterMode(display=False) as backward:
        output.sum().backward()
    windows = x.shape[2:] if layer.transposed else output.shape[2:]
    products = 2 * 4 * 6 // layer.groups * 2 ** len(layer.kernel_size) * windows.numel()
    assert forward.get_total_flops() == 2 * products
    assert backward.get_total_flops() == 4 * products


def test_flops_equal_torchs_without_groups() -> None:
    """With groups, torch's count for the weight's gradient is too large by the number of groups."""
    totals = []
    for lib in (ndconv, nn):
        model = nn.Sequential(lib.Conv2d(3, 8, 3, stride=2), lib.ConvTranspose2d(8, 3, 4, padding=1))
        with FlopCounterMode(display=False) as counter:
            model(torch.randn(2, 3, 9, 9, requires_grad=True)).sum().backward()
        totals.append(counter.get_total_flops())
    assert totals[0] == totals[1] > 0


def test_counting_changes_nothing() -> None:
    layer = ndconv.Conv2d(4, 6, 3, padding=((1, 0), (0, 2)), groups=2).bfloat16()
    x = torch.randn(2, 4, 7, 8, dtype=torch.bfloat16)
    with FlopCounterMode(display=False):
        counted = layer(x)
    assert torch.equal(counted, layer(x))


def classifier(kind: str, training: bool = False) -> nn.Sequential:
    """The same layers: torch's, ours, or ours turned back into torch's."""
    torch.manual_seed(0)
    lib: Any = nn if kind == "torch" else ndconv
    model = nn.Sequential(
        lib.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), lib.Conv2d(8, 4, 3, stride=2), nn.ReLU()
    )
    if kind == "reverted":
        assert len(ndconv.revert(model)) == 2
    return model.train(training)


def fused_by_list(model: nn.Sequential) -> nn.Module:
    fuse = quantization.fuse_modules_qat if model.training else quantization.fuse_modules
    result: nn.Module = fuse(model, [["0", "1", "2"], ["3", "4"]])
    return result


def fused_by_trace(model: nn.Sequential) -> nn.Module:
    fused: nn.Module = optimization.fuse(model)
    return fused


def fused_for_quantization(model: nn.Sequential) -> nn.Module:
    return quantize_fx.fuse_fx(model)


def trained_quantized(model: nn.Sequential) -> nn.Module:
    model.qconfig = quantization.get_default_qat_qconfig()
    result: nn.Module = quantization.prepare_qat(model)
    return result


def quantized(model: nn.Sequential) -> nn.Module:
    stubbed = nn.Sequential(quantization.QuantStub(), *model, quantization.DeQuantStub())
    stubbed.qconfig = quantization.default_qconfig  # type: ignore[assignment]
    prepared = quantization.prepare(stubbed)
    prepared(torch.randn(2, 3, 8, 8))
    result: nn.Module = quantization.convert(prepared)
    return result


def quantized_by_trace(model: nn.Sequential) -> nn.Module:
    x = (torch.randn(2, 3, 8, 8),)
    prepared = quantize_fx.prepare_fx(model, quantization.QConfigMapping().set_global(quantization.default_qconfig), x)
    prepared(*x)
    return quantize_fx.convert_fx(prepared)


def classes(model: nn.Module) -> list[type[nn.Module]]:
    return [type(module) for module in model.modules() if not isinstance(module, GraphModule)]


# The tool, and the class that it should make of a convolution, or leave without its batch norm.
SILENT: dict[Callable[[nn.Sequential], nn.Module], type[nn.Module]] = {
    fused_by_trace: nn.Conv2d,
    fused_for_quantization: intrinsic.ConvReLU2d,
    trained_quantized: qat.Conv2d,
    quantized: quantized_classes.Conv2d,
    quantized_by_trace: intrinsic.quantized.ConvReLU2d,
}
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


@quiet
@pytest.mark.parametrize("tool", SILENT)
def test_tools_that_leave_our_classes_alone_in_silence(tool: Callable[[nn.Sequential], nn.Module]) -> None:
    """If torch comes to support subclasses, docs/compatibility.md has a line too many."""
    training = tool is trained_quantized
    ours, theirs, reverted = (classes(tool(classifier(kind, training))) for kind in ("ours", "torch", "reverted"))
    assert SILENT[tool] in theirs
    assert SILENT[tool] not in ours
    assert reverted == theirs


@quiet
@pytest.mark.parametrize("training", [False, True])
def test_fuse_modules_refuses(training: bool) -> None:
    with pytest.raises(AssertionError, match=r"did not find fuser method .*ndconv"):
        fused_by_list(classifier("ours", training))
    theirs, reverted = (fused_by_list(classifier(kind, training)) for kind in ("torch", "reverted"))
    assert classes(reverted) == classes(theirs)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in reverted.children())


@quiet
def test_no_mapping_helps() -> None:
    model = classifier("ours")
    mapping = {(ndconv.Conv2d, nn.BatchNorm2d, nn.ReLU): fuse_conv_bn_relu}
    with pytest.raises(NotImplementedError, match="Cannot fuse eval modules"):
        quantization.fuse_modules(
            model, ["0", "1", "2"], fuse_custom_config_dict={"additional_fuser_method_mapping": mapping}
        )
    model.train().qconfig = quantization.get_default_qat_qconfig()
    with pytest.raises(AssertionError, match="only works for Conv2d"):
        quantization.prepare_qat(model, mapping={ndconv.Conv2d: qat.Conv2d})


def test_inference_by_trace_refuses() -> None:
    with pytest.raises(TypeError, match="must be a Tensor, but is Proxy"):
        optimization.optimize_for_inference(classifier("ours"))
    x = torch.randn(2, 3, 8, 8)
    model = classifier("reverted")
    inferred: Any = optimization.optimize_for_inference(model)
    torch.testing.assert_close(inferred(x), model(x))


def test_what_is_not_fused_still_computes_the_same() -> None:
    x, model = torch.randn(2, 3, 8, 8), classifier("ours")
    assert torch.equal(fused_by_trace(model)(x), model(x))


def test_tools_that_ask_isinstance() -> None:
    model = classifier("ours")
    nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    weight: Any = model[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert type(model[0]) is ndconv.Conv2d
