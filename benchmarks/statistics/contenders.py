"""The ways to compute a statistic of a layer: ours first, then those of other libraries, rewritten faithfully.

A way takes the layer, its input and the gradient of its output, and returns one tensor. Sums are plain: where others
divide by the batch, that is undone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from einconv.expressions import convNd_kfc
from torch import Tensor
from torch.nn import functional
from unfoldNd import unfoldNd

import ndconv.curvature
from benchmarks import loop, per_sample
from benchmarks.names import AUTO, OPACUS
from benchmarks.workloads import Workload

Way = Callable[[Workload, Tensor, Tensor], Tensor]

SQNORM, COVARIANCE, SQUARE = "weight sqnorm", "input covariance", "weight square"
GRAM, GRADIENT, MATERIALISED, VMAP = "gram", "gradient", "per-sample gradients", "vmap(grad)"
JOINED, BATCHED, KFC = "unfold, one product", "unfold, batched products", "einconv KFC"
BACKPACK, UNFOLDED = "BackPACK style", "unfold and einsum"
UNFOLD = (JOINED, BATCHED)
"""One way in two variants, of which the quicker counts."""


def _ours(home: Any, name: str, layer: Workload) -> Callable[..., Tensor]:
    """A function of ours with the layer's hyper-parameters."""
    stride, padding, dilation = layer.window
    function = getattr(home, f"{'conv_transposend' if layer.transposed else 'convnd'}_{name}")
    return partial(function, stride=stride, padding=padding, dilation=dilation, groups=layer.groups)


def _sqnorm(method: str, layer: Workload, x: Tensor, y: Tensor) -> Tensor:
    return _ours(ndconv.grad, "weight_sqnorm", layer)(x, layer.weight, y, method=method)


def _covariance(layer: Workload, x: Tensor, y: Tensor) -> Tensor:
    return _ours(ndconv.curvature, "input_covariance", layer)(x, layer.kernel)


def _square(layer: Workload, x: Tensor, y: Tensor) -> Tensor:
    return _ours(ndconv.curvature, "weight_square", layer)(x, layer.weight, y)


def _norms(gradients: Tensor) -> Tensor:
    return gradients.flatten(1).square().sum(1)


def _materialised(layer: Workload, x: Tensor, y: Tensor) -> Tensor:
    return _norms(_ours(ndconv.grad, "weight", layer)(x, layer.weight, y, per_sample=True))


def _opacus(layer: Workload, x: Tensor, y: Tensor) -> Tensor:
    """By `opacus.grad_sample.conv`; its optimizer then takes the norms of these gradients."""
    return _norms(per_sample.opacus_style(layer, x, x.new_empty(layer.weight, device="meta"), y))


def _torch(layer: Workload, x: Tensor, w: Tensor) -> Tensor:
    stride, padding, dilation = layer.window
    if layer.transposed:
        transposes = functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d
        return transposes[layer.ndim - 1](x, w, None, stride, padding, 0, layer.groups, dilation)
    return loop.convnd(x, w, stride, padding, dilation, layer.groups)


def _vmap(layer: Workload, x: Tensor, y: Tensor) -> Tensor:
    return _norms(per_sample.vmap_grad(partial(_torch, layer), x, x.new_zeros(layer.weight), y))


def _columns(layer: Workload, x: Tensor) -> Tensor:
    """Windows ``(n, g, c*prod(K), prod(O))``, by the quickest function for this number of axes."""
    stride, padding, dilation = layer.window
    if layer.ndim == 2:
        columns = functional.unfold(x, layer.kernel, dilation, padding, stride)
    elif layer.ndim == 1:
        columns = functional.unfold(x[:, :, None], (1, *layer.kernel), (1, *dilation), (0, *padding), (1, *stride))
    else:
        columns = unfoldNd(x, layer.kernel, dilation, padding, stride)
    apart: Tensor = columns.unflatten(1, (layer.groups, -1))
    return apart


def _transposed_columns(layer: Workload, x: Tensor) -> Tensor:
    """Windows of a transposed 2-D layer: windows of its input with zeros in between, kernel elements in reverse."""
    stride, padding, dilation = layer.window
    spread = x.new_zeros(*x.shape[:2], *(s * (i - 1) + 1 for s, i in zip(stride, x.shape[2:], strict=True)))
    spread[:, :, :: stride[0], :: stride[1]] = x
    around = tuple(d * (k - 1) - p for d, k, p in zip(dilation, layer.kernel, padding, strict=True))
    columns = functional.unfold(spread, layer.kernel, dilation, around)
    reverse = columns.unflatten(1, (-1, math.prod(layer.kernel))).flip(2)
    apart: Tensor = reverse.flatten(1, 2).unflatten(1, (layer.groups, -1))
    return apart


def _windows(layer: Workload, x: Tensor) -> Tensor:
    return _transposed_columns(layer, x) if layer.transposed else _columns(layer, x)


def _unfold_joined(layer: Workload, x: Tensor, y: Tensor) -> Tensor:
    joined = _windows(layer, x).permute(1, 2, 0, 3).flatten(2)
    return joined @ joined.mT


def _unfold_batched(layer: Workload, x: Tensor, y: Tensor) -> Tensor:
    columns = _windows(layer, x)
    return (columns @ columns.mT).sum(0)


def _kfc(layer: Workload, x: Tensor, y: Tensor) -> Tensor:
    stride, padding, dilation = layer.window
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": layer.groups}
    equation, operands, shape = convNd_kfc.einsum_expression(x, layer.kernel, **options)
    result: Tensor = torch.einsum(equation, *operands).reshape(shape)
    return result.mul_(len(x))


def _backpack(layer: Workload, x: Tensor, y: Tensor) -> Tensor:
    """By `backpack.core.derivatives.convnd`, as ``SumGradSquared`` does by default, but with correct groups.

    The per-sample gradients are one grouped convolution: the channels of each sample with its features.
    """
    (stride, padding, dilation), groups = layer.window, layer.groups
    count, channels, features = x.shape[1] // groups, x.shape[1], y.shape[1] // groups
    kernels = y.unflatten(1, (groups, 1, features)).expand(-1, -1, count, *[-1] * (layer.ndim + 1))
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[layer.ndim - 1]
    apart = x.flatten(0, 1)[None], kernels.flatten(0, 3).unsqueeze(1)
    found = convolve(*apart, None, dilation, padding, stride, len(x) * channels)[0]
    for axis, size in enumerate(layer.kernel, 1):
        found = found.narrow(axis, 0, size)
    gradients = found.unflatten(0, (len(x), groups, count, features)).transpose(2, 3)
    summed: Tensor = gradients.square().sum(0)
    return summed.reshape(layer.weight)


def _unfold_square(layer: Workload, x: Tensor, y: Tensor) -> Tensor:
    grads = y.flatten(2).unflatten(1, (layer.groups, -1))
    if layer.transposed:
        columns, grads = _columns(layer, y), x.flatten(2).unflatten(1, (layer.groups, -1))
    else:
        columns = _columns(layer, x)
    summed: Tensor = torch.einsum("ngdo,ngao->ngda", grads, columns).square().sum(0)
    return summed.reshape(layer.weight)


def ways(layer: Workload) -> dict[str, Mapping[str, Way]]:
    """The ways to each statistic of a layer, ours first; Opacus and einconv do not support transposed layers."""
    sqnorm: dict[str, Way] = {name: partial(_sqnorm, name) for name in (AUTO, GRAM, GRADIENT)}
    sqnorm |= {MATERIALISED: _materialised, VMAP: _vmap}
    covariance: dict[str, Way] = {AUTO: _covariance, JOINED: _unfold_joined, BATCHED: _unfold_batched}
    square: dict[str, Way] = {AUTO: _square, UNFOLDED: _unfold_square}
    if not layer.transposed:
        sqnorm[OPACUS], covariance[KFC], square[BACKPACK] = _opacus, _kfc, _backpack
    return {SQNORM: sqnorm, COVARIANCE: covariance, SQUARE: square}


STATISTICS = (SQNORM, COVARIANCE, SQUARE)
