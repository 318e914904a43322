"""Networks of diffusers."""

from __future__ import annotations

from collections.abc import Callable

import diffusers as df
import pytest
import torch
from torch import randn, tensor

from tests.clients.checks import Made, there_and_back

pytestmark = pytest.mark.client("diffusers")

TWO = {"block_out_channels": (8, 16), "norm_num_groups": 4, "layers_per_block": 1}
CODER = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
CONDITION = {"cross_attention_dim": 8, "attention_head_dim": 2}
STEP = {"timestep": tensor(3)}


def across(axes: str) -> dict[str, tuple[str, str]]:
    """Blocks of a conditional U-Net, the first with attention."""
    return {
        "down_block_types": (f"CrossAttnDownBlock{axes}", f"DownBlock{axes}"),
        "up_block_types": (f"UpBlock{axes}", f"CrossAttnUpBlock{axes}"),
    }


MODELS: dict[str, Made] = {
    "UNet1DModel": lambda: (
        df.UNet1DModel(
            block_out_channels=(32, 32),
            layers_per_block=1,
            extra_in_channels=64,
            down_block_types=("DownBlock1DNoSkip", "AttnDownBlock1D"),
            up_block_types=("AttnUpBlock1D", "UpBlock1DNoSkip"),
        ),
        {"sample": randn(2, 2, 16), **STEP},
    ),
    "UNet2DModel": lambda: (
        df.UNet2DModel(
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=4,
            **TWO,
        ),
        {"sample": randn(2, 3, 8, 8), **STEP},
    ),
    "UNet2DConditionModel": lambda: (
        df.UNet2DConditionModel(**across("2D"), **CONDITION, **TWO),
        {"sample": randn(2, 4, 8, 8), "encoder_hidden_states": randn(2, 3, 8), **STEP},
    ),
    "UNet3DConditionModel": lambda: (
        df.UNet3DConditionModel(**across("3D"), **CONDITION, **TWO),
        {"sample": randn(1, 4, 3, 8, 8), "encoder_hidden_states": randn(1, 3, 8), **STEP},
    ),
    "ControlNetModel": lambda: (
        df.ControlNetModel(
            down_block_types=across("2D")["down_block_types"],
            conditioning_embedding_out_channels=(4, 8),
            **CONDITION,
            **TWO,
        ),
        {
            "sample": randn(2, 4, 8, 8),
            "encoder_hidden_states": randn(2, 3, 8),
            "controlnet_cond": randn(2, 3, 16, 16),
            **STEP,
        },
    ),
    "AutoencoderKL": lambda: (df.AutoencoderKL(**CODER, **TWO), {"sample": randn(2, 3, 16, 16)}),
    "AutoencoderKLTemporalDecoder": lambda: (
        df.AutoencoderKLTemporalDecoder(block_out_channels=(32, 32), down_block_types=CODER["down_block_types"]),
        {"sample": randn(2, 3, 8, 8), "num_frames": 2},
    ),
    "AutoencoderOobleck": lambda: (
        df.AutoencoderOobleck(
            encoder_hidden_size=8,
            downsampling_ratios=[2, 4],
            channel_multiples=[1, 2],
            decoder_channels=8,
            decoder_input_channels=4,
        ),
        {"sample": randn(2, 2, 64)},
    ),
    "AutoencoderKLCogVideoX": lambda: (
        df.AutoencoderKLCogVideoX(block_out_channels=(8, 8, 8, 8), norm_num_groups=4, layers_per_block=1),
        {"sample": randn(1, 3, 5, 16, 16)},
    ),
    "AutoencoderKLWan": lambda: (
        df.AutoencoderKLWan(base_dim=4, z_dim=4, num_res_blocks=1, dim_mult=[1, 2, 2, 2]),
        {"sample": randn(1, 3, 5, 16, 16)},
    ),
    "VQModel": lambda: (df.VQModel(num_vq_embeddings=8, **CODER, **TWO), {"sample": randn(2, 3, 16, 16)}),
    "DiTTransformer2DModel": lambda: (
        df.DiTTransformer2DModel(
            num_attention_heads=2, attention_head_dim=8, num_layers=1, sample_size=8, norm_num_groups=2
        ),
        {"hidden_states": randn(2, 4, 8, 8), "timestep": tensor([3, 4]), "class_labels": tensor([1, 2])},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, dtype: torch.dtype, row: Callable[[str, str], None]) -> None:
    row(*there_and_back(MODELS[name], dtype).told(name))
