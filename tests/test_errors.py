"""Every refusal: the call, the exception and its full text; its type is torch's wherever torch refuses too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import ndconv

Call = Callable[[Any], object]


def ones(*shape: int) -> Tensor:
    return torch.ones(shape)


LAZY = [
    (f"LazyConv{transpose}{ndim}d", ndim, ()) if ndim <= 3 else (f"LazyConv{transpose}Nd", ndim, (ndim,))
    for transpose in ("", "Transpose")
    for ndim in (1, 2, 3, 5)
]
x, w, y = ones(2, 4, 5, 5), ones(6, 4, 3, 3), ones(2, 6, 3, 3)

# Run with ndconv and with torch.nn: both have functional, grad and Conv2d.
AS_TORCH: list[tuple[Call, type[Exception], str]] = [
    (
        lambda nn: nn.functional.conv2d(ones(5, 5), w),
        RuntimeError,
        "conv2d: input must have 3 (unbatched) or 4 dimensions, but has 2: (5, 5)",
    ),
    (
        lambda nn: nn.functional.conv1d(x, ones(6, 4, 3)),
        RuntimeError,
        "conv1d: input must have 2 (unbatched) or 3 dimensions, but has 4: (2, 4, 5, 5)",
    ),
    (
        lambda nn: nn.functional.conv3d(x, ones(6, 4, 3, 3, 3)),
        RuntimeError,
        "conv3d: input has 2 channels, but weight expects groups * weight.shape[1] = 1 * 4 = 4",
    ),
    (
        lambda nn: nn.functional.conv2d(x, ones(6, 4, 3)),
        RuntimeError,
        "conv2d: weight must have 4 dimensions, but has 3: (6, 4, 3)",
    ),
    (
        lambda nn: nn.functional.conv2d(x, ones(6, 3, 3, 3), groups=2),
        RuntimeError,
        "conv2d: input has 4 channels, but weight expects groups * weight.shape[1] = 2 * 3 = 6",
    ),
    (
        lambda nn: nn.functional.conv2d(x, ones(6, 5, 3, 3)),
        RuntimeError,
        "conv2d: input has 4 channels, but weight expects groups * weight.shape[1] = 1 * 5 = 5",
    ),
    (
        lambda nn: nn.functional.conv2d(x, ones(5, 2, 3, 3), groups=2),
        RuntimeError,
        "conv2d: weight must have a positive number of output channels that groups divides, but has 5 with groups = 2",
    ),
    (
        lambda nn: nn.functional.conv2d(x, ones(1, 2, 3, 3), groups=2),
        RuntimeError,
        "conv2d: weight must have a positive number of output channels that groups divides, but has 1 with groups = 2",
    ),
    (
        lambda nn: nn.functional.conv2d(x, ones(0, 4, 3, 3)),
        RuntimeError,
        "conv2d: weight must have a positive number of output channels that groups divides, but has 0 with groups = 1",
    ),
    (lambda nn: nn.functional.conv2d(x, w, groups=0), RuntimeError, "conv2d: groups must be positive, but is 0"),
    (lambda nn: nn.functional.conv2d(x, w, groups=-1), RuntimeError, "conv2d: groups must be positive, but is -1"),
    (lambda nn: nn.functional.conv2d(x, w, groups=1.0), TypeError, "conv2d: groups must be an integer, but is 1.0"),
    (
        lambda nn: nn.functional.conv2d(x, ones(6, 4, 7, 3)),
        RuntimeError,
        "conv2d: kernel must fit into the padded input, but spans (7, 3), dilation included, of (5, 5)",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, dilation=3),
        RuntimeError,
        "conv2d: kernel must fit into the padded input, but spans (7, 7), dilation included, of (5, 5)",
    ),
    (
        lambda nn: nn.functional.conv2d(x, ones(6, 4, 0, 3)),
        RuntimeError,
        "conv2d: kernel size must be positive, but is (0, 3)",
    ),
    (
        lambda nn: nn.functional.conv2d(ones(2, 4, 0, 5), w, padding=3),
        RuntimeError,
        "conv2d: input may be empty in its batch or channels only, but has shape (2, 4, 0, 5)",
    ),
    (lambda nn: nn.functional.conv2d(x, w, stride=0), RuntimeError, "conv2d: stride must be positive, but is (0, 0)"),
    (
        lambda nn: nn.functional.conv2d(x, w, stride=(1, -1)),
        RuntimeError,
        "conv2d: stride must be positive, but is (1, -1)",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, stride=(1, 1, 1)),
        RuntimeError,
        "conv2d: stride must be an integer or 2 of them, one per spatial axis, but is (1, 1, 1)",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, stride=()),
        RuntimeError,
        "conv2d: stride must be an integer or 2 of them, one per spatial axis, but is ()",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, stride=1.5),
        TypeError,
        "conv2d: stride must be an integer or a sequence of integers, but is 1.5",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, stride=None),
        TypeError,
        "conv2d: stride must be an integer or a sequence of integers, but is None",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, stride="a"),
        TypeError,
        "conv2d: stride must be an integer or a sequence of integers, but is 'a'",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, dilation=0),
        RuntimeError,
        "conv2d: dilation must be positive, but is (0, 0)",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, dilation=(1, 2, 3)),
        RuntimeError,
        "conv2d: dilation must be an integer or 2 of them, one per spatial axis, but is (1, 2, 3)",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, padding=-1),
        RuntimeError,
        "conv2d: padding must be non-negative, but is (-1, -1)",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, padding=(0, -1)),
        RuntimeError,
        "conv2d: padding must be non-negative, but is (0, -1)",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, padding=(1, 1, 1)),
        RuntimeError,
        "conv2d: padding must be an integer or 2 of them, one per spatial axis, but is (1, 1, 1); (lo, hi) pairs are written ((lo, hi), ...)",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, padding=((1, 1, 1), (0, 0))),
        TypeError,
        "conv2d: padding must hold integers or (lo, hi) pairs, but holds (1, 1, 1)",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, padding="full"),
        RuntimeError,
        "conv2d: padding must be a number or one of 'valid', 'same', 'causal', but is 'full'",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, padding=0.5),
        TypeError,
        "conv2d: padding must be an integer or a sequence of integers, but is 0.5",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, padding=(0.5, 1)),
        TypeError,
        "conv2d: padding must hold integers or (lo, hi) pairs, but holds 0.5",
    ),
    (
        lambda nn: nn.functional.conv1d(ones(2, 4, 5), ones(6, 4, 3), padding=(1, 2)),
        RuntimeError,
        "conv1d: padding must be an integer or 1 of them, one per spatial axis, but is (1, 2); (lo, hi) pairs are written ((lo, hi), ...)",
    ),
    (lambda nn: nn.functional.conv2d(x, w, ones(5)), RuntimeError, "conv2d: bias must have shape (6,), but has (5,)"),
    (
        lambda nn: nn.functional.conv2d(x, w, ones(6, 1)),
        RuntimeError,
        "conv2d: bias must have shape (6,), but has (6, 1)",
    ),
    (lambda nn: nn.functional.conv2d(x, w, ones()), RuntimeError, "conv2d: bias must have shape (6,), but has ()"),
    (
        lambda nn: nn.functional.conv2d(x, w.double()),
        RuntimeError,
        "conv2d: input has dtype torch.float32, but weight has torch.float64",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, ones(6).double()),
        RuntimeError,
        "conv2d: input has dtype torch.float32, but bias has torch.float64",
    ),
    (lambda nn: nn.functional.conv2d([1.0], w), TypeError, "conv2d: input must be a Tensor, but is list"),
    (lambda nn: nn.functional.conv2d(None, w), TypeError, "conv2d: input must be a Tensor, but is NoneType"),
    (lambda nn: nn.functional.conv2d(x, 3), TypeError, "conv2d: weight must be a Tensor, but is int"),
    (lambda nn: nn.functional.conv2d(x, w, 1.0), TypeError, "conv2d: bias must be a Tensor, but is float"),
    (
        lambda nn: nn.grad.conv2d_input((2, 4, 5, 5), w, ones(2, 6, 5, 5)),
        RuntimeError,
        "conv2d_input: grad_output must have shape (2, 6, 3, 3), as input_size (2, 4, 5, 5) and weight (6, 4, 3, 3) give, but has (2, 6, 5, 5)",
    ),
    (
        lambda nn: nn.grad.conv2d_input((3, 4, 5, 5), w, y),
        RuntimeError,
        "conv2d_input: grad_output must have shape (3, 6, 3, 3), as input_size (3, 4, 5, 5) and weight (6, 4, 3, 3) give, but has (2, 6, 3, 3)",
    ),
    (
        lambda nn: nn.grad.conv2d_input((5, 5), w, y),
        RuntimeError,
        "conv2d_input: input_size must have 3 (unbatched) or 4 dimensions, but has 2: (5, 5)",
    ),
    (
        lambda nn: nn.grad.conv2d_input((2, 3, 5, 5), w, y),
        RuntimeError,
        "conv2d_input: input_size has 3 channels, but weight expects groups * weight.shape[1] = 1 * 4 = 4",
    ),
    (
        lambda nn: nn.grad.conv2d_input((2, 4, -5, 5), w, y),
        RuntimeError,
        "conv2d_input: input_size must not be negative, but is (2, 4, -5, 5)",
    ),
    (
        lambda nn: nn.grad.conv2d_input((2, 4, 5.0, 5), w, y),
        TypeError,
        "conv2d_input: input_size must be a sequence of integers, but is (2, 4, 5.0, 5)",
    ),
    (
        lambda nn: nn.grad.conv2d_input((2, 4, 2, 2), w, y),
        RuntimeError,
        "conv2d_input: kernel must fit into the padded input, but spans (3, 3), dilation included, of (2, 2)",
    ),
    (
        lambda nn: nn.grad.conv2d_input((2, 4, 5, 5), w, y.double()),
        RuntimeError,
        "conv2d_input: weight has dtype torch.float32, but grad_output has torch.float64",
    ),
    (
        lambda nn: nn.grad.conv2d_weight(x, (6, 4, 3, 3), ones(2, 6, 5, 5)),
        RuntimeError,
        "conv2d_weight: grad_output must have shape (2, 6, 3, 3), as input (2, 4, 5, 5) and weight_size (6, 4, 3, 3) give, but has (2, 6, 5, 5)",
    ),
    (
        lambda nn: nn.grad.conv2d_weight(x, (6, 3, 3, 3), y),
        RuntimeError,
        "conv2d_weight: input has 4 channels, but weight_size expects groups * weight_size[1] = 1 * 3 = 3",
    ),
    (
        lambda nn: nn.grad.conv2d_weight(x, (6, 4, 3), y),
        RuntimeError,
        "conv2d_weight: weight_size must have 4 dimensions, but has 3: (6, 4, 3)",
    ),
    (
        lambda nn: nn.grad.conv2d_weight(x, (5, 4, 3, 3), y),
        RuntimeError,
        "conv2d_weight: grad_output must have shape (2, 5, 3, 3), as input (2, 4, 5, 5) and weight_size (5, 4, 3, 3) give, but has (2, 6, 3, 3)",
    ),
    (
        lambda nn: nn.grad.conv2d_weight(x, None, y),
        TypeError,
        "conv2d_weight: weight_size must be a sequence of integers, but is None",
    ),
    (
        lambda nn: nn.grad.conv1d_weight(x, (6, 4, 3), y),
        RuntimeError,
        "conv1d_weight: input must have 2 (unbatched) or 3 dimensions, but has 4: (2, 4, 5, 5)",
    ),
    (
        lambda nn: nn.grad.conv3d_weight(x, (6, 4, 3, 3), y, stride=0),
        RuntimeError,
        "conv3d_weight: weight_size must have 5 dimensions, but has 4: (6, 4, 3, 3)",
    ),
    (lambda nn: nn.Conv2d(4, 6, 3, groups=0), ValueError, "Conv2d: groups must be positive, but is 0"),
    (
        lambda nn: nn.Conv2d(4, 6, 3, groups=3),
        ValueError,
        "Conv2d: groups must divide in_channels, but 3 does not divide 4",
    ),
    (
        lambda nn: nn.Conv2d(4, 5, 3, groups=2),
        ValueError,
        "Conv2d: groups must divide out_channels, but 2 does not divide 5",
    ),
    (
        lambda nn: nn.Conv2d(4, 6, 3, padding="full"),
        ValueError,
        "Conv2d: padding must be a number or one of 'valid', 'same', 'causal', but is 'full'",
    ),
    (
        lambda nn: nn.Conv2d(4, 6, 3)(ones(2, 3, 5, 5)),
        RuntimeError,
        "Conv2d: input has 3 channels, but weight expects groups * weight.shape[1] = 1 * 4 = 4",
    ),
    (
        lambda nn: nn.Conv2d(4, 6, 7)(x),
        RuntimeError,
        "Conv2d: kernel must fit into the padded input, but spans (7, 7), dilation included, of (5, 5)",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(ones(3, 3), w),
        RuntimeError,
        "conv_transpose2d: input must have 3 (unbatched) or 4 dimensions, but has 2: (3, 3)",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, ones(6, 4, 3)),
        RuntimeError,
        "conv_transpose2d: weight must have 4 dimensions, but has 3: (6, 4, 3)",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(x, w),
        RuntimeError,
        "conv_transpose2d: input has 4 channels, but weight expects weight.shape[0] = 6",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, groups=4),
        RuntimeError,
        "conv_transpose2d: weight must have a positive number of input channels that groups divides, but has 6 with groups = 4",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, groups=0),
        RuntimeError,
        "conv_transpose2d: groups must be positive, but is 0",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, stride=0),
        RuntimeError,
        "conv_transpose2d: stride must be positive, but is (0, 0)",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, dilation=0),
        RuntimeError,
        "conv_transpose2d: dilation must be positive, but is (0, 0)",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, padding=-1),
        RuntimeError,
        "conv_transpose2d: padding must be non-negative, but is (-1, -1)",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, output_padding=-1),
        RuntimeError,
        "conv_transpose2d: output_padding must be non-negative, but is (-1, -1)",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, output_padding=1),
        RuntimeError,
        "conv_transpose2d: output_padding must be smaller than stride or dilation, but is (1, 1) with stride (1, 1) and dilation (1, 1)",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, output_padding=(2, 0), stride=2, dilation=2),
        RuntimeError,
        "conv_transpose2d: output_padding must be smaller than stride or dilation, but is (2, 0) with stride (2, 2) and dilation (2, 2)",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, output_padding=(1, 1, 1), stride=2),
        RuntimeError,
        "conv_transpose2d: output_padding must be an integer or 2 of them, one per spatial axis, but is (1, 1, 1)",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, output_padding=0.5),
        TypeError,
        "conv_transpose2d: output_padding must be an integer or a sequence of integers, but is 0.5",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, padding=(3, 1)),
        RuntimeError,
        "conv_transpose2d: the result must not be empty, but input (2, 6, 3, 3) gives size (-1, 3)",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(ones(2, 6, 0, 3), w),
        RuntimeError,
        "conv_transpose2d: input may be empty in its batch or channels only, but has shape (2, 6, 0, 3)",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, ones(6)),
        RuntimeError,
        "conv_transpose2d: bias must have shape (4,), but has (6,)",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w.double()),
        RuntimeError,
        "conv_transpose2d: input has dtype torch.float32, but weight has torch.float64",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(None, w),
        TypeError,
        "conv_transpose2d: input must be a Tensor, but is NoneType",
    ),
    (
        lambda nn: nn.ConvTranspose2d(6, 4, 3, groups=4),
        ValueError,
        "ConvTranspose2d: groups must divide in_channels, but 4 does not divide 6",
    ),
    (
        lambda nn: nn.ConvTranspose2d(6, 4, 3, stride=2)(y, output_size=(6, 8)),
        ValueError,
        "ConvTranspose2d: output_size must be from (7, 7) to (8, 8), with or without batch and channels, for input (2, 6, 3, 3), but is (6, 8)",
    ),
    (
        lambda nn: nn.ConvTranspose2d(6, 4, 3, stride=2)(y, output_size=(8,)),
        ValueError,
        "ConvTranspose2d: output_size must be from (7, 7) to (8, 8), with or without batch and channels, for input (2, 6, 3, 3), but is (8,)",
    ),
    (
        lambda nn: nn.ConvTranspose2d(6, 4, 3, dilation=2)(y, output_size=(8, 8)),
        ValueError,
        "ConvTranspose2d: output_size must be from (7, 7) to (7, 7), with or without batch and channels, for input (2, 6, 3, 3), but is (8, 8)",
    ),
    (
        lambda nn: nn.Conv2d(4, 6, 3, padding_mode="mirror"),
        ValueError,
        "Conv2d: padding_mode must be one of 'zeros', 'reflect', 'replicate', 'circular', but is 'mirror'",
    ),
    (
        lambda nn: nn.Conv2d(4, 6, 3, padding=5, padding_mode="reflect")(x),
        RuntimeError,
        "Conv2d: padding must be less than the size for padding_mode 'reflect', but is ((5, 5), (5, 5)) for size (5, 5)",
    ),
    (
        lambda nn: nn.Conv2d(4, 6, 3, padding=6, padding_mode="circular")(x),
        RuntimeError,
        "Conv2d: padding must be at most the size for padding_mode 'circular', but is ((6, 6), (6, 6)) for size (5, 5)",
    ),
]

# What torch does not have, or lets pass: it ignores a wrong device of a meta tensor, and its modules fail when called.
BEYOND_TORCH: list[tuple[Call, type[Exception], str]] = [
    (
        lambda nn: nn.functional.convnd(x, ones(6)),
        RuntimeError,
        "convnd: weight must have at least 2 dimensions, but has 1: (6,)",
    ),
    (
        lambda nn: nn.functional.convnd(ones(4, 5), w),
        RuntimeError,
        "convnd: input must have 3 (unbatched) or 4 dimensions, but has 2: (4, 5)",
    ),
    (
        lambda nn: nn.functional.conv2d(x, ones(6, 4, 7, 3), padding=((1, 0), (0, 0))),
        RuntimeError,
        "conv2d: kernel must fit into the padded input, but spans (7, 3), dilation included, of (6, 5)",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, padding=((0, 1), (-1, 0))),
        RuntimeError,
        "conv2d: padding must be non-negative, but is ((0, 1), (-1, 0))",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w.to("meta")),
        RuntimeError,
        "conv2d: input is on device cpu, but weight is on meta",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, lowering="fast"),
        ValueError,
        "conv2d: lowering must be one of 'auto', 'fastest', 'reshape', 'taps', 'columns', 'window', 'winograd', 'fourier', 'native', but is 'fast'",
    ),
    (
        lambda nn: nn.grad.conv2d_input(5, w, y),
        TypeError,
        "conv2d_input: input_size must be a sequence of integers, but is 5",
    ),
    (
        lambda nn: nn.grad.convnd_input((2, 4, 5, 5), w, 1),
        TypeError,
        "convnd_input: grad_output must be a Tensor, but is int",
    ),
    (lambda nn: nn.Conv2d(4, 6, 0), ValueError, "Conv2d: kernel_size must be positive, but is (0, 0)"),
    (
        lambda nn: nn.Conv2d(4, 6, (3, 3, 3)),
        ValueError,
        "Conv2d: kernel_size must be an integer or 2 of them, one per spatial axis, but is (3, 3, 3)",
    ),
    (lambda nn: nn.Conv2d(4, 6, 3, stride=0), ValueError, "Conv2d: stride must be positive, but is (0, 0)"),
    (
        lambda nn: nn.Conv2d(4, 6, 3, stride="1"),
        TypeError,
        "Conv2d: stride must be an integer or a sequence of integers, but is '1'",
    ),
    (lambda nn: nn.Conv2d(4, 6, 3, padding=-1), ValueError, "Conv2d: padding must be non-negative, but is (-1, -1)"),
    (
        lambda nn: nn.Conv2d(4, 6, 3, padding=((0, 1),) * 3),
        ValueError,
        "Conv2d: padding must be an integer or 2 of them, one per spatial axis, but is ((0, 1), (0, 1), (0, 1)); (lo, hi) pairs are written ((lo, hi), ...)",
    ),
    (lambda nn: nn.Conv2d(4, 6, 3, dilation=0), ValueError, "Conv2d: dilation must be positive, but is (0, 0)"),
    (
        lambda nn: nn.Conv2d(4, 6, 3, lowering="fast"),
        ValueError,
        "Conv2d: lowering must be one of 'auto', 'fastest', 'reshape', 'taps', 'columns', 'window', 'winograd', 'fourier', 'native', but is 'fast'",
    ),
    (
        lambda nn: nn.functional.conv_transposend(y, ones(6)),
        RuntimeError,
        "conv_transposend: weight must have at least 2 dimensions, but has 1: (6,)",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, padding="full"),
        RuntimeError,
        "conv_transpose2d: padding must be a number or one of 'valid', 'same', 'causal', but is 'full'",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, padding="same", stride=2, output_padding=1),
        RuntimeError,
        "conv_transpose2d: output_padding must be 0 with padding 'same', but is (1, 1)",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, padding=((0, 1), (2, -1))),
        RuntimeError,
        "conv_transpose2d: padding must be non-negative, but is ((0, 1), (2, -1))",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(y, w, padding="causal", padding_mode="replicate"),
        RuntimeError,
        "conv_transpose2d: padding 'causal' needs padding_mode 'zeros', but padding_mode is 'replicate'",
    ),
    (
        lambda nn: nn.functional.conv_transpose2d(ones(1, 6, 1, 1), w, padding=1, padding_mode="reflect"),
        RuntimeError,
        "conv_transpose2d: padding must be less than the size for padding_mode 'reflect', but is ((1, 1), (1, 1)) for size (1, 1)",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, padding=1, padding_mode="mirror"),
        RuntimeError,
        "conv2d: padding_mode must be one of 'zeros', 'reflect', 'replicate', 'circular', but is 'mirror'",
    ),
    (
        lambda nn: nn.functional.conv2d(x, w, padding="causal", padding_mode="circular"),
        RuntimeError,
        "conv2d: padding 'causal' needs padding_mode 'zeros' or 'replicate', for no output may see a later input, but padding_mode is 'circular'",
    ),
    (
        lambda nn: nn.functional.unfoldnd([1.0], 3),
        TypeError,
        "unfoldnd: input must be a Tensor, but is list",
    ),
    (
        lambda nn: nn.functional.unfoldnd(ones(), 3),
        RuntimeError,
        "unfoldnd: input must have 1 (unbatched) or 2 dimensions, but has 0: ()",
    ),
    (
        lambda nn: nn.functional.unfoldnd(x, 6),
        RuntimeError,
        "unfoldnd: kernel must fit into the padded input, but spans (6, 6), dilation included, of (5, 5)",
    ),
    (
        lambda nn: nn.functional.unfoldnd(x, 3, stride=0),
        RuntimeError,
        "unfoldnd: stride must be positive, but is (0, 0)",
    ),
    (
        lambda nn: nn.functional.unfoldnd(x, 0),
        RuntimeError,
        "unfoldnd: kernel_size must be positive, but is (0, 0)",
    ),
    (
        lambda nn: nn.functional.unfoldnd(x, (3, 3), stride=(1,)),
        RuntimeError,
        "unfoldnd: tuples must have one entry per spatial axis, but kernel_size has 2, stride has 1",
    ),
    (
        lambda nn: nn.functional.unfoldnd(x, 3, padding=((1, 0),), dilation=(1, 1)),
        RuntimeError,
        "unfoldnd: tuples must have one entry per spatial axis, but dilation has 2, padding has 1",
    ),
    (
        lambda nn: nn.functional.unfoldnd(x, (3,)),
        RuntimeError,
        "unfoldnd: input must have 2 (unbatched) or 3 dimensions, but has 4: (2, 4, 5, 5)",
    ),
    (
        lambda nn: nn.functional.foldnd(ones(2, 18, 9), (5, 5), (3,)),
        RuntimeError,
        "foldnd: tuples must have one entry per spatial axis, but output_size has 2, kernel_size has 1",
    ),
    (
        lambda nn: nn.functional.foldnd(ones(2, 18, 9), 5, 3),
        TypeError,
        "foldnd: output_size must be a sequence of integers, but is 5",
    ),
    (
        lambda nn: nn.functional.foldnd(ones(2, 18, 8), (5, 5), 3),
        RuntimeError,
        "foldnd: input must have a multiple of 9 channels at 9 positions, as kernel_size (3, 3) and output_size (5, 5) give, but has shape (2, 18, 8)",
    ),
    (
        lambda nn: nn.functional.foldnd(ones(2, 17, 9), (5, 5), 3),
        RuntimeError,
        "foldnd: input must have a multiple of 9 channels at 9 positions, as kernel_size (3, 3) and output_size (5, 5) give, but has shape (2, 17, 9)",
    ),
    (
        lambda nn: nn.functional.foldnd(x, (5, 5), 3),
        RuntimeError,
        "foldnd: input must have 2 (unbatched) or 3 dimensions, but has 4: (2, 4, 5, 5)",
    ),
    (
        lambda nn: nn.functional.foldnd(ones(2, 18, 9), (2, 2), 3),
        RuntimeError,
        "foldnd: kernel must fit into the padded output_size, but spans (3, 3), dilation included, of (2, 2)",
    ),
    (
        lambda nn: nn.grad.conv_transpose2d_input((2, 6, 3, 3), w, y),
        RuntimeError,
        "conv_transpose2d_input: grad_output must have shape (2, 4, 5, 5), as input_size (2, 6, 3, 3) and weight (6, 4, 3, 3) give, but has (2, 6, 3, 3)",
    ),
    (
        lambda nn: nn.grad.conv_transpose2d_input((2, 4, 3, 3), w, x),
        RuntimeError,
        "conv_transpose2d_input: input_size has 4 channels, but weight expects weight.shape[0] = 6",
    ),
    (
        lambda nn: nn.grad.conv_transpose2d_weight(y, (6, 4, 3, 3), y),
        RuntimeError,
        "conv_transpose2d_weight: grad_output must have shape (2, 4, 5, 5), as input (2, 6, 3, 3) and weight_size (6, 4, 3, 3) give, but has (2, 6, 3, 3)",
    ),
    (
        lambda nn: nn.grad.conv2d_weight(x[0], (6, 4, 3, 3), y[0], per_sample=True),
        RuntimeError,
        "conv2d_weight: per_sample needs a batched input, but input has shape (4, 5, 5)",
    ),
    (
        lambda nn: nn.grad.conv2d_bias(ones(2, 3)),
        RuntimeError,
        "conv2d_bias: grad_output must have 3 (unbatched) or 4 dimensions, but has 2: (2, 3)",
    ),
    (
        lambda nn: nn.grad.conv2d_bias(y[0], per_sample=True),
        RuntimeError,
        "conv2d_bias: grad_output must have 4 dimensions, but has 3: (6, 3, 3)",
    ),
    (
        lambda nn: nn.grad.convnd_bias(ones(2)),
        RuntimeError,
        "convnd_bias: grad_output must have at least 2 dimensions, but has 1: (2,)",
    ),
    (
        lambda nn: nn.grad.convnd_bias(2),
        TypeError,
        "convnd_bias: grad_output must be a Tensor, but is int",
    ),
    (
        lambda nn: nn.grad.convnd_backward(x, w, x),
        RuntimeError,
        "convnd_backward: grad_output must have shape (2, 6, 3, 3), as input (2, 4, 5, 5) and weight (6, 4, 3, 3) give, but has (2, 4, 5, 5)",
    ),
    (
        lambda nn: nn.grad.conv_transposend_backward(y, w, y),
        RuntimeError,
        "conv_transposend_backward: grad_output must have shape (2, 4, 5, 5), as input (2, 6, 3, 3) and weight (6, 4, 3, 3) give, but has (2, 6, 3, 3)",
    ),
    (
        lambda nn: nn.ConvTranspose2d(6, 4, 3, output_padding=-1),
        ValueError,
        "ConvTranspose2d: output_padding must be non-negative, but is (-1, -1)",
    ),
    (
        lambda nn: nn.ConvTranspose2d(6, 4, 3)(y, output_size=5),
        TypeError,
        "ConvTranspose2d: output_size must be a sequence of integers, but is 5",
    ),
    (
        lambda nn: nn.LazyConv2d(5, 3, groups=2),
        ValueError,
        "LazyConv2d: groups must divide out_channels, but 2 does not divide 5",
    ),
    *(
        error
        for name, ndim, arguments in LAZY
        for error in (
            (
                lambda nn, name=name, arguments=arguments: getattr(nn, name)(*arguments, 5, 3, groups=2),
                ValueError,
                f"{name}: groups must divide out_channels, but 2 does not divide 5",
            ),
            (
                lambda nn, name=name, arguments=arguments: getattr(nn, name)(*arguments, 4.0, 3),
                TypeError,
                f"{name}: out_channels must be an integer, but is 4.0",
            ),
            (
                lambda nn, name=name, arguments=arguments: getattr(nn, name)(*arguments, 4, 3, groups=0),
                ValueError,
                f"{name}: groups must be positive, but is 0",
            ),
            (
                lambda nn, name=name, ndim=ndim, arguments=arguments: getattr(nn, name)(*arguments, 4, 3, groups=2)(
                    ones(2, 5, *(5,) * ndim)
                ),
                ValueError,
                f"{name}: groups must divide in_channels, but 2 does not divide 5",
            ),
            (
                lambda nn, name=name, ndim=ndim, arguments=arguments: getattr(nn, name)(*arguments, 4, 3, groups=2)(
                    ones(*(5,) * ndim)
                ),
                RuntimeError,
                f"{name}: input must have {ndim + 1} (unbatched) or {ndim + 2} dimensions, but has {ndim}: {(5,) * ndim}",
            ),
            (
                lambda nn, name=name, arguments=arguments: getattr(nn, name)(*arguments, 4, 3)([1.0]),
                TypeError,
                f"{name}: input must be a Tensor, but is list",
            ),
        )
    ),
    (
        lambda nn: nn.plan((2, 4, 5, 5), (6, 4, 3, 3), transposed=True),
        RuntimeError,
        "plan: input has 4 channels, but weight expects weight.shape[0] = 6",
    ),
    (
        lambda nn: nn.convert(x),
        TypeError,
        "convert: model must be a torch.nn.Module, but is Tensor",
    ),
    (
        lambda nn: nn.convert(torch.nn.Conv2d(1, 1, 1), only=3),
        TypeError,
        "convert: only must be a name, a module class, a function or several, but is 3",
    ),
    (
        lambda nn: nn.convert(torch.nn.Conv2d(1, 1, 1), only="stem"),
        ValueError,
        "convert: only must name a module of the model, but is 'stem'",
    ),
    (
        lambda nn: nn.convert(torch.nn.Conv2d(1, 1, 1), lowering="fast"),
        ValueError,
        "convert: lowering must be one of 'auto', 'fastest', 'reshape', 'taps', 'columns', 'window', 'winograd', 'fourier', 'native', but is 'fast'",
    ),
    (
        lambda nn: nn.revert(torch.nn.Sequential(), only="stem"),
        ValueError,
        "revert: only must name a module of the model, but is 'stem'",
    ),
    (
        lambda nn: nn.convert(torch.nn.Sequential(), only=torch.nn.Conv2d(1, 1, 1)),
        TypeError,
        "convert: only must be a name, a module class, a function or several, but is Conv2d(1, 1, kernel_size=(1, 1), stride=(1, 1))",
    ),
    (
        lambda nn: nn.grad.convnd_backward(x, w, y, output_mask=(True,)),
        TypeError,
        "convnd_backward: output_mask must be three truth values, but is (True,)",
    ),
    (
        lambda nn: nn.grad.conv2d_weight(x, w, y),
        TypeError,
        "conv2d_weight: weight_size must be a sequence of integers, but is a Tensor",
    ),
    (
        lambda nn: nn.functional.conv2d(x.to_sparse(), w),
        RuntimeError,
        "conv2d: input must be a dense tensor, but has layout torch.sparse_coo",
    ),
    (
        lambda nn: nn.set_workspace_limit("1GB"),
        TypeError,
        "set_workspace_limit: limit must be an integer, but is '1GB'",
    ),
    (
        lambda nn: nn.set_lowering(None),
        ValueError,
        "set_lowering: lowering must be one of 'auto', 'fastest', 'reshape', 'taps', 'columns', 'window', 'winograd', 'fourier', 'native', but is 'None'",
    ),
    (
        lambda nn: nn.functional.conv2d(x.bool(), w.bool()),
        NotImplementedError,
        "conv2d: dtype must be one of bfloat16, complex128, complex32, complex64, float16, float32, float64, int16, int32, int64, int8, uint8, but input has torch.bool",
    ),
    (lambda nn: nn.ConvNd(-1, 4, 6, 3), ValueError, "ConvNd: ndim must be non-negative, but is -1"),
    (
        lambda nn: nn.ConvNd(4, 4, 6, (3, 3)),
        ValueError,
        "ConvNd: kernel_size must be an integer or 4 of them, one per spatial axis, but is (3, 3)",
    ),
    (
        lambda nn: nn.plan((2, 4, 5, 5), (6, 3, 3, 3)),
        RuntimeError,
        "plan: input has 4 channels, but weight expects groups * weight.shape[1] = 1 * 3 = 3",
    ),
    (lambda nn: nn.plan((2, 4, 5, 5), "w"), TypeError, "plan: weight must be a sequence of integers, but is 'w'"),
    (
        lambda nn: nn.set_lowering("fast"),
        ValueError,
        "set_lowering: lowering must be one of 'auto', 'fastest', 'reshape', 'taps', 'columns', 'window', 'winograd', 'fourier', 'native', but is 'fast'",
    ),
    (lambda nn: nn.set_exact(1), TypeError, "set_exact: exact must be a bool, but is 1"),
    (
        lambda nn: nn.set_measuring_budget("1min"),
        TypeError,
        "set_measuring_budget: seconds must be a number, but is '1min'",
    ),
    (
        lambda nn: nn.set_measuring_budget(-1),
        ValueError,
        "set_measuring_budget: seconds must not be negative, but is -1",
    ),
    (lambda nn: nn.set_workspace_limit(0), ValueError, "set_workspace_limit: limit must be positive, but is 0"),
]


class Products(TorchDispatchMode):
    """Counts operators that make or multiply tensors, once the operands exist."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in {"trilinear", "constant_pad_nd", "cat", "new_empty"}:
            self.names.append(name)
        return func(*args, **kwargs or {})


@pytest.mark.parametrize(
    ("call", "exception", "text"), AS_TORCH + BEYOND_TORCH, ids=[t for *_, t in AS_TORCH + BEYOND_TORCH]
)
def test_message(call: Call, exception: type[Exception], text: str) -> None:
    with Products() as products, pytest.raises(exception) as caught:
        call(ndconv)
    assert type(caught.value) is exception
    assert str(caught.value) == text
    assert products.names == []


@pytest.mark.parametrize(("call", "exception", "text"), AS_TORCH, ids=[t for *_, t in AS_TORCH])
def test_torch_raises_the_same_type(call: Call, exception: type[Exception], text: str) -> None:
    with pytest.raises(exception):
        call(torch.nn)


def test_products_would_be_seen() -> None:
    with Products() as products:
        ndconv.functional.conv2d(x, w, padding=1)
    assert products.names
