"""The page of what mutation testing found, from its JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

_HOW = {"matrix": "the matrix", "tests": "the tests", "time": "never coming to an end", "crash": "a crash"}


def page(modules: dict[str, Any]) -> str:
    """What was noticed, and what was not by the reason why that may be, as Markdown."""
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
        f"Of {total} changes {noticed} were noticed, {noticed / total:.1%}: {by}.",
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
