"""Which of the two libraries that torch multiplies with on a CPU is quicker here.

`torch.matmul` gives float32 to MKL (or another BLAS). On AMD's processors that leaves half of an AVX-512 unit unused,
and torch's convolution, which is oneDNN's, is twice as fast before any lowering has lost a thing. torch carries
oneDNN's product too, as the operator that its compiler emits for linear layers; on such processors dense operands of
some size go there. With AVX2 both use the whole unit: on one core of an EPYC oneDNN won none of fifteen shapes, at 0.7
to 1.0 of MKL's speed.

What torch says of the processor decides, but no clock: the bits of a result depend on the kind of processor, not on the
process. Sums are taken in float32 either way, in another order.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch


@lru_cache(maxsize=1)
def is_quicker() -> bool:
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
