"""The page of what mutation testing found, from its JSON."""

from __future__ import annotations

from typing import Any


def page(mutation: dict[str, Any]) -> str:
    """What was noticed, and what was not by the reason why that may be, as Markdown."""
    reasons: dict[str, list[str]] = {}
    for survivor in mutation["survivors"]:
        was, became = (
            "\n".join(sign + line for line in survivor[key].splitlines())
            for sign, key in (("- ", "was"), ("+ ", "became"))
        )
        reasons.setdefault(survivor["why"], []).append(f"# {survivor['function']}\n{was}\n{became}".rstrip())
    total, ends = mutation["mutants"], mutation["ends"]
    noticed = total - len(mutation["survivors"])
    by = ", ".join(f"{count} by the {end}" for end, count in ends.items() if count and end not in ("survived", "crash"))
    lines = [
        f"Of {total} changes {noticed} were noticed, {noticed / total:.1%}: {by}, {ends['crash']} by a crash.",
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
