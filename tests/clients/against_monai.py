"""Networks of MONAI, in two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from monai.networks import nets
from torch import randn

from tests.clients.checks import Made, there_and_back

pytestmark = pytest.mark.client("monai")

SIX = (4, 4, 8, 8, 8, 4)

MODELS: dict[str, Made] = {
    "UNet 2-D": lambda: (nets.UNet(2, 1, 2, (4, 8, 16), (2, 2), num_res_units=1), [randn(2, 1, 16, 16)]),
    "UNet 3-D": lambda: (nets.UNet(3, 1, 2, (4, 8, 16), (2, 2), num_res_units=1), [randn(1, 1, 8, 8, 8)]),
    "BasicUNet 2-D": lambda: (nets.BasicUNet(2, 1, 2, SIX), [randn(1, 1, 32, 32)]),
    "BasicUNet 3-D": lambda: (nets.BasicUNet(3, 1, 2, SIX), [randn(1, 1, 32, 32, 32)]),
    "BasicUNetPlusPlus": lambda: (nets.BasicUNetPlusPlus(2, 1, 2, SIX), [randn(1, 1, 32, 32)]),
    "AttentionUnet": lambda: (nets.AttentionUnet(3, 1, 2, (4, 8), (2,)), [randn(2, 1, 8, 8, 8)]),
    "DynUNet": lambda: (
        nets.DynUNet(3, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 8]),
        [randn(1, 1, 16, 16, 16)],
    ),
    "SegResNet 2-D": lambda: (
        nets.SegResNet(2, 8, 1, 2, blocks_down=(1, 1), blocks_up=(1,)),
        [randn(1, 1, 16, 16)],
    ),
    "SegResNet 3-D": lambda: (
        nets.SegResNet(3, 8, 1, 2, blocks_down=(1, 1), blocks_up=(1,)),
        [randn(1, 1, 8, 8, 8)],
    ),
    "UNETR": lambda: (
        nets.UNETR(1, 2, (16, 16, 16), feature_size=4, hidden_size=16, mlp_dim=16, num_heads=2),
        [randn(1, 1, 16, 16, 16)],
    ),
    "SwinUNETR": lambda: (
        nets.SwinUNETR(1, 2, feature_size=12, depths=(1,) * 4, num_heads=(1,) * 4, spatial_dims=2),
        [randn(1, 1, 64, 64)],
    ),
    "MedNeXt": lambda: (
        nets.MedNeXt(3, 4, 1, 2, kernel_size=3, blocks_down=(1,) * 4, blocks_up=(1,) * 4),
        [randn(2, 1, 32, 32, 32)],
    ),
    "DenseNet": lambda: (nets.DenseNet(3, 1, 2, 8, 4, (1, 1)), [randn(2, 1, 16, 16, 16)]),
    "ResNet": lambda: (
        nets.ResNet("basic", [1] * 4, [4, 4, 8, 8], 3, 1, num_classes=2),
        [randn(2, 1, 32, 32, 32)],
    ),
    "HighResNet": lambda: (
        nets.HighResNet(
            3,
            1,
            2,
            layer_params=[
                {"name": "conv_0", "n_features": 4, "kernel_size": 3},
                *({"name": f"res_{d}", "n_features": 4, "kernels": (3, 3), "repeat": 1} for d in (1, 2)),
                {"name": "conv_1", "n_features": 4, "kernel_size": 1},
                {"name": "conv_2", "kernel_size": 1},
            ],
        ),
        [randn(1, 1, 8, 8, 8)],
    ),
    "AutoencoderKL": lambda: (
        nets.AutoencoderKL(
            3,
            channels=(4, 4),
            num_res_blocks=1,
            attention_levels=(False, False),
            norm_num_groups=2,
            latent_channels=2,
        ),
        [randn(1, 1, 8, 8, 8)],
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, dtype: torch.dtype, row: Callable[[str, str], None]) -> None:
    row(*there_and_back(MODELS[name], dtype).told(name))
