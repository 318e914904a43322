"""Convolutions of real networks, one a line, with batches small enough for two cores."""

from __future__ import annotations

from dataclasses import dataclass

Ints = tuple[int, ...]


@dataclass(frozen=True)
class Workload:
    """One convolution.

    Args:
        name: Short and unique.
        input: ``(batch, in_channels, *I)``.
        weight: ``(out_channels, in_channels / groups, *K)``.
        stride: For all axes.
        padding: For all axes, both sides.
        dilation: For all axes.
        groups: Number of groups.
        source: The network it is from.
    """

    name: str
    input: Ints
    weight: Ints
    stride: int
    padding: int
    dilation: int
    groups: int
    source: str

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.weight) - 2

    @property
    def geometry(self) -> tuple[int, int, int, int]:
        """Stride, padding, dilation and groups, in the order of torch's arguments."""
        return self.stride, self.padding, self.dilation, self.groups


# fmt: off
WORKLOADS = (
    #        name               input                 weight               stride, padding, dilation, groups
    Workload("lenet conv1",     (64, 1, 8, 8),        (32, 1, 3, 3),       1,   0, 1,  1,   "LeNet on 8x8 digits"),
    Workload("lenet conv2",     (64, 32, 6, 6),       (64, 32, 3, 3),      1,   0, 1,  1,   "LeNet on 8x8 digits"),
    Workload("resnet50 stem",   (2, 3, 224, 224),     (64, 3, 7, 7),       2,   3, 1,  1,   "ResNet-50, conv1"),
    Workload("resnet50 3x3",    (8, 128, 28, 28),     (128, 128, 3, 3),    1,   1, 1,  1,   "ResNet-50, conv3_x"),
    Workload("resnet50 3x3 /2", (8, 128, 56, 56),     (128, 128, 3, 3),    2,   1, 1,  1,   "ResNet-50, conv3_1"),
    Workload("resnet50 1x1",    (8, 512, 28, 28),     (128, 512, 1, 1),    1,   0, 1,  1,   "ResNet-50, conv3_x"),
    Workload("mobilenetv2 dw",  (8, 144, 56, 56),     (144, 1, 3, 3),      1,   1, 1,  144, "MobileNetV2, 56x56"),
    Workload("vit patches",     (4, 3, 224, 224),     (768, 3, 16, 16),    16,  0, 1,  1,   "ViT-B/16, embedding"),
    Workload("unet 3-d",        (1, 32, 32, 32, 32),  (64, 32, 3, 3, 3),   1,   1, 1,  1,   "3-D U-Net, first level"),
    Workload("wavenet dilated", (2, 64, 8000),        (128, 64, 2),        1,   0, 64, 1,   "WaveNet, gated layer"),
    Workload("wav2vec first",   (2, 1, 16000),        (512, 1, 10),        5,   0, 1,  1,   "wav2vec 2.0, layer 1"),
    Workload("speech frames",   (4, 1, 64000),        (256, 1, 400),       160, 0, 1,  1,   "25 ms each, 16 kHz"),
    Workload("light field",     (1, 8, 5, 5, 24, 24), (16, 8, 3, 3, 3, 3), 1,   1, 1,  1,   "4-D, 5x5 views"),
)
# fmt: on
