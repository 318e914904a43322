"""Transposed convolution functions: the gradient of a convolution with respect to its input, as an operation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ndconv import _rules
from ndconv._autograd.convolution import compute_input, known
from ndconv._fixed import over
from ndconv._form.geometry import Convolution, Slot
from ndconv._planner.selection import get_lowering, resolve
from ndconv._rules import IntOrInts, Padding
from ndconv._tensors import tensor_rules
from ndconv._tensors.autocast import autocast_device, cast
from ndconv._tensors.tracing import shape


def convolve_transposed(
    function: str,
    ndim: int | None,
    output_size: Sequence[int] | None,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    output_padding: IntOrInts = 0,
    groups: int = 1,
    dilation: IntOrInts = 1,
    *,
    padding_mode: str = "zeros",
    lowering: str | None = None,
) -> Tensor:
    """`conv_transposend` under the name of a function or module, for N axes or as many as the weight has."""
    wanted = get_lowering() if lowering is None else lowering
    asked = ndim, output_size, stride, padding, output_padding, groups, dilation, padding_mode, wanted
    if (result := known(Slot.INPUT, weight, input, bias, asked, _checked, function)) is not None:
        return result
    if (kind := autocast_device(input)) is not None:
        input, weight, bias = cast(input, kind), cast(weight, kind), cast(bias, kind)
    return compute_input(*_checked(function, weight, input, bias, *asked), weight, input, bias)


def _checked(
    function: str,
    weight: Tensor,
    input: Tensor,
    bias: Tensor | None,
    ndim: int | None,
    output_size: Sequence[int] | None,
    stride: IntOrInts,
    padding: Padding,
    output_padding: IntOrInts,
    groups: int,
    dilation: IntOrInts,
    mode: str,
    lowering: str,
) -> tuple[Convolution, str]:
    """Check a call; the convolution and the lowering that it asks for."""
    tensor_rules.tensors(function, input=input, weight=weight, bias=bias, shards=True)
    arguments = stride, padding, output_padding, groups, dilation
    convolution = _rules.transposed(
        function, shape(input), shape(weight), *arguments, output_size=output_size, mode=mode, ndim=ndim
    )
    tensor_rules.placed(function, convolution.geometry.ndim, {"weight": weight, "bias": bias}, input=input)
    if bias is not None:
        _rules.bias(function, convolution.geometry.groups * shape(weight)[1], shape(bias))
    return convolution, resolve(function, lowering)


@over(None, convolve_transposed, None)
def conv_transposend() -> None:
    """Transposed convolution over ``N = weight.dim() - 2`` axes; note that ``groups`` comes before ``dilation``.

    ``output[n, c, i] = bias[c] + sum over d, k, o with i = S*o + D*k - lo of weight[d, c, k] * input[n, d, o]`` in each
    group: the gradient of `convnd`, with the same stride, padding and dilation, with respect to its input.

    Args:
        input: ``(batch, in_channels, *O)`` or unbatched ``(in_channels, *O)``.
        weight: ``(in_channels, out_channels / groups, *K)``.
        bias: ``(out_channels,)`` or None.
        stride: S, by which the output is larger than the input.
        padding: ``(lo, hi)``, the convolution's padding, and so the elements cut off at the two ends of the output.
            ``"same"`` gives ``I = S*O``. So does ``"causal"``, which cuts on the high side only, so that no output sees
            a later input.
        output_padding: Elements added on the high side, less than S or D: it selects one of the output sizes that are
            possible with a stride.
        groups: Number of groups.
        dilation: D.
        padding_mode: How the convolution fills its padding. All but ``"zeros"`` add the elements that would be cut
            off to those that the convolution's padding copies.
        lowering: How to compute it; None takes the current lowering.

    Returns:
        ``(batch, out_channels, *I)`` with ``I = (O - 1)*S - lo - hi + D*(K - 1) + output_padding + 1``, unbatched if
        the input is.

    Raises:
        RuntimeError: If shapes, dtypes, devices or hyper-parameters do not fit.
        TypeError: If an argument has the wrong type.
        ValueError: If there is no such lowering.

    Example:
        >>> import torch
        >>> from ndconv.functional import conv_transposend
        >>> conv_transposend(torch.tensor([[[1.0, 10.0]]]), torch.tensor([[[1.0, 2.0, 3.0]]]), stride=2)
        tensor([[[ 1.,  2., 13., 20., 30.]]])
    """


@over(1, convolve_transposed, None)
def conv_transpose1d() -> None:
    """As `conv_transposend` with N = 1; drop-in for `torch.nn.functional.conv_transpose1d`.

    Example:
        >>> import torch
        >>> from ndconv.functional import conv_transpose1d
        >>> conv_transpose1d(torch.ones(1, 1, 3), torch.tensor([[[1.0, 2.0]]]), stride=3, padding="causal")
        tensor([[[1., 2., 0., 1., 2., 0., 1., 2., 0.]]])
    """


@over(2, convolve_transposed, None)
def conv_transpose2d() -> None:
    """As `conv_transposend` with N = 2; drop-in for `torch.nn.functional.conv_transpose2d`.

    Example:
        >>> import torch
        >>> from ndconv.functional import conv_transpose2d
        >>> conv_transpose2d(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
        tensor([[[[1., 2., 1.],
                  [2., 4., 2.],
                  [1., 2., 1.]]]])
    """


@over(3, convolve_transposed, None)
def conv_transpose3d() -> None:
    """As `conv_transposend` with N = 3; drop-in for `torch.nn.functional.conv_transpose3d`.

    Example:
        >>> import torch
        >>> from ndconv.functional import conv_transpose3d
        >>> conv_transpose3d(
        ...     torch.ones(2, 4, 3, 3, 3), torch.ones(4, 2, 2, 2, 2), stride=2, output_padding=1, groups=2
        ... ).shape
        torch.Size([2, 4, 7, 7, 7])
    """
