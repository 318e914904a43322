"""Grouped matrix products on batches: the three slots of a convolution without spatial structure.

``x[n,g,l,r]``, ``w[g,d,r]`` and ``y[n,g,d,l]``, where ``l`` counts positions and ``r`` stacks the input channels with
whatever kernel elements go with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ndconv._programs.values import Array, Steps

# From this many positions on, one product per sample beats gathering the batch into a single matrix.
_LONG = 256


def is_short(b: Steps, positions: Sequence[int]) -> bool:
    """Whether samples are too short for products of their own, each of which would read the whole weight."""
    return not b.symbolic and math.prod(positions) < _LONG


def output_product(b: Steps, w: Array, x: Array) -> Array:
    """``y[n,g,d,l] = sum over r of w[g,d,r] * x[n,g,l,r]``."""
    if x.shape[2] == 1:
        # One position: the batch takes its place, lest every sample be a matrix-vector product.
        return b.matmul(x.squeeze(2).transpose(0, 1), w.mT).transpose(0, 1).unsqueeze(3)
    return b.matmul(w, x.mT)


def input_product(b: Steps, w: Array, y: Array) -> Array:
    """``x[n,g,l,r] = sum over d of w[g,d,r] * y[n,g,d,l]``."""
    if y.shape[3] == 1:
        return b.matmul(y.squeeze(3).transpose(0, 1), w).transpose(0, 1).unsqueeze(2)
    return b.matmul(w.mT, y).mT


def weight_product(b: Steps, x: Array, y: Array) -> Array:
    """``w[g,d,r] = sum over n, l of y[n,g,d,l] * x[n,g,l,r]``."""
    # Half types must not be rounded after each sample.
    if b.dtype(x) in ("float16", "bfloat16") or b.symbolic or y.shape[3] < _LONG or x.shape[0] == 1:
        # The samples are joined along the axis of x whose rows are contiguous.
        in_rows = not b.symbolic and x.mT.is_contiguous()
        joined = x.permute(1, 3, 0, 2).flatten(2).mT if in_rows else x.transpose(0, 1).flatten(1, 2)
        return b.matmul(y.permute(1, 2, 0, 3).flatten(2), joined)
    w = b.matmul(y[0], x[0], "w")
    for sample in b.each(x.shape[0], "n", start=1):
        b.accumulate(w, y[sample], x[sample])
    return w
