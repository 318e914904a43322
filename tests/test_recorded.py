"""Recordings for other tools: TorchScript by `torch.jit.trace`, ONNX by both exporters, and graphs of `make_fx`."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

import onnxruntime
import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import Module, Sequential

import ndconv

pytestmark = pytest.mark.compiler

# All that a layer can have, for an input of four channels; the number of axes is that of the last letter.
LAYERS: dict[str, Callable[[], Module]] = {
    "plain 1": lambda: ndconv.Conv1d(4, 6, 3),
    "same 1": lambda: ndconv.Conv1d(4, 6, 4, padding="same", dilation=2, groups=2),
    "causal 1": lambda: ndconv.Conv1d(4, 6, 3, padding="causal", bias=False),
    "strided 2": lambda: ndconv.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
    "depthwise 2": lambda: ndconv.Conv2d(4, 4, (3, 5), padding=(1, 2), groups=4),
    "pairs 2": lambda: ndconv.Conv2d(4, 6, 3, padding=((2, 0), (0, 1))),
    "reflect 2": lambda: ndconv.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "circular 2": lambda: ndconv.Conv2d(4, 6, 3, padding=((1, 2), (0, 1)), padding_mode="circular"),
    "replicate 2": lambda: ndconv.Conv2d(4, 6, 3, padding=2, padding_mode="replicate"),
    "transposed 2": lambda: ndconv.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
    "transposed same 2": lambda: ndconv.ConvTranspose2d(4, 6, 3, stride=2, padding="same"),
    "volume 3": lambda: ndconv.Conv3d(4, 2, 3, padding=1),
    "transposed 3": lambda: ndconv.ConvTranspose3d(4, 2, 2, stride=2),
}


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> Module:
    made: Module = LAYERS[request.param]().eval()
    return made


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Ignore the exporters' warnings about themselves; a warning that a recording may not generalise still fails."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning, UserWarning):
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("error", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
        yield


def _inputs(layer: Module) -> tuple[Tensor, Tensor]:
    """An input to record with, and one with another batch and other sizes to run."""
    axes = len(layer.kernel_size)  # type: ignore[arg-type]
    return torch.randn(2, 4, *(9, 8, 7)[:axes]), torch.randn(3, 4, *(12, 13, 10)[:axes])


def test_scripts_by_tracing_are_torchs_operators_at_any_size(layer: Module) -> None:
    first, second = _inputs(layer)
    traced = torch.jit.trace(layer, first)
    assert re.findall(r"aten::\w*convolution", str(traced.inlined_graph)) == ["aten::_convolution"]
    memory = io.BytesIO()
    torch.jit.save(traced, memory)
    memory.seek(0)
    loaded = torch.jit.load(memory)
    for x in (first, second):
        torch.testing.assert_close(loaded(x), layer(x))
    for x in (first, second):
        results = []
        for function in (loaded, layer):
            leaf = x.clone().requires_grad_()
            results.append(torch.autograd.grad(function(leaf).square().sum(), leaf)[0])
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_traced_says_what_to_do() -> None:
    x, w = torch.randn(1, 2, 5, 5), torch.randn(2, 2, 3, 3)
    advice = "use torch.export"
    with pytest.raises(NotImplementedError, match=f"over 1 to 3 axes, .* this one has 4; {advice}"):
        torch.jit.trace(ndconv.ConvNd(4, 1, 1, 2), torch.randn(1, 1, 3, 3, 3, 3))
    with pytest.raises(NotImplementedError, match=f"unfoldnd: torch.jit.trace can record .*; {advice}"):
        torch.jit.trace(lambda x: ndconv.functional.unfoldnd(x, 3), x)
    with pytest.raises(NotImplementedError, match=f"conv2d_weight: torch.jit.trace can record .*; {advice}"):
        torch.jit.trace(lambda x, y: ndconv.grad.conv2d_weight(x, (2, 2, 3, 3), y), (x, torch.randn(1, 2, 3, 3)))
    with pytest.raises(NotImplementedError, match=f"conv2d_input: torch.jit.trace can record .*; {advice}"):
        torch.jit.trace(lambda w, y: ndconv.grad.conv2d_input((1, 2, 5, 5), w, y), (w, torch.randn(1, 2, 3, 3)))


def _nodes(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_onnx_has_a_convolution_that_runs_at_any_size(layer: Module) -> None:
    first, second = _inputs(layer)
    sizes = ({axis: torch.export.Dim.DYNAMIC for axis in range(first.dim()) if axis != 1},)
    program: Any = torch.onnx.export(layer, (first,), dynamo=True, dynamic_shapes=sizes, verbose=False)
    nodes = _nodes(program.model_proto)
    kind = "ConvTranspose" if layer.transposed else "Conv"
    assert nodes.count(kind) == 1
    assert not {"ScatterND", "ScatterElements", "GatherND", "MatMul", "Gemm", "Einsum"} & {*nodes}
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    for x in (first, second):
        (got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(got), layer(x), rtol=1e-4, atol=1e-5)


def test_onnx_of_a_network_has_two_nodes_for_two_layers() -> None:
    network = Sequential(ndconv.Conv2d(4, 8, 3, padding=1), torch.nn.ReLU(), ndconv.Conv2d(8, 8, 3, stride=2)).eval()
    program: Any = torch.onnx.export(network, (torch.randn(2, 4, 8, 8),), dynamo=True, verbose=False)
    assert _nodes(program.model_proto) == ["Conv", "Relu", "Conv"]


@pytest.mark.parametrize("mode", ["real", "symbolic"])
def test_make_fx_sees_one_operator(layer: Module, mode: Literal["real", "symbolic"]) -> None:
    first, second = _inputs(layer)
    parameters = dict(layer.named_parameters())

    def function(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(layer, parameters, (x,))
        return result

    graph = make_fx(function, tracing_mode=mode)(parameters, first)
    called = [node.target for node in graph.graph.nodes if "ndconv" in str(node.target)]
    assert called == [torch.ops.ndconv.trilinear.default]
    for x in (first, second) if mode == "symbolic" else (first,):
        assert torch.equal(graph(parameters, x), layer(x))
