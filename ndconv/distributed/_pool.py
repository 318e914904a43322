"""Pooling modules for DTensors too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ndconv import _rules
from ndconv._form.bands import adaptive, averaging
from ndconv._sharded.bands import resize
from ndconv._sharded.picks import max_pool
from ndconv._tensors import tensor_rules
from ndconv.distributed._layer import Layer, each


class _Pool(Layer):
    """Pooling over as many axes as the class says."""

    _axes: int

    def _sharded(self, input: Any) -> Tensor:
        tensor_rules.placed(type(self).__name__, self._axes, {}, input=input)
        # Raises torch's own errors, for the whole shape and on every process.
        outputs = tuple(self._as_torch(input).shape[-self._axes :])
        return self._pooled(input, tuple(input.shape[-self._axes :]), outputs)

    def _pooled(self, input: Any, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Tensor:
        raise NotImplementedError


class _MaxPool(_Pool):
    kernel_size: Any
    stride: Any
    padding: Any
    dilation: Any
    return_indices: bool

    def _as_torch(self, input: Tensor) -> Tensor:
        if self.return_indices:
            tensor_rules.without(type(self).__name__, "return_indices=True", input)
        return super()._as_torch(input)

    def _pooled(self, input: Any, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Tensor:
        arguments = self.kernel_size, self.stride or self.kernel_size, self.padding, self.dilation
        kernel, stride, padding, dilation = (each(argument, self._axes) for argument in arguments)
        for number, axis in enumerate(zip(inputs, outputs, stride, padding, dilation, strict=True)):
            if not _have_inputs(*axis):
                # torch then writes the gradient to where there is no input.
                rule = f"every window must have an input along spatial axis {number}"
                found = f"padding is {padding}, dilation {dilation} and the input's size {inputs}"
                _rules.refuse(type(self).__name__, rule, found)
        return max_pool(input, outputs, kernel, stride, padding, dilation)


def _have_inputs(inputs: int, outputs: int, stride: int, padding: int, dilation: int) -> bool:
    """Whether no window lies in padding alone."""
    starts = range(-padding, outputs * stride - padding, stride)
    return all((start if start >= 0 else start % dilation) < inputs for start in starts)


class _AvgPool(_Pool):
    kernel_size: Any
    stride: Any
    padding: Any
    count_include_pad: bool
    divisor_override: int | None

    def _pooled(self, input: Any, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Tensor:
        arguments = self.kernel_size, self.stride or self.kernel_size, self.padding
        sizes = zip(inputs, outputs, *(each(argument, self._axes) for argument in arguments), strict=True)
        # One axis divides for all of them.
        divisor = getattr(self, "divisor_override", None)
        divisors = (None,) * self._axes if divisor is None else (divisor,) + (1,) * (self._axes - 1)
        return resize(
            input,
            tuple(
                averaging(*axis, self.count_include_pad, each_divisor)
                for axis, each_divisor in zip(sizes, divisors, strict=True)
            ),
        )


class _AdaptiveAvgPool(_Pool):
    def _pooled(self, input: Any, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Tensor:
        return resize(input, tuple(adaptive(*sizes) for sizes in zip(inputs, outputs, strict=True)))


class MaxPool1d(_MaxPool, torch.nn.MaxPool1d):
    """As `torch.nn.MaxPool1d`, for DTensors too; for these without ``return_indices``.

    Example:
        >>> import torch
        >>> from ndconv.distributed import MaxPool1d
        >>> MaxPool1d(2)(torch.rand(1, 3, 8)).shape
        torch.Size([1, 3, 4])
    """

    _axes = 1


class MaxPool2d(_MaxPool, torch.nn.MaxPool2d):
    """As `torch.nn.MaxPool2d`, for DTensors too; for these without ``return_indices``.

    Example:
        >>> import torch
        >>> from ndconv.distributed import MaxPool2d
        >>> MaxPool2d(2)(torch.rand(1, 3, 8, 6)).shape
        torch.Size([1, 3, 4, 3])
    """

    _axes = 2


class MaxPool3d(_MaxPool, torch.nn.MaxPool3d):
    """As `torch.nn.MaxPool3d`, for DTensors too; for these without ``return_indices``.

    Example:
        >>> import torch
        >>> from ndconv.distributed import MaxPool3d
        >>> MaxPool3d(2)(torch.rand(1, 3, 8, 6, 4)).shape
        torch.Size([1, 3, 4, 3, 2])
    """

    _axes = 3


class AvgPool1d(_AvgPool, torch.nn.AvgPool1d):
    """As `torch.nn.AvgPool1d`, for DTensors too.

    Example:
        >>> import torch
        >>> from ndconv.distributed import AvgPool1d
        >>> AvgPool1d(2)(torch.rand(1, 3, 8)).shape
        torch.Size([1, 3, 4])
    """

    _axes = 1


class AvgPool2d(_AvgPool, torch.nn.AvgPool2d):
    """As `torch.nn.AvgPool2d`, for DTensors too.

    Example:
        >>> import torch
        >>> from ndconv.distributed import AvgPool2d
        >>> AvgPool2d(2)(torch.rand(1, 3, 8, 6)).shape
        torch.Size([1, 3, 4, 3])
    """

    _axes = 2


class AvgPool3d(_AvgPool, torch.nn.AvgPool3d):
    """As `torch.nn.AvgPool3d`, for DTensors too.

    Example:
        >>> import torch
        >>> from ndconv.distributed import AvgPool3d
        >>> AvgPool3d(2)(torch.rand(1, 3, 8, 6, 4)).shape
        torch.Size([1, 3, 4, 3, 2])
    """

    _axes = 3


class AdaptiveAvgPool1d(_AdaptiveAvgPool, torch.nn.AdaptiveAvgPool1d):
    """As `torch.nn.AdaptiveAvgPool1d`, for DTensors too.

    Example:
        >>> import torch
        >>> from ndconv.distributed import AdaptiveAvgPool1d
        >>> AdaptiveAvgPool1d(3)(torch.rand(1, 3, 8)).shape
        torch.Size([1, 3, 3])
    """

    _axes = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool, torch.nn.AdaptiveAvgPool2d):
    """As `torch.nn.AdaptiveAvgPool2d`, for DTensors too.

    Example:
        >>> import torch
        >>> from ndconv.distributed import AdaptiveAvgPool2d
        >>> AdaptiveAvgPool2d(3)(torch.rand(1, 3, 8, 6)).shape
        torch.Size([1, 3, 3, 3])
    """

    _axes = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool, torch.nn.AdaptiveAvgPool3d):
    """As `torch.nn.AdaptiveAvgPool3d`, for DTensors too.

    Example:
        >>> import torch
        >>> from ndconv.distributed import AdaptiveAvgPool3d
        >>> AdaptiveAvgPool3d(3)(torch.rand(1, 3, 8, 6, 4)).shape
        torch.Size([1, 3, 3, 3, 3])
    """

    _axes = 3
