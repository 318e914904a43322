"""The common base of all convolution modules: torch's constructor with earlier checks, and the lowering."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules.conv import _ConvNd

from ndconv import _rules
from ndconv._planner.selection import resolve
from ndconv._rules import IntOrInts, Padding


class Layer(_ConvNd):
    """Torch's convolution module with early checks, and with values of arguments that torch does not take."""

    def _construct(
        self,
        transposed: bool,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts,
        stride: IntOrInts,
        padding: Padding,
        dilation: IntOrInts,
        output_padding: IntOrInts,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: torch.dtype | None,
        lowering: str | None,
    ) -> None:
        name = type(self).__name__
        if lowering is not None:
            resolve(name, lowering)
        try:
            ndim = _rules.positive(name, "ndim", ndim, least=0)
            in_channels, out_channels, groups = _rules.channels(name, in_channels, out_channels, groups)
            kernel, strides, dilations = (
                _rules.per_axis(name, argument, value, ndim)
                for argument, value in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation))
            )
            extra = _rules.per_axis(name, "output_padding", output_padding, ndim, least=0)
            pads = _rules.padding_argument(name, padding, ndim)
            _rules.padding_mode(name, padding_mode)
        except RuntimeError as error:
            # torch's constructors raise ValueError where its functions raise RuntimeError.
            raise ValueError(str(error)) from None
        mode: Any = padding_mode
        _ConvNd.__init__(
            self, in_channels, out_channels, kernel, strides, (0,) * ndim, dilations, transposed, extra, groups, bias,
            mode, device, dtype,
        )  # fmt: skip
        # Not given to torch's constructor, which refuses what it cannot do itself: strided "same", "causal", pairs.
        self.padding = pads  # type: ignore[assignment]
        self.lowering = lowering

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.__dict__.setdefault("lowering", None)

    def extra_repr(self) -> str:
        arguments: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return arguments + (f", lowering={self.lowering!r}" if self.lowering else "")
