"""What a program may count on where it runs."""

from __future__ import annotations

from typing import NamedTuple

from ndconv._programs.rates import Rates


class Target(NamedTuple):
    """The device, and what is set for the process.

    Args:
        device: Its name, ``"cuda:0"``.
        limit: Bytes that buffers aim to stay under: `ndconv.set_workspace_limit`.
        rates: How fast things go there.
        onednn: Whether oneDNN's matrix product may be called.
        emulated: Half types that are multiplied in the dtype of their sums, as torch lacks their products or they take
            longer.
    """

    device: str
    limit: int
    rates: Rates
    onednn: bool = False
    emulated: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The type of the device."""
        return self.device.partition(":")[0]
