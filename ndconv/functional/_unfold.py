"""Unfold windows into columns (im2col) and fold them back (col2im), for any number of axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from ndconv import _rules
from ndconv._autograd.linear import linear
from ndconv._form.geometry import Convolution
from ndconv._rules import Asked, IntOrInts, Padding
from ndconv._tensors import tensor_rules
from ndconv._tensors.columns import folded, folded_transposed, unfolded, unfolded_transposed


def _mapped(
    there: Callable[..., Tensor], back: Callable[..., Tensor], convolution: Convolution, input: Tensor, dims: int
) -> Tensor:
    """Apply a linear map whose backward is ``back``, to an input that is batched if it has ``dims`` dimensions."""
    maps = partial(there, convolution=convolution), partial(back, convolution=convolution)
    return linear(*maps, input) if input.dim() == dims else linear(*maps, input.unsqueeze(0)).squeeze(0)


def unfoldnd(
    input: Tensor,
    kernel_size: IntOrInts,
    dilation: IntOrInts = 1,
    padding: Padding = 0,
    stride: IntOrInts = 1,
) -> Tensor:
    """Copy every window of the input into a column (im2col): `torch.nn.functional.unfold` for any number of axes.

    ``output[n, (c, k), o] = input[n, c, S*o + D*k - lo]``. The adjoint of `foldnd`; any dtype.

    Args:
        input: ``(batch, channels, *I)`` or unbatched ``(channels, *I)``.
        kernel_size: K. A tuple, here or below, has N entries, even if N is 1. If all are integers, the input counts as
            batched.
        dilation: D.
        padding: ``(lo, hi)``, as in `ndconv.functional`.
        stride: S.

    Returns:
        ``(batch, channels * prod(K), prod(O))``, unbatched if the input is.

    Raises:
        RuntimeError: If shapes or hyper-parameters do not fit.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ndconv.functional import unfoldnd
        >>> unfoldnd(torch.arange(5).view(1, 1, 5), 3)
        tensor([[[0, 1, 2],
                 [1, 2, 3],
                 [2, 3, 4]]])
    """
    tensor_rules.tensor("unfoldnd", "input", input)
    convolution = _rules.unfolding("unfoldnd", input.shape, kernel_size, dilation, padding, stride)
    return _mapped(unfolded, folded, convolution, input, convolution.geometry.ndim + 2)


def unfold_transposend(
    input: Tensor,
    kernel_size: IntOrInts,
    dilation: IntOrInts = 1,
    padding: Padding = 0,
    stride: IntOrInts = 1,
    output_padding: IntOrInts = 0,
) -> Tensor:
    """Copy the inputs that each output element of a transposed convolution sums into a column (its im2col).

    ``output[n, (d, k), i] = input[n, d, o]`` where ``i = S*o + D*k - lo``, and 0 where there is no such ``o``. So
    ``conv_transposend(input, weight) = weight.transpose(0, 1).flatten(1) @ output``. Any dtype.

    Args:
        input: ``(batch, channels, *O)`` or unbatched ``(channels, *O)``.
        kernel_size: K. A tuple, here or below, has N entries, even if N is 1. If all are integers, the input counts as
            batched.
        dilation: D.
        padding: ``(lo, hi)``, as in `ndconv.functional`.
        stride: S.
        output_padding: Elements added on the high side.

    Returns:
        ``(batch, channels * prod(K), prod(I))``, unbatched if the input is.

    Raises:
        RuntimeError: If shapes or hyper-parameters do not fit.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ndconv.functional import unfold_transposend
        >>> unfold_transposend(torch.tensor([[[1, 2]]]), 3, stride=2)
        tensor([[[1, 0, 2, 0, 0],
                 [0, 1, 0, 2, 0],
                 [0, 0, 1, 0, 2]]])
    """
    function = "unfold_transposend"
    tensor_rules.tensor(function, "input", input)
    further = {"dilation": dilation, "padding": padding, "stride": stride, "output_padding": output_padding}
    kernel = _rules.kernel(function, None, input.shape, kernel_size, **further)
    channels = input.shape[input.dim() - len(kernel) - 1]
    asked = Asked(function, len(kernel), True, stride, padding, dilation, output_padding=output_padding)
    convolution = asked.convolution(input.shape, (channels, 1, *kernel), ("input", "kernel_size"))
    return _mapped(unfolded_transposed, folded_transposed, convolution, input, len(kernel) + 2)


def foldnd(
    input: Tensor,
    output_size: Sequence[int],
    kernel_size: IntOrInts,
    dilation: IntOrInts = 1,
    padding: Padding = 0,
    stride: IntOrInts = 1,
) -> Tensor:
    """Add columns into their windows (col2im): `torch.nn.functional.fold` for ``N = len(output_size)`` axes.

    ``output[n, c, i] = sum over k, o with i = S*o + D*k - lo of input[n, (c, k), o]``, added in a fixed order. The
    adjoint of `unfoldnd`; any dtype.

    Args:
        input: ``(batch, channels * prod(K), prod(O))`` or unbatched.
        output_size: I, whose length is N.
        kernel_size: K. A tuple, here or below, has N entries.
        dilation: D.
        padding: ``(lo, hi)``, as in `ndconv.functional`.
        stride: S.

    Returns:
        ``(batch, channels, *I)``, unbatched if the input is.

    Raises:
        RuntimeError: If shapes or hyper-parameters do not fit.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ndconv.functional import foldnd
        >>> foldnd(torch.ones(1, 3, 3, dtype=torch.int8), (5,), 3)
        tensor([[[1, 2, 3, 2, 1]]], dtype=torch.int8)
    """
    tensor_rules.tensor("foldnd", "input", input)
    arguments = kernel_size, dilation, padding, stride
    convolution = _rules.unfolding("foldnd", input.shape, *arguments, output_size=output_size)
    return _mapped(folded, unfolded, convolution, input, 3)
