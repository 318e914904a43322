"""Explicit forms of a convolution: an index pattern for each axis, and one sparse matrix."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ndconv import _rules
from ndconv._fixed import of_convolutions
from ndconv._form.geometry import Convolution
from ndconv._rules import Asked, Padding
from ndconv._tensors import tensor_rules
from ndconv._tensors.borders import extend


def index_pattern(
    input_size: int,
    kernel_size: int,
    stride: int = 1,
    padding: Padding = 0,
    dilation: int = 1,
    *,
    padding_mode: str = "zeros",
) -> Tensor:
    """Index pattern of a convolution along one axis: which kernel, output and input elements it multiplies.

    ``pattern[k, o, i]`` is true if ``i = S*o + D*k - lo``, or if the padding copies ``i`` there. A convolution over N
    axes is an einsum of its operands and N such patterns (`Dangel, 2023 <https://arxiv.org/abs/2307.02275>`_).

    Args:
        input_size: I.
        kernel_size: K.
        stride: S.
        padding: ``(lo, hi)``, written as in `ndconv.functional` for one axis: ``((lo, hi),)``.
        dilation: D.
        padding_mode: How padding is filled.

    Returns:
        Tensor of shape ``(K, O, I)`` and dtype bool.

    Raises:
        RuntimeError: If sizes do not fit.
        TypeError: If an argument has the wrong type.

    Example:
        >>> from ndconv.functional import index_pattern
        >>> index_pattern(4, 2, stride=2).int()
        tensor([[[1, 0, 0, 0],
                 [0, 0, 1, 0]],
        <BLANKLINE>
                [[0, 1, 0, 0],
                 [0, 0, 0, 1]]], dtype=torch.int32)
    """
    function = "index_pattern"
    size = _rules.positive(function, "input_size", input_size)
    kernel = _rules.positive(function, "kernel_size", kernel_size)
    asked = Asked(function, 1, False, stride, padding, dilation, padding_mode=padding_mode)
    return _pattern(asked.convolution((1, size), (1, 1, kernel), ("input_size", "kernel_size")), 0)


def _pattern(convolution: Convolution, axis: int) -> Tensor:
    """The pattern of one axis, ``(K, O, I)``."""
    geometry, positions = convolution.geometry, convolution.output_size[axis]
    shown = torch.arange(convolution.input_size[axis])
    if convolution.mode != "zeros":
        shown = extend(shown, convolution.border[axis : axis + 1], convolution.mode)
    k = torch.arange(geometry.kernel[axis])[:, None]
    i = geometry.stride[axis] * torch.arange(positions) + geometry.dilation[axis] * k - geometry.padding[axis][0]
    inside = (i >= 0) & (i < len(shown))
    found = torch.zeros(*i.shape, convolution.input_size[axis], dtype=torch.bool)
    return found.scatter_(2, shown[i.clamp(0, len(shown) - 1)].unsqueeze(2), inside.unsqueeze(2))


def _matrix(asked: Asked, weight: Tensor, input_size: Sequence[int]) -> Tensor:
    function, names = asked.function, ("input_size", "weight")
    tensor_rules.tensors(function, weight=weight)
    size = _rules.sizes(function, "input_size", input_size)
    convolution = asked.convolution(size, weight.shape, names)
    if len(size) != convolution.geometry.ndim + 1:
        _rules.refuse(function, "input_size must have no batch", f"is {size}")
    patterns = [_pattern(convolution, axis) for axis in range(convolution.geometry.ndim)]
    with torch.no_grad():
        matrix = _written_out(convolution, weight.detach(), patterns)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return (matrix.t().coalesce() if asked.transposed else matrix).to_sparse_csr()


def _written_out(convolution: Convolution, weight: Tensor, patterns: Sequence[Tensor]) -> Tensor:
    """The sparse matrix ``(g*d*prod(O), g*c*prod(I))``; elements at the same place are added."""
    geometry = convolution.geometry
    features, channels, device = weight.shape[0], weight.shape[1], weight.device
    d = torch.arange(features)[:, None]
    c = d // (features // geometry.groups) * channels + torch.arange(channels)
    rows, columns, values = [], [], []
    for k in product(*map(range, geometry.kernel)):
        # Flat indices of the outputs and inputs that this kernel element connects, of all channels.
        row, column = d.expand_as(c)[..., None], c[..., None]
        for pattern, tap in zip(patterns, k, strict=True):
            o, i = pattern[tap].nonzero(as_tuple=True)
            row = (row[..., None] * pattern.shape[1] + o).flatten(2)
            column = (column[..., None] * pattern.shape[2] + i).flatten(2)
        index: Any = (slice(None), slice(None), *k)
        rows.append(row.flatten())
        columns.append(column.flatten())
        values.append(weight[index].unsqueeze(2).expand(row.shape).flatten())
    sizes = [1, 1]
    for pattern in patterns:
        sizes = [sizes[0] * pattern.shape[1], sizes[1] * pattern.shape[2]]
    shape = features * sizes[0], geometry.groups * channels * sizes[1]
    places = torch.stack([torch.cat(rows), torch.cat(columns)]).to(device)
    with torch.sparse.check_sparse_tensor_invariants(False):  # or CUDA warns that nothing is checked
        return torch.sparse_coo_tensor(places, torch.cat(values), shape).coalesce()


@of_convolutions(None, False, _matrix)
def convnd_matrix() -> None:
    """A convolution as one sparse matrix that multiplies a flattened input, for inspection and tests.

    ``convnd(x, weight)[n].flatten() = matrix @ x[n].flatten()``; its transpose gives the gradient of the input. It
    stores an element for each product of the convolution, so it is for small inputs.

    Args:
        weight: ``(out_channels, in_channels / groups, *K)``.
        input_size: Shape of an input, ``(in_channels, *I)``.
        stride: S.
        padding: ``(lo, hi)``.
        dilation: D.
        groups: Number of groups.
        padding_mode: How padding is filled.

    Returns:
        Sparse CSR tensor ``(out_channels * prod(O), in_channels * prod(I))`` in the dtype of the weight; not
        differentiable.

    Raises:
        RuntimeError: If shapes or hyper-parameters do not fit.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ndconv.functional import convnd_matrix
        >>> convnd_matrix(torch.tensor([[[1.0, 2.0]]]), (1, 4)).to_dense()
        tensor([[1., 2., 0., 0.],
                [0., 1., 2., 0.],
                [0., 0., 1., 2.]])
    """


@of_convolutions(None, True, _matrix)
def conv_transposend_matrix() -> None:
    """As `convnd_matrix`, of `conv_transposend`.

    Example:
        >>> import torch
        >>> from ndconv.functional import conv_transposend_matrix
        >>> conv_transposend_matrix(torch.tensor([[[1.0, 2.0]]]), (1, 2), stride=2).to_dense()
        tensor([[1., 0.],
                [2., 0.],
                [0., 1.],
                [0., 2.]])
    """
