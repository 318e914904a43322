"""Measure the speed of a device, by kind of step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ndconv._programs.rates import ProductRate, Rates
from ndconv._programs.steps import Product

# Number of runs, or seconds after which they end; the least time counts.
_RUNS, _SECONDS = 30, 0.04
# Seconds that it takes to detect a busy machine.
_GRANTED = 0.1
# Shapes of products: square, a long sum, thin, a short sum, small; and of batched ones.
_ONE = (
    (1, 384, 384, 384), (1, 64, 8192, 64), (1, 32, 27, 4096), (1, 4, 512, 2048), (1, 64, 8, 16384), (1, 64, 576, 784),
    (1, 8, 72, 4096), (1, 512, 512, 49), (1, 16, 48, 16000), (1, 8, 8, 8),
)  # fmt: skip
_SEVERAL = (
    (64, 16, 64, 64), (256, 8, 16, 16), (4, 64, 576, 784), (4, 8, 72, 4096), (32, 4, 36, 1568), (16, 48, 1024, 34),
    (2, 4, 4, 4), (64, 4, 27, 672), (128, 2, 9, 784), (32, 16, 8, 2048),
)  # fmt: skip
# Shapes of products of a vector and a matrix, and narrow ones.
_VECTOR = {"blas": (1, 1, 512, 784), "batch": (128, 1, 49, 196), "onednn": (1, 1, 512, 784)}
_NARROW = {"blas": (1, 64, 8192, 6), "batch": (128, 1, 961, 14), "onednn": (1, 64, 8192, 6)}
_DTYPES = "float32", "float64", "bfloat16", "float16"
_SIZES = tuple(2**power for power in range(18, 28))
"""Bytes of buffers that are copied and allocated."""
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
    _wait(device)
    run()
    least, begin = math.inf, time.perf_counter()
    for _ in range(_RUNS):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        end = time.perf_counter()
        least = min(least, end - start)
        if end - begin > _SECONDS:
            break
    return least * 1e9 / times


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _moving(device: torch.device) -> Iterator[tuple[str, float]]:
    """Rates of copies: bytes in buffers of growing size, reused and newly allocated; rows; elements with gaps."""
    there, anew = {}, {}
    for size in _SIZES:
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
    part = 2**17
    # Four times the bytes of both, and at least one part with others on both sides.
    whole = torch.zeros(max(_SIZES[-1] // 4, 2 * cache, 4 * part), device=device)
    starts = range(part, whole.numel() - 2 * part, 2 * part)

    def streaming(source: Tensor, step: int = 1) -> float:
        """Nanoseconds per element read or written, one part of the whole after the other."""
        targets = [whole[start : start + step * part : step].view(source.shape) for start in starts]
        return _least(lambda: [each.copy_(source) for each in targets], device, 2 * part * len(targets))

    plain = streaming(whole[:part])
    yield "streamed", plain / 4
    yield "large", min((size for size, each in anew.items() if each > _MANY * filled), default=2 * _SIZES[-1])
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
    found = {}
    for library, shapes, multiply in (
        ("blas", _ONE, torch.mm),
        ("batch", _SEVERAL, torch.bmm),
        ("onednn", _ONE, _linear),
    ):
        # Long sums are weight gradients, which multiply by a transposed matrix.
        products = [Product(*shape, library, by_columns=shape[2] > shape[3]) for shape in shapes]
        vector, narrow = (Product(*shapes[library], library) for shapes in (_VECTOR, _NARROW))
        try:
            *times, by_vector, by_narrow = (
                max(1.0, _timed(multiply, product, dtype, device) - call) for product in (*products, vector, narrow)
            )
        except (AttributeError, NotImplementedError, RuntimeError):
            continue
        found[library] = _fitted(products, times)._replace(
            vector=by_vector / vector.multiply_adds, narrow=by_narrow / (narrow.number * narrow.rows * narrow.terms)
        )
    if "blas" in found:
        found["blas"] = found["blas"]._replace(each=_looped(dtype, device))
    return found


def _looped(dtype: str, device: torch.device) -> float:
    """Nanoseconds of each product of a batch whose results have gaps between them."""
    first, number = torch.ones(64, 8, 8, dtype=getattr(torch, dtype), device=device), 64
    total = torch.zeros(number, 8, 16, dtype=first.dtype, device=device)[:, :, :8]
    return _least(lambda: total.baddbmm_(first, first), device, number)


def _timed(multiply: Callable[..., Tensor], product: Product, dtype: str, device: torch.device) -> float:
    number, rows, terms, columns, _, by_columns = product
    kind = {"dtype": getattr(torch, dtype), "device": device}
    first = torch.ones(number, rows, terms, **kind)
    second = torch.ones(number, columns, terms, **kind).mT if by_columns else torch.ones(number, terms, columns, **kind)
    if multiply is not torch.bmm:
        first, second = first[0], second[0]
    return _least(partial(multiply, first, second), device)


def _linear(first: Tensor, second: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(first, second.mT, None, "none", [], "")
    return product


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
