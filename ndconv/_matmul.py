"""Matrix products by the quicker of the two libraries that torch multiplies with on a CPU.

`torch.matmul` gives float32 to MKL (or another BLAS). On processors that are not Intel's MKL leaves half of the vector
unit unused, and torch's convolution, which is oneDNN's, is twice as fast before any lowering has lost a thing. torch
carries oneDNN's product too, as the operator that its compiler emits for linear layers; where a measurement finds it
quicker, dense operands of some size go there. Sums are taken in float32 either way, in another order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import product
from time import perf_counter

import torch
from torch import Tensor
from torch.compiler import is_compiling

# Below this, starting oneDNN takes longer than it saves.
_LEAST_MULTIPLY_ADDS = 2 * 10**6
# Shorter sums gain less than it takes to put the results of a batch together.
_LEAST_SUM = 32
# Sums from this length on save more than it takes to transpose the result, once.
_LONG_SUM = 1024
# What the quicker library must gain to be taken: sums should not change their order from run to run for nothing.
_LEAST_GAIN = 1.3


def matmul(first: Tensor, second: Tensor) -> Tensor:
    """``first @ second`` for every item of a batch, ``(b, i, j)`` and ``(*a, b, j, k)`` give ``(*a, b, i, k)``."""
    if not _suits(first, second):
        return _by_blas(first, second)
    if second.shape[:-2].numel() == 1:
        return _product(first[0], second.flatten(0, -3)[0])[(None,) * (second.dim() - 2)]
    first = first.contiguous()
    result = first.new_empty(*second.shape[:-2], first.shape[1], second.shape[-1])
    for index in product(*map(range, second.shape[:-2])):
        result[index] = _product(first[index[-1]], second[index])
    return result


def accumulate(total: Tensor, first: Tensor, second: Tensor) -> None:
    """``total += first @ second`` for every item of a batch: ``(b, i, k)``, ``(b, i, j)`` and ``(b, j, k)``."""
    if not _suits(first, second):
        total.baddbmm_(first, second)
    else:
        for result, *operands in zip(total, first, second, strict=True):
            result += _product(*operands)


def _by_blas(first: Tensor, second: Tensor) -> Tensor:
    if second.dim() == 3:
        return torch.bmm(first, second)
    # bmm takes what is repeated with stride 0; matmul would copy the batch to fold it into one matrix.
    repeated = first.expand(*second.shape[:-2], *first.shape[1:]).flatten(0, -3)
    return torch.bmm(repeated, second.flatten(0, -3)).view(*second.shape[:-2], first.shape[1], -1)


def _suits(first: Tensor, second: Tensor) -> bool:
    """Whether oneDNN takes these operands, and takes less time."""
    rows, (inner, columns) = first.shape[-2], second.shape[-2:]
    return (
        not is_compiling()
        and rows * inner * columns >= _LEAST_MULTIPLY_ADDS
        and (inner >= _LEAST_SUM or second.shape[:-2].numel() == 1)
        and first.dtype == torch.float32
        and first.device.type == "cpu"
        and type(first) is type(second) is Tensor
        and (second.is_contiguous() or second.mT.is_contiguous())
        and bool(torch.backends.mkldnn.enabled)
        and _is_quicker()
    )


def _product(first: Tensor, second: Tensor) -> Tensor:
    """``first @ second`` by oneDNN, as a view of its transpose if that is quicker."""
    rows, inner, columns = *first.shape, second.shape[1]
    if rows < columns and inner >= _LONG_SUM and second.mT.is_contiguous():
        return _linear(second.mT, first.contiguous()).mT
    return _linear(first, second.mT)


def _linear(x: Tensor, w: Tensor) -> Tensor:
    """``x @ w.T`` by oneDNN, which lays ``w`` out anew: that should be the smaller.

    Rows of ``w`` or its columns must lie side by side, or it takes a slow way.
    """
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], "")
    return result


@lru_cache(maxsize=1)
def _is_quicker() -> bool:
    """Whether oneDNN's product is there and faster than `torch.matmul`, measured once, in a few milliseconds."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return False
    square = torch.ones(384, 384, dtype=torch.float32, device="cpu")
    return _seconds(lambda: torch.matmul(square, square)) > _LEAST_GAIN * _seconds(lambda: _linear(square, square))


def _seconds(call: Callable[[], object]) -> float:
    """The least of a few runs."""
    taken = []
    for _ in range(6):
        start = perf_counter()
        call()
        taken.append(perf_counter() - start)
    return min(taken)
