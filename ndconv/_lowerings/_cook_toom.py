"""Cook and Toom's short convolutions: their matrices, without rounding.

The product of polynomials with ``m`` and ``k`` coefficients is determined by its values at ``p = m + k - 1`` points.
Evaluation of each factor is a matrix, and so is interpolation of the product. With these three matrices

    sum over o, k of x[o + k] * w[k] * y[o] = sum over p of (B x)[p] * (G w)[p] * (A y)[p]

for a tile of ``m`` outputs: ``p`` products instead of ``m * k``. The form is the same whichever tensor is open. So each
slot is a transform of two operands, the products, and the transposed transform of the result.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

from ndconv._form.geometry import Ints

# Small points and their negatives keep numbers small, and so the rounding. Infinity is one more point.
_POINTS = 0, 1, -1, 2, -2
MOST = len(_POINTS) + 1
"""The most products of a tile along one axis."""

Rows = list[list[Fraction]]


def matrices(m: int, k: int) -> tuple[Rows, Rows, Rows]:
    """``B[p, m + k - 1]``, ``G[p, k]`` and ``A[p, m]`` of a tile; ``B`` has integers only, ``G`` takes the fractions.

    Example:
        >>> B, G, A = matrices(2, 3)
        >>> [[int(value) for value in row] for row in B]
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]
        >>> [[float(value) for value in row] for row in G]
        [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]]
        >>> [[int(value) for value in row] for row in A]
        [[1, 0], [1, 1], [1, -1], [0, 1]]
    """
    p = m + k - 1
    rows = [list(column) for column in zip(*_inverse(_values(p, p)), strict=True)]
    scales = [math.lcm(*(value.denominator for value in row)) for row in rows]
    whole = [[scale * value for value in row] for scale, row in zip(scales, rows, strict=True)]
    kernel = [[value / scale for value in row] for scale, row in zip(scales, _values(p, k), strict=True)]
    return whole, kernel, _values(p, m)


def _values(points: int, count: int) -> Rows:
    """Values of the first ``count`` monomials at the points; at infinity, the coefficient of the highest."""
    finite = [[Fraction(point) ** power for power in range(count)] for point in _POINTS[: points - 1]]
    return [*finite, [Fraction(power == count - 1) for power in range(count)]]


def _inverse(rows: Rows) -> Rows:
    """The inverse, by Gaussian elimination."""
    size = len(rows)
    both = [[*row, *(Fraction(i == j) for j in range(size))] for i, row in enumerate(rows)]
    for i in range(size):
        pivot = next(j for j in range(i, size) if both[j][i])
        both[i], both[pivot] = both[pivot], both[i]
        both[i] = [value / both[i][i] for value in both[i]]
        for j in range(size):
            if j != i:
                both[j] = [a - both[j][i] * b for a, b in zip(both[j], both[i], strict=True)]
    return [row[size:] for row in both]


@lru_cache(maxsize=256)
def transforms(m: Ints, k: Ints) -> tuple[tuple[Rows, ...], ...]:
    """``B``, ``G`` and ``A`` of each axis that is cut; their Kronecker products transform all axes at once."""
    axes = [matrices(*sizes) for sizes in zip(m, k, strict=True) if sizes != (1, 1)]
    return tuple(zip(*axes, strict=True))


@lru_cache(maxsize=256)
def growth(m: int, k: int) -> float:
    """The factor on its operands' norms in the rounding of a tile's sum, along one axis, in any slot.

    It is the largest ``sum over p of |A[p, o]| * norm(G[p]) * norm(B[p])``, or the same with G and A exchanged.

    Example:
        >>> round(growth(2, 3), 1), round(growth(4, 3), 1)
        (3.9, 20.1)
    """
    over, kernel, disjoint = matrices(m, k)
    return max(
        sum(abs(row[place]) * math.hypot(*other) * math.hypot(*each) for row, other, each in zip(*rows, strict=True))
        for rows in ((disjoint, kernel, over), (kernel, disjoint, over))
        for place in range(len(rows[0][0]))
    )
