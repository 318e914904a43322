"""The lowerings by name: a new one is a file here and a line below.

Knows the sizes of a problem and how to record steps. Lowerings run on integers; nothing here imports torch.
"""

from __future__ import annotations

from ndconv._lowerings._base import Lowering
from ndconv._lowerings.columns import COLUMNS
from ndconv._lowerings.fourier import Fourier
from ndconv._lowerings.native import Native
from ndconv._lowerings.reshape import RESHAPE
from ndconv._lowerings.taps import Taps
from ndconv._lowerings.window import Window
from ndconv._lowerings.winograd import Winograd

# In the order of preference where costs cannot be compared.
LOWERINGS: dict[str, Lowering] = {
    lowering.name: lowering for lowering in (RESHAPE, Taps(), COLUMNS, Window(), Winograd(), Fourier(), Native())
}

__all__ = ["LOWERINGS", "Lowering"]
