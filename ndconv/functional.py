"""Convolution functions with torch's names and argument order, for any number of axes.

Arguments that all functions share:

- ``stride``, ``dilation``: one positive integer, or one per spatial axis.
- ``padding``: one non-negative integer or one per axis; one ``(lo, hi)`` pair per axis; ``"valid"`` (none); ``"same"``
  (the output has ``ceil(input / stride)`` elements, an odd total puts the extra element on the high side); ``"causal"``
  (all on the low side, so that no output sees a later input).
- ``groups``: positive, divides the channels of input and output.
- ``lowering``: keyword-only; ``"auto"`` or the name of a lowering, see `ndconv.set_lowering`. Where the one named
  does not apply to a slot, the cheapest that does is used, as `ndconv.plan` shows.

Errors are torch's: `RuntimeError` for shapes, sizes and dtypes that do not fit, `TypeError` for values of a wrong type.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor
from torch.amp.autocast_mode import is_autocast_available

from ndconv import _rules
from ndconv._function import trilinear
from ndconv._geometry import Slot
from ndconv._plan import resolve
from ndconv._rules import IntOrInts, Padding

__all__ = ["conv1d", "conv2d", "conv3d", "convnd"]


def _convolve(
    function: str,
    ndim: int | None,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: IntOrInts,
    padding: Padding,
    dilation: IntOrInts,
    groups: int,
    lowering: str | None,
) -> Tensor:
    if _is_autocast(input):
        kind = input.device.type
        input, weight, bias = _autocast(input, kind), _autocast(weight, kind), _autocast(bias, kind)
        with torch.autocast(kind, enabled=False):
            return _convolve(function, ndim, input, weight, bias, stride, padding, dilation, groups, lowering)
    _rules.tensors(function, input=input, weight=weight, **({} if bias is None else {"bias": bias}))
    geometry = _rules.convolution(function, input.shape, weight.shape, stride, padding, dilation, groups, ndim=ndim)
    if bias is not None:
        _rules.bias(function, weight.shape[0], bias.shape)
    lowering = resolve(function, lowering)

    batched = input.dim() == weight.dim()
    x = input if batched else input.unsqueeze(0)
    output = trilinear(Slot.OUTPUT, geometry, tuple(x.shape[2:]), lowering, x, weight)
    if bias is not None:
        output = output + bias.view(-1, *(1,) * geometry.ndim)
    return output if batched else output.squeeze(0)


_Operand = TypeVar("_Operand", Tensor, Tensor | None)


def _is_autocast(input: object) -> bool:
    kind = input.device.type if isinstance(input, Tensor) else None
    return kind is not None and is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def _autocast(operand: _Operand, device_type: str) -> _Operand:
    """Cast as torch's autocast casts the operands of its convolutions: all floats but float64."""
    if not isinstance(operand, Tensor) or not operand.is_floating_point() or operand.dtype == torch.float64:
        return operand
    return operand.to(torch.get_autocast_dtype(device_type))


def convnd(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    lowering: str | None = None,
) -> Tensor:
    """Convolve over ``N = weight.dim() - 2`` axes.

    ``output[n, d, o] = bias[d] + sum over c, k of weight[d, c, k] * input[n, c, S*o + D*k - lo]`` in each group, with
    the shared arguments of `ndconv.functional`.

    Args:
        input: ``(batch, in_channels, *I)`` or unbatched ``(in_channels, *I)``.
        weight: ``(out_channels, in_channels / groups, *K)``.
        bias: ``(out_channels,)`` or None.
        stride: S.
        padding: ``(lo, hi)``.
        dilation: D.
        groups: Number of groups.
        lowering: How to compute it; None takes the current one.

    Returns:
        ``(batch, out_channels, *O)`` with ``O = (I + lo + hi - D*(K - 1) - 1) // S + 1``, unbatched if the input is.

    Raises:
        RuntimeError: If shapes, dtypes, devices or hyper-parameters do not fit.
        TypeError: If an argument has the wrong type.
        ValueError: If there is no such lowering.

    Example:
        >>> import torch
        >>> from ndconv.functional import convnd
        >>> light_field, weight = torch.rand(1, 3, 5, 5, 8, 8), torch.rand(4, 3, 3, 3, 3, 3)
        >>> convnd(light_field, weight, stride=(1, 1, 2, 2), padding="same").shape
        torch.Size([1, 4, 5, 5, 4, 4])
    """
    return _convolve("convnd", None, input, weight, bias, stride, padding, dilation, groups, lowering)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    lowering: str | None = None,
) -> Tensor:
    """As `convnd` with N = 1; drop-in for `torch.nn.functional.conv1d`.

    Example:
        >>> import torch
        >>> from ndconv.functional import conv1d
        >>> conv1d(torch.tensor([[[1.0, 2.0, 4.0, 8.0]]]), torch.tensor([[[1.0, -1.0]]]), padding="causal")
        tensor([[[-1., -1., -2., -4.]]])
    """
    return _convolve("conv1d", 1, input, weight, bias, stride, padding, dilation, groups, lowering)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    lowering: str | None = None,
) -> Tensor:
    """As `convnd` with N = 2; drop-in for `torch.nn.functional.conv2d`.

    Example:
        >>> import torch
        >>> from ndconv.functional import conv2d
        >>> conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3), padding=1)
        tensor([[[[4., 6., 4.],
                  [6., 9., 6.],
                  [4., 6., 4.]]]])
    """
    return _convolve("conv2d", 2, input, weight, bias, stride, padding, dilation, groups, lowering)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    lowering: str | None = None,
) -> Tensor:
    """As `convnd` with N = 3; drop-in for `torch.nn.functional.conv3d`.

    Example:
        >>> import torch
        >>> from ndconv.functional import conv3d
        >>> conv3d(torch.ones(2, 4, 8, 8, 8), torch.ones(6, 2, 3, 3, 3), stride=2, groups=2).shape
        torch.Size([2, 6, 3, 3, 3])
    """
    return _convolve("conv3d", 3, input, weight, bias, stride, padding, dilation, groups, lowering)
