"""The device that a program runs on, as far as programs depend on it."""

from __future__ import annotations

from typing import NamedTuple

from ndconv._programs.rates import Rates


class Target(NamedTuple):
    """The device, and the settings of the process.

    Args:
        device: Its name, ``"cuda:0"``.
        limit: Bytes that buffers aim to stay under: `ndconv.set_workspace_limit`.
        rates: How fast it is.
        onednn: Whether oneDNN's matrix product may be called.
        emulated: Half types that are multiplied in their accumulation dtype: torch lacks their products, or they are
            slower.
        widening: Whether products of half types can give float32: sums that are not rounded.
    """

    device: str
    limit: int
    rates: Rates
    onednn: bool = False
    emulated: tuple[str, ...] = ()
    widening: bool = False

    @property
    def kind(self) -> str:
        """The type of the device."""
        return self.device.partition(":")[0]
