"""How fast things go, for a price in nanoseconds.

They are those of two AVX-512 cores, fitted to what all lowerings took on the workloads of `benchmarks`; only the ratios
matter to a choice.
"""

from __future__ import annotations

from ndconv._programs.price import Rates

RATES = Rates(
    # Multiply-adds in a nanosecond, of dense matrices and of others, by the bytes of an element.
    multiply_adds={1: (110.0, 58.0), 2: (800.0, 800.0), 4: (110.0, 58.0), 8: (28.0, 28.0), 16: (7.0, 7.0)},
    # Bytes moved in a nanosecond, and taken from a cache.
    moved=33.0,
    cached=85.0,
    # Nanoseconds that starting an operation takes.
    call=4500.0,
    # Buffers of so many bytes or more are taken from the system and given back every time, for so many ns a byte.
    large=32 * 2**20,
    page=0.25,
)
