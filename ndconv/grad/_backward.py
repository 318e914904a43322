"""All gradients of a convolution in one call."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ndconv import _rules
from ndconv._autograd.convolution import compute_gradients
from ndconv._form.geometry import Slot
from ndconv._planner.selection import resolve
from ndconv._rules import IntOrInts, Padding
from ndconv._tensors import tensor_rules


class Gradients(NamedTuple):
    """Gradients of a convolution with respect to input, weight and bias; None for those not asked for."""

    input: Tensor | None
    weight: Tensor | None
    bias: Tensor | None


def convnd_backward(
    input: Tensor,
    weight: Tensor,
    grad_output: Tensor,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    output_mask: tuple[bool, bool, bool] = (True, True, True),
    per_sample: bool = False,
    padding_mode: str = "zeros",
    lowering: str | None = None,
) -> Gradients:
    """Gradients of a convolution with respect to input, weight and bias, N = ``weight.dim() - 2``.

    Arguments are checked once. The gradients share one workspace, so peak memory is that of the largest.

    Args:
        input: ``(batch, in_channels, *I)`` or unbatched.
        weight: ``(out_channels, in_channels / groups, *K)``.
        grad_output: ``(batch, out_channels, *O)``, the shape of the convolution's output.
        stride: S.
        padding: ``(lo, hi)``.
        dilation: D.
        groups: Number of groups.
        output_mask: Which of the three to compute.
        per_sample: Whether weight and bias get one gradient for each sample.
        padding_mode: How the convolution fills its padding.
        lowering: How to compute it; None takes the current lowering.

    Returns:
        Named tuple ``(input, weight, bias)`` of what `convnd_input`, `convnd_weight` and `convnd_bias` return, None
        where the mask is false.

    Raises:
        RuntimeError: If shapes, dtypes, devices or hyper-parameters do not fit.
        TypeError: If an argument has the wrong type.
        ValueError: If there is no such lowering.

    Example:
        >>> import torch
        >>> from ndconv.grad import convnd_backward
        >>> x, w, y = torch.rand(2, 3, 9, 9), torch.rand(4, 3, 3, 3), torch.rand(2, 4, 7, 7)
        >>> [grad.shape for grad in convnd_backward(x, w, y)]
        [torch.Size([2, 3, 9, 9]), torch.Size([4, 3, 3, 3]), torch.Size([4])]
    """
    function, names = "convnd_backward", ("input", "weight")
    output_mask = _rules.mask(function, "output_mask", output_mask)
    tensor_rules.tensors(function, input=input, weight=weight, grad_output=grad_output, shards=True)
    shapes = tuple(input.shape), tuple(weight.shape)
    convolution = _rules.convolution(function, *shapes, stride, padding, dilation, groups, mode=padding_mode)
    tensor_rules.placed(function, weight.dim() - 2, {"weight": weight}, input=input, grad_output=grad_output)
    _rules.grad_output(function, names, shapes, convolution.output_shape(*shapes), grad_output.shape)
    _rules.per_sample(function, per_sample, *shapes)
    given = convolution, resolve(function, lowering), input, weight, grad_output, output_mask
    return Gradients(*compute_gradients(Slot.OUTPUT, *given, per_sample=per_sample))


def conv_transposend_backward(
    input: Tensor,
    weight: Tensor,
    grad_output: Tensor,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    output_padding: IntOrInts = 0,
    groups: int = 1,
    dilation: IntOrInts = 1,
    *,
    output_mask: tuple[bool, bool, bool] = (True, True, True),
    per_sample: bool = False,
    padding_mode: str = "zeros",
    lowering: str | None = None,
) -> Gradients:
    """As `convnd_backward`, for `ndconv.functional.conv_transposend`.

    Example:
        >>> import torch
        >>> from ndconv.grad import conv_transposend_backward
        >>> x, w, y = torch.rand(2, 4, 7, 7), torch.rand(4, 3, 3, 3), torch.rand(2, 3, 9, 9)
        >>> [grad.shape for grad in conv_transposend_backward(x, w, y)]
        [torch.Size([2, 4, 7, 7]), torch.Size([4, 3, 3, 3]), torch.Size([3])]
    """
    function, names = "conv_transposend_backward", ("input", "weight")
    output_mask = _rules.mask(function, "output_mask", output_mask)
    tensor_rules.tensors(function, input=input, weight=weight, grad_output=grad_output, shards=True)
    shapes = tuple(input.shape), tuple(weight.shape)
    x_shape, w_shape = shapes
    arguments = stride, padding, output_padding, groups, dilation
    convolution = _rules.transposed(function, x_shape, w_shape, *arguments, mode=padding_mode)
    tensor_rules.placed(function, weight.dim() - 2, {"weight": weight}, input=input, grad_output=grad_output)
    _rules.grad_output(function, names, shapes, convolution.input_shape(*shapes), grad_output.shape)
    _rules.per_sample(function, per_sample, *shapes)
    given = convolution, resolve(function, lowering), input, weight, grad_output, output_mask
    return Gradients(*compute_gradients(Slot.INPUT, *given, per_sample=per_sample))
