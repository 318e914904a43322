"""The seed article's own operator: the plain baseline that ndconv starts from.

A 2-D convolution as most people write it by hand. `torch.nn.functional.unfold` copies every window into a column
(im2col), one einsum contracts the columns with the weight, and the backward is derived by hand for this one case. It is
left plain on purpose: two axes, one group, no second derivative, and a buffer ``prod(kernel)`` times the input.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import fold, unfold
from torch.nn.modules.utils import _pair

Pair = tuple[int, ...]


class _UnfoldEinsum(torch.autograd.Function):
    """``y = W @ columns``; with ``g`` the gradient of ``y``: ``dW = g @ columnsᵀ`` and ``dx = fold(Wᵀ @ g)``."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair
    ) -> Tensor:
        columns = unfold(input, weight.shape[2:], dilation, padding, stride)  # (n, c*k, o)
        output: Tensor = torch.einsum("dk,nko->ndo", weight.flatten(1), columns)
        if bias is not None:
            output += bias[:, None]
        ctx.save_for_backward(columns, weight)
        ctx.input_size, ctx.window = input.shape[2:], (dilation, padding, stride)
        rows = (input.shape[2] + 2 * padding[0] - dilation[0] * (weight.shape[2] - 1) - 1) // stride[0] + 1
        return output.unflatten(2, (rows, -1))  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        columns, weight = ctx.saved_tensors
        grad_output = grad_output.flatten(2)  # (n, d, o)
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_columns = torch.einsum("dk,ndo->nko", weight.flatten(1), grad_output)
            grad_input = fold(grad_columns, ctx.input_size, weight.shape[2:], *ctx.window)
        if ctx.needs_input_grad[1]:
            grad_weight = torch.einsum("ndo,nko->dk", grad_output, columns).view_as(weight)
        if ctx.needs_input_grad[2]:
            grad_bias = grad_output.sum((0, 2))
        return grad_input, grad_weight, grad_bias, None, None, None


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
) -> Tensor:
    """Convolve ``(n, c, h, w)`` with ``(d, c, kh, kw)`` by unfold and einsum."""
    window = (_pair(stride), _pair(padding), _pair(dilation))
    result: Tensor = _UnfoldEinsum.apply(input, weight, bias, *window)  # type: ignore[no-untyped-call]
    return result


class ArticleConv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, its initial draws included, computed by `conv2d`; one group, zero padding."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.groups != 1 or self.padding_mode != "zeros" or isinstance(self.padding, str):
            raise NotImplementedError(f"the article's operator has one group and numeric zero padding, not {self}")
        return conv2d(input, weight, bias, self.stride, self.padding, self.dilation)
