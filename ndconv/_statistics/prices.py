"""Costs of the methods for a statistic at the machine's rates, as sums of copies, products and slots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from ndconv._form.geometry import Geometry, Ints, Problem, Slot
from ndconv._planner.choice import least
from ndconv._programs.steps import Copied, Product
from ndconv._programs.values import ITEMSIZES
from ndconv._tensors.dtypes import wide_dtype
from ndconv._tensors.execute import setting_of


@dataclass
class Way:
    """One method for a statistic, and its cost.

    Args:
        name: Its name.
        workspace: Bytes of buffers beside operands and result.
        nanoseconds: Its estimated time.
    """

    name: str
    workspace: int = 0
    nanoseconds: float = 0.0


@dataclass(frozen=True)
class Ways:
    """All methods for a statistic; ``print`` it.

    Args:
        statistic: Name of the statistic.
        found: The methods, by name.
    """

    statistic: str
    found: Mapping[str, Way] = field(default_factory=dict)

    @property
    def chosen(self) -> Way:
        """The cheapest method."""
        return min(self.found.values(), key=lambda way: way.nanoseconds)

    def __str__(self) -> str:
        chosen = self.chosen
        lines = [
            f"{self.statistic}",
            f"  way             {chosen.name}",
            f"  workspace       {chosen.workspace / 2**20:.3g} MiB",
        ]
        lines += [
            f"  not {way.name:<11} estimated at {way.nanoseconds / chosen.nanoseconds:.3g} times the cost, "
            f"workspace {way.workspace / 2**20:.3g} MiB"
            for way in self.found.values()
            if way is not chosen
        ]
        return "\n".join(lines)


class Meter:
    """Adds up the cost of a method, in the dtype of sums on a device."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.setting = setting_of(wide_dtype(dtype), False, device)
        self.rates = self.setting.target.rates
        self.itemsize = ITEMSIZES[self.setting.dtype]
        self.nanoseconds = 0.0

    def copies(self, elements: float, row: int, *, times: float = 1, again: bool = False) -> None:
        """Add copies of so many elements, written in rows; each is read and written."""
        self._moved(Copied(2 * int(elements), max(1, row), max(1, row)), times, again)

    def passes(self, elements: float, *, times: float = 1) -> None:
        """Add reads of so many elements that were written just before."""
        self._moved(Copied.plain(int(elements)), times, True)

    def _moved(self, copied: Copied, times: float, again: bool) -> None:
        touched = copied.elements * self.itemsize if again else 0
        self.nanoseconds += times * (self.rates.call + self.rates.moving(copied, self.setting.dtype, touched))

    def products(self, number: int, rows: int, terms: int, columns: int, *, times: float = 1) -> None:
        """Add batched matrix products."""
        product = Product(number, rows, terms, columns, "batch")
        self.nanoseconds += times * (self.rates.call + self.rates.multiplying(product, self.setting.dtype))

    def slot(
        self, slot: Slot, geometry: Geometry, counts: tuple[int, int, int], input_size: Ints, *, times: float = 1
    ) -> None:
        """Add one of the three operations; ``counts`` are samples, and channels and features of a group."""
        problem = Problem(slot, geometry, *counts, input_size, geometry.output_size(input_size), self.itemsize)
        self.nanoseconds += times * least(problem, self.setting)[0].nanoseconds

    def way(self, name: str, elements: float) -> Way:
        """The method with a workspace of so many elements; resets the meter."""
        taken, self.nanoseconds = self.nanoseconds, 0.0
        return Way(name, int(elements) * self.itemsize, taken)
