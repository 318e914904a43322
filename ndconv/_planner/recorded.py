"""From a form to the text of its program."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ndconv._form.geometry import Form, Ints, Problem
from ndconv._lowerings import Lowering
from ndconv._planner.choice import NAMES, Setting, pick
from ndconv._planner.computed import computed
from ndconv._programs.builder import Builder
from ndconv._programs.source import source


class Recorded(NamedTuple):
    """A program that is not compiled yet.

    Args:
        text: Text of one Python function.
        lowerings: The lowerings used in it.
        channels_last: Whether each of the operands is channels-last.
    """

    text: str
    lowerings: tuple[str, ...]
    channels_last: tuple[bool, bool]


def recorded(form: Form, operands: Iterable[tuple[Ints, Ints | None]], setting: Setting, name: str) -> Recorded:
    """Record a form for operands of these shapes and strides; None for contiguous ones.

    Args:
        form: The form and its open slot.
        operands: Shape and strides of each, with groups folded into channels.
        setting: What choices depend on.
        name: Name of the function.

    Returns:
        The program.
    """
    builder, used = Builder(setting.target), list[str]()

    def chosen(problem: Problem) -> Lowering:
        lowering = pick(problem, form.lowering, setting)
        used.append(lowering.name)
        return lowering

    first, second = (
        builder.operand(NAMES[slot], shape, strides, setting.dtype)
        for slot, (shape, strides) in zip(form.slot.operands, operands, strict=True)
    )
    result = computed(builder, form, chosen, first, second)
    last = builder.is_channels_last(first), builder.is_channels_last(second)
    return Recorded(source(name, builder, result), tuple(dict.fromkeys(used)), last)
