"""Convolution modules that take the place of torch's: same arguments, parameters, state dict and initial draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvNd as _TorchConvNd

from ndconv import _rules
from ndconv._explain import ConvPlan
from ndconv._explain import plan as _plan
from ndconv._plan import resolve
from ndconv._rules import IntOrInts, Padding
from ndconv.functional import _convolve

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvNd"]


class ConvNd(_TorchConvNd):
    """Convolution over any number of axes, with learnable weight and bias.

    Applies `ndconv.functional.convnd`. Arguments, parameters and their shapes and initial draws are those of
    `torch.nn.Conv2d`, and the shared arguments those of `ndconv.functional`.

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
        padding_mode: ``"zeros"``.
        device: Where the parameters are made.
        dtype: Of the parameters.
        lowering: How to compute it; None takes the current one at every call.

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
        name = type(self).__name__
        if padding_mode != "zeros":
            raise ValueError(f"{name}: padding_mode must be 'zeros', but is {padding_mode!r}")
        if lowering is not None:
            resolve(name, lowering)
        try:
            _rules.positive(name, "ndim", ndim, least=0)
            _rules.channels(name, in_channels, out_channels, groups)
            kernel, strides, dilations = (
                _rules.per_axis(name, argument, value, ndim)
                for argument, value in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation))
            )
            pads = _rules.padding_argument(name, padding, ndim)
        except RuntimeError as error:
            # torch's constructors raise ValueError where its functions raise RuntimeError.
            raise ValueError(str(error)) from None
        zeros = (0,) * ndim
        _TorchConvNd.__init__(
            self, in_channels, out_channels, kernel, strides, zeros, dilations, False, zeros, groups, bias,
            "zeros", device, dtype,
        )  # fmt: skip
        # Not given to torch's constructor, which refuses what it cannot do itself: strided "same", "causal", pairs.
        self.padding = pads  # type: ignore[assignment]
        self.lowering = lowering

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _convolve(
            type(self).__name__,
            len(self.kernel_size),
            input,
            weight,
            bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.lowering,
        )

    def forward(self, input: Tensor) -> Tensor:
        """Convolve ``(batch, in_channels, *I)`` or ``(in_channels, *I)``."""
        return self._conv_forward(input, self.weight, self.bias)

    def plan(self, input: Tensor | Sequence[int]) -> ConvPlan:
        """What this layer will run on an input or an input of that shape: see `ndconv.plan`."""
        return _plan(input, self.weight, self.stride, self.padding, self.dilation, self.groups, lowering=self.lowering)

    def extra_repr(self) -> str:
        """torch's, and the lowering if one was given."""
        arguments: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return arguments + (f", lowering={self.lowering!r}" if self.lowering else "")


class Conv1d(ConvNd, torch.nn.Conv1d):
    """As `ConvNd` with N = 1; drop-in for `torch.nn.Conv1d`.

    Example:
        >>> import torch, ndconv
        >>> ndconv.Conv1d(3, 8, 3, stride=2)(torch.rand(2, 3, 9)).shape
        torch.Size([2, 8, 4])
    """

    def __init__(
        self,
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
        super().__init__(
            1, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device,
            dtype, lowering=lowering,
        )  # fmt: skip


class Conv2d(ConvNd, torch.nn.Conv2d):
    """As `ConvNd` with N = 2; drop-in for `torch.nn.Conv2d`.

    Example:
        >>> import torch, ndconv
        >>> ndconv.Conv2d(3, 8, 3, stride=2)(torch.rand(2, 3, 9, 9)).shape
        torch.Size([2, 8, 4, 4])
    """

    def __init__(
        self,
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
        super().__init__(
            2, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device,
            dtype, lowering=lowering,
        )  # fmt: skip


class Conv3d(ConvNd, torch.nn.Conv3d):
    """As `ConvNd` with N = 3; drop-in for `torch.nn.Conv3d`.

    Example:
        >>> import torch, ndconv
        >>> ndconv.Conv3d(3, 8, 3, stride=2)(torch.rand(2, 3, 9, 9, 9)).shape
        torch.Size([2, 8, 4, 4, 4])
    """

    def __init__(
        self,
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
        super().__init__(
            3, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device,
            dtype, lowering=lowering,
        )  # fmt: skip
