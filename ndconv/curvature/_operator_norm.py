"""Norms of convolutions as linear maps: Lipschitz constants of layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ndconv import _rules
from ndconv._fixed import of_convolutions
from ndconv._rules import Asked
from ndconv._statistics import spectrum
from ndconv._statistics.operands import Operands, wide
from ndconv._tensors import tensor_rules

# Rounding errors of the upper bound, in units of the dtype's epsilon.
_SLACK = 64


class OperatorNorm(NamedTuple):
    """The largest singular value of a linear map, with a lower and an upper bound.

    Args:
        value: The estimate; differentiable with respect to the weight.
        lower: Lower bound: the factor by which the input that was found is stretched.
        upper: Upper bound of the factor for all inputs; infinite if it was not asked for.
    """

    value: Tensor
    lower: Tensor
    upper: Tensor


def _operator_norm(
    asked: Asked,
    weight: Tensor,
    input_size: Sequence[int],
    *,
    tolerance: float = 1e-3,
    seed: int = 0,
    bounded: bool = True,
) -> OperatorNorm:
    function = asked.function
    tensor_rules.tensors(function, weight=weight)
    tensor_rules.summable(function, "weight", weight)
    size = _rules.sizes(function, "input_size", input_size)
    if not isinstance(tolerance, int | float):
        raise TypeError(f"{function}: tolerance must be a number, but is {tolerance!r}")
    if not 0 < tolerance < 1:
        raise ValueError(f"{function}: tolerance must be between 0 and 1, but is {tolerance}")
    operands = Operands(asked.convolution(size, weight.shape, ("input_size", "weight")), asked.transposed)
    if len(size) == operands.ndim + 2:
        _rules.refuse(function, "input_size must have no batch", f"is {size}")
    kernel = wide(weight)
    vector, image = spectrum.estimate(operands, kernel.detach(), tolerance, seed)
    value = spectrum.stretched(operands, kernel, vector, image)
    lower = value.detach()
    slack = 1 + _SLACK * torch.finfo(lower.dtype).eps
    upper = spectrum.bound(operands, kernel.detach()) * slack if bounded else math.inf
    return OperatorNorm(value, lower, lower.new_tensor(upper))


@of_convolutions(None, False, _operator_norm)
def convnd_operator_norm() -> None:
    """Largest singular value of a convolution as a linear map of inputs of one size: its Lipschitz constant.

    Krylov iteration with the convolution and its input gradient gives the value and the lower bound. The upper bound
    comes from the kernel's frequency response, whose norms are bounded by Gram iteration (`Delattre et al., 2023
    <https://arxiv.org/abs/2305.16173>`_; `Sedghi et al., 2019 <https://arxiv.org/abs/1805.10408>`_). It is the bound
    for an infinite input: tight for circular padding; for zeros, the larger the input, the tighter. With groups, the
    norm is the largest of theirs. A bias does not change it. A transposed convolution has the norm of its adjoint.

    Args:
        weight: ``(out_channels, in_channels / groups, *K)``.
        input_size: Shape of an input, ``(in_channels, *I)``.
        stride: S.
        padding: ``(lo, hi)``.
        dilation: D.
        groups: Number of groups.
        tolerance: Relative residual at which the iteration ends.
        seed: Seed of the first vector.
        bounded: Whether to compute the upper bound; it is infinite otherwise. For small inputs it takes longer than the
            rest.
        padding_mode: How the convolution fills its padding.

    Returns:
        `OperatorNorm`, a named tuple ``(value, lower, upper)`` of tensors of shape ``()``, float32 for half types;
        the value is differentiable with respect to the weight.

    Raises:
        RuntimeError: If shapes or hyper-parameters do not fit.
        NotImplementedError: If the dtype is an integer type.
        TypeError: If an argument has the wrong type.
        ValueError: If the tolerance is not between 0 and 1.

    Example:
        >>> import torch
        >>> from ndconv.curvature import convnd_operator_norm
        >>> value, lower, upper = convnd_operator_norm(torch.full((1, 1, 3, 3), 1 / 9), (1, 64, 64), padding=1)
        >>> f"{value:.3f}, at most {upper:.3f}"
        '0.998, at most 1.010'
    """


@of_convolutions(None, True, _operator_norm)
def conv_transposend_operator_norm() -> None:
    """As `convnd_operator_norm`, of `ndconv.functional.conv_transposend`."""


@of_convolutions(1, False, _operator_norm)
def conv1d_operator_norm() -> None:
    """As `convnd_operator_norm` with N = 1."""


@of_convolutions(2, False, _operator_norm)
def conv2d_operator_norm() -> None:
    """As `convnd_operator_norm` with N = 2."""


@of_convolutions(3, False, _operator_norm)
def conv3d_operator_norm() -> None:
    """As `convnd_operator_norm` with N = 3."""


@of_convolutions(1, True, _operator_norm)
def conv_transpose1d_operator_norm() -> None:
    """As `conv_transposend_operator_norm` with N = 1."""


@of_convolutions(2, True, _operator_norm)
def conv_transpose2d_operator_norm() -> None:
    """As `conv_transposend_operator_norm` with N = 2."""


@of_convolutions(3, True, _operator_norm)
def conv_transpose3d_operator_norm() -> None:
    """As `conv_transposend_operator_norm` with N = 3."""
