"""What counts, explains, exports or quantizes a network: with a converted one as with torch's."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captum.attr
import onnx
import onnxruntime
import pytest
import torch
import torchinfo
from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis
from torch import Tensor, nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

import ndconv
from tests.clients import against_diffusers, against_monai, against_torchvision
from tests.clients.against_tools import X, network
from tests.clients.checks import Made, is_ours

Row = Callable[[str, str], None]


@pytest.mark.client("torchinfo")
def test_torchinfo(row: Row) -> None:
    ours, theirs = (torchinfo.summary(network(kind), input_data=X, verbose=0) for kind in ("ours", "torch"))
    assert str(ours) == str(theirs)
    assert ours.total_mult_adds == theirs.total_mult_adds > 0
    row("`summary`", "the same table")


@pytest.mark.client("fvcore")
@pytest.mark.parametrize("analysis", [FlopCountAnalysis, ActivationCountAnalysis])
def test_fvcore(analysis: Any, row: Row) -> None:
    ours, theirs = (analysis(network(kind), X) for kind in ("ours", "torch"))
    assert ours.by_module_and_operator() == theirs.by_module_and_operator()
    assert ours.total() > 0
    row(f"`{analysis.__name__}`", "the same counts for every module")


@pytest.mark.client("captum")
@pytest.mark.parametrize("name", ["IntegratedGradients", "DeepLift", "GuidedBackprop", "Saliency", "LayerGradCam"])
def test_captum(name: str, row: Row) -> None:
    def attribution(kind: str) -> Tensor:
        model = network(kind)
        layer = (model[2],) if name == "LayerGradCam" else ()
        found: Tensor = getattr(captum.attr, name)(model, *layer).attribute(X, target=0)
        return found.detach()

    torch.testing.assert_close(attribution("ours"), attribution("torch"))
    row(f"`{name}`", "same attributions")


EXPORTED: dict[str, Made] = {
    "torchvision's MobileNetV2": against_torchvision.MODELS["MobileNetV2"],
    "MONAI's UNet 2-D": against_monai.MODELS["UNet 2-D"],
    "MONAI's UNet 3-D": against_monai.MODELS["UNet 3-D"],
    "MONAI's DynUNet": against_monai.MODELS["DynUNet"],
    "diffusers' AutoencoderKL": against_diffusers.MODELS["AutoencoderKL"],
}


class Bare(nn.Module):
    """A model whose answer is one tensor."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        answer = self.model(x)
        return answer if isinstance(answer, Tensor) else answer[0]


@pytest.mark.client("onnxruntime")
@pytest.mark.parametrize("name", EXPORTED)
def test_onnx(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, row: Row) -> None:
    caplog.set_level(logging.ERROR)
    model, inputs = EXPORTED[name]()
    (x,) = inputs.values() if isinstance(inputs, dict) else inputs
    ndconv.convert(model)
    bare, file = Bare(model).eval(), tmp_path / "model.onnx"
    torch.onnx.export(bare, (x,), file, dynamo=True, verbose=False)
    operators = Counter(node.op_type for node in onnx.load(file).graph.node)
    assert operators["Conv"] + operators["ConvTranspose"] == sum(map(is_ours, model.modules()))
    session = onnxruntime.InferenceSession(file)
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), bare(x).detach(), rtol=1e-3, atol=1e-4)
    row(name, "`torch.onnx.export(dynamo=True)`: one `Conv` or `ConvTranspose` for each layer, and the same output")


@pytest.mark.client("torch")
def test_quantization(row: Row) -> None:
    """That the tests of every day hold for one layer: tests/test_tools.py."""

    def quantized(kind: str) -> Counter[str]:
        prepared = prepare_fx(network(kind).eval(), get_default_qconfig_mapping(), (X,))
        prepared(X)
        return Counter(
            f"{type(module).__module__}.{type(module).__name__}" for module in convert_fx(prepared).modules()
        )

    ours, theirs = quantized("ours"), quantized("torch")
    convolution = "torch.ao.nn.quantized.modules.conv.Conv2d"
    assert theirs[convolution] == 1
    assert ours[convolution] == 0
    assert quantized("reverted") == theirs
    row("`prepare_fx`, `convert_fx`", "silent: our layers stay in float; right when reverted")
