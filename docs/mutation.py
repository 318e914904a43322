"""The page of what mutation testing found, from its JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

_HOW = {"matrix": "the matrix", "tests": "the tests", "time": "never coming to an end", "crash": "a crash"}


def page(modules: dict[str, Any]) -> str:
    """How much was tried, what was noticed, and what was not by the reason why that may be, as Markdown."""
    reasons: dict[str, list[str]] = {}
    for survivor in (survivor for module in modules.values() for survivor in module["survivors"]):
        was, became = (
            "\n".join(sign + line for line in survivor[key].splitlines())
            for sign, key in (("- ", "was"), ("+ ", "became"))
        )
        reasons.setdefault(survivor["why"], []).append(f"# {survivor['function']}\n{was}\n{became}".rstrip())
    ends = Counter[str]()
    for module in modules.values():
        ends.update(module["ends"])
    total = ends.total()
    noticed = total - ends["survived"]
    by = ", ".join(f"{ends[end]} by {how}" for end, how in _HOW.items() if ends[end])
    lines = [
        f"{_tried(modules)} Of these {noticed} were noticed, {noticed / total:.1%}: {by}.",
        "",
        "| module | tried | noticed |",
        "|---|--:|--:|",
        *_rows(modules),
        "",
        "The others, by the reason why they may live:",
        "",
    ]
    for why, found in sorted(reasons.items(), key=lambda item: -len(item[1])):
        changes = "\n\n".join(found)
        lines += [
            "<details>",
            f"<summary>{len(found)} {why}</summary>",
            "",
            "```diff",
            changes,
            "```",
            "",
            "</details>",
            "",
        ]
    return "\n".join(lines)


def _tried(modules: dict[str, Any]) -> str:
    """How many changes there are, and how many of them were tried."""
    made, idle = (sum(module[key] for module in modules.values()) for key in ("mutants", "idle"))
    tried = sum(sum(module["ends"].values()) for module in modules.values())
    others = f"the other {made - idle:,}"
    some = f"All {others}" if tried == made - idle else f"Of {others}, {tried} over all functions"
    return (
        f"There are {made:,} changes. Nothing can come of {idle} of them, which say that what is zipped need not be of "
        "one length, though it is, or give a program's variable another name. "
        f"{some} were tried."
    )


def _rows(modules: dict[str, Any]) -> Iterator[str]:
    for name, module in modules.items():
        if tried := sum(module["ends"].values()):
            yield f"| `{name}` | {tried} | {1 - module['ends']['survived'] / tried:.0%} |"
