"""Sums of squared per-sample gradients and their two-sided projections, without all gradients at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ndconv._autograd.convolution import compute_input, compute_output
from ndconv._planner.choice import AUTO
from ndconv._statistics.operands import Operands, blocks, parts, squares, wide


def square(operands: Operands, x: Tensor, y: Tensor, vectors: int) -> Tensor:
    """The sum of squared absolute gradients over samples, and over several output gradients per sample.

    Args:
        operands: The convolution.
        x: Its input, batched, without border; for a transposed convolution with vectors joined to the channels.
        y: The gradient of its output, batched; for any other, with vectors joined to the features.
        vectors: Number of joined vectors: ``(n, g*v*c, *I)`` or ``(n, g*v*d, *O)``.

    Returns:
        ``(g*d, c, *K)``, real.
    """
    groups = operands.geometry.groups
    channels, features = x.shape[1] // groups, y.shape[1] // groups
    each = operands.gradient_elements(x.shape[1], y.shape[1]) * wide(x[:0]).element_size()
    axis = 3 if operands.transposed else 2  # of (n, g, d, c, *K)
    shape = [groups, features, channels]
    shape[axis - 1] //= vectors
    total = squares(wide(x[:0])).new_zeros(*shape, *operands.geometry.kernel)
    for some in blocks(len(x), each):
        grads = operands.gradients(operands.framed(x[some]), wide(y[some])).unflatten(1, (groups, features))
        _add(total, grads.unflatten(axis, (vectors, -1)), axis)
    return total.flatten(0, 1)


def _add(total: Tensor, grads: Tensor, axis: int) -> None:
    """Add squares over samples and an axis, in one pass for a single large gradient."""
    if grads.shape[0] * grads.shape[axis] != 1:
        total += squares(grads).sum((0, axis))
        return
    for part in (grads.real, grads.imag) if grads.is_complex() else (grads,):
        only = part.view(total.shape)
        total.addcmul_(only, only)


def project(operands: Operands, x: Tensor, y: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """``right @ G_n @ left^T`` of every sample's gradient, by a convolution with ``left`` as the kernel.

    Args:
        operands: The convolution.
        x: Its input, batched, without border.
        y: The gradient of its output, batched.
        left: ``(g, p, c, *K)``; of a transposed convolution ``(g, p, d, *K)``.
        right: ``(g, q, d)``; of a transposed convolution ``(g, q, c)``.

    Returns:
        ``(n, g, q, p)``.
    """
    left, right = wide(left), wide(right)
    groups, first, second = left.shape[0], left.shape[1], right.shape[1]
    each = sum(tensor[:1].numel() for tensor in (x, y)) * left.element_size()
    found = []
    for some in parts(len(x), 2 * each):
        inputs, grads = operands.framed(x[some]), wide(y[some])
        if operands.transposed:
            kernel = left.transpose(1, 2).flatten(0, 1)
            image = compute_input(operands.convolution, AUTO, kernel, grads)
            other = inputs
        else:
            image = compute_output(operands.convolution, AUTO, inputs, left.flatten(0, 1))
            other = grads
        count, space = len(inputs), math.prod(other.shape[2:])
        responses = image.reshape(count, groups, first, space)
        rows = right @ other.reshape(count, groups, right.shape[2], space)
        found.append(rows @ responses.mT)
    return torch.cat(found).reshape(len(x), groups, second, first)
