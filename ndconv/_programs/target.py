"""What a program may count on where it runs."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """The device, and what is set for the process.

    Args:
        device: Its name, ``"cuda:0"``.
        limit: Bytes that buffers aim to stay under: `ndconv.set_workspace_limit`.
        onednn: Whether dense products of some size go to oneDNN's matrix product.
        emulated: Half types that torch has no products of there, and makes do without.
    """

    device: str
    limit: int
    onednn: bool = False
    emulated: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The type of the device."""
        return self.device.partition(":")[0]
