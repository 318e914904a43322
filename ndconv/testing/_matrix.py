"""Levels of the matrix: covering arrays, counted, with trials drawn for their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from ndconv._lowerings import LOWERINGS
from ndconv._planner.choice import AUTO
from ndconv.testing._coverage import coverage
from ndconv.testing._covering import Row, covering_array
from ndconv.testing._space import CONSTRAINTS, parameters
from ndconv.testing._trials import Trial, draw_trial


@dataclass(frozen=True)
class Level:
    """The extent of a level of the matrix.

    Args:
        strength: Number of parameters of which all combinations of levels occur.
        arrays: Number of covering arrays, each from another seed; further ones cover more combinations by chance.
            Compiler and exporter, which take a second per trial, are in the first only.
    """

    strength: int
    arrays: int


LEVELS = {"quick": Level(2, 4), "standard": Level(3, 1), "full": Level(4, 1)}


@dataclass(frozen=True)
class Matrix:
    """A level of the matrix: its trials and their coverage.

    Args:
        level: Its name.
        strength: Strength of the covering array.
        seed: Seed of array and sizes.
        valid: Number of combinations of ``strength`` levels that the constraints allow.
        covered: Number of those that occur.
        trials: Trials with the rows they were drawn for.
    """

    level: str
    strength: int
    seed: int
    valid: int
    covered: int
    trials: tuple[tuple[Trial, Row], ...]


def matrix(level: str = "quick", *, seed: int = 0, dtypes: Sequence[str] = (), lowerings: Sequence[str] = ()) -> Matrix:
    """Generate a level: a covering array, counted, and trials drawn for its rows.

    Args:
        level: ``"quick"``, ``"standard"`` or ``"full"``: all combinations of any two, three or four parameters.
        seed: The same seed gives the same trials.
        dtypes: Limit the element types to these.
        lowerings: Limit the lowerings to these.

    Returns:
        The matrix.

    Example:
        >>> quick = matrix("quick", dtypes=["float64"], lowerings=["taps"])
        >>> quick.strength, quick.covered == quick.valid
        (2, True)
    """
    return _matrix(level, seed, tuple(dtypes), tuple(lowerings) or (AUTO, *LOWERINGS))


@cache
def _matrix(level: str, seed: int, dtypes: tuple[str, ...], lowerings: tuple[str, ...]) -> Matrix:
    size, space = LEVELS[level], parameters(dtypes, lowerings)
    seeds = range(size.arrays * seed, size.arrays * (seed + 1))
    rows = [
        (each, row)
        for each in seeds
        for row in covering_array(space, size.strength, each, CONSTRAINTS)
        if each == seeds[0] or row["transform"] not in ("compile", "export")
    ]
    trials = [(draw_trial(row, each), row) for each, row in rows]
    counted = coverage(space, [row for _, row in rows], size.strength)
    return Matrix(level, size.strength, seed, counted.valid, counted.covered, tuple(trials))
