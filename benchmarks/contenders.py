"""The contenders of a workload: torch first, then ndconv's lowerings, then the peers that support it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypedDict

from torch import Tensor
from torch.nn import functional

import ndconv
from benchmarks import article, loop, peers, per_sample
from benchmarks.names import AUTO, FASTEST, OPACUS, TORCH
from benchmarks.workloads import Workload


@dataclass(frozen=True)
class Contender:
    """A way to compute a slot.

    Args:
        compute: Takes input and weight, or for the per-sample slot input, weight and gradient of the output.
        buffer: Elements that it is known to hold at one time; contenders that no memory can hold are not tried.
    """

    compute: Callable[..., Tensor]
    buffer: int = 0


class _PerSample(TypedDict):
    lowering: str
    per_sample: bool


def _torch(workload: Workload, x: Tensor, w: Tensor) -> Tensor:
    stride, padding, dilation = workload.window
    if workload.transposed:
        transposes = functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d
        return transposes[workload.ndim - 1](x, w, None, stride, padding, 0, workload.groups, dilation)
    return loop.convnd(x, w, stride, padding, dilation, workload.groups)


def _ndconv(workload: Workload, lowering: str, x: Tensor, w: Tensor) -> Tensor:
    stride, padding, dilation = workload.window
    if workload.transposed:
        after = 0, workload.groups, dilation
        return ndconv.functional.conv_transposend(x, w, None, stride, padding, *after, lowering=lowering)
    return ndconv.functional.convnd(x, w, None, stride, padding, dilation, workload.groups, lowering=lowering)


def _ndconv_per_sample(workload: Workload, lowering: str, x: Tensor, w: Tensor, g: Tensor) -> Tensor:
    stride, padding, dilation = workload.window
    shape, options = w.shape, _PerSample(lowering=lowering, per_sample=True)
    if workload.transposed:
        after = 0, workload.groups, dilation
        return ndconv.grad.conv_transposend_weight(x, shape, g, stride, padding, *after, **options)
    return ndconv.grad.convnd_weight(x, shape, g, stride, padding, dilation, workload.groups, **options)


def _article(workload: Workload, x: Tensor, w: Tensor) -> Tensor:
    return article.conv2d(x, w, None, *workload.window)


def lowerings(workload: Workload) -> dict[str, int]:
    """The lowerings that apply to the output and to both gradients, with the elements of their workspace."""
    plan = workload.plan()
    costs = [slot.choice.costs for slot in (plan.output, plan.grad_input, plan.grad_weight)]
    return {name: max(cost[name].workspace for cost in costs) for name in costs[0] if all(name in c for c in costs)}


def convolutions(workload: Workload) -> dict[str, Contender]:
    """All contenders that can convolve a workload."""
    found = {TORCH: Contender(partial(_torch, workload))}
    for name, buffer in {AUTO: 0, FASTEST: 0, **lowerings(workload)}.items():
        found[name] = Contender(partial(_ndconv, workload, name), buffer)
    if workload.transposed:
        return found
    found["einconv"] = Contender(partial(peers.einconv, workload), peers.einconv_buffer(workload))
    if workload.ndim <= 3:
        found["unfoldNd"] = Contender(partial(peers.unfold_einsum, workload), peers.unfold_einsum_buffer(workload))
    if workload.ndim == 2 and workload.groups == 1:
        found["article"] = Contender(partial(_article, workload), workload.columns)
    return found


def per_sample_gradients(workload: Workload) -> dict[str, Contender]:
    """All contenders that can compute per-sample gradients of the weight; torch's is `vmap` of `grad`."""
    found = {TORCH: Contender(partial(per_sample.vmap_grad, partial(_torch, workload)))}
    for name in (AUTO, FASTEST):
        found[name] = Contender(partial(_ndconv_per_sample, workload, name))
    if workload.ndim <= 3 and not workload.transposed:
        found[OPACUS] = Contender(partial(per_sample.opacus_style, workload), workload.columns)
    return found
