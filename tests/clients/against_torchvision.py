"""Networks of torchvision, thin ones, and a video network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import randn
from torchvision import models
from torchvision.models import segmentation, video

from tests.clients.checks import Made, there_and_back

pytestmark = pytest.mark.client("torchvision")


def thin(pixels: int = 64) -> list[torch.Tensor]:
    return [randn(2, 3, pixels, pixels)]


MODELS: dict[str, Made] = {
    "ResNet": lambda: (models.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1], 4, width_per_group=4, groups=2), thin()),
    "DenseNet": lambda: (models.DenseNet(4, (1, 2), 8, num_classes=4), thin(32)),
    "MobileNetV2": lambda: (models.MobileNetV2(4, width_mult=0.1), thin()),
    "MobileNetV3": lambda: (models.mobilenet_v3_small(num_classes=4, width_mult=0.1), thin(96)),
    "MNASNet": lambda: (models.MNASNet(0.1, 4), thin()),
    "ShuffleNetV2": lambda: (models.ShuffleNetV2([1, 1, 1], [4, 8, 8, 8, 16], 4), thin()),
    "SqueezeNet": lambda: (models.SqueezeNet("1_1", 4), thin()),
    "EfficientNet": lambda: (models.efficientnet_b0(num_classes=4), thin()),
    "VisionTransformer": lambda: (models.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=4), thin(32)),
    "SwinTransformer": lambda: (
        models.SwinTransformer([2, 2], 8, [1, 1], [1, 2], [4, 4], stochastic_depth_prob=0.0, num_classes=4),
        thin(32),
    ),
    "DeepLabHead": lambda: (segmentation.deeplabv3.DeepLabHead(4, 3, (2, 4, 6)), [randn(2, 4, 16, 16)]),
    "VideoResNet": lambda: (
        video.resnet.VideoResNet(
            video.resnet.BasicBlock, [video.resnet.Conv3DSimple] * 4, [1, 1, 1, 1], video.resnet.BasicStem, 4
        ),
        [randn(1, 3, 4, 32, 32)],
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, dtype: torch.dtype, row: Callable[[str, str], None]) -> None:
    row(*there_and_back(MODELS[name], dtype).told(name))
