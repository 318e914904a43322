"""Sums of squared weight gradients, and gradients projected from both sides."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ndconv import _rules
from ndconv._fixed import of_convolutions
from ndconv._rules import Asked
from ndconv._statistics import squares
from ndconv._statistics.operands import Operands
from ndconv._tensors import tensor_rules


@torch.no_grad()
def _square(asked: Asked, input: Tensor, weight_size: Sequence[int], grad_output: Tensor) -> Tensor:
    function, names = asked.function, ("input", "weight_size")
    tensor_rules.tensors(function, input=input, grad_output=grad_output)
    tensor_rules.summable(function, "input", input)
    size = _rules.sizes(function, "weight_size", weight_size)
    several = grad_output.dim() == input.dim() + 1
    one = grad_output.shape[1:] if several else grad_output.shape
    operands = Operands(asked.of_gradient(input.shape, size, one, names), asked.transposed)
    vectors = grad_output if several else grad_output.unsqueeze(0)
    if not operands.is_batched(input):
        input, vectors = input.unsqueeze(0), vectors.unsqueeze(1)
    # Vectors are further channels of each group.
    apart = vectors.unflatten(2, (operands.geometry.groups, vectors.shape[2] // operands.geometry.groups))
    joined = apart.permute(1, 2, 0, *range(3, apart.dim())).flatten(1, 3)
    return squares.square(operands, *operands.ordered(input, joined), len(vectors))


@torch.no_grad()
def _project(asked: Asked, input: Tensor, left: Tensor, right: Tensor, grad_output: Tensor) -> Tensor:
    function = asked.function
    tensor_rules.tensors(function, input=input, left=left, right=right, grad_output=grad_output)
    tensor_rules.summable(function, "input", input)
    size = _rules.projected(function, asked.ndim, asked.groups, left.shape, right.shape, transposed=asked.transposed)
    found = asked.of_gradient(input.shape, size, grad_output.shape, ("input", "left and right"))
    operands = Operands(found, asked.transposed)
    result = squares.project(operands, *operands.ordered(input, grad_output), left, right)
    return result if operands.is_batched(input) else result.squeeze(0)


@of_convolutions(None, False, _square)
def convnd_weight_square() -> None:
    """Sum over samples of the squared weight gradients: the diagonal of the empirical Fisher matrix.

    ``sum over n of |G_n|^2``, element by element, of the per-sample gradients of `ndconv.grad.convnd_weight`. With
    several output gradients per sample, one for each vector that was backpropagated, the sum is over these too: the
    diagonal of a generalised Gauss-Newton matrix (`Dangel et al., 2020 <https://arxiv.org/abs/1912.10985>`_). Memory
    holds the gradients of a few samples at a time.

    Args:
        input: ``(batch, in_channels, *I)`` or unbatched.
        weight_size: Shape of the weight, ``(out_channels, in_channels / groups, *K)``.
        grad_output: ``(batch, out_channels, *O)`` or, for V vectors, ``(V, batch, out_channels, *O)``.
        stride: S.
        padding: ``(lo, hi)``.
        dilation: D.
        groups: Number of groups.
        padding_mode: How the convolution fills its padding.

    Returns:
        Tensor of shape ``weight_size``, real, float32 for half types; not differentiable.

    Raises:
        RuntimeError: If shapes, dtypes, devices or hyper-parameters do not fit.
        NotImplementedError: If the dtype is an integer type.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ndconv.curvature import convnd_weight_square
        >>> x = torch.tensor([[[1.0, 2.0, 3.0]], [[0.0, 1.0, 0.0]]])
        >>> convnd_weight_square(x, (1, 1, 2), torch.ones(2, 1, 2))  # of the gradients (3, 5) and (1, 1)
        tensor([[[10., 26.]]])
    """


@of_convolutions(None, True, _square)
def conv_transposend_weight_square() -> None:
    """As `convnd_weight_square`, of `ndconv.functional.conv_transposend`."""


@of_convolutions(1, False, _square)
def conv1d_weight_square() -> None:
    """As `convnd_weight_square` with N = 1."""


@of_convolutions(2, False, _square)
def conv2d_weight_square() -> None:
    """As `convnd_weight_square` with N = 2."""


@of_convolutions(3, False, _square)
def conv3d_weight_square() -> None:
    """As `convnd_weight_square` with N = 3."""


@of_convolutions(1, True, _square)
def conv_transpose1d_weight_square() -> None:
    """As `conv_transposend_weight_square` with N = 1."""


@of_convolutions(2, True, _square)
def conv_transpose2d_weight_square() -> None:
    """As `conv_transposend_weight_square` with N = 2."""


@of_convolutions(3, True, _square)
def conv_transpose3d_weight_square() -> None:
    """As `conv_transposend_weight_square` with N = 3."""


@of_convolutions(None, False, _project)
def convnd_weight_project() -> None:
    """Each sample's weight gradient, projected from both sides, as for EKFAC's scaling and influence functions.

    ``right @ G_n @ left^T`` in each group, where ``G_n`` has columns ``(c, k)``; nothing is conjugated. ``G_n`` is not
    formed: the input is convolved with ``left``, the output gradient's channels are mixed by ``right``, and the two are
    multiplied. See `George et al. (2018) <https://arxiv.org/abs/1806.03884>`_.

    Args:
        input: ``(batch, in_channels, *I)`` or unbatched.
        left: ``(groups, p, in_channels / groups, *K)``.
        right: ``(groups, q, out_channels / groups)``.
        grad_output: ``(batch, out_channels, *O)``, the shape of the convolution's output.
        stride: S.
        padding: ``(lo, hi)``.
        dilation: D.
        groups: Number of groups.
        padding_mode: How the convolution fills its padding.

    Returns:
        ``(batch, groups, q, p)``, without the batch axis if unbatched; float32 for half types; not differentiable.

    Raises:
        RuntimeError: If shapes, dtypes, devices or hyper-parameters do not fit.
        NotImplementedError: If the dtype is an integer type.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ndconv.curvature import convnd_weight_project
        >>> x, y = torch.rand(8, 6, 9, 9), torch.rand(8, 4, 7, 7)
        >>> left, right = torch.rand(2, 5, 3, 3, 3), torch.rand(2, 1, 2)
        >>> convnd_weight_project(x, left, right, y, groups=2).shape
        torch.Size([8, 2, 1, 5])
    """


@of_convolutions(None, True, _project)
def conv_transposend_weight_project() -> None:
    """As `convnd_weight_project`, of `ndconv.functional.conv_transposend`."""


@of_convolutions(1, False, _project)
def conv1d_weight_project() -> None:
    """As `convnd_weight_project` with N = 1."""


@of_convolutions(2, False, _project)
def conv2d_weight_project() -> None:
    """As `convnd_weight_project` with N = 2."""


@of_convolutions(3, False, _project)
def conv3d_weight_project() -> None:
    """As `convnd_weight_project` with N = 3."""


@of_convolutions(1, True, _project)
def conv_transpose1d_weight_project() -> None:
    """As `conv_transposend_weight_project` with N = 1."""


@of_convolutions(2, True, _project)
def conv_transpose2d_weight_project() -> None:
    """As `conv_transposend_weight_project` with N = 2."""


@of_convolutions(3, True, _project)
def conv_transpose3d_weight_project() -> None:
    """As `conv_transposend_weight_project` with N = 3."""
