"""Statements in lines that are not too long."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

WIDTH = 120
_NUMBERS, _TIED = re.compile(r"[([](?:-?[\d.e-]+,? ?)+[])]"), "\0"


def listed(numbers: Sequence[int]) -> str:
    """Numbers as Python writes a tuple of them."""
    return f"({numbers[0]},)" if len(numbers) == 1 else f"({', '.join(map(str, numbers))})"


def commented(line: str, comment: str) -> str:
    """A line with a comment, if there is room for it."""
    return f"{line}  # {comment}" if comment and len(line) + len(comment) + 4 <= WIDTH else line


def wrapped(start: str, text: str, comment: str, depth: int, end: str = "") -> list[str]:
    """A statement, in several lines if it is too long for one."""
    indent = "    " * depth
    line = f"{indent}{start}{text}{end}"
    if len(line) <= WIDTH:
        return [commented(line, comment)]
    if start.strip() and not end:
        inner = textwrap.wrap(text, WIDTH - len(indent) - 4, break_long_words=False, break_on_hyphens=False)
        return [f"{indent}{start}(", *(f"{indent}    {each}" for each in inner), commented(f"{indent})", comment)]
    return broken(line.strip(), indent)


def broken(line: str, indent: str) -> list[str]:
    """A line broken inside of brackets; short tuples of numbers stay whole where possible."""
    if len(indent) + len(line) <= WIDTH:
        return [indent + line]
    kept = _NUMBERS.sub(lambda few: few[0].replace(" ", _TIED) if len(few[0]) < WIDTH // 2 else few[0], line)
    lines = _filled(kept, indent)
    return lines if max(map(len, lines)) <= WIDTH else _filled(line, indent)


def _filled(line: str, indent: str) -> list[str]:
    """Lines filled with as many words as fit."""
    first, *words = line.split(" ")
    lines, current = [], indent + first
    level = sum(first.count(each) for each in "([") - sum(first.count(each) for each in ")]")
    for word in words:
        if level > 0 and len(current) + len(word) >= WIDTH:
            lines.append(current)
            current = f"{indent}    {word}"
        else:
            current = f"{current} {word}"
        level += sum(word.count(each) for each in "([") - sum(word.count(each) for each in ")]")
    return [each.replace(_TIED, " ") for each in (*lines, current)]
