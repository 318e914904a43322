"""When a program's variables are needed last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ndconv._programs.steps import Make, Repeat, Step, Unless, operands
from ndconv._programs.values import Value, Variable


def needed(step: Step) -> Iterator[Value]:
    """The values that a step and its inner steps read or write, without those made inside."""
    yield from operands(step)
    if isinstance(step, Repeat | Unless):
        made = _made_in(step.steps)
        yield from (value for each in step.steps for value in needed(each) if value.variable not in made)


def _made_in(steps: Sequence[Step]) -> set[Variable]:
    """The variables that steps and their inner steps make."""
    found = {step.target for step in steps if isinstance(step, Make)}
    return found.union(*(_made_in(step.steps) for step in steps if isinstance(step, Repeat | Unless)))


def last_uses(steps: Sequence[Step]) -> tuple[dict[Variable, int], int]:
    """Position of the last step that needs each variable, and of the last that makes one.

    A variable made before a loop and used in it is needed until the loop ends.
    """
    last: dict[Variable, int] = {}
    _last_uses(steps, 0, last)
    position = made = 0
    for step in steps:
        position += positions(step)
        if isinstance(step, Make) or (isinstance(step, Repeat | Unless) and _made_in(step.steps)):
            made = position
    return last, made


def positions(step: Step) -> int:
    """How many positions a step takes: one; with inner steps also theirs, and one for the end."""
    return 2 + sum(map(positions, step.steps)) if isinstance(step, Repeat | Unless) else 1


def _last_uses(steps: Sequence[Step], position: int, last: dict[Variable, int]) -> int:
    for step in steps:
        position += 1
        for value in operands(step):
            last[value.variable] = position
        if isinstance(step, Make):
            last[step.target] = position
        if isinstance(step, Repeat | Unless):
            inside: dict[Variable, int] = {}
            position = _last_uses(step.steps, position, inside) + 1
            made = _made_in(step.steps)
            last.update({each: place if each in made else position for each, place in inside.items()})
    return position
