"""Windows copied into columns (im2col) a cache's worth at a time, and batched matrix products on them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ndconv._lowerings._products import input_product, output_product
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
        columns = kernel_first(view, ndim).reshape(*view.shape[:2], math.prod(w.shape[2:]), -1)
        return output_product(w.flatten(2), columns.mT).view(*view.shape[:2], w.shape[1], *view.shape[3 : 3 + ndim])

    def product_input(self, w: Tensor, y: Tensor) -> Tensor:
        columns = input_product(w.flatten(2), y.reshape(*y.shape[:3], -1)).mT
        return columns.reshape(*y.shape[:2], *w.shape[2:], *y.shape[3:])

    def product_weight(self, view: Tensor, y: Tensor) -> Tensor:
        ndim = y.dim() - 3
        # The batch joins the positions: one product sums over both.
        columns = kernel_first(view, ndim).movedim(0, 2 + ndim).flatten(2 + ndim)
        grads = y.movedim(0, 2).flatten(2)
        product = torch.matmul(grads, columns.flatten(1, -2).mT)
        return unflatten(product, 2, tuple(columns.shape[1:-1]))
