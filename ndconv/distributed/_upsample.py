"""Resizing for DTensors too."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ndconv._form.bands import Bands, adaptive, linear, nearest
from ndconv._sharded.bands import resize
from ndconv._tensors import tensor_rules
from ndconv._tensors.dtypes import wide_dtype
from ndconv.distributed._layer import Layer, each


class Upsample(Layer, torch.nn.Upsample):
    """As `torch.nn.Upsample`, for DTensors too; for these in every mode but ``"bicubic"``.

    Gradients are the derivatives of the forward pass. torch's own, on the CPU, are not with a nearest mode if
    ``scale_factor`` is no integer and the output is exactly as large as the input or twice as large.

    Example:
        >>> import torch
        >>> from ndconv.distributed import Upsample
        >>> Upsample(scale_factor=2, mode="trilinear")(torch.rand(1, 3, 4, 5, 6)).shape
        torch.Size([1, 3, 8, 10, 12])
    """

    def _sharded(self, input: Any) -> Tensor:
        name, axes = type(self).__name__, input.dim() - 2
        tensor_rules.placed(name, axes, {}, input=input)
        if self.mode == "bicubic":
            tensor_rules.without(name, f"mode={self.mode!r}", input)
        outputs = tuple(self._as_torch(input).shape[2:])
        given = None if self.recompute_scale_factor else self.scale_factor
        sizes = zip(input.shape[2:], outputs, each(given, axes), strict=True)
        return resize(input, tuple(self._map(*size, input.dtype) for size in sizes))

    def _map(self, inputs: int, outputs: int, scale: float | None, dtype: torch.dtype) -> Bands:
        if self.mode == "area":
            return adaptive(inputs, outputs)
        if "linear" in self.mode:
            return linear(inputs, outputs, bool(self.align_corners), scale)
        # torch is asked for the indices, as it rounds them in the dtype that it computes in.
        rows = torch.arange(inputs, dtype=wide_dtype(dtype) if dtype.is_floating_point else torch.float32)
        size = outputs if scale is None else None
        found = F.interpolate(rows.view(1, 1, -1), size=size, scale_factor=scale, mode=self.mode)
        return nearest(inputs, [int(place) for place in found.flatten().tolist()])
