"""Matrix products by the quicker of the two libraries that torch multiplies with on a CPU.

`torch.matmul` gives float32 to MKL (or another BLAS). On AMD's processors that leaves half of an AVX-512 unit unused,
and torch's convolution, which is oneDNN's, is twice as fast before any lowering has lost a thing. torch carries
oneDNN's product too, as the operator that its compiler emits for linear layers; on such processors dense operands of
some size go there. With AVX2 both use the whole unit: on one core of an EPYC oneDNN won none of fifteen shapes, at 0.7
to 1.0 of MKL's speed.

What torch says of the processor decides, and the shapes, but no clock: the bits of a result depend on the kind of
processor, not on the process. Sums are taken in float32 either way, in another order.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

# Below this, starting oneDNN takes longer than it saves.
_LEAST_MULTIPLY_ADDS = 2 * 10**6
# Shorter sums gain less than it takes to put the results of a batch together.
_LEAST_SUM = 32
# Sums from this length on save more than it takes to transpose the result, once.
_LONG_SUM = 1024


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
    """Whether oneDNN's product is there and uses AVX-512 where MKL's does not, by all that torch says.

    It names the processor by `torch.cpu.get_capabilities`; a torch that lacks that is left to its BLAS, as is another
    BLAS than MKL.
    """
    onednn: Any = torch.ops.mkldnn
    processor: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(onednn, "_linear_pointwise")
        and torch.backends.mkl.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and getattr(onednn, "_is_mkldnn_bf16_supported", bool)()  # on x86 that is oneDNN's word for AVX-512
        and processor.get("cpu_name", "").startswith("AMD")
    )
