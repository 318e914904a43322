"""Gradients of transposed convolutions: a convolution, and a weight gradient with the two tensors exchanged."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ndconv import _rules
from ndconv._autograd.convolution import compute_output, compute_weight
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
    output_padding: IntOrInts = 0,
    groups: int = 1,
    dilation: IntOrInts = 1,
    *,
    padding_mode: str = "zeros",
    lowering: str | None = None,
) -> Tensor:
    names = "input_size", "weight"
    tensor_rules.tensors(function, weight=weight, grad_output=grad_output, shards=True)
    shapes = _rules.sizes(function, "input_size", input_size), tuple(weight.shape)
    convolution = _rules.transposed(
        function, *shapes, stride, padding, output_padding, groups, dilation, mode=padding_mode, ndim=ndim, names=names
    )
    tensor_rules.placed(function, convolution.geometry.ndim, {"weight": weight}, grad_output=grad_output)
    _rules.grad_output(function, names, shapes, convolution.input_shape(*shapes), grad_output.shape)
    return compute_output(convolution, resolve(function, lowering), grad_output, weight)


def _weight(
    function: str,
    ndim: int | None,
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    output_padding: IntOrInts = 0,
    groups: int = 1,
    dilation: IntOrInts = 1,
    *,
    per_sample: bool = False,
    padding_mode: str = "zeros",
    lowering: str | None = None,
) -> Tensor:
    names = "input", "weight_size"
    tensor_rules.tensors(function, input=input, grad_output=grad_output, shards=True)
    shapes = tuple(input.shape), _rules.sizes(function, "weight_size", weight_size)
    convolution = _rules.transposed(
        function, *shapes, stride, padding, output_padding, groups, dilation, mode=padding_mode, ndim=ndim, names=names
    )
    tensor_rules.placed(function, convolution.geometry.ndim, {}, input=input, grad_output=grad_output)
    _rules.grad_output(function, names, shapes, convolution.input_shape(*shapes), grad_output.shape)
    _rules.per_sample(function, per_sample, *shapes)
    return compute_weight(convolution, resolve(function, lowering), grad_output, input, per_sample=per_sample)


@over(None, _input)
def conv_transposend_input() -> None:
    """Gradient of a transposed convolution with respect to its input: a convolution; torch has no such function.

    ``grad_input[n, d, o] = sum over c, k of weight[d, c, k] * grad_output[n, c, S*o + D*k - lo]`` in each group.

    Args:
        input_size: Shape of the input, ``(batch, in_channels, *O)``.
        weight: ``(in_channels, out_channels / groups, *K)``.
        grad_output: ``(batch, out_channels, *I)``, the shape of the transposed convolution's output.
        stride: S.
        padding: ``(lo, hi)``.
        output_padding: Elements added on the high side.
        groups: Number of groups.
        dilation: D.
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
        >>> from ndconv.grad import conv_transposend_input
        >>> weight, grad_output = torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[1.0, 1.0, 2.0, 1.0, 1.0]]])
        >>> conv_transposend_input((1, 1, 2), weight, grad_output, stride=2)
        tensor([[[9., 7.]]])
    """


@over(None, _weight)
def conv_transposend_weight() -> None:
    """Gradient of a transposed convolution with respect to its weight; torch has no such function.

    ``grad_weight[d, c, k] = sum over n, o of input[n, d, o] * grad_output[n, c, S*o + D*k - lo]`` in each group.

    Args:
        input: ``(batch, in_channels, *O)``.
        weight_size: Shape of the weight, ``(in_channels, out_channels / groups, *K)``.
        grad_output: ``(batch, out_channels, *I)``, the shape of the transposed convolution's output.
        stride: S.
        padding: ``(lo, hi)``.
        output_padding: Elements added on the high side.
        groups: Number of groups.
        dilation: D.
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
        >>> from ndconv.grad import conv_transposend_weight
        >>> input, grad_output = torch.tensor([[[1.0, 10.0]]]), torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]])
        >>> conv_transposend_weight(input, (1, 1, 3), grad_output, stride=2)
        tensor([[[31., 42., 53.]]])
    """


@over(1, _input)
def conv_transpose1d_input() -> None:
    """As `conv_transposend_input` with N = 1."""


@over(1, _weight)
def conv_transpose1d_weight() -> None:
    """As `conv_transposend_weight` with N = 1."""


@over(2, _input)
def conv_transpose2d_input() -> None:
    """As `conv_transposend_input` with N = 2."""


@over(2, _weight)
def conv_transpose2d_weight() -> None:
    """As `conv_transposend_weight` with N = 2."""


@over(3, _input)
def conv_transpose3d_input() -> None:
    """As `conv_transposend_input` with N = 3."""


@over(3, _weight)
def conv_transpose3d_weight() -> None:
    """As `conv_transposend_weight` with N = 3."""
