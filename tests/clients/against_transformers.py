"""Networks of transformers, drawn from small configurations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import ndconv
from tests.clients.checks import call, close, is_ours, there_and_back

pytestmark = pytest.mark.client("transformers")

Shapes = dict[str, tuple[int, ...]]

IMAGE: Shapes = {"pixel_values": (2, 3, 32, 32)}
LARGER: Shapes = {"pixel_values": (2, 3, 64, 64)}
WAVE: Shapes = {"input_values": (2, 800)}
WORDS: Shapes = {"input_ids": (2, 12)}

WIDTH = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
PATCHES = {"image_size": 32, "patch_size": 8, **WIDTH}
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1]}
FOUR = {"hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4}
STATES = {"vocab_size": 20, "hidden_size": 16, "state_size": 4, "num_hidden_layers": 2}
TOKENS = {"vocab_size": 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
SPEECH = {
    **WIDTH,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 3, 2),
    "conv_stride": (5, 2, 2),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "apply_spec_augment": False,  # it draws with NumPy
}

# A model, what its configuration says, and the shapes of what it is given.
MODELS: dict[str, tuple[dict[str, Any], Shapes]] = {
    "ConvNextForImageClassification": ({"num_stages": 2, **STAGES}, IMAGE),
    "ConvNextV2ForImageClassification": ({"num_stages": 2, **STAGES}, IMAGE),
    "ResNetForImageClassification": ({"embedding_size": 8, **STAGES}, IMAGE),
    "RegNetForImageClassification": ({"embedding_size": 8, "groups_width": 4, **STAGES}, IMAGE),
    "MobileNetV1ForImageClassification": ({"depth_multiplier": 0.125}, LARGER),
    "MobileNetV2ForImageClassification": ({"depth_multiplier": 0.25, "depth_divisible_by": 4}, LARGER),
    "MobileViTForImageClassification": (
        {"hidden_sizes": [16] * 3, "neck_hidden_sizes": [8] * 6 + [16], "num_attention_heads": 2},
        LARGER,
    ),
    "EfficientNetForImageClassification": (
        {"width_coefficient": 0.25, "depth_coefficient": 0.3, "hidden_dim": 320, "depth_divisor": 4},
        LARGER,
    ),
    "SegformerForSemanticSegmentation": ({**FOUR, "num_attention_heads": [2] * 4, "decoder_hidden_size": 8}, LARGER),
    "PoolFormerForImageClassification": (FOUR, LARGER),
    "ViTForImageClassification": (PATCHES, IMAGE),
    "BeitForImageClassification": (PATCHES, IMAGE),
    "VideoMAEModel": ({**PATCHES, "num_frames": 4}, {"pixel_values": (2, 4, 3, 32, 32)}),
    "Swinv2ForImageClassification": (
        {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4},
        IMAGE,
    ),
    "DPTForDepthEstimation": (
        {
            **PATCHES,
            "num_hidden_layers": 4,
            "backbone_out_indices": [0, 1, 2, 3],
            "neck_hidden_sizes": [8, 8, 16, 16],
            "fusion_hidden_size": 8,
        },
        IMAGE,
    ),
    "Wav2Vec2Model": (SPEECH, WAVE),
    "HubertModel": (SPEECH, WAVE),
    "WavLMModel": (SPEECH, WAVE),
    "SEWModel": (SPEECH, WAVE),
    "WhisperModel": (
        {
            "d_model": 16,
            "num_mel_bins": 8,
            "max_source_positions": 20,
            **{f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")},
            **{f"{side}_ffn_dim": 32 for side in ("encoder", "decoder")},
            **TOKENS,
        },
        {"input_features": (2, 8, 40), "decoder_input_ids": (2, 4)},
    ),
    "SpeechT5HifiGan": (
        {"model_in_dim": 8, "upsample_initial_channel": 16, "upsample_rates": [4, 2], "upsample_kernel_sizes": [8, 4]},
        {"spectrogram": (2, 10, 8)},
    ),
    "EncodecModel": (
        {"num_filters": 4, "hidden_size": 8, "codebook_dim": 8, "codebook_size": 8, "upsampling_ratios": [4, 2]},
        {"input_values": (2, 1, 320)},
    ),
    "MambaModel": (STATES, WORDS),
    "Mamba2Model": ({**STATES, "num_heads": 4, "head_dim": 8, "n_groups": 1, "chunk_size": 4}, WORDS),
    "ConvBertModel": ({**WIDTH, "vocab_size": 20, "embedding_size": 16, "conv_kernel_size": 3}, WORDS),
    "SqueezeBertModel": ({**WIDTH, "vocab_size": 20, "embedding_size": 16}, WORDS),
    "BitForImageClassification": ({"num_groups": 4, "embedding_size": 8, **FOUR}, LARGER),
}

# No convolution of ours is called: they take its weights to a function, or its class is their own.
IDLE = {"BitForImageClassification", "MambaModel", "Mamba2Model"}


def make(name: str) -> tuple[Any, dict[str, Tensor]]:
    configuration, shapes = MODELS[name]
    cls = getattr(transformers, name)
    model = cls(cls.config_class(**configuration))
    for module in model.modules():
        if hasattr(module, "_requires_grad"):
            module._requires_grad = False  # they would set `requires_grad` of inputs that have a gradient already
    draw = {name: torch.randint(10, shape) for name, shape in shapes.items() if name.endswith("_ids")}
    return model, {name: torch.randn(shape) for name, shape in shapes.items()} | draw


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, dtype: torch.dtype, row: Callable[[str, str], None]) -> None:
    shown = there_and_back(lambda: make(name), dtype)
    assert (shown.called == 0) == (name in IDLE)
    row(*shown.told(name))


def test_saved_and_loaded(tmp_path: Path, row: Callable[[str, str], None]) -> None:
    name = "ResNetForImageClassification"
    model, inputs = make(name)
    ndconv.convert(model)
    model.save_pretrained(tmp_path)
    loaded = getattr(transformers, name).from_pretrained(tmp_path)
    assert not any(is_ours(module) for module in loaded.modules())
    close([each.detach() for each in call(loaded, inputs)], [each.detach() for each in call(model.eval(), inputs)])
    row("`save_pretrained`, `from_pretrained`", "what a converted model saves is torch's model again when loaded")
