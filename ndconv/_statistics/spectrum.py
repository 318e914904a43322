"""The largest singular value of a convolution as a linear map, from below and from above.

From below by Krylov iteration with OUTPUT and INPUT: the factor by which a vector is stretched is at most the norm.

From above by the kernel's symbol. A convolution with stride 1 on a torus multiplies each frequency ``theta`` by the
matrix ``W(theta) = sum over k of w[:, :, k] * exp(-i <k, theta>)``, so its norm is the largest of theirs. Padded with
zeros it is a part of one on a larger torus (Sedghi et al., 2019, `arXiv:1805.10408
<https://arxiv.org/abs/1805.10408>`_). A strided convolution is a part of one with stride 1 whose input channels are the
residues of the stride. The norm of a matrix is at most the 2t-th root of the Frobenius norm of the t-th power of its
Gram matrix (Delattre et al., 2023, `arXiv:2305.16173 <https://arxiv.org/abs/2305.16173>`_). Between the M points of a
grid, a trigonometric polynomial of degree r is at most ``1 / cos(pi * r / M)`` times its largest value on the grid
(Ehlich and Zeller, 1964), with one such factor for each axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ndconv._autograd.convolution import compute_input, compute_output
from ndconv._form.geometry import Ints
from ndconv._planner.choice import AUTO
from ndconv._statistics.operands import Operands, blocks, real
from ndconv._tensors.borders import retract

# Number of squarings of Gram matrices: a matrix of rank r is overestimated by at most r**(1 / 2**_SQUARINGS).
_SQUARINGS = 9
# Points of a grid per degree of the symbol (1 / cos(pi / 32) is 1.005), the least of them, and frequencies in all.
_POINTS, _LEAST_POINTS, _FREQUENCIES = 32, 4, 2**15
# Vectors that are kept before the iteration restarts from the best in their span, and the largest number of restarts.
_VECTORS, _RESTARTS = 16, 60
_ROUNDING = 1000


def estimate(operands: Operands, w: Tensor, tolerance: float, seed: int) -> tuple[Tensor, Tensor]:
    """A unit input of each group that is stretched most, up to a relative tolerance, and its image.

    Restarted Golub-Kahan-Lanczos iteration, on all groups at once, each with its own coefficients.

    Args:
        operands: The convolution, of ``w``.
        w: ``(g*d, c, *K)``.
        tolerance: Relative residual at which a group is done.
        seed: Seed of the first vector.

    Returns:
        The inputs ``(1, g*c, *I)`` and their images ``(1, g*d, *O)``.
    """
    groups = operands.geometry.groups
    shape = 1, groups * w.shape[1], *operands.asked.input_size
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(shape, generator=generator, dtype=torch.float64).to(w.device, w.dtype)
    vector = _normalised(start, groups)
    for _ in range(_RESTARTS):
        basis, images = [vector], [compute_output(operands.asked, AUTO, vector, w)]
        for _ in range(_VECTORS - 1):
            further = compute_input(operands.asked, AUTO, w.conj().resolve_conj(), images[-1])
            before = _norms(further, groups)
            for _ in range(2):  # one pass does not reach orthogonality up to rounding
                for each in basis:
                    further = further - _scaled(each, _inner(each, further, groups), groups)
            # A vector in the span of the others leaves only rounding errors, which are no direction.
            lost = _norms(further, groups) <= _ROUNDING * torch.finfo(before.dtype).eps * before
            basis.append(_normalised(_scaled(further, (~lost).to(further.dtype), groups), groups))
            images.append(compute_output(operands.asked, AUTO, basis[-1], w))
        # The best in their span: the largest right singular vector of the images, a small matrix for each group.
        stacked = torch.stack([each.reshape(groups, -1) for each in images], 2)
        values, vectors = torch.linalg.eigh(stacked.mH @ stacked)
        value, best = values[:, -1].clamp(min=0).sqrt(), vectors[:, :, -1]
        vector = sum((_scaled(each, best[:, i], groups) for i, each in enumerate(basis)), torch.zeros_like(vector))
        vector = _normalised(vector, groups)
        image = compute_output(operands.asked, AUTO, vector, w)
        residual = compute_input(operands.asked, AUTO, w.conj().resolve_conj(), image)
        residual = residual - _scaled(vector, value.square().to(vector.dtype), groups)
        # The error of the squared norm is at most the squared residual over the gap; the residual suffices.
        if bool((_norms(residual, groups) <= tolerance * value.square()).all()):
            break
    return vector, image


def stretched(operands: Operands, w: Tensor, vector: Tensor, image: Tensor) -> Tensor:
    """The norm of the image of `estimate`, of the group in which it is largest, differentiably in the weight."""
    groups = operands.geometry.groups
    pairs = _inner(_normalised(image, groups), compute_output(operands.asked, AUTO, vector, w), groups)
    return real(pairs).max()


def _apart(tensor: Tensor, groups: int) -> Tensor:
    return tensor.reshape(groups, -1)


def _norms(tensor: Tensor, groups: int) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(_apart(tensor, groups), dim=1)
    return norms


def _inner(first: Tensor, second: Tensor, groups: int) -> Tensor:
    return (_apart(first, groups).conj() * _apart(second, groups)).sum(1)


def _scaled(tensor: Tensor, factors: Tensor, groups: int) -> Tensor:
    return (_apart(tensor, groups) * factors.unsqueeze(1)).view(tensor.shape)


def _normalised(tensor: Tensor, groups: int) -> Tensor:
    norms = _norms(tensor, groups)
    return _scaled(tensor, torch.where(norms > 0, 1 / norms, 0).to(tensor.dtype), groups)


def bound(operands: Operands, w: Tensor) -> float:
    """An upper bound of the norm, up to rounding.

    Args:
        operands: The convolution, of ``w``.
        w: ``(g*d, c, *K)``, in the dtype of sums.
    """
    torus = _torus(operands)
    if torus is not None:
        return _largest(_on_torus(operands, w), torus)
    kernel = _stride_free(operands, w)
    # Around its middle the symbol has half the degree, rounded up.
    degrees = [size // 2 for size in kernel.shape[3:]]
    grid = _grid(degrees)
    gaps = (math.cos(math.pi * degree / points) for degree, points in zip(degrees, grid, strict=True))
    return _border(operands) / math.prod(gaps) * _largest(kernel, grid)


def _grid(degrees: Sequence[int]) -> Ints:
    """Points of each axis for symbols of these degrees: as many as affordable, or the fewest that are useful."""
    for points in range(_POINTS, _LEAST_POINTS - 1, -1):
        grid = tuple(max(1, points * degree) for degree in degrees)
        if math.prod(grid) <= _FREQUENCIES:
            break
    return grid


def _torus(operands: Operands) -> Ints | None:
    """The size of the torus, if a convolution with a circular border covers all of it; else None."""
    asked = operands.asked
    whole = asked.mode == "circular" and asked.output_size == asked.input_size
    return asked.input_size if whole and set(operands.geometry.stride) <= {1} else None


def _on_torus(operands: Operands, w: Tensor) -> Tensor:
    """The kernel ``(g, d, c, *I)`` on a torus of the input's size, wrapped around."""
    geometry, groups = operands.geometry, operands.geometry.groups
    size = operands.asked.input_size
    kernel: Tensor = w.unflatten(0, (groups, -1))
    whole = kernel.new_zeros(*kernel.shape[:3], *size)
    for k in product(*map(range, geometry.kernel)):
        there: Any = (..., *(d * each % n for d, each, n in zip(geometry.dilation, k, size, strict=True)))
        here: Any = (..., *k)
        whole[there] += kernel[here]
    return whole


def _stride_free(operands: Operands, w: Tensor) -> Tensor:
    """The kernel ``(g, d, c*s, *E)`` of the convolution of stride 1 that contains the strided one."""
    geometry = operands.geometry
    kernel: Tensor = w.unflatten(0, (geometry.groups, -1))
    for axis, (stride, dilation) in enumerate(zip(geometry.stride, geometry.dilation, strict=True), start=3):
        if stride == 1:
            continue  # dilation only rescales the frequencies, and the maximum is over all of them
        spread = [*kernel.shape]
        extent = dilation * (spread[axis] - 1) + 1
        spread[axis] = -(-extent // stride) * stride
        dense = kernel.new_zeros(spread)
        places: Any = (*(slice(None),) * axis, slice(0, extent, dilation))
        dense[places] = kernel
        apart = dense.unflatten(axis, (-1, stride)).movedim(axis + 1, 3)
        kernel = apart.flatten(2, 3)
    return kernel


def _border(operands: Operands) -> float:
    """The norm of the padding as a linear map: the root of the largest number of copies of an element."""
    asked = operands.asked
    if asked.mode == "zeros":
        return 1.0
    shown = retract(torch.ones(asked.framed_size), asked.border, asked.mode)
    return math.sqrt(float(shown.max()))


def _largest(kernel: Tensor, grid: Ints) -> float:
    """The largest norm of the symbol of ``(g, d, c, *E)`` on a grid of frequencies."""
    if kernel.shape[1] > kernel.shape[2]:
        kernel = kernel.transpose(1, 2)  # the smaller Gram matrix
    found = 0.0
    for matrices in _symbol(kernel, grid):
        found = max(found, _bound(matrices, found))
    return found


def _symbol(kernel: Tensor, grid: Ints) -> Iterator[Tensor]:
    """The matrices ``(..., d, c)`` of all groups and frequencies, in blocks.

    For a real kernel those at opposite frequencies are conjugates, with the same norm.
    """
    kernel = kernel if kernel.is_complex() else kernel.to(kernel.dtype.to_complex())
    if not grid:
        yield kernel
        return
    first, *rest = grid
    real = bool((kernel.imag == 0).all())
    frequencies = torch.arange(first // 2 + 1 if real else first, device=kernel.device, dtype=torch.float64)
    taps = torch.arange(kernel.shape[3], device=kernel.device, dtype=torch.float64)
    angles = -2 * math.pi / first * frequencies[:, None] * taps
    waves = torch.polar(torch.ones_like(angles), angles)
    each = kernel[:, :, :, 0].numel() // max(1, math.prod(kernel.shape[4:])) * math.prod(rest) * kernel.element_size()
    for some in blocks(len(frequencies), 4 * each):
        part = torch.einsum("fk,gdck...->gdcf...", waves[some].to(kernel.dtype), kernel)
        if rest:
            part = torch.fft.fftn(part, s=rest, dim=tuple(range(4, part.dim())))
        yield part.flatten(3).permute(0, 3, 1, 2).flatten(0, 1)


def _bound(matrices: Tensor, known: float) -> float:
    """An upper bound of the largest norm of matrices, by Gram iteration; 0 if it is not above ``known``.

    Matrices whose upper bound is below the lower bound of another are dropped, so that few are squared often.
    """
    gram = matrices @ matrices.mH
    size, power = gram.shape[-1], 1.0
    logarithm = gram.real.new_zeros(len(gram), dtype=torch.float64)
    bounds = logarithm
    for _ in range(_SQUARINGS):
        norms = torch.linalg.matrix_norm(gram).double()
        bounds = torch.where(norms > 0, (logarithm + norms.log() / power).exp().sqrt(), 0)
        # A Frobenius norm is at most the root of the size times the spectral one.
        least = max(known, float(bounds.max()) * size ** (-0.25 / power))
        kept = bounds >= least
        if not bool(kept.any()) or float(bounds.max()) == 0:
            return 0.0
        gram, norms, logarithm = gram[kept], norms[kept], logarithm[kept]
        logarithm = logarithm + norms.log() / power
        gram = gram / norms[:, None, None].to(gram.dtype)
        gram = gram @ gram
        power *= 2
    norms = torch.linalg.matrix_norm(gram).double()
    return float((logarithm + norms.log() / power).exp().sqrt().max())
