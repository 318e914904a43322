"""Windows with contiguous rows, whatever the stride: strided elements take several times as long to copy.

Along the last axis a window reads ``S*o + D*k``. With ``P = S / gcd(S, D)``, the kernel elements ``k0, k0 + P, ...``
read ``S*(o + E*t) + D*k0`` for ``t = 0, 1, ...`` and ``E = D / gcd(S, D)``. So every S-th element from ``D*k0`` on is
copied once into contiguous rows, in which these kernel elements have windows of stride 1. There are P such residues.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ndconv._form.cache import cached
from ndconv._form.geometry import Geometry
from ndconv._lowerings._phases import taps_by_residue
from ndconv._programs.values import Array, Steps
from ndconv._programs.windows import windows


class Residue(NamedTuple):
    """Some kernel elements of the last axis.

    Args:
        taps: Their slice of the last kernel axis.
        elements: The elements of the padded input that they read.
        geometry: The geometry of their windows in these elements.
    """

    taps: slice
    elements: slice
    geometry: Geometry


def count_residues(geometry: Geometry) -> int:
    """How many residues the last axis has."""
    return min(geometry.kernel[-1], geometry.stride[-1] // _divisor(geometry))


def _divisor(geometry: Geometry) -> int:
    return math.gcd(geometry.stride[-1], geometry.dilation[-1])


def _inner(geometry: Geometry, indices: range) -> Geometry:
    """The geometry of some kernel elements' windows in the contiguous elements that they read."""
    spread = geometry.dilation[-1] // _divisor(geometry)
    return Geometry(
        (*geometry.kernel[:-1], len(indices)), (*geometry.stride[:-1], 1), geometry.padding,
        (*geometry.dilation[:-1], spread), geometry.groups,
    )  # fmt: skip


@cached
def residues(geometry: Geometry, positions: int) -> tuple[Residue, ...]:
    """The residues of the last axis, for ``positions`` outputs on it.

    Example:
        >>> found = residues(Geometry((3, 3), (2, 2), ((0, 0), (0, 0)), (1, 1)), 5)
        >>> [(each.taps, each.elements, each.geometry.kernel, each.geometry.stride) for each in found]
        [(slice(0, 3, 2), slice(0, 11, 2), (3, 2), (2, 1)), (slice(1, 3, 2), slice(1, 10, 2), (3, 1), (2, 1))]
    """
    kernel, stride, dilation = geometry.kernel[-1], geometry.stride[-1], geometry.dilation[-1]
    parts, spread = taps_by_residue(kernel, stride, dilation)
    found = []
    for indices in parts:
        first, taps = indices.start, len(indices)
        last = dilation * first + stride * (positions - 1 + spread * (taps - 1))
        elements = slice(dilation * first, last + 1, stride)
        found.append(Residue(slice(first, kernel, indices.step), elements, _inner(geometry, indices)))
    return tuple(found)


def windows_by_residue(padded: Array, found: tuple[Residue, ...]) -> tuple[Array, ...]:
    """For each residue, a view of all windows ``[n,g,c,*o,*k]`` with its kernel elements."""
    return tuple(windows(padded[..., each.elements].contiguous(), each.geometry) for each in found)


def by_residue(b: Steps, w: Array, found: tuple[Residue, ...]) -> Array:
    """Kernel elements in the order of the residues, along the last axis."""
    return b.cat([w[..., each.taps] for each in found], w.dim() - 1, "w")


def in_order(w: Array, found: tuple[Residue, ...]) -> Array:
    """Inverse of `by_residue`."""
    result, start = w.new_empty(w.shape), 0
    for each in found:
        part = result[..., each.taps]
        part.copy_(w[..., start : start + part.shape[-1]])
        start += part.shape[-1]
    return result
