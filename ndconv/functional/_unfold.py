"""Windows as columns and back (im2col and col2im), for any number of axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from ndconv import _rules
from ndconv._autograd.linear import linear
from ndconv._form.geometry import Convolution
from ndconv._programs.windows import fold, kernel_first, windows
from ndconv._rules import IntOrInts, Padding
from ndconv._tensors.direct import pad, unpad


def _columns(x: Tensor, convolution: Convolution) -> Tensor:
    """``(n, c, *I) -> (n, c * prod(K), prod(O))``."""
    geometry, positions = convolution.geometry, convolution.output_size
    padded = pad(x, geometry.fit(convolution.input_size, geometry.reach(positions)))
    view = kernel_first(windows(padded.unsqueeze(1), geometry), geometry.ndim)
    columns: Tensor = view.reshape(x.shape[0], x.shape[1] * math.prod(geometry.kernel), math.prod(positions))
    return columns


def _image(columns: Tensor, convolution: Convolution) -> Tensor:
    """Adjoint of `_columns`."""
    geometry, positions = convolution.geometry, convolution.output_size
    channels = columns.shape[1] // math.prod(geometry.kernel)
    apart = columns.reshape(columns.shape[0], 1, channels, *geometry.kernel, *positions)
    padded = fold(apart, geometry).squeeze(1)
    return unpad(padded, geometry.fit(convolution.input_size, geometry.reach(positions))).contiguous()


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
        kernel_size: K. A tuple, here and below, has N entries, be it one; without any, the input counts as batched.
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
    _rules.tensor("unfoldnd", "input", input)
    convolution = _rules.unfolding("unfoldnd", input.shape, kernel_size, dilation, padding, stride)
    batched = input.dim() == convolution.geometry.ndim + 2
    there, back = partial(_columns, convolution=convolution), partial(_image, convolution=convolution)
    return linear(there, back, input) if batched else linear(there, back, input.unsqueeze(0)).squeeze(0)


def foldnd(
    input: Tensor,
    output_size: Sequence[int],
    kernel_size: IntOrInts,
    dilation: IntOrInts = 1,
    padding: Padding = 0,
    stride: IntOrInts = 1,
) -> Tensor:
    """Add columns up into windows (col2im): `torch.nn.functional.fold` for ``N = len(output_size)`` axes.

    ``output[n, c, i] = sum over k, o with i = S*o + D*k - lo of input[n, (c, k), o]``, added in a fixed order. The
    adjoint of `unfoldnd`; any dtype.

    Args:
        input: ``(batch, channels * prod(K), prod(O))`` or unbatched.
        output_size: I, whose length is N.
        kernel_size: K. A tuple, here and below, has N entries.
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
    _rules.tensor("foldnd", "input", input)
    arguments = kernel_size, dilation, padding, stride
    convolution = _rules.unfolding("foldnd", input.shape, *arguments, output_size=output_size)
    there, back = partial(_image, convolution=convolution), partial(_columns, convolution=convolution)
    return linear(there, back, input) if input.dim() == 3 else linear(there, back, input.unsqueeze(0)).squeeze(0)
