"""Modules that take their number of input channels from the first input, as torch's lazy modules do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.conv import _LazyConvXdMixin
from torch.nn.parameter import UninitializedParameter

from ndconv import _rules
from ndconv._fixed import constructor_over
from ndconv._rules import IntOrInts, Padding
from ndconv._tensors import tensor_rules
from ndconv.nn._conv import Conv1d, Conv2d, Conv3d, ConvNd
from ndconv.nn._conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, ConvTransposeNd


class _Chosen:
    """The base that torch's mixin passes its arguments to; the first of them is the constructor to call."""

    def __init__(self, constructor: Callable[..., None], *arguments: Any, **further: Any) -> None:
        constructor(self, *arguments, **further)


class _Lazy(_LazyConvXdMixin, _Chosen):
    """A module whose parameters get their shapes from the first input; it then becomes ``cls_to_become``."""

    def _postpone(self, out_channels: int, bias: bool, device: Any, dtype: torch.dtype | None) -> None:
        """Set the output channels and uninitialised parameters, which the constructor was called without."""
        _, self.out_channels = self._divided(0, out_channels)
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.weight = UninitializedParameter(**factory)
        if bias:
            self.bias = UninitializedParameter(**factory)

    def _get_in_channels(self, input: Tensor) -> int:
        """The number of channels of the first input, which torch's mixin asks for."""
        name = type(self).__name__
        tensor_rules.tensor(name, "input", input)
        channels, *_ = _rules.sample(name, input.shape, len(self.kernel_size))
        in_channels, _ = self._divided(channels, self.out_channels)
        return in_channels

    def _divided(self, in_channels: int, out_channels: int) -> tuple[int, int]:
        """Both channel counts, which the groups divide."""
        try:
            in_channels, out_channels, _ = _rules.channels(type(self).__name__, in_channels, out_channels, self.groups)
        except RuntimeError as error:
            raise ValueError(str(error)) from None  # as in torch's constructors
        return in_channels, out_channels


class LazyConvNd(_Lazy, ConvNd):  # type: ignore[misc]
    """`ConvNd` without ``in_channels``, which the first input determines; the other arguments are the same.

    Example:
        >>> import torch, ndconv
        >>> layer = ndconv.LazyConvNd(4, 8, kernel_size=3)
        >>> layer(torch.rand(2, 5, 4, 4, 4, 4)).shape, layer.weight.shape
        (torch.Size([2, 8, 2, 2, 2, 2]), torch.Size([8, 5, 3, 3, 3, 3]))
    """

    cls_to_become = ConvNd

    def __init__(
        self,
        ndim: int,
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
        _Lazy.__init__(
            self, ConvNd.__init__, ndim, 0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode,
            device, dtype, lowering=lowering,
        )  # fmt: skip
        self._postpone(out_channels, bias, device, dtype)


class LazyConv1d(_Lazy, Conv1d):  # type: ignore[misc]
    """As `LazyConvNd` with N = 1; drop-in for `torch.nn.LazyConv1d`."""

    cls_to_become = Conv1d

    @constructor_over(1, LazyConvNd.__init__)
    def __init__(self) -> None: ...


class LazyConv2d(_Lazy, Conv2d):  # type: ignore[misc]
    """As `LazyConvNd` with N = 2; drop-in for `torch.nn.LazyConv2d`."""

    cls_to_become = Conv2d

    @constructor_over(2, LazyConvNd.__init__)
    def __init__(self) -> None: ...


class LazyConv3d(_Lazy, Conv3d):  # type: ignore[misc]
    """As `LazyConvNd` with N = 3; drop-in for `torch.nn.LazyConv3d`."""

    cls_to_become = Conv3d

    @constructor_over(3, LazyConvNd.__init__)
    def __init__(self) -> None: ...


class LazyConvTransposeNd(_Lazy, ConvTransposeNd):  # type: ignore[misc]
    """`ConvTransposeNd` without ``in_channels``, which the first input determines; the other arguments are the same.

    Example:
        >>> import torch, ndconv
        >>> layer = ndconv.LazyConvTransposeNd(4, 8, kernel_size=3)
        >>> layer(torch.rand(2, 5, 2, 2, 2, 2)).shape, layer.weight.shape
        (torch.Size([2, 8, 4, 4, 4, 4]), torch.Size([5, 8, 3, 3, 3, 3]))
    """

    cls_to_become = ConvTransposeNd

    def __init__(
        self,
        ndim: int,
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
        _Lazy.__init__(
            self, ConvTransposeNd.__init__, ndim, 0, 0, kernel_size, stride, padding, output_padding, groups, False,
            dilation, padding_mode, device, dtype, lowering=lowering,
        )  # fmt: skip
        self._postpone(out_channels, bias, device, dtype)


class LazyConvTranspose1d(_Lazy, ConvTranspose1d):  # type: ignore[misc]
    """As `LazyConvTransposeNd` with N = 1; drop-in for `torch.nn.LazyConvTranspose1d`."""

    cls_to_become = ConvTranspose1d

    @constructor_over(1, LazyConvTransposeNd.__init__)
    def __init__(self) -> None: ...


class LazyConvTranspose2d(_Lazy, ConvTranspose2d):  # type: ignore[misc]
    """As `LazyConvTransposeNd` with N = 2; drop-in for `torch.nn.LazyConvTranspose2d`."""

    cls_to_become = ConvTranspose2d

    @constructor_over(2, LazyConvTransposeNd.__init__)
    def __init__(self) -> None: ...


class LazyConvTranspose3d(_Lazy, ConvTranspose3d):  # type: ignore[misc]
    """As `LazyConvTransposeNd` with N = 3; drop-in for `torch.nn.LazyConvTranspose3d`."""

    cls_to_become = ConvTranspose3d

    @constructor_over(3, LazyConvTransposeNd.__init__)
    def __init__(self) -> None: ...
