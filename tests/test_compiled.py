"""Layers under a compiler and an exporter: one operator, or the steps of the lowering that suits the sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.fx
from torch import Tensor

import ndconv
from ndconv.testing._checks import ran_lowerings


@pytest.mark.compiler
def test_a_compiler_sees_one_operator_for_a_slot_and_the_sizes_choose_when_it_runs(device: str) -> None:
    """So compilation takes no longer than for torch's convolution, however many taps a kernel has."""
    from functorch.compile import aot_module, make_boxed_func

    targets: list[list[Any]] = []

    def record(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        targets.append([node.target for node in graph.graph.nodes if node.op == "call_function"])
        return make_boxed_func(graph.forward)

    layers = [ndconv.Conv2d(4, 4, 7, groups=4), ndconv.Conv2d(4, 8, 1), ndconv.ConvTranspose2d(8, 2, 2, stride=2)]
    network = torch.nn.Sequential(*layers).to(device)
    x = torch.randn(2, 4, 16, 16, device=device, requires_grad=True)
    aot_module(network, record)(x).sum().backward()
    forward, backward = targets
    assert forward.count(torch.ops.ndconv.trilinear.default) == 3
    assert backward.count(torch.ops.ndconv.trilinear.default) == 6

    compiled = torch.compile(network, fullgraph=True, backend="aot_eager", dynamic=True)
    for size in (8, 64):
        plans, sizes = [], [size, size - 6, size - 6]
        for layer, channels, side in zip([*network], (4, 4, 8), sizes, strict=True):
            plans.append(layer.plan((1, channels, side, side)).output.lowering)
        with ran_lowerings() as ran:
            compiled(torch.randn(1, 4, size, size, device=device))
        assert ran == set(plans)


@pytest.mark.compiler
def test_a_small_exported_program_is_chosen_by_its_sizes(device: str) -> None:
    """Seven by seven taps would be forty-nine products; copied windows are one."""
    layer, x = ndconv.Conv2d(4, 4, 7, groups=4, device=device), torch.randn(2, 4, 16, 16, device=device)
    auto = torch.export.Dim.AUTO
    for sizes in (None, ({0: auto, 2: auto, 3: auto},)):
        program = torch.export.export(layer, (x,), dynamic_shapes=sizes)
        calls = [node for node in program.graph.nodes if node.op == "call_function"]
        assert len(calls) < 49
        torch.testing.assert_close(program.module()(x), layer(x))
