"""Layers of real networks, with batches for which a statistic takes milliseconds to hundreds of them on two cores."""

from __future__ import annotations

from collections.abc import Collection

from benchmarks.workloads import Workload

_T = True  # transposed

# fmt: off
LAYERS = (
    #        name               input                 weight                stride, padding, dilation, groups
    Workload("vgg 3x3 @56",     (4, 128, 56, 56),     (256, 128, 3, 3),     1, 1, 1, 1,    "VGG-16, conv3_1"),
    Workload("vgg 3x3 @14",     (8, 512, 14, 14),     (512, 512, 3, 3),     1, 1, 1, 1,    "VGG-16, conv5"),
    Workload("resnet 3x3 @28",  (16, 128, 28, 28),    (128, 128, 3, 3),     1, 1, 1, 1,    "ResNet-50, conv3_x"),
    Workload("resnet 3x3 @7",   (16, 512, 7, 7),      (512, 512, 3, 3),     1, 1, 1, 1,    "ResNet-50, conv5_x"),
    Workload("resnet 3x3 /2",   (8, 128, 56, 56),     (128, 128, 3, 3),     2, 1, 1, 1,    "ResNet-50, conv3_1"),
    Workload("resnet 1x1",      (16, 512, 28, 28),    (128, 512, 1, 1),     1, 0, 1, 1,    "ResNet-50, conv3_x"),
    Workload("resnet stem",     (8, 3, 224, 224),     (64, 3, 7, 7),        2, 3, 1, 1,    "ResNet-50, conv1"),
    Workload("resnext 3x3",     (16, 128, 56, 56),    (128, 4, 3, 3),       1, 1, 1, 32,   "ResNeXt-50 32x4d, conv2_x"),
    Workload("convnext dw @14", (32, 384, 14, 14),    (384, 1, 7, 7),       1, 3, 1, 384,  "ConvNeXt-T, stage 3"),
    Workload("mobilenet dw",    (16, 144, 56, 56),    (144, 1, 3, 3),       1, 1, 1, 144,  "MobileNetV2, block 2"),
    Workload("vit patches",     (16, 3, 224, 224),    (768, 3, 16, 16),     16, 0, 1, 1,   "ViT-B/16, embedding"),
    Workload("unet3d 3x3x3",    (2, 32, 32, 32, 32),  (64, 32, 3, 3, 3),    1, 1, 1, 1,    "3-D U-Net, a crop"),
    Workload("wavenet d64",     (8, 64, 8000),        (128, 64, 2),         1, 0, 64, 1,   "WaveNet, gated layer"),
    Workload("dcgan up @16",    (32, 128, 16, 16),    (128, 64, 4, 4),      2, 1, 1, 1,    "DCGAN, 16x16 to 32x32", _T),
)
# fmt: on


def containing(names: Collection[str]) -> list[Workload]:
    """Layers whose name contains one of these; all of them, if there are none."""
    return [one for one in LAYERS if not names or any(name in one.name for name in names)]
