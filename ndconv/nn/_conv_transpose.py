"""Transposed convolution modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.fx
from torch import Tensor
from torch.nn.modules.conv import _ConvTransposeNd

from ndconv._explain import ConvPlan
from ndconv._explain import plan as _plan
from ndconv._fixed import constructor_over
from ndconv._rules import IntOrInts, Padding
from ndconv.functional._conv_transpose import convolve_transposed
from ndconv.nn._layer import Layer

# torch.fx does not look inside, as it does not look inside torch's own modules.
torch.fx.wrap("convolve_transposed")


class ConvTransposeNd(Layer, _ConvTransposeNd):
    """Transposed convolution over any number of axes, with learnable weight and bias.

    Applies `ndconv.functional.conv_transposend`. Arguments, parameter shapes and initial values are those of
    `torch.nn.ConvTranspose2d`; the shared arguments are those of `ndconv.functional`.

    Args:
        ndim: N, number of spatial axes.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: One positive integer or N.
        stride: One positive integer or N.
        padding: An integer, N integers, N ``(lo, hi)`` pairs, or ``"valid"``, ``"same"``, ``"causal"``.
        output_padding: One integer or N, less than stride or dilation.
        groups: Divides both channel counts.
        bias: Whether to add a learnable bias.
        dilation: One positive integer or N.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``; torch has the first only.
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        lowering: How to compute it; None takes the current lowering at every call.

    Attributes:
        weight (Tensor): ``(in_channels, out_channels / groups, *kernel_size)``.
        bias (Tensor): ``(out_channels,)`` or None.

    Raises:
        ValueError: If an argument breaks a rule.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch, ndconv
        >>> layer = ndconv.ConvTransposeNd(4, 3, 8, kernel_size=2, stride=2)
        >>> layer(torch.rand(2, 3, 3, 3, 4, 4)).shape
        torch.Size([2, 8, 6, 6, 8, 8])
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts,
        stride: IntOrInts = 1,
        padding: Padding = 0,
        output_padding: IntOrInts = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: IntOrInts = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        lowering: str | None = None,
    ) -> None:
        self._construct(
            True, ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias,
            padding_mode, device, dtype, lowering,
        )  # fmt: skip

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Convolve ``(batch, in_channels, *O)`` to ``(batch, out_channels, *I)``, or unbatched to unbatched.

        Args:
            input: The input.
            output_size: Size of the output, with or without batch and channels; takes the place of ``output_padding``.

        Raises:
            ValueError: If no output padding less than the stride gives this size.
        """
        extra = self.output_padding if output_size is None else 0
        return convolve_transposed(
            type(self).__name__, len(self.kernel_size), output_size, input, self.weight, self.bias, self.stride,
            self.padding, extra, self.groups, self.dilation, padding_mode=self.padding_mode, lowering=self.lowering,
        )  # fmt: skip

    def plan(self, input: Tensor | Sequence[int]) -> ConvPlan:
        """Plan what this layer will run on an input, or on an input of this shape: see `ndconv.plan`."""
        arguments: Any = self.stride, self.padding, self.dilation, self.groups
        further: Any = {"output_padding": self.output_padding, "padding_mode": self.padding_mode}
        return _plan(input, self.weight, *arguments, transposed=True, lowering=self.lowering, **further)


class ConvTranspose1d(ConvTransposeNd, torch.nn.ConvTranspose1d):
    """As `ConvTransposeNd` with N = 1; drop-in for `torch.nn.ConvTranspose1d`.

    Example:
        >>> import torch, ndconv
        >>> ndconv.ConvTranspose1d(3, 8, 3, stride=2)(torch.rand(2, 3, 9)).shape
        torch.Size([2, 8, 19])
    """

    @constructor_over(1, ConvTransposeNd.__init__)
    def __init__(self) -> None: ...


class ConvTranspose2d(ConvTransposeNd, torch.nn.ConvTranspose2d):
    """As `ConvTransposeNd` with N = 2; drop-in for `torch.nn.ConvTranspose2d`.

    Example:
        >>> import torch, ndconv
        >>> ndconv.ConvTranspose2d(3, 8, 3, stride=2)(torch.rand(2, 3, 9, 9)).shape
        torch.Size([2, 8, 19, 19])
    """

    @constructor_over(2, ConvTransposeNd.__init__)
    def __init__(self) -> None: ...


class ConvTranspose3d(ConvTransposeNd, torch.nn.ConvTranspose3d):
    """As `ConvTransposeNd` with N = 3; drop-in for `torch.nn.ConvTranspose3d`.

    Example:
        >>> import torch, ndconv
        >>> ndconv.ConvTranspose3d(3, 8, 3, stride=2)(torch.rand(2, 3, 9, 9, 9)).shape
        torch.Size([2, 8, 19, 19, 19])
    """

    @constructor_over(3, ConvTransposeNd.__init__)
    def __init__(self) -> None: ...
