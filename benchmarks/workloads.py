"""Convolutions of real networks, one a line, with batches small enough for two cores."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch

import ndconv

Ints = tuple[int, ...]

TINY = 400
"""Workloads with fewer products in a forward are pure overhead."""
SMALL_GROUP = 16
"""Up to so many input channels of a group, matrix products are too thin to pay."""


@dataclass(frozen=True)
class Workload:
    """One convolution.

    Args:
        name: Short and unique.
        input: ``(batch, in_channels, *I)``.
        weight: ``(out_channels, in_channels / groups, *K)``, or torch's layout for a transposed convolution.
        stride: For all axes, or for each.
        padding: Likewise, on both sides.
        dilation: Likewise.
        groups: Number of groups.
        source: Where the sizes are from.
        transposed: Whether it is a transposed convolution.
    """

    name: str
    input: Ints
    weight: Ints
    stride: int | Ints
    padding: int | Ints
    dilation: int | Ints
    groups: int
    source: str
    transposed: bool = False

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.weight) - 2

    @property
    def kernel(self) -> Ints:
        """Size of the kernel."""
        return self.weight[2:]

    @property
    def window(self) -> tuple[Ints, Ints, Ints]:
        """Stride, padding and dilation by axis."""
        stride, padding, dilation = (
            (given,) * self.ndim if isinstance(given, int) else given
            for given in (self.stride, self.padding, self.dilation)
        )
        return stride, padding, dilation

    @property
    def output(self) -> Ints:
        """``(batch, out_channels, *O)``."""
        return self.plan().output_shape

    @property
    def kind(self) -> str:
        """The first of `KINDS` that holds for its sizes."""
        return next(kind for kind, holds in KINDS.items() if holds(self))

    @property
    def multiply_adds(self) -> int:
        """Products that the forward sums, and each gradient too."""
        return self.input[0] * self.windows * math.prod(self.weight)

    @property
    def windows(self) -> int:
        """Positions of the kernel in a sample."""
        return math.prod((self.input if self.transposed else self.output)[2:])

    @property
    def elements(self) -> int:
        """Elements of input, weight and output together."""
        return sum(map(math.prod, (self.input, self.weight, self.output)))

    @property
    def columns(self) -> int:
        """Elements of all windows side by side, as im2col lays them out."""
        image = self.output if self.transposed else self.input
        return image[0] * image[1] * math.prod(self.kernel) * self.windows

    def plan(self, lowering: str = "auto", dtype: str = "float32") -> ndconv.ConvPlan:
        """The plan of ndconv."""
        return ndconv.plan(
            self.input,
            self.weight,
            *self.window,
            self.groups,
            transposed=self.transposed,
            lowering=lowering,
            dtype=getattr(torch, dtype),
        )


def _no_overlap(workload: Workload) -> bool:
    """Whether no element of the input is in two windows."""
    axes = zip(workload.kernel, *workload.window, workload.output[2:], strict=True)
    return all(stride > dilation * (k - 1) or size == 1 for k, stride, _, dilation, size in axes)


def _sparse(workload: Workload) -> bool:
    stride, _, dilation = workload.window
    return max(*stride, *dilation) > 1


KINDS: dict[str, Callable[[Workload], bool]] = {
    "overhead alone": lambda w: w.multiply_adds < TINY,
    "four and more axes": lambda w: w.ndim > 3,
    "transposed": lambda w: w.transposed,
    "depthwise, small groups": lambda w: w.groups > 1 and w.weight[1] <= SMALL_GROUP,
    "windows apart": _no_overlap,
    "1-D strided or dilated": lambda w: w.ndim == 1 and _sparse(w),
    "1-D dense": lambda w: w.ndim == 1,
    "2-D, 3-D strided": lambda w: max(w.window[0]) > 1,
    "2-D, 3-D dense": lambda w: True,
}

_T = True  # transposed

# fmt: off
WORKLOADS = (
    #        name                input                    weight                  stride, padding, dilation, groups
    Workload("tiny",                 (1, 1, 8, 8),            (1, 1, 3, 3),           1, 0, 1, 1,        "as small as it gets; no network"),
    Workload("lenet 1",          (32, 1, 32, 32),         (6, 1, 5, 5),           1, 0, 1, 1,        "LeNet-5, C1"),
    Workload("lenet 2",          (32, 6, 14, 14),         (16, 6, 5, 5),          1, 0, 1, 1,        "LeNet-5, C3"),
    Workload("lenet 3",          (32, 16, 5, 5),          (120, 16, 5, 5),        1, 0, 1, 1,        "LeNet-5, C5"),
    Workload("digits 2",         (32, 32, 6, 6),          (64, 32, 3, 3),         1, 0, 1, 1,        "LeNet of this repository's demo"),
    Workload("resnet stem",      (2, 3, 224, 224),        (64, 3, 7, 7),          2, 3, 1, 1,        "ResNet-50, conv1"),
    Workload("resnet 3x3 @56",   (4, 64, 56, 56),         (64, 64, 3, 3),         1, 1, 1, 1,        "ResNet-50, conv2_x"),
    Workload("resnet 3x3 @28",   (8, 128, 28, 28),        (128, 128, 3, 3),       1, 1, 1, 1,        "ResNet-50, conv3_x"),
    Workload("resnet 3x3 @7",    (8, 512, 7, 7),          (512, 512, 3, 3),       1, 1, 1, 1,        "ResNet-50, conv5_x"),
    Workload("resnet 3x3 /2",    (4, 128, 56, 56),        (128, 128, 3, 3),       2, 1, 1, 1,        "ResNet-50, conv3_1"),
    Workload("resnet 1x1",       (8, 512, 28, 28),        (128, 512, 1, 1),       1, 0, 1, 1,        "ResNet-50, conv3_x"),
    Workload("resnet 1x1 /2",    (4, 256, 56, 56),        (512, 256, 1, 1),       2, 0, 1, 1,        "ResNet-50, shortcut of conv3_1"),
    Workload("resnext 3x3",      (4, 128, 56, 56),        (128, 4, 3, 3),         1, 1, 1, 32,       "ResNeXt-50 32x4d, conv2_x"),
    Workload("deeplab dilated",  (1, 512, 28, 28),        (512, 512, 3, 3),       1, 2, 2, 1,        "DeepLabV3 on ResNet-50, layer 4"),
    Workload("mobilenet dw",     (8, 144, 56, 56),        (144, 1, 3, 3),         1, 1, 1, 144,      "MobileNetV2, second block"),
    Workload("mobilenet dw /2",  (2, 96, 112, 112),       (96, 1, 3, 3),          2, 1, 1, 96,       "MobileNetV2, first block with a stride"),
    Workload("mobilenet 1x1",    (8, 24, 56, 56),         (144, 24, 1, 1),        1, 0, 1, 1,        "MobileNetV2, expansion"),
    Workload("convnext stem",    (8, 3, 224, 224),        (96, 3, 4, 4),          4, 0, 1, 1,        "ConvNeXt-T, stem"),
    Workload("convnext down",    (8, 96, 56, 56),         (192, 96, 2, 2),        2, 0, 1, 1,        "ConvNeXt-T, downsampling"),
    Workload("convnext dw @56",  (2, 96, 56, 56),         (96, 1, 7, 7),          1, 3, 1, 96,       "ConvNeXt-T, stage 1"),
    Workload("convnext dw @14",  (8, 384, 14, 14),        (384, 1, 7, 7),         1, 3, 1, 384,      "ConvNeXt-T, stage 3"),
    Workload("replknet dw",      (1, 128, 28, 28),        (128, 1, 31, 31),       1, 15, 1, 128,     "RepLKNet-31B, stage 1 of half the image"),
    Workload("vit patches",      (8, 3, 224, 224),        (768, 3, 16, 16),       16, 0, 1, 1,       "ViT-B/16, embedding"),
    Workload("unet3d 3x3x3",     (1, 32, 32, 32, 32),     (64, 32, 3, 3, 3),      1, 1, 1, 1,        "3-D U-Net, first level, a crop"),
    Workload("unet3d up",        (1, 128, 16, 16, 16),    (128, 128, 2, 2, 2),    2, 0, 1, 1,        "3-D U-Net, up-convolution, a crop", _T),
    Workload("i3d stem",         (1, 3, 16, 112, 112),    (64, 3, 7, 7, 7),       2, 3, 1, 1,        "I3D, first layer, 16 small frames"),
    Workload("x3d dw",           (1, 54, 8, 56, 56),      (54, 1, 3, 3, 3),       1, 1, 1, 54,       "X3D-M, res2, channelwise, half the frames"),
    Workload("wavenet d64",      (2, 64, 8000),           (128, 64, 2),           1, 0, 64, 1,       "WaveNet, gated layer"),
    Workload("wavenet d512",     (2, 64, 8000),           (128, 64, 2),           1, 0, 512, 1,      "WaveNet, gated layer"),
    Workload("wav2vec 1",        (4, 1, 16000),           (512, 1, 10),           5, 0, 1, 1,        "wav2vec 2.0, layer 1, one second"),
    Workload("wav2vec 2",        (1, 512, 3199),          (512, 512, 3),          2, 0, 1, 1,        "wav2vec 2.0, layer 2, one second"),
    Workload("wav2vec position", (2, 768, 49),            (768, 48, 128),         1, 64, 1, 16,      "wav2vec 2.0, positions, one second"),
    Workload("tasnet encoder",   (2, 1, 32000),           (512, 1, 16),           8, 0, 1, 1,        "Conv-TasNet, encoder"),
    Workload("tasnet dw",        (2, 512, 3999),          (512, 1, 3),            1, 8, 8, 512,      "Conv-TasNet, fourth block"),
    Workload("melgan first",     (8, 80, 86),             (512, 80, 7),           1, 3, 1, 1,        "MelGAN, generator, first layer"),
    Workload("melgan up",        (4, 512, 86),            (512, 256, 16),         8, 4, 1, 1,        "MelGAN, generator, x8", _T),
    Workload("melgan dilated",   (4, 256, 688),           (256, 256, 3),          1, 9, 9, 1,        "MelGAN, generator, residual stack"),
    Workload("melgan k41 /4",    (4, 16, 8192),           (64, 4, 41),            4, 20, 1, 4,       "MelGAN, discriminator, second layer"),
    Workload("sincnet",          (4, 1, 3200),            (80, 1, 251),           1, 0, 1, 1,        "SincNet, first layer, 200 ms"),
    Workload("stft k1024",       (2, 1, 32000),           (1026, 1, 1024),        256, 0, 1, 1,      "STFT of 1024 points as a convolution"),
    Workload("long k1024",       (1, 8, 2048),            (8, 8, 1024),           1, 0, 1, 1,        "a kernel half as long as its signal; no network"),
    Workload("eegnet time",      (16, 1, 22, 256),        (8, 1, 1, 64),          1, (0, 32), 1, 1,  "EEGNet-8,2, temporal filters"),
    Workload("eegnet space",     (16, 8, 22, 256),        (16, 1, 22, 1),         1, 0, 1, 8,        "EEGNet-8,2, spatial filters"),
    Workload("eegnet separable", (16, 16, 1, 64),         (16, 1, 1, 16),         1, (0, 8), 1, 16,  "EEGNet-8,2, separable, depthwise part"),
    Workload("dcgan first",      (32, 100, 1, 1),         (100, 512, 4, 4),       1, 0, 1, 1,        "DCGAN, generator, first layer", _T),
    Workload("dcgan up @4",      (32, 512, 4, 4),         (512, 256, 4, 4),       2, 1, 1, 1,        "DCGAN, generator, 4x4 to 8x8", _T),
    Workload("dcgan up @16",     (16, 128, 16, 16),       (128, 64, 4, 4),        2, 1, 1, 1,        "DCGAN, generator, 16x16 to 32x32", _T),
    Workload("light field",      (1, 8, 5, 5, 24, 24),    (16, 8, 3, 3, 3, 3),    1, 1, 1, 1,        "4-D light field of 5x5 views; sizes chosen here"),
    Workload("fmri",             (1, 2, 16, 16, 16, 8),   (8, 2, 3, 3, 3, 3),     (2, 2, 2, 1), 1, 1, 1, "4-D fMRI, space halved; sizes chosen here"),
    Workload("five axes",        (2, 4, 6, 6, 6, 6, 6),   (8, 4, 3, 3, 3, 3, 3),  1, 1, 1, 1,        "5-D; no network"),
)
# fmt: on


def containing(names: Collection[str]) -> list[Workload]:
    """Workloads whose name contains one of these; all of them, if there are none."""
    return [one for one in WORKLOADS if not names or any(name in one.name for name in names)]
