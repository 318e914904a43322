"""Windows copied into columns (im2col) a cache's worth at a time, and batched matrix products on them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ndconv._lowerings._products import input_product, is_short, output_product
from ndconv._lowerings._windowed import Windowed
from ndconv._windows import kernel_first, unflatten


class Columns(Windowed):
    """The classical lowering, in any number of dimensions.

    Kernel elements come first and positions last, so that copies run along rows and products come out in the layout of
    the output.
    """

    name = "columns"
    chunk_bytes = 2 * 2**20  # stays in a core's cache between the copy and the product
    passes = 1

    def product_output(self, view: Tensor, w: Tensor) -> Tensor:
        ndim = w.dim() - 3
        columns, positions = kernel_first(view, ndim), view.shape[3 : 3 + ndim]
        if is_short(positions):
            product = torch.matmul(w.flatten(2), _joined(columns, ndim).flatten(1, -2))
            return unflatten(product, 2, (view.shape[0], *positions)).movedim(2, 0)
        columns = columns.reshape(*view.shape[:2], math.prod(w.shape[2:]), -1)
        return output_product(w.flatten(2), columns.mT).view(*view.shape[:2], w.shape[1], *positions)

    def product_input(self, w: Tensor, y: Tensor) -> Tensor:
        ndim, positions = w.dim() - 3, y.shape[3:]
        if is_short(positions):
            product = torch.matmul(w.flatten(2).mT, y.movedim(0, 2).flatten(2))
            columns = unflatten(unflatten(product, 2, (y.shape[0], *positions)), 1, w.shape[2:])
            return columns.movedim(2 + ndim, 0)
        columns = input_product(w.flatten(2), y.reshape(*y.shape[:3], -1)).mT
        return columns.reshape(*y.shape[:2], *w.shape[2:], *positions)

    def product_weight(self, view: Tensor, y: Tensor) -> Tensor:
        ndim = y.dim() - 3
        columns = _joined(kernel_first(view, ndim), ndim)  # one product sums over batch and positions
        grads = y.movedim(0, 2).flatten(2)
        product = torch.matmul(grads, columns.flatten(1, -2).mT)
        return unflatten(product, 2, tuple(columns.shape[1:-1]))


def _joined(columns: Tensor, ndim: int) -> Tensor:
    """Columns ``[n,g,c,*k,*o]`` with the batch beside the positions: ``[g,c,*k,n*o]``."""
    return columns.movedim(0, 2 + ndim).flatten(2 + ndim)
