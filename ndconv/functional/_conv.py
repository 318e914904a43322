"""Convolution functions, and the one path from their arguments to a result."""

from __future__ import annotations

from torch import Tensor

from ndconv import _rules
from ndconv._autograd.convolution import compute_output, known
from ndconv._fixed import over
from ndconv._form.geometry import Convolution, Slot
from ndconv._planner.selection import get_lowering, resolve
from ndconv._rules import IntOrInts, Padding
from ndconv._tensors import tensor_rules
from ndconv._tensors.autocast import autocast_device, cast
from ndconv._tensors.tracing import shape


def convolve(
    function: str,
    ndim: int | None,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    lowering: str | None = None,
) -> Tensor:
    """`convnd` under the name of a function or module, for N axes or as many as the weight has."""
    wanted = get_lowering() if lowering is None else lowering
    asked = ndim, stride, padding, dilation, groups, padding_mode, wanted
    if (result := known(Slot.OUTPUT, input, weight, bias, asked, _checked, function)) is not None:
        return result
    if (kind := autocast_device(input)) is not None:
        input, weight, bias = cast(input, kind), cast(weight, kind), cast(bias, kind)
    return compute_output(*_checked(function, input, weight, bias, *asked), input, weight, bias)


def _checked(
    function: str,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ndim: int | None,
    stride: IntOrInts,
    padding: Padding,
    dilation: IntOrInts,
    groups: int,
    mode: str,
    lowering: str,
) -> tuple[Convolution, str]:
    """Check a call; the convolution and the lowering that it asks for."""
    tensor_rules.tensors(function, input=input, weight=weight, bias=bias, shards=True)
    convolution = _rules.convolution(
        function, shape(input), shape(weight), stride, padding, dilation, groups, mode=mode, ndim=ndim
    )
    tensor_rules.placed(function, convolution.geometry.ndim, {"weight": weight, "bias": bias}, input=input)
    if bias is not None:
        _rules.bias(function, shape(weight)[0], shape(bias))
    return convolution, resolve(function, lowering)


@over(None, convolve)
def convnd() -> None:
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
        padding_mode: How padding is filled.
        lowering: How to compute it; None takes the current lowering.

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


@over(1, convolve)
def conv1d() -> None:
    """As `convnd` with N = 1; drop-in for `torch.nn.functional.conv1d`.

    Example:
        >>> import torch
        >>> from ndconv.functional import conv1d
        >>> conv1d(torch.tensor([[[1.0, 2.0, 4.0, 8.0]]]), torch.tensor([[[1.0, -1.0]]]), padding="causal")
        tensor([[[-1., -1., -2., -4.]]])
    """


@over(2, convolve)
def conv2d() -> None:
    """As `convnd` with N = 2; drop-in for `torch.nn.functional.conv2d`.

    Example:
        >>> import torch
        >>> from ndconv.functional import conv2d
        >>> conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3), padding=1)
        tensor([[[[4., 6., 4.],
                  [6., 9., 6.],
                  [4., 6., 4.]]]])
    """


@over(3, convolve)
def conv3d() -> None:
    """As `convnd` with N = 3; drop-in for `torch.nn.functional.conv3d`.

    Example:
        >>> import torch
        >>> from ndconv.functional import conv3d
        >>> conv3d(torch.ones(2, 4, 8, 8, 8), torch.ones(6, 2, 3, 3, 3), stride=2, groups=2).shape
        torch.Size([2, 6, 3, 3, 3])
    """
