"""Gradients of convolutions without autograd's bookkeeping: `torch.nn.grad` for any number of axes.

Names, arguments and their order are those of `torch.nn.grad`; the shared arguments are those of `ndconv.functional`.
All functions are differentiable in both operands, and take unbatched inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ndconv import _rules
from ndconv._function import trilinear
from ndconv._geometry import Slot
from ndconv._plan import resolve
from ndconv._rules import IntOrInts, Padding

__all__ = [
    "conv1d_input",
    "conv1d_weight",
    "conv2d_input",
    "conv2d_weight",
    "conv3d_input",
    "conv3d_weight",
    "convnd_input",
    "convnd_weight",
]


def _input(
    function: str,
    ndim: int | None,
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: IntOrInts,
    padding: Padding,
    dilation: IntOrInts,
    groups: int,
    lowering: str | None,
) -> Tensor:
    _rules.tensors(function, weight=weight, grad_output=grad_output)
    shape, names = _rules.sizes(function, "input_size", input_size), ("input_size", "weight")
    geometry = _rules.convolution(
        function, shape, weight.shape, stride, padding, dilation, groups, ndim=ndim, names=names
    )
    _rules.grad_output(function, geometry, shape, tuple(weight.shape), grad_output.shape, names)
    lowering, space = resolve(function, lowering), shape[len(shape) - geometry.ndim :]
    if len(shape) == weight.dim():
        return trilinear(Slot.INPUT, geometry, space, lowering, weight, grad_output)
    return trilinear(Slot.INPUT, geometry, space, lowering, weight, grad_output.unsqueeze(0)).squeeze(0)


def _weight(
    function: str,
    ndim: int | None,
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: IntOrInts,
    padding: Padding,
    dilation: IntOrInts,
    groups: int,
    lowering: str | None,
) -> Tensor:
    _rules.tensors(function, input=input, grad_output=grad_output)
    shape, names = _rules.sizes(function, "weight_size", weight_size), ("input", "weight_size")
    geometry = _rules.convolution(
        function, input.shape, shape, stride, padding, dilation, groups, ndim=ndim, names=names
    )
    _rules.grad_output(function, geometry, tuple(input.shape), shape, grad_output.shape, names)
    lowering = resolve(function, lowering)
    if input.dim() != len(shape):
        input, grad_output = input.unsqueeze(0), grad_output.unsqueeze(0)
    return trilinear(Slot.WEIGHT, geometry, tuple(input.shape[2:]), lowering, input, grad_output)


def convnd_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    lowering: str | None = None,
) -> Tensor:
    """Gradient of a convolution with respect to its input, N = ``weight.dim() - 2``.

    ``grad_input[n, c, i] = sum over d, k, o with i = S*o + D*k - lo of weight[d, c, k] * grad_output[n, d, o]`` in each
    group. Elements that no window reads get 0.

    Args:
        input_size: Shape of the input, ``(batch, in_channels, *I)``; with a stride the output does not tell it.
        weight: ``(out_channels, in_channels / groups, *K)``.
        grad_output: ``(batch, out_channels, *O)``, as the convolution gives.
        stride: S.
        padding: ``(lo, hi)``.
        dilation: D.
        groups: Number of groups.
        lowering: How to compute it; None takes the current one.

    Returns:
        Tensor of shape ``input_size``.

    Raises:
        RuntimeError: If shapes, dtypes, devices or hyper-parameters do not fit.
        TypeError: If an argument has the wrong type.
        ValueError: If there is no such lowering.

    Example:
        >>> import torch
        >>> from ndconv.grad import convnd_input
        >>> convnd_input((1, 1, 6), torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[1.0, 10.0]]]), stride=2)
        tensor([[[ 1.,  2., 13., 20., 30.,  0.]]])
    """
    return _input("convnd_input", None, input_size, weight, grad_output, stride, padding, dilation, groups, lowering)


def convnd_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    lowering: str | None = None,
) -> Tensor:
    """Gradient of a convolution with respect to its weight, N = ``len(weight_size) - 2``.

    ``grad_weight[d, c, k] = sum over n, o of input[n, c, S*o + D*k - lo] * grad_output[n, d, o]`` in each group.

    Args:
        input: ``(batch, in_channels, *I)``.
        weight_size: Shape of the weight, ``(out_channels, in_channels / groups, *K)``.
        grad_output: ``(batch, out_channels, *O)``, as the convolution gives.
        stride: S.
        padding: ``(lo, hi)``.
        dilation: D.
        groups: Number of groups.
        lowering: How to compute it; None takes the current one.

    Returns:
        Tensor of shape ``weight_size``.

    Raises:
        RuntimeError: If shapes, dtypes, devices or hyper-parameters do not fit.
        TypeError: If an argument has the wrong type.
        ValueError: If there is no such lowering.

    Example:
        >>> import torch
        >>> from ndconv.grad import convnd_weight
        >>> convnd_weight(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), (1, 1, 3), torch.tensor([[[1.0, 10.0]]]))
        tensor([[[21., 32., 43.]]])
    """
    return _weight("convnd_weight", None, input, weight_size, grad_output, stride, padding, dilation, groups, lowering)


def conv1d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    lowering: str | None = None,
) -> Tensor:
    """As `convnd_input` with N = 1; drop-in for `torch.nn.grad.conv1d_input`."""
    return _input("conv1d_input", 1, input_size, weight, grad_output, stride, padding, dilation, groups, lowering)


def conv1d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    lowering: str | None = None,
) -> Tensor:
    """As `convnd_weight` with N = 1; drop-in for `torch.nn.grad.conv1d_weight`."""
    return _weight("conv1d_weight", 1, input, weight_size, grad_output, stride, padding, dilation, groups, lowering)


def conv2d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    lowering: str | None = None,
) -> Tensor:
    """As `convnd_input` with N = 2; drop-in for `torch.nn.grad.conv2d_input`."""
    return _input("conv2d_input", 2, input_size, weight, grad_output, stride, padding, dilation, groups, lowering)


def conv2d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    lowering: str | None = None,
) -> Tensor:
    """As `convnd_weight` with N = 2; drop-in for `torch.nn.grad.conv2d_weight`."""
    return _weight("conv2d_weight", 2, input, weight_size, grad_output, stride, padding, dilation, groups, lowering)


def conv3d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    lowering: str | None = None,
) -> Tensor:
    """As `convnd_input` with N = 3; drop-in for `torch.nn.grad.conv3d_input`."""
    return _input("conv3d_input", 3, input_size, weight, grad_output, stride, padding, dilation, groups, lowering)


def conv3d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    lowering: str | None = None,
) -> Tensor:
    """As `convnd_weight` with N = 3; drop-in for `torch.nn.grad.conv3d_weight`."""
    return _weight("conv3d_weight", 3, input, weight_size, grad_output, stride, padding, dilation, groups, lowering)
