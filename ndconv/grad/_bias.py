"""Gradients of biases: sums over everything but the channels."""

from __future__ import annotations

from torch import Tensor

from ndconv import _rules
from ndconv._autograd.convolution import compute_bias
from ndconv._fixed import over
from ndconv._tensors import tensor_rules


def _bias(function: str, ndim: int | None, grad_output: Tensor, *, per_sample: bool = False) -> Tensor:
    tensor_rules.tensor(function, "grad_output", grad_output, shards=True)
    _rules.biased(function, tuple(grad_output.shape), ndim, per_sample)
    if ndim is not None and grad_output.dim() == ndim + 1:
        tensor_rules.placed(function, ndim, {}, grad_output=grad_output)
        return compute_bias(grad_output.unsqueeze(0))
    tensor_rules.placed(function, grad_output.dim() - 2, {}, grad_output=grad_output)
    return compute_bias(grad_output, per_sample=per_sample)


@over(None, _bias)
def convnd_bias() -> None:
    """Gradient of a convolution, transposed or not, with respect to its bias.

    ``grad_bias[d] = sum over n, o of grad_output[n, d, o]``; no other argument of the convolution matters.

    Args:
        grad_output: ``(batch, out_channels, *O)`` with any number of axes. Never unbatched, which would look like one
            axis less.
        per_sample: Whether to leave out the sum over ``n``: one gradient for each sample.

    Returns:
        ``(out_channels,)``; ``(batch, out_channels)`` if per sample.

    Raises:
        RuntimeError: If the shape does not fit.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ndconv.grad import convnd_bias
        >>> convnd_bias(torch.ones(2, 3, 4, 4, 4, 4))
        tensor([512., 512., 512.])
    """


@over(1, _bias)
def conv1d_bias() -> None:
    """As `convnd_bias` with N = 1, unbatched too."""


@over(2, _bias)
def conv2d_bias() -> None:
    """As `convnd_bias` with N = 2, unbatched too."""


@over(3, _bias)
def conv3d_bias() -> None:
    """As `convnd_bias` with N = 3, unbatched too."""
