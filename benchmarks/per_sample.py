"""Gradients of the weight for each sample, as torch and Opacus compute them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn.functional import unfold
from unfoldNd import unfoldNd

from benchmarks.slots import Convolve
from benchmarks.workloads import Workload


def vmap_grad(convolve: Convolve, x: Tensor, w: Tensor, g: Tensor) -> Tensor:
    """Map the gradient of one sample over the batch with torch.func."""

    def product(w: Tensor, x: Tensor, g: Tensor) -> Tensor:
        return (convolve(x[None], w) * g[None]).sum()

    result: Tensor = vmap(grad(product), in_dims=(None, 0, 0))(w, x, g)
    return result


def opacus_style(workload: Workload, x: Tensor, w: Tensor, g: Tensor) -> Tensor:
    """Lay out the windows, take the products of all channels with all features, and keep those inside a group.

    Opacus does so in ``grad_sample/conv.py``; it treats one axis as two with one row.
    """
    stride, padding, dilation = workload.window
    if workload.ndim == 1:
        window = [(1, *w.shape[2:]), (1, *dilation), (0, *padding), (1, *stride)]
        columns = unfold(x[:, :, None], *window)
    else:
        lay_out: Any = unfold if workload.ndim == 2 else unfoldNd
        columns = lay_out(x, w.shape[2:], dilation, padding, stride)
    everything = torch.einsum("noq,npq->nop", g.flatten(2), columns)
    groups = workload.groups
    blocks = everything.unflatten(1, (groups, -1)).unflatten(3, (groups, -1, math.prod(workload.kernel)))
    return torch.einsum("ngrgck->ngrck", blocks).reshape(x.shape[0], *w.shape)
