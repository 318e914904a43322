"""Maps along one axis whose outputs are weighted sums of consecutive inputs: averages, nearest and linear resizing.

The transpose of such a map is one again: each input counts in consecutive outputs. A map consists of integers and
weights that every process knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor

from ndconv._form.cache import cached


@dataclass(frozen=True)
class Bands:
    """One map.

    Args:
        inputs: Rows of the input.
        bands: The rows that each output reads; none where the output is 0.
        weights: The weights of these rows.

    Example:
        >>> halves = averaging(4, 2, 2, 2, 0, True)
        >>> halves.bands, halves.weights
        ((range(0, 2), range(2, 4)), ((0.5, 0.5), (0.5, 0.5)))
        >>> halves.adjoint.bands
        (range(0, 1), range(0, 1), range(1, 2), range(1, 2))
    """

    inputs: int
    bands: tuple[range, ...]
    weights: tuple[tuple[float, ...], ...]

    @property
    def outputs(self) -> int:
        """Rows of the output."""
        return len(self.bands)

    @cached_property
    def adjoint(self) -> Bands:
        """The transposed map."""
        weights: list[list[float]] = [[] for _ in range(self.inputs)]
        first = [0] * self.inputs
        for output, (band, of_band) in enumerate(zip(self.bands, self.weights, strict=True)):
            for row, weight in zip(band, of_band, strict=True):
                first[row] = first[row] if weights[row] else output
                weights[row].append(weight)
        bands = tuple(range(start, start + len(each)) for start, each in zip(first, weights, strict=True))
        return Bands(self.outputs, bands, tuple(map(tuple, weights)))

    @cached_property
    def is_identity(self) -> bool:
        """Whether every output is its input."""
        own = all(band == range(row, row + 1) for row, band in enumerate(self.bands))
        return own and self.inputs == self.outputs and not self.is_weighted

    @cached_property
    def is_weighted(self) -> bool:
        """Whether some weight is not 1."""
        return any(weight != 1 for weights in self.weights for weight in weights)

    @cached_property
    def width(self) -> int:
        """Rows of the widest band."""
        return max(map(len, self.bands), default=0)

    def read(self, outputs: range) -> range:
        """The smallest interval that has all rows read by consecutive outputs."""
        bands = [self.bands[output] for output in outputs if self.bands[output]]
        return range(min(band.start for band in bands), max(band.stop for band in bands)) if bands else range(0)


@cached
def averaging(
    inputs: int, outputs: int, kernel: int, stride: int, padding: int, padded: bool, divisor: int | None = None
) -> Bands:
    """Means of windows.

    Args:
        inputs: Rows of the input.
        outputs: Rows of the output.
        kernel: Rows of a window.
        stride: Rows from one window to the next.
        padding: Rows before the input.
        padded: Whether padding counts in the mean.
        divisor: Divides the sums instead of the number of rows.
    """
    bands, weights = [], []
    for output in range(outputs):
        start = output * stride - padding
        stop = min(start + kernel, inputs + padding)
        band = range(max(start, 0), min(stop, inputs))
        count = divisor or (stop - start if padded else len(band))
        bands.append(band)
        weights.append((1 / count,) * len(band))
    return Bands(inputs, tuple(bands), tuple(weights))


@cached
def adaptive(inputs: int, outputs: int) -> Bands:
    """Means of as many windows as there are outputs.

    Example:
        >>> adaptive(5, 2).bands
        (range(0, 3), range(2, 5))
    """
    bands = tuple(range(each * inputs // outputs, -(-(each + 1) * inputs // outputs)) for each in range(outputs))
    return Bands(inputs, bands, tuple((1 / len(band),) * len(band) for band in bands))


def nearest(inputs: int, places: Sequence[int]) -> Bands:
    """Every output is one row of the input."""
    return Bands(inputs, tuple(range(each, each + 1) for each in places), ((1.0,),) * len(places))


@cached
def linear(inputs: int, outputs: int, aligned: bool, scale: float | None) -> Bands:
    """Linear interpolation.

    Args:
        inputs: Rows of the input.
        outputs: Rows of the output.
        aligned: Whether the first and last rows of both coincide (``align_corners``).
        scale: Outputs per input; None for the ratio of the sizes.

    Example:
        >>> linear(2, 4, False, None).weights
        ((1.0, 0.0), (0.75, 0.25), (0.25, 0.75), (1.0,))
    """
    if inputs == outputs:
        return nearest(inputs, range(inputs))  # as torch does, whatever the scale
    if aligned:
        step = (inputs - 1) / (outputs - 1) if outputs > 1 else 0.0
    else:
        step = 1 / scale if scale else inputs / outputs
    bands, weights = [], []
    for output in range(outputs):
        place = step * output if aligned else max(step * (output + 0.5) - 0.5, 0.0)
        low = min(floor(place), inputs - 1)
        high = min(low + 1, inputs - 1)
        share = min(place - low, 1.0)
        bands.append(range(low, high + 1))
        weights.append((1 - share, share) if high > low else (1.0,))
    return Bands(inputs, tuple(bands), tuple(weights))
