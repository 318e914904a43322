"""The network of the demo: the seed article's LeNet, scaled from 28x28 to 8x8 images."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def lenet(convolution: type[nn.Conv2d] = nn.Conv2d, classes: int = 10) -> nn.Sequential:
    """A LeNet for ``(n, 1, 8, 8)`` images whose two convolutions are made by ``convolution``."""
    return nn.Sequential(
        OrderedDict(
            conv1=convolution(1, 32, 3),  # 8x8 -> 6x6
            relu1=nn.ReLU(),
            conv2=convolution(32, 64, 3),  # 6x6 -> 4x4
            norm=nn.BatchNorm2d(64),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),  # 4x4 -> 2x2
            flatten=nn.Flatten(),
            linear1=nn.Linear(64 * 2 * 2, 128),
            relu3=nn.ReLU(),
            linear2=nn.Linear(128, classes),
        )
    )
