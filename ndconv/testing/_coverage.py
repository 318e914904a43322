"""A count of the combinations of levels that rows cover.

It shares no code with the search for rows: for each combination that they lack it looks for a row that has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product

from ndconv.testing._covering import Constraint, Parameters, Row
from ndconv.testing._space import CONSTRAINTS


@dataclass(frozen=True)
class Coverage:
    """The number of combinations of ``strength`` levels that the constraints allow, and those that no row has."""

    strength: int
    valid: int
    missing: tuple[Row, ...]

    @property
    def covered(self) -> int:
        """Number of combinations that occur."""
        return self.valid - len(self.missing)


def coverage(parameters: Parameters, rows: Sequence[Row], strength: int) -> Coverage:
    """Count the combinations that occur, and find the missing ones that the constraints allow.

    A combination that has a forbidden one in it is forbidden, so smaller ones are looked at first.
    """
    forbidden: set[tuple[tuple[str, str], ...]] = set()
    for size in range(1, strength + 1):
        valid, missing = 0, []
        for names in combinations(parameters, size):
            seen = {tuple(row[name] for name in names) for row in rows}
            valid += len(seen)
            for levels in product(*(parameters[name] for name in names)):
                if levels in seen:
                    continue
                part = tuple(zip(names, levels, strict=True))
                known = any(part[:place] + part[place + 1 :] in forbidden for place in range(size))
                if known or not allowed(parameters, dict(part)):
                    forbidden.add(part)
                else:
                    valid += 1
                    missing.append(dict(part))
    return Coverage(strength, valid, tuple(missing))


def allowed(parameters: Parameters, part: Row) -> bool:
    """Whether some row has these levels and breaks no constraint."""
    if not all(_can_hold(constraint, parameters, part) for constraint in CONSTRAINTS):
        return False
    # Parameters without a constraint may have any level.
    spoken_of = {name for constraint in CONSTRAINTS for name in constraint.names}
    return _completes(parameters, part, [name for name in parameters if name in spoken_of and name not in part])


def _completes(parameters: Parameters, row: Row, names: Sequence[str]) -> bool:
    """Whether levels for ``names`` can be added; parameters with the fewest choices are tried first."""
    if not names:
        return True
    fitting = {
        name: [level for level in parameters[name] if _fits(parameters, {**row, name: level}, name)] for name in names
    }
    name = min(fitting, key=lambda name: len(fitting[name]))
    others = [other for other in names if other != name]
    return any(_completes(parameters, {**row, name: level}, others) for level in fitting[name])


def _fits(parameters: Parameters, row: Row, name: str) -> bool:
    return all(_can_hold(constraint, parameters, row) for constraint in CONSTRAINTS if name in constraint.names)


def _can_hold(constraint: Constraint, parameters: Parameters, row: Row) -> bool:
    """Whether a constraint holds for some levels of those of its parameters that the row lacks."""
    choices = [(row[name],) if name in row else tuple(parameters.get(name, ())) for name in constraint.names]
    return not all(choices) or _holds_for_some(constraint, tuple(choices))


@cache
def _holds_for_some(constraint: Constraint, choices: tuple[tuple[str, ...], ...]) -> bool:
    return any(constraint.allows(*levels) for levels in product(*choices))
