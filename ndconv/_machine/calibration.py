"""Measure the speed of a device, by kind of step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndconv._programs.rates import ProductRate, Rates
from ndconv._programs.steps import Product

# Number of runs, or seconds after which they end; the least time counts.
_RUNS, _SECONDS = 30, 0.04
# Seconds that it takes to detect a busy machine.
_GRANTED = 0.1
_DTYPES = "float32", "float64", "bfloat16", "float16"
# Shapes of products: square, a long sum, thin, a short sum, small; and of batched ones.
_ONE = (
    (1, 384, 384, 384), (1, 64, 8192, 64), (1, 32, 27, 4096), (1, 4, 512, 2048), (1, 64, 8, 16384), (1, 64, 576, 784),
    (1, 8, 72, 4096), (1, 512, 512, 49), (1, 16, 48, 16000), (1, 8, 8, 8),
)  # fmt: skip
_SEVERAL = (
    (64, 16, 64, 64), (256, 8, 16, 16), (4, 64, 576, 784), (4, 8, 72, 4096), (32, 4, 36, 1568), (16, 48, 1024, 34),
    (2, 4, 4, 4), (64, 4, 27, 672), (128, 2, 9, 784), (32, 16, 8, 2048),
)  # fmt: skip
# Those of accelerators, where a call is as long as a hundred million multiply-adds.
_LARGE_ONE = (
    (1, 4096, 4096, 4096), (1, 64, 2**17, 576), (1, 32, 27, 2**20), (1, 4, 512, 2**18), (1, 64, 8, 2**19),
    (1, 64, 576, 2**18), (1, 8, 72, 2**19), (1, 512, 512, 2**14),
)  # fmt: skip
_LARGE_SEVERAL = (
    (64, 512, 512, 1024), (64, 64, 576, 3136), (64, 8, 72, 2**14), (256, 32, 36, 1568), (64, 48, 2**14, 34),
    (1024, 64, 64, 64), (128, 2, 9, 12544), (64, 16, 8, 2**14),
)  # fmt: skip


class _Scale(NamedTuple):
    """What is measured on a device: work that takes longer than its call.

    Args:
        buffers: Bytes of buffers that are copied and allocated.
        part: Elements of a copy that streams.
        products: Shapes of products by library.
        vector: A product of a vector and a matrix, likewise.
        narrow: A narrow product, likewise.
        queued: Runs between two waits for the device.
    """

    buffers: tuple[int, ...]
    part: int
    products: dict[str, tuple[tuple[int, int, int, int], ...]]
    vector: dict[str, tuple[int, int, int, int]]
    narrow: dict[str, tuple[int, int, int, int]]
    queued: int


_CPU = _Scale(
    buffers=tuple(2**power for power in range(18, 28)),
    part=2**17,
    products={"blas": _ONE, "batch": _SEVERAL, "onednn": _ONE},
    vector={"blas": (1, 1, 512, 784), "batch": (128, 1, 49, 196), "onednn": (1, 1, 512, 784)},
    narrow={"blas": (1, 64, 8192, 6), "batch": (128, 1, 961, 14), "onednn": (1, 64, 8192, 6)},
    queued=1,
)
_ACCELERATOR = _Scale(
    buffers=tuple(2**power for power in range(25, 31)),
    part=2**24,
    products={"blas": _ONE + _LARGE_ONE, "batch": _SEVERAL + _LARGE_SEVERAL},
    vector={"blas": (1, 1, 2048, 2**15), "batch": (512, 1, 49, 2**12)},
    narrow={"blas": (1, 256, 2**17, 4), "batch": (512, 64, 961, 4)},
    queued=16,
)
_MULTIPLY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "blas": torch.mm,
    "batch": torch.bmm,
    "onednn": lambda a, b: torch.ops.mkldnn._linear_pointwise(a, b.mT, None, "none", [], ""),
}
# Up to the first multiple of the least time a byte is in a cache; beyond the second, in memory that is newly mapped.
_MORE, _MANY = 1.6, 4.0


def measured(device: torch.device) -> Iterator[tuple[str, Any]]:
    """Fields of `ndconv._programs.rates.Rates`, each as soon as it is measured."""
    small, other, often = torch.zeros(64, device=device), torch.ones(64, device=device), range(500)
    call = _least(lambda: [small.copy_(other) for _ in often], device, len(often))
    yield "call", call
    yield "view", _least(lambda: [small.as_strided((7, 7), (8, 1)) for _ in often], device, len(often))
    yield from _moving(device)
    yield "products", {dtype: found for dtype in _DTYPES if (found := _products(dtype, device, call))}


def granted(device: torch.device) -> float:
    """The share of processor time that the threads of a large product get; less than 1 on a busy machine."""
    if device.type != "cpu":
        return 1.0
    matrix = torch.ones(512, 512)
    matrix @ matrix
    start, used = time.perf_counter(), time.process_time()
    while (taken := time.perf_counter() - start) < _GRANTED:
        matrix @ matrix
    return (time.process_time() - used) / (taken * torch.get_num_threads())


FIELDS = len(Rates.__dataclass_fields__)
"""Number of fields."""


def _least(run: Callable[[], object], device: torch.device, times: int = 1) -> float:
    """The least nanoseconds of a run, divided by ``times``, the amount of work in it."""
    queued = _scale(device).queued
    run()
    least, begin = math.inf, time.perf_counter()
    for _ in range(_RUNS):
        _wait(device)
        start = time.perf_counter()
        for _ in range(queued):
            run()
        _wait(device)
        end = time.perf_counter()
        least = min(least, end - start)
        if end - begin > _SECONDS:
            break
    return least * 1e9 / (queued * times)


def _scale(device: torch.device) -> _Scale:
    return _CPU if device.type == "cpu" else _ACCELERATOR


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _moving(device: torch.device) -> Iterator[tuple[str, float]]:
    """Rates of copies: bytes in buffers of growing size, reused and newly allocated; rows; elements with gaps."""
    scale, there, anew = _scale(device), {}, {}
    for size in scale.buffers:
        source = torch.zeros(size // 8, device=device)
        target = torch.zeros_like(source)
        there[size] = _least(partial(target.copy_, source), device) / size
        anew[size] = _least(partial(_filled, size // 4, device), device) / size
        del source, target
    cached, filled = sorted(there.values())[len(there) // 4], min(anew.values())
    # Half of the cache is left to other data.
    cache = max(size for size, each in there.items() if each <= _MORE * cached) // 2
    yield "cached", cached
    yield "cache", cache
    part = scale.part
    # Four times the bytes of both, and at least one part with others on both sides.
    whole = torch.zeros(max(scale.buffers[-1] // 4, 2 * cache, 4 * part), device=device)
    starts = range(part, whole.numel() - 2 * part, 2 * part)

    def streaming(source: Tensor, step: int = 1) -> float:
        """Nanoseconds per element read or written, one part of the whole after the other."""
        targets = [whole[start : start + step * part : step].view(source.shape) for start in starts]
        return _least(lambda: [each.copy_(source) for each in targets], device, 2 * part * len(targets))

    plain = streaming(whole[:part])
    yield "streamed", plain / 4
    yield "large", min((size for size, each in anew.items() if each > _MANY * filled), default=2 * scale.buffers[-1])
    yield "fresh", max(anew.values()) - filled
    yield "apart", streaming(whole[:part], 2)
    # Short rows, where the row overhead dominates; rows of rows have one more axis.
    rows, blocks = (
        _least(partial(whole.as_strided(shape, strides).copy_, whole[-part:].view(shape)), device, part // 4)
        for shape, strides in (((part // 4, 4), (6, 1)), ((part // 16, 4, 4), (32, 6, 1)))
    )
    yield "row", rows
    yield "block", max(0.0, 4 * (blocks - rows)) / 3


def _filled(elements: int, device: torch.device) -> Tensor:
    return torch.empty(elements, device=device).fill_(1.0)


def _products(dtype: str, device: torch.device, call: float) -> dict[str, ProductRate]:
    """Rates of all libraries that multiply matrices of a dtype on the device."""
    found, scale = {}, _scale(device)
    for library, shapes in scale.products.items():
        # Long sums are weight gradients, which multiply by a transposed matrix.
        products = [Product(*shape, library, by_columns=shape[2] > shape[3]) for shape in shapes]
        vector, narrow = (Product(*each[library], library) for each in (scale.vector, scale.narrow))
        try:
            *times, by_vector, by_narrow = (
                _beside(call, _timed(product, dtype, device)) for product in (*products, vector, narrow)
            )
        except (AttributeError, NotImplementedError, RuntimeError):
            continue
        found[library] = _fitted(products, times)._replace(
            vector=by_vector / vector.multiply_adds, narrow=by_narrow / (narrow.number * narrow.rows * narrow.terms)
        )
    if "blas" in found:
        found["blas"] = found["blas"]._replace(each=_looped(dtype, device))
    return found


def _beside(call: float, taken: float) -> float:
    """Time beside that of any call; a share of it at least, as clocks are not exact."""
    return max(1.0, taken / 10, taken - call)


def _looped(dtype: str, device: torch.device) -> float:
    """Nanoseconds of each product of a batch whose results have gaps between them."""
    first, number = torch.ones(64, 8, 8, dtype=getattr(torch, dtype), device=device), 64
    total = torch.zeros(number, 8, 16, dtype=first.dtype, device=device)[:, :, :8]
    return _least(lambda: total.baddbmm_(first, first), device, number)


def _timed(product: Product, dtype: str, device: torch.device) -> float:
    number, rows, terms, columns, library, by_columns = product
    assert library is not None
    kind = {"dtype": getattr(torch, dtype), "device": device}
    first = torch.ones(number, rows, terms, **kind)
    second = torch.ones(number, columns, terms, **kind).mT if by_columns else torch.ones(number, terms, columns, **kind)
    if library != "batch":
        first, second = first[0], second[0]
    return _least(partial(_MULTIPLY[library], first, second), device)


def _fitted(products: Sequence[Product], times: Sequence[float]) -> ProductRate:
    """The rate with non-negative parts that fits all times best, by relative error."""
    names = [name for name in ProductRate._fields if name not in ("narrow", "vector")]
    parts = [ProductRate(*(float(each == name) for each in ProductRate._fields)) for name in names]
    rows = [[part.nanoseconds(product) / each for part in parts] for product, each in zip(products, times, strict=True)]
    wanted, kept = torch.ones(len(rows), 1, dtype=torch.float64), list(range(len(parts)))
    while True:
        matrix = torch.tensor(rows, dtype=torch.float64)[:, kept]
        solution = torch.linalg.lstsq(matrix, wanted, driver="gelsd").solution[:, 0].tolist()
        if min(solution) >= 0:
            found = {names[part]: each for part, each in zip(kept, solution, strict=True)}
            return ProductRate(**{**dict.fromkeys(ProductRate._fields, 0.0), **found})
        kept.pop(solution.index(min(solution)))
