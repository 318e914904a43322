"""The rates behind all prices: built-in ones, chosen by what torch says of the processor, or measured ones.

A choice depends on no other measurement than the profile, so processes with the same profile choose alike.
"""

from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path
from tqdm import tqdm

from ndconv._form import cache
from ndconv._machine.calibration import FIELDS, granted, measured
from ndconv._machine.rates import built_in_rates, rates_from
from ndconv._programs.rates import Rates
from ndconv._programs.steps import Product

# With less than this share of the processor's time the machine counts as busy.
_ENOUGH = 0.85
# Shapes of products whose speed is shown, and the batch size.
_BATCH = 64
_SHOWN = {
    "square": (512, 512, 512),
    "long sum": (64, 8192, 64),
    "thin": (4, 512, 2048),
    "small": (16, 64, 64),
}


@dataclass(frozen=True, eq=False)
class Profile:
    """Rates of a machine, and where they come from; ``print`` it.

    Args:
        name: ``"built-in (avx2)"`` or ``"measured"``.
        origin: The machine that was measured, or the rates they are derived from.
        rates: The rates.
    """

    name: str
    origin: str
    rates: Rates

    @property
    def title(self) -> str:
        """Name, and how or when its rates were found: ``"built-in (neon), derived"``."""
        kind, *words = self.origin.split()
        return f"{self.name}, {kind}" if self.name != "measured" else f"{self.name} {words[0].rstrip(',')}"

    @property
    def kind(self) -> str:
        """Kind of machine of a built-in profile, ``"avx2"``; otherwise ``"measured"``."""
        return self.name.removeprefix("built-in (").removesuffix(")")

    @staticmethod
    def built_in(device: torch.device | str | None = None) -> Profile:
        """The built-in profile nearest to a device, whether or not it was measured.

        Args:
            device: The device; None for torch's default device.

        Returns:
            The profile.

        Example:
            >>> import ndconv
            >>> ndconv.Profile.built_in().kind
            '...'
        """
        return built_in((torch.device(device) if device is not None else torch.get_default_device()).type)

    def __str__(self) -> str:
        return "\n".join([f"{self.name}: {self.origin}", *_table({self.name: self.rates})])


def profile_of(kind: str) -> Profile:
    """The profile that prices programs on a type of device."""
    return _profile("cpu" if kind in ("cpu", "meta") else kind)


@lru_cache(maxsize=8)
def _profile(kind: str) -> Profile:
    path = _path(kind)
    if path.exists():
        try:
            found = _read(json.loads(path.read_text()), kind)
        except (KeyError, TypeError, ValueError) as error:
            why = error.args[0] if isinstance(error, _OtherMachineError) else f"cannot be read ({error!r})"
            warnings.warn(
                f"calibrate: {path} {why}; built-in rates are used until `ndconv.calibrate()` measures anew",
                stacklevel=2,
            )
        else:
            return found
    return built_in(kind)


class _OtherMachineError(ValueError):
    """The stored rates are of another machine."""


def _read(stored: Mapping[str, Any], kind: str) -> Profile:
    if stored["machine"] != (here := _machine(kind)):
        differ = {name for name in here if stored["machine"].get(name) != here[name]}
        pairs = (f"{name} {stored['machine'].get(name)!r}, not {here[name]!r}" for name in sorted(differ))
        raise _OtherMachineError(f"is of another machine: {'; '.join(pairs)}")
    return Profile("measured", f"on {stored['date']}, {_described(here)}", rates_from(stored["rates"]))


def built_in(kind: str, name: str = "") -> Profile:
    """A built-in profile, by name or else the nearest to the device."""
    name = name or (_nearest() if kind == "cpu" else "cuda")
    return Profile(f"built-in ({name})", *built_in_rates(name))


def _nearest() -> str:
    """The kind of processor, by what torch says of it; the oldest kind if torch says little."""
    vectors = torch.backends.cpu.get_cpu_capability()
    if platform.machine() in ("aarch64", "arm64"):
        return "neon"
    if vectors != "AVX512":
        return "avx2"
    said = _said()
    if said.get("amx_bf16"):
        return "amx"
    name = "avx512_bf16" if said.get("avx512_bf16") else "avx512"
    # MKL leaves half of the vector unit of AMD's processors unused.
    amd = str(said.get("cpu_name", "")).startswith("AMD") and torch.backends.mkl.is_available()
    return f"{name}_amd" if amd else name


def _said() -> Mapping[str, Any]:
    """Torch's description of the processor; empty in older versions."""
    said: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return said


def _path(kind: str) -> Path:
    return user_cache_path("ndconv") / f"{kind}.json"


def _machine(kind: str) -> dict[str, Any]:
    """The machine that measured rates hold for."""
    if kind != "cpu":
        return {"processor": torch.cuda.get_device_name() if kind == "cuda" else kind, "torch": torch.__version__}
    processor = _said().get("cpu_name") or platform.processor() or platform.machine()
    return {
        "processor": f"{processor}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def _described(machine: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def calibrate(device: torch.device | str | None = None, *, reset: bool = False) -> Profile:
    """Measure the speed of this machine, in a few seconds, and price programs by it from now on.

    ``"auto"`` picks by price, and prices follow from rates: of matrix products by dtype and shape, of copies by row
    length and gaps, and the call overhead of an operation. Built-in rates are those of a similar machine. Measured ones
    are kept in a file in the user's cache folder, for later processes with the same number of threads. Nothing else
    should run meanwhile; a warning says if something does.

    Args:
        device: The device to measure; None for torch's default device.
        reset: Whether to delete what was measured there instead.

    Returns:
        The `Profile` from now on; measured rates are also printed, beside the built-in ones.

    Raises:
        RuntimeError: If torch does not know the device, or it holds no values, as ``"meta"``.

    Example:
        >>> import ndconv
        >>> profile = ndconv.calibrate()  # doctest: +SKIP
        >>> ndconv.plan((8, 3, 32, 32), (64, 3, 4, 4)).profile  # without it
        'built-in (...), ...'
    """
    where = torch.device(device) if device is not None else torch.get_default_device()
    if where.type == "meta":
        raise RuntimeError("calibrate: device must be one that holds numbers, but is meta")
    path = _path(where.type)
    if reset:
        path.unlink(missing_ok=True)
    else:
        torch.empty(0, device=where)  # fails before anything is measured
        with torch.no_grad(), tqdm(measured(where), total=FIELDS, desc=f"calibrate {where.type}", leave=False) as found:
            before, rates, after = granted(where), Rates(**dict(found)), granted(where)
        if min(before, after) < _ENOUGH:
            warnings.warn(
                f"calibrate: {torch.get_num_threads()} threads had {min(before, after):.0%} of their cores: "
                f"something else was running; measure again when the machine is idle",
                stacklevel=2,
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = {"machine": _machine(where.type), "date": str(date.today()), "rates": _as_json(rates)}
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(stored, indent=1) + "\n")
        part.replace(path)
    _profile.cache_clear()
    cache.clear()
    profile, usual = profile_of(where.type), built_in(where.type)
    if not reset:
        lines = [f"{each.name}: {each.origin}" for each in (profile, usual)]
        print("\n".join([*lines, *_table({each.name: each.rates for each in (profile, usual)})]))
    return profile


def _as_json(rates: Rates) -> dict[str, Any]:
    products = {
        dtype: {library: rate._asdict() for library, rate in found.items()} for dtype, found in rates.products.items()
    }
    return {**asdict(rates), "products": products}


def _table(columns: Mapping[str, Rates]) -> list[str]:
    """A table of rates side by side."""
    rows = [("", *columns)]
    pairs = ((dtype, name) for rates in columns.values() for dtype, found in rates.products.items() for name in found)
    for dtype, library in dict.fromkeys(pairs):
        for shape, sizes in _SHOWN.items():
            product = Product(_BATCH if library == "batch" else 1, *sizes, library)
            found = (rates.products.get(dtype, {}).get(library) for rates in columns.values())
            speeds = (f"{2 * product.multiply_adds / rate.nanoseconds(product):.3g}" if rate else "-" for rate in found)
            rows.append((f"{dtype} by {library}, {shape}, GFLOP/s", *speeds))
    for name in ("call", "view", "row", "block", "apart"):
        rows.append((f"{name}, ns", *(f"{getattr(rates, name):.3g}" for rates in columns.values())))
    for name in ("cached", "streamed", "fresh"):
        rows.append((f"{name}, GB/s", *(f"{1 / max(1e-9, getattr(rates, name)):.3g}" for rates in columns.values())))
    for name in ("cache", "large"):
        rows.append((f"{name}, MiB", *(f"{getattr(rates, name) / 2**20:.3g}" for rates in columns.values())))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
