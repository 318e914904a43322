"""Grouped matrix products on batches: the three slots of a convolution without spatial structure.

``x[n,g,r,l]``, ``w[g,d,r]`` and ``y[n,g,d,l]``, where ``r`` stacks the input channels with whatever kernel elements go
with them, and ``l`` counts positions.
"""

from __future__ import annotations

import torch
from torch import Tensor


def output_product(w: Tensor, x: Tensor) -> Tensor:
    """``y[n,g,d,l] = sum over r of w[g,d,r] * x[n,g,r,l]``."""
    batch, groups, reduced, length = x.shape
    features = w.shape[1]
    if length == 1:
        # One position: the batch takes its place, or every sample would be a matrix-vector product.
        return torch.matmul(x.squeeze(3).transpose(0, 1), w.mT).transpose(0, 1).unsqueeze(3)
    # bmm takes a weight repeated with stride 0; matmul would copy the batch to fold it into one matrix.
    repeated = w.expand(batch, groups, features, reduced).reshape(batch * groups, features, reduced)
    return torch.bmm(repeated, x.reshape(batch * groups, reduced, length)).view(batch, groups, features, length)


def input_product(w: Tensor, y: Tensor) -> Tensor:
    """``x[n,g,r,l] = sum over d of w[g,d,r] * y[n,g,d,l]``."""
    return output_product(w.mT, y)


def weight_product(x: Tensor, y: Tensor) -> Tensor:
    """``w[g,d,r] = sum over n, l of y[n,g,d,l] * x[n,g,r,l]``."""
    return torch.matmul(columns(y), columns(x).mT)


def columns(tensor: Tensor) -> Tensor:
    """``(n, g, r, l) -> (g, r, n*l)``."""
    return tensor.permute(1, 2, 0, 3).flatten(2)
