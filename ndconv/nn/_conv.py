"""Convolution modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.fx
from torch import Tensor

from ndconv._explain import ConvPlan
from ndconv._explain import plan as _plan
from ndconv._fixed import constructor_over
from ndconv._rules import IntOrInts, Padding
from ndconv.functional._conv import convolve
from ndconv.nn._layer import Layer

# torch.fx does not look inside, as it does not look inside torch's own modules.
torch.fx.wrap("convolve")


class ConvNd(Layer):
    """Convolution over any number of axes, with learnable weight and bias.

    Applies `ndconv.functional.convnd`. Arguments, parameter shapes and initial values are those of
    `torch.nn.Conv2d`; the shared arguments are those of `ndconv.functional`.

    Args:
        ndim: N, number of spatial axes.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: One positive integer or N.
        stride: One positive integer or N.
        padding: An integer, N integers, N ``(lo, hi)`` pairs, or ``"valid"``, ``"same"``, ``"causal"``.
        dilation: One positive integer or N.
        groups: Divides both channel counts.
        bias: Whether to add a learnable bias.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        lowering: How to compute it; None takes the current lowering at every call.

    Attributes:
        weight (Tensor): ``(out_channels, in_channels / groups, *kernel_size)``.
        bias (Tensor): ``(out_channels,)`` or None.

    Raises:
        ValueError: If an argument breaks a rule.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch, ndconv
        >>> layer = ndconv.ConvNd(4, 3, 8, kernel_size=3, padding="same")
        >>> layer(torch.rand(2, 3, 5, 5, 6, 6)).shape
        torch.Size([2, 8, 5, 5, 6, 6])
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts,
        stride: IntOrInts = 1,
        padding: Padding = 0,
        dilation: IntOrInts = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        lowering: str | None = None,
    ) -> None:
        self._construct(
            False, ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias,
            padding_mode, device, dtype, lowering,
        )  # fmt: skip

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return convolve(
            type(self).__name__, len(self.kernel_size), input, weight, bias, self.stride, self.padding, self.dilation,
            self.groups, padding_mode=self.padding_mode, lowering=self.lowering,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        """Convolve ``(batch, in_channels, *I)`` to ``(batch, out_channels, *O)``, or unbatched to unbatched."""
        return self._conv_forward(input, self.weight, self.bias)

    def plan(self, input: Tensor | Sequence[int]) -> ConvPlan:
        """Plan what this layer will run on an input, or on an input of this shape: see `ndconv.plan`."""
        arguments: Any = self.stride, self.padding, self.dilation, self.groups
        return _plan(input, self.weight, *arguments, padding_mode=self.padding_mode, lowering=self.lowering)


class Conv1d(ConvNd, torch.nn.Conv1d):
    """As `ConvNd` with N = 1; drop-in for `torch.nn.Conv1d`.

    Example:
        >>> import torch, ndconv
        >>> ndconv.Conv1d(3, 8, 3, stride=2)(torch.rand(2, 3, 9)).shape
        torch.Size([2, 8, 4])
    """

    @constructor_over(1, ConvNd.__init__)
    def __init__(self) -> None: ...


class Conv2d(ConvNd, torch.nn.Conv2d):
    """As `ConvNd` with N = 2; drop-in for `torch.nn.Conv2d`.

    Example:
        >>> import torch, ndconv
        >>> ndconv.Conv2d(3, 8, 3, stride=2)(torch.rand(2, 3, 9, 9)).shape
        torch.Size([2, 8, 4, 4])
    """

    @constructor_over(2, ConvNd.__init__)
    def __init__(self) -> None: ...


class Conv3d(ConvNd, torch.nn.Conv3d):
    """As `ConvNd` with N = 3; drop-in for `torch.nn.Conv3d`.

    Example:
        >>> import torch, ndconv
        >>> ndconv.Conv3d(3, 8, 3, stride=2)(torch.rand(2, 3, 9, 9, 9)).shape
        torch.Size([2, 8, 4, 4, 4])
    """

    @constructor_over(3, ConvNd.__init__)
    def __init__(self) -> None: ...
