"""The networks that nnU-Net trains, over one, two and three axes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dynamic_network_architectures.architectures import unet
from torch import Tensor, nn, randn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Shard

from ndconv.distributed import from_local, local_slices, parallelize
from tests.clients.checks import there_and_back
from tests.processes import run, whole

pytestmark = pytest.mark.client("dynamic-network-architectures")


NAMES = ["PlainConvUNet", "ResidualEncoderUNet"]


def plans(axes: int, name: str) -> dict[str, Any]:
    """What nnU-Net's plans say, in small."""
    return {
        "input_channels": 1,
        "n_stages": 3,
        "features_per_stage": (4, 8, 8),
        "conv_op": getattr(nn, f"Conv{axes}d"),
        "kernel_sizes": 3,
        "strides": (1, 2, 2),
        "num_classes": 2,
        "conv_bias": True,
        "norm_op": getattr(nn, f"InstanceNorm{axes}d"),
        "norm_op_kwargs": {"affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        "deep_supervision": True,
        "n_conv_per_stage_decoder": 1,
        "n_conv_per_stage" if name == "PlainConvUNet" else "n_blocks_per_stage": 1,
    }


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_models(name: str, axes: int, dtype: torch.dtype, row: Callable[[str, str], None]) -> None:
    shown = there_and_back(lambda: (getattr(unet, name)(**plans(axes, name)), [randn(2, 1, *(8,) * axes)]), dtype)
    row(*shown.told(f"{name} {axes}-D"))


def trained(model: nn.Module, x: Tensor) -> list[Tensor]:
    """The loss and what a step makes of the parameters."""
    loss = model(x)[0].square().mean()
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    return [whole(each.detach()) for each in (loss, *model.parameters())]


def shared_out(mesh: DeviceMesh, name: str) -> None:
    def network() -> nn.Module:
        torch.manual_seed(0)
        made: nn.Module = getattr(unet, name)(**plans(3, name)).double()
        return made

    x, model = randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0)).double(), network()
    parallelize(model, mesh, [Shard(2)])
    part = from_local(x[local_slices(x.shape, mesh, [Shard(2)])], x.shape, mesh, [Shard(2)])
    for found, expected in zip(trained(model, part), trained(network(), x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_parallelize(name: str, tmp_path: Path, row: Callable[[str, str], None]) -> None:
    run(shared_out, (2,), tmp_path, name)
    row(f"`ndconv.distributed.parallelize` of {name} 3-D", "two processes take a step of training as one does")
