"""The table of the packages that were tried with ndconv, from its JSON."""

from __future__ import annotations

from typing import Any


def table(found: dict[str, Any]) -> str:
    """What was tried and how it went, by package, as Markdown; what went alike stands in one row."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for row in found["rows"]:
        rows.setdefault((row["client"], row["version"], row["how"]), []).append(row["what"])
    lines = [
        f"{len(found['rows'])} trials of {len({client for client, *_ in rows})} packages,"
        f" with torch {found['torch']} and Python {found['python']}.",
        "",
        "| package | what was tried | how it went |",
        "|---|---|---|",
    ]
    last = ""
    for (client, version, how), what in sorted(rows.items(), key=lambda item: item[0][0]):
        package = "" if client == last else f"{client} {version}"
        lines.append(f"| {package} | {', '.join(what)} | {how.replace('|', chr(92) + '|')} |")
        last = client
    return "\n".join(lines) + "\n"
