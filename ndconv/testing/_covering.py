"""Covering arrays under constraints, by greedy search.

A *row* gives every parameter one of its levels. A covering array of strength t is a set of rows in which every
combination of levels of any t parameters occurs that the constraints allow.

Row by row: begin with combinations that no row has yet, fill in the other parameters with the levels that complete the
most of them, and keep the best of a few such rows (Cohen, Dalal, Fredman and Patton, "The AETG system", 1997). A
combination that no row can have is found by the search that fails to complete it, so what constraints imply together
needs no rules of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

Row = Mapping[str, str]
Parameters = Mapping[str, Sequence[str]]

_CANDIDATES = 6
"""Rows to choose from: more of them make fewer rows in more time."""


@dataclass(frozen=True)
class Constraint:
    """A constraint on combinations of levels.

    Args:
        reason: Why other combinations do not exist.
        names: Its parameters.
        allows: Whether levels of these can be combined.
    """

    reason: str
    names: tuple[str, ...]
    allows: Callable[..., bool]

    def holds(self, row: Row) -> bool:
        """Whether a row, or a part of one, meets it."""
        return any(name not in row for name in self.names) or self.allows(*map(row.__getitem__, self.names))


def covering_array(
    parameters: Parameters, strength: int, seed: int = 0, constraints: Sequence[Constraint] = ()
) -> list[Row]:
    """Rows in which every allowed combination of any ``strength`` parameters occurs, reproducible by seed.

    Args:
        parameters: Each with its levels.
        strength: Number of parameters whose combinations all occur.
        seed: Of the random choices between what is equally good.
        constraints: What a row must meet.

    Returns:
        The rows.

    Example:
        >>> rows = covering_array({"a": "01", "b": "01", "c": "01"}, 2)
        >>> sorted({row["a"] + row["c"] for row in rows}), 4 <= len(rows) <= 6
        (['00', '01', '10', '11'], True)
    """
    return list(_Search(parameters, strength, constraints, random.Random(seed)).rows())


class _Search:
    """The search for rows; parameters and levels are numbers."""

    def __init__(
        self, parameters: Parameters, strength: int, constraints: Sequence[Constraint], chance: random.Random
    ) -> None:
        self.parameters, self.chance = parameters, chance
        names, self.sizes = list(parameters), [len(levels) for levels in parameters.values()]
        tables = [
            (tuple(map(names.index, each.names)), self._table(each))
            for each in constraints
            if {*each.names} <= {*names}
        ]
        self.tables_of = [[each for each in tables if place in each[0]] for place in range(len(names))]
        # Every combination has a number: where those of its parameters begin, and a stride for each level.
        self.places = np.array([*combinations(range(len(names)), strength)])
        sizes = np.array(self.sizes)[self.places]
        self.strides = np.cumprod(np.hstack([np.ones_like(sizes[:, :1]), sizes[:, :0:-1]]), 1)[:, ::-1]
        counts = sizes.prod(1)
        self.starts = np.cumsum(counts) - counts
        self.missing = np.ones(counts.sum(), bool)
        self.combinations_of = [self._combinations_of(place) for place in range(len(names))]

    def _table(self, constraint: Constraint) -> dict[tuple[int | None, ...], bool]:
        """Whether levels can be combined, where None may be any level."""
        levels = [self.parameters[name] for name in constraint.names]
        table: dict[tuple[int | None, ...], bool] = {}
        for numbers in product(*(range(len(each)) for each in levels)):
            allowed = constraint.allows(*(each[number] for each, number in zip(levels, numbers, strict=True)))
            for part in product(*((number, None) for number in numbers)):
                table[part] = table.get(part, False) or allowed
        return table

    def _combinations_of(self, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The combinations that a parameter is in: others' places and strides, its own stride, and where they begin."""
        which, column = np.nonzero(self.places == place)
        others = np.ones_like(self.places[which], bool)
        others[np.arange(len(which)), column] = False
        shape = len(which), self.places.shape[1] - 1
        places, strides = (each[which][others].reshape(shape) for each in (self.places, self.strides))
        return places, strides, self.strides[which, column], self.starts[which]

    def rows(self) -> Iterator[Row]:
        """Rows until nothing is missing."""
        waiting = [*range(len(self.missing))]
        self.chance.shuffle(waiting)
        while waiting:
            candidates = []
            for number in self._next(waiting):
                row = self._completed(self._part(number))
                if row is None:
                    self.missing[number] = False
                    continue
                candidates.append(np.array(row))
                if len(candidates) == _CANDIDATES:
                    break
            if candidates:
                best = max(candidates, key=lambda row: int(self.missing[self._numbers(row)].sum()))
                self.missing[self._numbers(best)] = False
                yield {
                    name: levels[level]
                    for (name, levels), level in zip(self.parameters.items(), best.tolist(), strict=True)
                }

    def _next(self, waiting: list[int]) -> Iterator[int]:
        """Missing combinations, the last ones first; those that are missing no longer are dropped from the end."""
        while waiting and not self.missing[waiting[-1]]:
            waiting.pop()
        yield from (number for number in reversed(waiting) if self.missing[number])

    def _part(self, number: int) -> list[int | None]:
        """The row that has a combination's levels alone."""
        which = int(np.searchsorted(self.starts, number, "right")) - 1
        rest, part = number - int(self.starts[which]), list[int | None]([None] * len(self.sizes))
        for place, stride in zip(self.places[which].tolist(), self.strides[which].tolist(), strict=True):
            part[place], rest = divmod(rest, stride)
        return part

    def _numbers(self, row: np.ndarray) -> np.ndarray:
        """The combinations that a row has."""
        numbers: np.ndarray = self.starts + (self.strides * row[self.places]).sum(1)
        return numbers

    def _fits(self, row: Sequence[int | None], place: int) -> bool:
        return all(table[tuple([row[each] for each in places])] for places, table in self.tables_of[place])

    def _completed(self, row: list[int | None]) -> list[int] | None:
        """A row with these levels, or None if there is none; parameters with the fewest choices come first."""
        given = [place for place, level in enumerate(row) if level is not None]
        if not all(self._fits(row, place) for place in given):
            return None
        choices = {place: self._choices(row, place) for place in range(len(row)) if row[place] is None}
        return self._filled(row, choices)

    def _choices(self, row: list[int | None], place: int) -> list[int]:
        found = []
        for level in range(self.sizes[place]):
            row[place] = level
            if self._fits(row, place):
                found.append(level)
        row[place] = None
        return found

    def _filled(self, row: list[int | None], choices: dict[int, list[int]]) -> list[int] | None:
        if not choices:
            return [level for level in row if level is not None]
        place = min(choices, key=lambda each: (len(choices[each]), self.chance.random()))
        others = {each: levels for each, levels in choices.items() if each != place}
        gains = self._gains(row, place)
        for level in sorted(choices[place], key=lambda level: (-gains[level], self.chance.random())):
            row[place] = level
            tied = {each for places, _ in self.tables_of[place] for each in places if each in others}
            narrowed = others | {each: self._choices(row, each) for each in tied}
            if all(narrowed.values()) and (found := self._filled(row, narrowed)) is not None:
                return found
        row[place] = None
        return None

    def _gains(self, row: list[int | None], place: int) -> list[int]:
        """For each level of a parameter, the number of missing combinations that it completes."""
        places, strides, own, starts = self.combinations_of[place]
        levels = np.array([-1 if level is None else level for level in row])[places]
        complete = (levels >= 0).all(1)
        begin = (starts + (strides * levels).sum(1))[complete]
        numbers = begin[:, None] + own[complete][:, None] * np.arange(self.sizes[place])
        counts: list[int] = self.missing[numbers].sum(0).tolist()
        return counts
