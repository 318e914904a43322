"""Norms and inner products of per-sample weight gradients, without the gradients."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ndconv import _rules
from ndconv._fixed import of_convolutions
from ndconv._rules import Asked
from ndconv._statistics import norms
from ndconv._statistics.operands import Operands
from ndconv._tensors import tensor_rules

_NAMES = "input", "weight_size"


def _sqnorm(
    asked: Asked, input: Tensor, weight_size: Sequence[int], grad_output: Tensor, *, method: str = "auto"
) -> Tensor:
    operands = _operands(asked, input, weight_size, grad_output)
    _rules.choice(asked.function, "method", method, ("auto", *norms.METHODS))
    result = norms.sqnorm(operands, *operands.ordered(input, grad_output), method)
    return result if operands.is_batched(input) else result.squeeze(0)


def _dot(asked: Asked, input: Tensor, vector: Tensor, grad_output: Tensor) -> Tensor:
    tensor_rules.tensors(asked.function, input=input, vector=vector, grad_output=grad_output)
    operands = _operands(asked, input, vector.shape, grad_output, ("input", "vector"))
    x, y = operands.ordered(input, grad_output)
    result = norms.dot(operands, x, vector, y)
    return result if operands.is_batched(input) else result.squeeze(0)


def _gram(
    asked: Asked,
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    *,
    other: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    operands = _operands(asked, input, weight_size, grad_output)
    second = None
    if other is not None:
        pair = tensor_rules.pair(asked.function, "other", other)
        tensor_rules.tensors(asked.function, input=input, other=pair[0], grad_output=pair[1])
        beside = _operands(asked, pair[0], weight_size, pair[1], ("other[0]", "weight_size"))
        if beside != operands:
            rule = f"other must have samples of the input's size {operands.asked.input_size}"
            _rules.refuse(asked.function, rule, f"has {beside.asked.input_size}")
        second = operands.ordered(*pair)
    result = norms.gram(operands, *operands.ordered(input, grad_output), second)
    if other is not None and not operands.is_batched(other[0]):
        result = result.squeeze(1)
    if not operands.is_batched(input):
        result = result.squeeze(0) if other is not None else result.squeeze()
    return result


def _operands(
    asked: Asked, input: Tensor, weight_size: Sequence[int], grad_output: Tensor, names: tuple[str, str] = _NAMES
) -> Operands:
    tensor_rules.tensors(asked.function, input=input, grad_output=grad_output)
    tensor_rules.summable(asked.function, "input", input)
    size = _rules.sizes(asked.function, names[1], weight_size)
    return Operands(asked.of_gradient(input.shape, size, grad_output.shape, names), asked.transposed)


@of_convolutions(None, False, _sqnorm)
def convnd_weight_sqnorm() -> None:
    """Squared norm of each sample's weight gradient, without storing it: the *ghost norm* of differential privacy.

    ``|G_n|^2`` with ``G_n = convnd_weight(..., per_sample=True)[n]``. It comes from the gradients of a few samples at a
    time, or from Gram matrices over positions, ``sum over o, o' of <X_n[o], X_n[o']> * <y_n[o], y_n[o']>`` in each
    group, where ``X_n`` are the windows of the input and ``y_n`` is the output gradient. For the bias, take
    ``convnd_bias(grad_output, per_sample=True).square().sum(1)``. See `Goodfellow (2015)
    <https://arxiv.org/abs/1510.01799>`_ and, for convolutions, `Bu et al. (2022) <https://arxiv.org/abs/2205.10683>`_.

    Args:
        input: ``(batch, in_channels, *I)`` or unbatched.
        weight_size: Shape of the weight, ``(out_channels, in_channels / groups, *K)``.
        grad_output: ``(batch, out_channels, *O)``, the shape of the convolution's output.
        stride: S.
        padding: ``(lo, hi)``.
        dilation: D.
        groups: Number of groups.
        method: ``"gram"``, ``"gradient"``, or ``"auto"`` for the cheaper one by the machine's rates.
        padding_mode: How the convolution fills its padding.

    Returns:
        ``(batch,)``, ``()`` if unbatched: real, float32 for half types. Differentiable.

    Raises:
        RuntimeError: If shapes, devices or hyper-parameters do not fit.
        NotImplementedError: If the dtype is an integer type.
        TypeError: If an argument has the wrong type.
        ValueError: If there is no such method.

    Example:
        >>> import torch
        >>> from ndconv.grad import convnd_weight, convnd_weight_sqnorm
        >>> x, y = torch.ones(2, 4, 6, 6), torch.ones(2, 8, 4, 4)
        >>> convnd_weight_sqnorm(x, (8, 2, 3, 3), y, groups=2)
        tensor([36864., 36864.])
        >>> convnd_weight(x, (8, 2, 3, 3), y, groups=2, per_sample=True).square().sum((1, 2, 3, 4))
        tensor([36864., 36864.])
    """


@of_convolutions(None, True, _sqnorm)
def conv_transposend_weight_sqnorm() -> None:
    """As `convnd_weight_sqnorm`, of `ndconv.functional.conv_transposend`."""


@of_convolutions(1, False, _sqnorm)
def conv1d_weight_sqnorm() -> None:
    """As `convnd_weight_sqnorm` with N = 1."""


@of_convolutions(2, False, _sqnorm)
def conv2d_weight_sqnorm() -> None:
    """As `convnd_weight_sqnorm` with N = 2."""


@of_convolutions(3, False, _sqnorm)
def conv3d_weight_sqnorm() -> None:
    """As `convnd_weight_sqnorm` with N = 3."""


@of_convolutions(1, True, _sqnorm)
def conv_transpose1d_weight_sqnorm() -> None:
    """As `conv_transposend_weight_sqnorm` with N = 1."""


@of_convolutions(2, True, _sqnorm)
def conv_transpose2d_weight_sqnorm() -> None:
    """As `conv_transposend_weight_sqnorm` with N = 2."""


@of_convolutions(3, True, _sqnorm)
def conv_transpose3d_weight_sqnorm() -> None:
    """As `conv_transposend_weight_sqnorm` with N = 3."""


@of_convolutions(None, False, _dot)
def convnd_weight_dot() -> None:
    """Inner product of each sample's weight gradient with a vector: the derivative of each loss along it.

    ``<G_n, vector> = sum over d, o of conv(input_n, vector)[d, o] * grad_output[n, d, o]``: one convolution and no
    gradient. ``G_n`` is conjugated, as the first argument of `torch.vdot`.

    Args:
        input: ``(batch, in_channels, *I)`` or unbatched.
        vector: Shaped as the weight, ``(out_channels, in_channels / groups, *K)``.
        grad_output: ``(batch, out_channels, *O)``, the shape of the convolution's output.
        stride: S.
        padding: ``(lo, hi)``.
        dilation: D.
        groups: Number of groups.
        padding_mode: How the convolution fills its padding.

    Returns:
        ``(batch,)``, ``()`` if unbatched; float32 for half types. Differentiable.

    Raises:
        RuntimeError: If shapes, dtypes, devices or hyper-parameters do not fit.
        NotImplementedError: If the dtype is an integer type.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ndconv.grad import convnd_weight_dot
        >>> x, vector = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), torch.tensor([[[1.0, 0.0, 2.0]]])
        >>> convnd_weight_dot(x, vector, torch.tensor([[[1.0, 10.0]]]))  # of the gradient (21, 32, 43)
        tensor([107.])
    """


@of_convolutions(None, True, _dot)
def conv_transposend_weight_dot() -> None:
    """As `convnd_weight_dot`, of `ndconv.functional.conv_transposend`."""


@of_convolutions(1, False, _dot)
def conv1d_weight_dot() -> None:
    """As `convnd_weight_dot` with N = 1."""


@of_convolutions(2, False, _dot)
def conv2d_weight_dot() -> None:
    """As `convnd_weight_dot` with N = 2."""


@of_convolutions(3, False, _dot)
def conv3d_weight_dot() -> None:
    """As `convnd_weight_dot` with N = 3."""


@of_convolutions(1, True, _dot)
def conv_transpose1d_weight_dot() -> None:
    """As `conv_transposend_weight_dot` with N = 1."""


@of_convolutions(2, True, _dot)
def conv_transpose2d_weight_dot() -> None:
    """As `conv_transposend_weight_dot` with N = 2."""


@of_convolutions(3, True, _dot)
def conv_transpose3d_weight_dot() -> None:
    """As `conv_transposend_weight_dot` with N = 3."""


@of_convolutions(None, False, _gram)
def convnd_weight_gram() -> None:
    """Inner products of all samples' weight gradients: a block of the empirical neural tangent kernel.

    ``<G_n, H_m>``, where ``H`` are the gradients of ``other``, or ``G`` if it is None. Memory holds the gradients of a
    few output channels of all samples at a time, or Gram matrices over positions. ``G_n`` is conjugated, as the first
    argument of `torch.vdot`. See `Novak et al. (2022) <https://arxiv.org/abs/2206.08720>`_.

    Args:
        input: ``(batch, in_channels, *I)`` or unbatched.
        weight_size: Shape of the weight, ``(out_channels, in_channels / groups, *K)``.
        grad_output: ``(batch, out_channels, *O)``, the shape of the convolution's output.
        stride: S.
        padding: ``(lo, hi)``.
        dilation: D.
        groups: Number of groups.
        other: Input and output gradient of M other samples of the same size.
        padding_mode: How the convolution fills its padding.

    Returns:
        ``(batch, M)`` or ``(batch, batch)``, without the axes of unbatched inputs; float32 for half types.
        Differentiable.

    Raises:
        RuntimeError: If shapes, dtypes, devices or hyper-parameters do not fit.
        NotImplementedError: If the dtype is an integer type.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ndconv.grad import convnd_weight_gram
        >>> x, y = torch.tensor([[[1.0, 2.0, 3.0]], [[0.0, 1.0, 0.0]]]), torch.ones(2, 1, 2)
        >>> convnd_weight_gram(x, (1, 1, 2), y)  # of the gradients (3, 5) and (1, 1)
        tensor([[34.,  8.],
                [ 8.,  2.]])
    """


@of_convolutions(None, True, _gram)
def conv_transposend_weight_gram() -> None:
    """As `convnd_weight_gram`, of `ndconv.functional.conv_transposend`."""


@of_convolutions(1, False, _gram)
def conv1d_weight_gram() -> None:
    """As `convnd_weight_gram` with N = 1."""


@of_convolutions(2, False, _gram)
def conv2d_weight_gram() -> None:
    """As `convnd_weight_gram` with N = 2."""


@of_convolutions(3, False, _gram)
def conv3d_weight_gram() -> None:
    """As `convnd_weight_gram` with N = 3."""


@of_convolutions(1, True, _gram)
def conv_transpose1d_weight_gram() -> None:
    """As `conv_transposend_weight_gram` with N = 1."""


@of_convolutions(2, True, _gram)
def conv_transpose2d_weight_gram() -> None:
    """As `conv_transposend_weight_gram` with N = 2."""


@of_convolutions(3, True, _gram)
def conv_transpose3d_weight_gram() -> None:
    """As `conv_transposend_weight_gram` with N = 3."""
