"""Gradients of convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ndconv import _rules
from ndconv._autograd.convolution import compute_input, compute_weight
from ndconv._fixed import over
from ndconv._planner.selection import resolve
from ndconv._rules import IntOrInts, Padding
from ndconv._tensors import tensor_rules


def _input(
    function: str,
    ndim: int | None,
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    lowering: str | None = None,
) -> Tensor:
    names = "input_size", "weight"
    tensor_rules.tensors(function, weight=weight, grad_output=grad_output, shards=True)
    shapes = _rules.sizes(function, "input_size", input_size), tuple(weight.shape)
    convolution = _rules.convolution(
        function, *shapes, stride, padding, dilation, groups, mode=padding_mode, ndim=ndim, names=names
    )
    tensor_rules.placed(function, convolution.geometry.ndim, {"weight": weight}, grad_output=grad_output)
    _rules.grad_output(function, names, shapes, convolution.output_shape(*shapes), grad_output.shape)
    return compute_input(convolution, resolve(function, lowering), weight, grad_output)


def _weight(
    function: str,
    ndim: int | None,
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    per_sample: bool = False,
    padding_mode: str = "zeros",
    lowering: str | None = None,
) -> Tensor:
    names = "input", "weight_size"
    tensor_rules.tensors(function, input=input, grad_output=grad_output, shards=True)
    shapes = tuple(input.shape), _rules.sizes(function, "weight_size", weight_size)
    convolution = _rules.convolution(
        function, *shapes, stride, padding, dilation, groups, mode=padding_mode, ndim=ndim, names=names
    )
    tensor_rules.placed(function, convolution.geometry.ndim, {}, input=input, grad_output=grad_output)
    _rules.grad_output(function, names, shapes, convolution.output_shape(*shapes), grad_output.shape)
    _rules.per_sample(function, per_sample, *shapes)
    return compute_weight(convolution, resolve(function, lowering), input, grad_output, per_sample=per_sample)


@over(None, _input)
def convnd_input() -> None:
    """Gradient of a convolution with respect to its input, N = ``weight.dim() - 2``.

    ``grad_input[n, c, i] = sum over d, k, o with i = S*o + D*k - lo of weight[d, c, k] * grad_output[n, d, o]`` in each
    group. Elements that no window reads get 0.

    Args:
        input_size: Shape of the input, ``(batch, in_channels, *I)``; with a stride, several fit one output.
        weight: ``(out_channels, in_channels / groups, *K)``.
        grad_output: ``(batch, out_channels, *O)``, the shape of the convolution's output.
        stride: S.
        padding: ``(lo, hi)``.
        dilation: D.
        groups: Number of groups.
        padding_mode: How the convolution fills its padding.
        lowering: How to compute it; None takes the current lowering.

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


@over(None, _weight)
def convnd_weight() -> None:
    """Gradient of a convolution with respect to its weight, N = ``len(weight_size) - 2``.

    ``grad_weight[d, c, k] = sum over n, o of input[n, c, S*o + D*k - lo] * grad_output[n, d, o]`` in each group.

    Args:
        input: ``(batch, in_channels, *I)``.
        weight_size: Shape of the weight, ``(out_channels, in_channels / groups, *K)``.
        grad_output: ``(batch, out_channels, *O)``, the shape of the convolution's output.
        stride: S.
        padding: ``(lo, hi)``.
        dilation: D.
        groups: Number of groups.
        per_sample: Whether to leave out the sum over ``n``: one gradient for each sample.
        padding_mode: How the convolution fills its padding.
        lowering: How to compute it; None takes the current lowering.

    Returns:
        Tensor of shape ``weight_size``; ``(batch, *weight_size)`` if per sample.

    Raises:
        RuntimeError: If shapes, dtypes, devices or hyper-parameters do not fit.
        TypeError: If an argument has the wrong type.
        ValueError: If there is no such lowering.

    Example:
        >>> import torch
        >>> from ndconv.grad import convnd_weight
        >>> convnd_weight(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), (1, 1, 3), torch.tensor([[[1.0, 10.0]]]))
        tensor([[[21., 32., 43.]]])
        >>> x, y = torch.rand(8, 6, 9, 9), torch.rand(8, 4, 7, 7)
        >>> convnd_weight(x, (4, 3, 3, 3), y, groups=2, per_sample=True).shape
        torch.Size([8, 4, 3, 3, 3])
    """


@over(1, _input)
def conv1d_input() -> None:
    """As `convnd_input` with N = 1; drop-in for `torch.nn.grad.conv1d_input`."""


@over(1, _weight)
def conv1d_weight() -> None:
    """As `convnd_weight` with N = 1; drop-in for `torch.nn.grad.conv1d_weight`."""


@over(2, _input)
def conv2d_input() -> None:
    """As `convnd_input` with N = 2; drop-in for `torch.nn.grad.conv2d_input`."""


@over(2, _weight)
def conv2d_weight() -> None:
    """As `convnd_weight` with N = 2; drop-in for `torch.nn.grad.conv2d_weight`."""


@over(3, _input)
def conv3d_input() -> None:
    """As `convnd_input` with N = 3; drop-in for `torch.nn.grad.conv3d_input`."""


@over(3, _weight)
def conv3d_weight() -> None:
    """As `convnd_weight` with N = 3; drop-in for `torch.nn.grad.conv3d_weight`."""
