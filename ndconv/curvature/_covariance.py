"""Covariances of windows and of output gradients: the factors of K-FAC, the Hessians of GPTQ."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ndconv import _rules
from ndconv._fixed import of_convolutions, over
from ndconv._rules import Asked, IntOrInts
from ndconv._statistics import covariances
from ndconv._statistics.operands import Operands, position_sums
from ndconv._tensors import tensor_rules

Kind = Literal["expand", "reduce"]
KINDS = "expand", "reduce"


@torch.no_grad()
def _input_covariance(
    asked: Asked, input: Tensor, kernel_size: IntOrInts, *, kind: Kind = "expand", bias: bool = False
) -> Tensor:
    function = asked.function
    tensor_rules.tensors(function, input=input)
    tensor_rules.summable(function, "input", input)
    _rules.choice(function, "kind", kind, KINDS)
    further = {"stride": asked.stride, "padding": asked.padding, "dilation": asked.dilation}
    kernel = _rules.kernel(function, asked.ndim, input.shape, kernel_size, **further)
    channels = input.shape[input.dim() - len(kernel) - 1]
    groups = _rules.divided(function, "input", channels, asked.groups)
    weight = (channels, 1, *kernel) if asked.transposed else (groups, channels // groups, *kernel)
    operands = Operands(asked.convolution(input.shape, weight, ("input", "kernel_size")), asked.transposed)
    return windows(operands, operands.batched(input), kind, bias)


def windows(operands: Operands, source: Tensor, kind: Kind, bias: bool) -> Tensor:
    """The covariance of the windows of an operation's batched input."""
    covariance = covariances.expand(operands, source) if kind == "expand" else None
    if covariance is not None and not bias:
        return covariance
    sums, count = covariances.reduced(operands, source), operands.results
    if covariance is None:
        ones = sums.new_full((*sums.shape[:2], 1), count)
        return covariances.outer((torch.cat([sums, ones], 2) if bias else sums).unsqueeze(-1))
    total = sums.sum(0).unsqueeze(-1)
    corner = total.new_full((len(total), 1, 1), len(source) * count)
    return torch.cat([torch.cat([covariance, total], 2), torch.cat([total.mH, corner], 2)], 1)


def _output_covariance(
    function: str, ndim: int | None, grad_output: Tensor, groups: int = 1, *, kind: Kind = "expand"
) -> Tensor:
    tensor_rules.tensors(function, grad_output=grad_output)
    tensor_rules.summable(function, "grad_output", grad_output)
    _rules.choice(function, "kind", kind, KINDS)
    _rules.biased(function, tuple(grad_output.shape), ndim, False)
    batched = grad_output if ndim is None or grad_output.dim() == ndim + 2 else grad_output.unsqueeze(0)
    _rules.divided(function, "grad_output", batched.shape[1], groups)
    with torch.no_grad():
        return outputs(batched, groups, kind)


def outputs(batched: Tensor, groups: int, kind: Kind) -> Tensor:
    """The covariance of a gradient ``(n, g*d, *O)``."""
    if kind == "expand":
        return covariances.outputs(batched, groups)
    return covariances.outer(position_sums(batched).unflatten(1, (groups, -1)).unsqueeze(-1))


@over(None, _output_covariance)
def convnd_output_covariance() -> None:
    """Covariance of the output gradients of a convolution, transposed or not: the output factor of K-FAC.

    ``B[g, d, e] = sum over n, o of y[n, g, d, o] * conj(y[n, g, e, o])``, where ``y`` is the output gradient. With
    ``kind="reduce"`` it is summed over positions before the product. The sum is not divided by anything: scale it as
    your method does. Sources: see `convnd_input_covariance`.

    Args:
        grad_output: ``(batch, out_channels, *O)`` with any number of axes. Never unbatched, which would look like one
            axis less.
        groups: Number of groups, each with a matrix of its own.
        kind: ``"expand"`` treats positions as samples (KFC), ``"reduce"`` sums over them first.

    Returns:
        ``(groups, out_channels / groups, out_channels / groups)``, float32 for half types; not differentiable.

    Raises:
        RuntimeError: If the shape does not fit the groups.
        NotImplementedError: If the dtype is an integer type.
        TypeError: If an argument has the wrong type.
        ValueError: If there is no such kind.

    Example:
        >>> import torch
        >>> from ndconv.curvature import convnd_output_covariance
        >>> convnd_output_covariance(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
        tensor([[[ 5., 11.],
                 [11., 25.]]])
    """


@of_convolutions(None, False, _input_covariance)
def convnd_input_covariance() -> None:
    """Covariance of a convolution's windows: the input factor of K-FAC, the Hessian of a layer in GPTQ.

    ``A[g, a, b] = sum over n, o of X[n, g, a, o] * conj(X[n, g, b, o])``, with ``a = (c, k)`` in the order of
    ``weight.flatten(1)``; for transposed convolutions, in that of ``weight.transpose(0, 1).flatten(1)`` in each group.
    With ``kind="reduce"`` windows are summed over positions before the product. The sum is not divided by anything: KFC
    divides it by the batch, others by the positions too. Windows are copied in blocks, or products that windows share
    are computed once: ``plan(...).statistics`` tells which. Sources: `Grosse and Martens (2016)
    <https://arxiv.org/abs/1602.01407>`_, `Eschenhagen et al. (2023) <https://arxiv.org/abs/2311.00636>`_, `Frantar et
    al. (2023) <https://arxiv.org/abs/2210.17323>`_.

    Args:
        input: ``(batch, in_channels, *I)`` or unbatched.
        kernel_size: K. A tuple, here or below, has N entries, even if N is 1. If all are integers, the input counts as
            batched.
        stride: S.
        padding: ``(lo, hi)``.
        dilation: D.
        groups: Number of groups, each with a matrix of its own.
        kind: ``"expand"`` treats positions as samples (KFC), ``"reduce"`` sums over them first.
        bias: Whether to append a row and column for the bias: an input of 1 at every position.
        padding_mode: How the convolution fills its padding.

    Returns:
        ``(groups, A, A)`` with ``A = in_channels / groups * prod(K)``, one more with a bias; float32 for half types;
        not differentiable.

    Raises:
        RuntimeError: If shapes or hyper-parameters do not fit.
        NotImplementedError: If the dtype is an integer type.
        TypeError: If an argument has the wrong type.
        ValueError: If there is no such kind.

    Example:
        >>> import torch
        >>> from ndconv.curvature import convnd_input_covariance
        >>> convnd_input_covariance(torch.tensor([[[1.0, 2.0, 3.0]]]), (2,), bias=True)  # windows (1, 2) and (2, 3)
        tensor([[[ 5.,  8.,  3.],
                 [ 8., 13.,  5.],
                 [ 3.,  5.,  2.]]])
    """


@of_convolutions(None, True, _input_covariance)
def conv_transposend_input_covariance() -> None:
    """As `convnd_input_covariance`, of `ndconv.functional.conv_transposend`."""


@of_convolutions(1, False, _input_covariance)
def conv1d_input_covariance() -> None:
    """As `convnd_input_covariance` with N = 1."""


@of_convolutions(2, False, _input_covariance)
def conv2d_input_covariance() -> None:
    """As `convnd_input_covariance` with N = 2."""


@of_convolutions(3, False, _input_covariance)
def conv3d_input_covariance() -> None:
    """As `convnd_input_covariance` with N = 3."""


@of_convolutions(1, True, _input_covariance)
def conv_transpose1d_input_covariance() -> None:
    """As `conv_transposend_input_covariance` with N = 1."""


@of_convolutions(2, True, _input_covariance)
def conv_transpose2d_input_covariance() -> None:
    """As `conv_transposend_input_covariance` with N = 2."""


@of_convolutions(3, True, _input_covariance)
def conv_transpose3d_input_covariance() -> None:
    """As `conv_transposend_input_covariance` with N = 3."""


@over(1, _output_covariance)
def conv1d_output_covariance() -> None:
    """As `convnd_output_covariance` with N = 1, unbatched too."""


@over(2, _output_covariance)
def conv2d_output_covariance() -> None:
    """As `convnd_output_covariance` with N = 2, unbatched too."""


@over(3, _output_covariance)
def conv3d_output_covariance() -> None:
    """As `convnd_output_covariance` with N = 3, unbatched too."""
