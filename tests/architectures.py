"""Real networks, from their published descriptions in plain `torch.nn`, each with arguments that shrink it.

The defaults are the published sizes; `ARCHITECTURES` holds a small instance of each, as deep as the original and
thinner, in float64. Dropout and stochastic depth are left out, so that two passes over one input agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


def conv_norm(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> Iterator[nn.Module]:
    yield nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    yield nn.BatchNorm2d(out)


class Bottleneck(nn.Module):
    """1x1 to a quarter of the channels, 3x3 with the stride, 1x1 back; a projection where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm(channels, width, 1),
            nn.ReLU(),
            *conv_norm(width, width, 3, stride),
            nn.ReLU(),
            *conv_norm(width, 4 * width, 1),
        )
        same = stride == 1 and channels == 4 * width
        self.shortcut = nn.Sequential(*(() if same else conv_norm(channels, 4 * width, 1, stride)))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class ResNet50(nn.Sequential):
    """He, Zhang, Ren, Sun (2015): bottlenecks with shortcuts; v1.5, the stride in the 3x3 and not the first 1x1."""

    def __init__(self, width: int = 64, depths: Sequence[int] = (3, 4, 6, 3), classes: int = 1000) -> None:
        layers = [*conv_norm(3, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        channels = width
        for stage, depth in enumerate(depths):
            for block in range(depth):
                layers.append(Bottleneck(channels, width << stage, 2 if stage and not block else 1))
                channels = 4 * width << stage
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; a shortcut between equal shapes."""

    def __init__(self, channels: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * channels
        self.body = nn.Sequential(
            *((*conv_norm(channels, hidden, 1), nn.ReLU6()) if expansion > 1 else ()),
            *conv_norm(hidden, hidden, 3, stride, groups=hidden),
            nn.ReLU6(),
            *conv_norm(hidden, out, 1),
        )
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Sequential):
    """Sandler, Howard, Zhu, Zhmoginov, Chen (2018): inverted residuals with depthwise convolutions and ReLU6."""

    # expansion, channels, blocks, stride of the first: Table 2
    STAGES = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self, width: float = 1.0, classes: int = 1000) -> None:
        def scaled(channels: float) -> int:
            """Rounded to a multiple of 8 that is at least 90 % of it."""
            nearest = max(8, int(channels + 4) // 8 * 8)
            return nearest if nearest >= 0.9 * channels else nearest + 8

        channels = scaled(32 * width)
        layers = [*conv_norm(3, channels, 3, 2), nn.ReLU6()]
        for expansion, base, blocks, first in self.STAGES:
            for block in range(blocks):
                layers.append(InvertedResidual(channels, scaled(base * width), 1 if block else first, expansion))
                channels = scaled(base * width)
        last = scaled(1280 * max(1.0, width))  # the paper thins every layer but this one
        layers += [*conv_norm(channels, last, 1), nn.ReLU6()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, classes))


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of (batch, channels, height, width)."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x.permute(0, 2, 3, 1))
        return y.permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """7x7 depthwise, then channels last: LayerNorm, two linear layers around a GELU, a scale per channel."""

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.pointwise = nn.Sequential(
            nn.LayerNorm(channels, eps=1e-6),
            nn.Linear(channels, 4 * channels),
            nn.GELU(),
            nn.Linear(4 * channels, channels),
        )
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.scale * self.pointwise(self.depthwise(x).permute(0, 2, 3, 1))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Sequential):
    """Liu, Mao, Wu, Feichtenhofer, Darrell, Xie (2022), size T: 4x4/4 patches, 2x2/2 downsampling, channels last."""

    def __init__(
        self, width: int = 96, depths: Sequence[int] = (3, 3, 9, 3), classes: int = 1000, scale: float = 1e-6
    ) -> None:
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 4), LayerNorm2d(width, eps=1e-6)]
        for stage, depth in enumerate(depths):
            if stage:
                layers += [LayerNorm2d(width, eps=1e-6), nn.Conv2d(width, 2 * width, 2, 2)]
                width *= 2
            layers += [ConvNeXtBlock(width, scale) for _ in range(depth)]
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(width, eps=1e-6), nn.Linear(width, classes)
        super().__init__(*layers, *head)


class UNet3d(nn.Module):
    """Çiçek, Abdulkadir, Lienkamp, Brox, Ronneberger (2016): 3x3x3 pairs down and up, 2x2x2 up-convolutions, skips.

    As in the paper, nothing is padded and the skips are cropped; `padding=1` keeps the size.
    """

    def __init__(self, width: int = 32, levels: int = 4, channels: int = 3, classes: int = 3, padding: int = 0) -> None:
        super().__init__()

        def pair(channels: int, middle: int, out: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for before, after in pairwise((channels, middle, out)):
                layers += [nn.Conv3d(before, after, 3, padding=padding), nn.BatchNorm3d(after), nn.ReLU()]
            return nn.Sequential(*layers)

        widths = [2 * width << level for level in range(levels)]
        self.down = nn.ModuleList(pair(before, out // 2, out) for before, out in pairwise([channels, *widths]))
        upward = list(pairwise(reversed(widths)))
        self.enlarge = nn.ModuleList(nn.ConvTranspose3d(deep, deep, 2, 2, bias=False) for deep, _ in upward)
        self.up = nn.ModuleList(pair(deep + skip, skip, skip) for deep, skip in upward)
        self.head = nn.Conv3d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for pair in self.down:
            x = pair(F.max_pool3d(x, 2) if skips else x)
            skips.append(x)
        skips.pop()
        for enlarge, pair in zip(self.enlarge, self.up, strict=True):
            x, skip = enlarge(x), skips.pop()
            crop = [side for n, m in zip(skip.shape[:1:-1], x.shape[:1:-1], strict=True) for side in [(m - n) // 2] * 2]
            x = pair(torch.cat([F.pad(skip, crop), x], dim=1))
        y: Tensor = self.head(x)
        return y


class GatedBlock(nn.Module):
    """A causal dilated convolution, tanh times sigmoid, and the 1x1 that feeds the residual and the skip."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.dilated = nn.Conv1d(channels, 2 * channels, kernel, dilation=dilation)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        signal, gate = self.dilated(F.pad(x, (self.past, 0))).chunk(2, dim=1)
        y: Tensor = self.mix(signal.tanh() * gate.sigmoid())
        return y


class WaveNet(nn.Module):
    """Van den Oord, Dieleman, Zen and others (2016): causal convolutions with dilations 1, 2, ..., 512, thrice."""

    def __init__(
        self, channels: int = 32, classes: int = 256, doublings: int = 10, cycles: int = 3, kernel: int = 2
    ) -> None:
        super().__init__()
        self.past = kernel - 1
        self.stem = nn.Conv1d(classes, channels, kernel)
        dilations = [1 << i for i in range(doublings)] * cycles
        self.blocks = nn.ModuleList(GatedBlock(channels, kernel, dilation) for dilation in dilations)
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(channels, classes, 1), nn.ReLU(), nn.Conv1d(classes, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(F.pad(x, (self.past, 0)))
        total = torch.zeros_like(x)
        for block in self.blocks:
            skip = block(x)
            x, total = x + skip, total + skip
        y: Tensor = self.head(total)
        return y


class Chomp(nn.Module):
    """Drops the end, the part of a padded convolution that saw the future."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return x[..., : -self.size]


class TemporalBlock(nn.Module):
    """Two weight-normalized causal convolutions of one dilation, and a shortcut, 1x1 where the channels change."""

    def __init__(self, channels: int, out: int, kernel: int, dilation: int) -> None:
        super().__init__()
        past = (kernel - 1) * dilation
        layers: list[nn.Module] = []
        for before in (channels, out):
            conv = nn.Conv1d(before, out, kernel, padding=past, dilation=dilation)
            layers += [weight_norm(conv), Chomp(past), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.shortcut = nn.Identity() if channels == out else nn.Conv1d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class TCN(nn.Module):
    """Bai, Kolter, Koltun (2018): residual blocks of weight-normalized convolutions, the dilation doubling each time.

    The defaults are those for sequential MNIST, which is classified from the last step.
    """

    def __init__(self, width: int = 25, levels: int = 8, kernel: int = 7, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(TemporalBlock(width if level else channels, width, kernel, 1 << level) for level in range(levels))
        )
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.body(x)[..., -1])
        return y


class DCGANGenerator(nn.Sequential):
    """Radford, Metz, Chintala (2015): transposed convolutions alone, from noise of 1x1 to an image of 64x64."""

    def __init__(self, width: int = 128, noise: int = 100, channels: int = 3) -> None:
        layers: list[nn.Module] = []
        for before, after in pairwise((noise, 8 * width, 4 * width, 2 * width, width)):
            stride, padding = (2, 1) if layers else (1, 0)
            layers += [nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False), nn.BatchNorm2d(after)]
            layers += [nn.ReLU()]
        super().__init__(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh())


class VisionTransformer(nn.Module):
    """Dosovitskiy, Beyer, Kolesnikov and others (2020), B/16: patches embedded by a convolution, kernel == stride."""

    def __init__(
        self, width: int = 768, depth: int = 12, heads: int = 12, patch: int = 16, image: int = 224, classes: int = 1000
    ) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(0.02 * torch.randn(1, 1 + (image // patch) ** 2, width))
        self.encoder = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
                )
                for _ in range(depth)
            )
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, x: Tensor) -> Tensor:
        patches = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), patches], dim=1) + self.position
        y: Tensor = self.head(self.encoder(x)[:, 0])
        return y


def small(model: nn.Module, *shape: int) -> tuple[nn.Module, Tensor]:
    return model.double(), torch.randn(shape, dtype=torch.float64)


# Sizes at which every batch norm sees more than one position, and every dilation of WaveNet and TCN some input.
ARCHITECTURES: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "ResNet50": lambda: small(ResNet50(width=8, classes=5), 2, 3, 40, 40),
    "MobileNetV2": lambda: small(MobileNetV2(width=0.35, classes=5), 2, 3, 40, 40),
    "ConvNeXt": lambda: small(ConvNeXt(width=8, classes=5, scale=1.0), 2, 3, 64, 64),
    "UNet3d": lambda: small(UNet3d(width=4, channels=1, padding=1), 2, 1, 16, 16, 16),
    "WaveNet": lambda: small(WaveNet(channels=8, classes=16), 2, 16, 600),
    "TCN": lambda: small(TCN(width=8), 2, 1, 200),
    "DCGANGenerator": lambda: small(DCGANGenerator(width=8, noise=10), 2, 10, 1, 1),
    "VisionTransformer": lambda: small(
        VisionTransformer(width=16, heads=4, patch=4, image=16, classes=5), 2, 3, 16, 16
    ),
}
