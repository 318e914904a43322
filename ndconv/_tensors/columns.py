"""Windows as columns, of convolutions and of transposed ones, and the adjoints that add columns back up."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import Tensor

from ndconv._form.geometry import Convolution
from ndconv._programs.windows import fold, kernel_first, windows
from ndconv._tensors.direct import Direct, pad, unpad


def unfolded(x: Tensor, convolution: Convolution) -> Tensor:
    """``(n, c, *I) -> (n, c * prod(K), prod(O))``."""
    geometry, positions = convolution.geometry, convolution.output_size
    padded = pad(x, geometry.fit(convolution.input_size, geometry.reach(positions)))
    view: Tensor = kernel_first(windows(padded.unsqueeze(1), geometry), geometry.ndim)
    return view.reshape(x.shape[0], x.shape[1] * math.prod(geometry.kernel), math.prod(positions))


def folded(columns: Tensor, convolution: Convolution) -> Tensor:
    """Adjoint of `unfolded`."""
    geometry, positions = convolution.geometry, convolution.output_size
    channels = columns.shape[1] // math.prod(geometry.kernel)
    apart = columns.reshape(columns.shape[0], 1, channels, *geometry.kernel, *positions)
    padded = fold(Direct(columns.device.type, ()), apart, geometry).squeeze(1)
    return unpad(padded, geometry.fit(convolution.input_size, geometry.reach(positions))).contiguous()


def unfolded_transposed(y: Tensor, convolution: Convolution) -> Tensor:
    """For each element of the convolution's input, the output elements that its kernel elements tie to it.

    ``(n, d, *O) -> (n, d * prod(K), prod(I))``: windows of stride 1, with reversed kernel, of the output with zeros in
    the gaps of the stride.
    """
    spread = y.new_zeros(*y.shape[:2], *_spread(convolution).input_size)
    spread[_gaps(convolution)] = y
    return _reversed(unfolded(spread, _spread(convolution)), convolution)


def folded_transposed(columns: Tensor, convolution: Convolution) -> Tensor:
    """Adjoint of `unfolded_transposed`."""
    spread = folded(_reversed(columns, convolution), _spread(convolution))
    return spread[_gaps(convolution)].contiguous()


def _spread(convolution: Convolution) -> Convolution:
    """The convolution of stride 1 with as many windows as the given one's input has elements."""
    geometry, size = convolution.geometry, convolution.input_size
    spread = tuple(s * (o - 1) + 1 for s, o in zip(geometry.stride, convolution.output_size, strict=True))
    before = tuple(e - 1 - lo for e, (lo, _) in zip(geometry.extent, geometry.padding, strict=True))
    padding = tuple((lo, i + e - 1 - n - lo) for i, e, n, lo in zip(size, geometry.extent, spread, before, strict=True))
    dense = replace(geometry, stride=(1,) * geometry.ndim, padding=padding)
    return Convolution(dense, spread, ((0, 0),) * geometry.ndim, "zeros")


def _gaps(convolution: Convolution) -> tuple[Any, ...]:
    return (..., *(slice(None, None, stride) for stride in convolution.geometry.stride))


def _reversed(columns: Tensor, convolution: Convolution) -> Tensor:
    kernel = convolution.geometry.kernel
    apart: Tensor = columns.unflatten(1, (columns.shape[1] // math.prod(kernel), *kernel))
    turned: Tensor = apart.flip(tuple(range(2, 2 + len(kernel)))).flatten(1, 1 + len(kernel))
    return turned
