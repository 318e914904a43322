"""Read rates from JSON: the built-in ones, by kind of machine, and any others."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ndconv._programs.rates import ProductRate, Rates
from ndconv._programs.target import Target
from ndconv._programs.values import ITEMSIZES

BUILT_IN = Path(__file__).with_name("profiles.json")


def built_in_rates(kind: str) -> tuple[str, Rates]:
    """Origin and rates of a kind of machine, such as ``"avx2"``."""
    found = json.loads(BUILT_IN.read_text())[kind]
    return found["origin"], rates_from(found["rates"])


def kinds() -> tuple[str, ...]:
    """All kinds of machines."""
    return tuple(json.loads(BUILT_IN.read_text()))


def rates_from(values: Mapping[str, Any]) -> Rates:
    """Rates from the content of a file, which may be invalid."""
    products = {
        dtype: {library: ProductRate(**rate) for library, rate in found.items()}
        for dtype, found in values["products"].items()
    }
    rates = Rates(**{**values, "products": products})
    numbers = [each for found in products.values() for rate in found.values() for each in rate]
    numbers += [getattr(rates, name) for name in Rates.__dataclass_fields__ if name != "products"]
    if not all(isinstance(each, int | float) and 0 <= each < math.inf for each in numbers):
        raise ValueError("rates must be numbers that are not negative")
    return rates


def slow_dtypes(rates: Rates) -> frozenset[str]:
    """Half types whose products take longer than those of the dtype of their sums."""
    return frozenset(dtype for dtype in ITEMSIZES if rates.is_slow(dtype))


def usual_target(kind: str, limit: int) -> Target:
    """The target of programs on a machine of a kind, with default settings and a workspace limit."""
    _, rates = built_in_rates(kind)
    onednn = any("onednn" in found for found in rates.products.values())
    device = "cuda" if kind == "cuda" else "cpu"
    return Target(device, limit, rates, onednn, tuple(sorted(slow_dtypes(rates))), widening=kind == "cuda")
