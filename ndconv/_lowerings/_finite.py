"""Whether numbers are finite, for ways of computing that multiply zeros where nothing is tied.

A zero times a finite number adds nothing, a zero times a NaN or an infinity would: so a result that is finite is right,
and one that is not is computed again by a way that forms no such products.
"""

from __future__ import annotations

import cmath

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import Parameter

_PLAIN = {Tensor, Parameter}


def is_finite(*tensors: Tensor) -> bool:
    """Whether one of these, the smallest, has only finite elements; where nobody may look at numbers, True.

    Nobody may look at those of tensors that stand for others (meta, fake, mapped), nor while a compiler, a tracer or a
    CUDA graph records what is done.
    """
    if is_compiling():
        return True
    tensor = min(tensors, key=Tensor.numel)
    if _is_hidden(tensor):
        return True
    # One pass; a sum that overflows tells nothing.
    wide = torch.float32 if tensor.dtype in (torch.float16, torch.bfloat16) else tensor.dtype
    return cmath.isfinite(tensor.sum(dtype=wide).item()) or bool(torch.isfinite(tensor).all())


def _is_hidden(tensor: Tensor) -> bool:
    return (
        tensor.is_meta
        or type(tensor) not in _PLAIN
        or torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        or torch._C._functorch.is_legacy_batchedtensor(tensor)
        or torch._C._get_tracing_state() is not None
        or torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is not None
        or (tensor.is_cuda and torch.cuda.is_current_stream_capturing())
    )
