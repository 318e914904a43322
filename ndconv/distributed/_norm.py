"""Normalisation modules for DTensors too."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ndconv._sharded.layout import local_of
from ndconv._sharded.norms import Running, normalise
from ndconv._tensors import tensor_rules
from ndconv.distributed._layer import Layer, like


def _check(norm: Any, input: Tensor, *arguments: Any) -> None:
    """Raise torch's own errors, for the whole shapes and on every process."""
    norm(input, *(like(each) if isinstance(each, Tensor) else each for each in arguments))


class GroupNorm(Layer, torch.nn.GroupNorm):
    """As `torch.nn.GroupNorm`, for DTensors too.

    Example:
        >>> import torch
        >>> from ndconv.distributed import GroupNorm
        >>> GroupNorm(2, 4)(torch.rand(1, 4, 5, 6)).shape
        torch.Size([1, 4, 5, 6])
    """

    def _sharded(self, input: Any) -> Tensor:
        tensor_rules.placed(
            type(self).__name__, input.dim() - 2, {"weight": self.weight, "bias": self.bias}, input=input
        )
        _check(F.group_norm, like(input), self.num_groups, self.weight, self.bias, self.eps)
        return normalise(
            input, self.weight, self.bias, groups=self.num_groups, batch=False, batched=True, eps=self.eps,
            running=None, fixed=False,
        )  # fmt: skip


class _Norm(Layer):
    """A norm that may keep running statistics."""

    num_features: int
    eps: float
    momentum: float | None
    affine: bool
    track_running_stats: bool
    weight: Any
    bias: Any
    running_mean: Any
    running_var: Any

    def _checked(self, input: Any, axes: int) -> None:
        self._check_input_dim(input)
        parameters = {name: getattr(self, name) for name in ("weight", "bias", "running_mean", "running_var")}
        tensor_rules.placed(type(self).__name__, axes, parameters, input=input)

    def _check_input_dim(self, input: Tensor) -> None:
        super()._check_input_dim(input)  # type: ignore[misc]

    def _running(self, momentum: float) -> Running | None:
        if self.running_mean is None or self.running_var is None:
            return None
        return Running(self.running_mean, self.running_var, momentum)


class _BatchNorm(_Norm):
    num_batches_tracked: Any

    def _sharded(self, input: Any) -> Tensor:
        self._checked(input, input.dim() - 2)
        fixed = not self.training and self.running_mean is not None
        statistics = (self.running_mean, self.running_var) if fixed else (None, None)
        _check(F.batch_norm, like(input), *statistics, self.weight, self.bias, not fixed, 0.0, self.eps)
        momentum, updates = self.momentum or 0.0, self.training and self.track_running_stats
        if updates and self.num_batches_tracked is not None:
            count = local_of(self.num_batches_tracked)
            count.add_(1)
            momentum = 1.0 / float(count) if self.momentum is None else self.momentum
        return normalise(
            input, self.weight, self.bias, groups=input.shape[1], batch=True, batched=True, eps=self.eps,
            running=self._running(momentum) if fixed or updates else None, fixed=fixed,
        )  # fmt: skip


class _InstanceNorm(_Norm):
    def _get_no_batch_dim(self) -> int:
        axes: int = super()._get_no_batch_dim()  # type: ignore[misc]
        return axes

    def _sharded(self, input: Any) -> Tensor:
        axes = self._get_no_batch_dim() - 1
        self._checked(input, axes)
        batched, fixed = input.dim() == axes + 2, not self.training and self.track_running_stats
        channels = input.shape[-axes - 1]
        if channels != self.num_features:
            # torch's own error or warning.
            self._as_torch(input)
        whole = like(input) if batched else like(input).unsqueeze(0)
        statistics = (self.running_mean, self.running_var) if fixed else (None, None)
        _check(F.instance_norm, whole, *statistics, self.weight, self.bias, not fixed, 0.0, self.eps)
        return normalise(
            input, self.weight, self.bias, groups=channels, batch=False, batched=batched, eps=self.eps,
            running=self._running(self.momentum or 0.0), fixed=fixed,
        )  # fmt: skip


class BatchNorm1d(_BatchNorm, torch.nn.BatchNorm1d):
    """As `torch.nn.BatchNorm1d`, for DTensors too.

    Example:
        >>> import torch
        >>> from ndconv.distributed import BatchNorm1d
        >>> BatchNorm1d(3)(torch.rand(2, 3, 8)).shape
        torch.Size([2, 3, 8])
    """


class BatchNorm2d(_BatchNorm, torch.nn.BatchNorm2d):
    """As `torch.nn.BatchNorm2d`, for DTensors too.

    Example:
        >>> import torch
        >>> from ndconv.distributed import BatchNorm2d
        >>> BatchNorm2d(3)(torch.rand(2, 3, 8, 6)).shape
        torch.Size([2, 3, 8, 6])
    """


class BatchNorm3d(_BatchNorm, torch.nn.BatchNorm3d):
    """As `torch.nn.BatchNorm3d`, for DTensors too.

    Example:
        >>> import torch
        >>> from ndconv.distributed import BatchNorm3d
        >>> BatchNorm3d(3)(torch.rand(2, 3, 8, 6, 4)).shape
        torch.Size([2, 3, 8, 6, 4])
    """


class InstanceNorm1d(_InstanceNorm, torch.nn.InstanceNorm1d):
    """As `torch.nn.InstanceNorm1d`, for DTensors too.

    Example:
        >>> import torch
        >>> from ndconv.distributed import InstanceNorm1d
        >>> InstanceNorm1d(3)(torch.rand(2, 3, 8)).shape
        torch.Size([2, 3, 8])
    """


class InstanceNorm2d(_InstanceNorm, torch.nn.InstanceNorm2d):
    """As `torch.nn.InstanceNorm2d`, for DTensors too.

    Example:
        >>> import torch
        >>> from ndconv.distributed import InstanceNorm2d
        >>> InstanceNorm2d(3)(torch.rand(2, 3, 8, 6)).shape
        torch.Size([2, 3, 8, 6])
    """


class InstanceNorm3d(_InstanceNorm, torch.nn.InstanceNorm3d):
    """As `torch.nn.InstanceNorm3d`, for DTensors too.

    Example:
        >>> import torch
        >>> from ndconv.distributed import InstanceNorm3d
        >>> InstanceNorm3d(3)(torch.rand(2, 3, 8, 6, 4)).shape
        torch.Size([2, 3, 8, 6, 4])
    """
