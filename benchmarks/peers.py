"""Convolutions of other libraries, used as their documentation says."""

from __future__ import annotations

import math

import torch
from einconv.functionals import convNd
from torch import Tensor
from unfoldNd import unfoldNd

from benchmarks.workloads import Workload


def einconv(workload: Workload, x: Tensor, w: Tensor) -> Tensor:
    """Contract input, weight and one index pattern for each axis in a single einsum."""
    stride, padding, dilation = workload.window
    result: Tensor = convNd(x, w, None, stride, padding, dilation, workload.groups)
    return result


def einconv_buffer(workload: Workload) -> int:
    """Elements of its index patterns, or of the windows in the contraction, whichever are more."""
    if workload.kind == "windows apart":
        return 0
    axes = zip(workload.kernel, workload.output[2:], workload.input[2:], strict=True)
    return max(workload.columns, sum(map(math.prod, axes)))


def unfold_einsum(workload: Workload, x: Tensor, w: Tensor) -> Tensor:
    """Lay out the windows with unfoldNd and contract them with the weight."""
    stride, padding, dilation = workload.window
    columns: Tensor = unfoldNd(x, workload.kernel, dilation, padding, stride)
    grouped = columns.unflatten(1, (workload.groups, -1)), w.flatten(1).unflatten(0, (workload.groups, -1))
    y = torch.einsum("ngko,gdk->ngdo", *grouped)
    return y.reshape(workload.output)


def unfold_einsum_buffer(workload: Workload) -> int:
    """Elements of the windows and of the kernel of ones and zeros that lays them out."""
    return workload.columns + workload.input[1] * math.prod(workload.kernel) ** 2
