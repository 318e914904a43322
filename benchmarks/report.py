"""Tables and plots of results, of named files or all: ``python -m benchmarks.report --html report.html``."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import console, tables
from benchmarks.names import AUTO, FASTEST
from benchmarks.planner import tables as planner
from benchmarks.planner.report import summary as proof_summary
from benchmarks.planner.results import PROFILES, Proof
from benchmarks.planner.results import read as read_proof
from benchmarks.results import COMMITTED, Results, read
from benchmarks.statistics import tables as statistics
from benchmarks.statistics.contenders import STATISTICS
from benchmarks.statistics.report import summary as statistics_summary
from benchmarks.statistics.results import Run
from benchmarks.statistics.results import read as read_statistics

_PAGE = """<!doctype html><meta charset="utf-8"><title>ndconv benchmarks</title>
<style>body{{font:15px/1.5 sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}}img{{max-width:100%}}
table{{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}}
td,th{{padding:.2em .7em;border-bottom:1px solid #ddd;white-space:nowrap}}</style>
{body}"""


def summary(results: Results) -> str:
    """The text printed at the end of a run."""
    chosen = [table for table in (tables.steps(results), tables.kinds(results), tables.targets(results)) if table.rows]
    legend = "Speed relative to torch, quartiles in brackets; above 1 is faster."
    return "\n".join([*(console.table(table.header, table.rows) for table in chosen), legend])


Section = tuple[str, str | tables.Table | None]
"""A heading, and the picture or table below it."""


class Found(NamedTuple):
    """Results of the suite, of the planner's proof, and of statistics of gradients."""

    runs: list[Results]
    proofs: list[Proof]
    statistics: list[Run]


def parts(found: Found) -> dict[str, list[Section]]:
    """The report as parts with sections: the first run in full, the others in the list of machines only."""
    runs, proofs, first = found.runs, found.proofs, found.runs[0]
    targets = tables.targets(first)
    targets.rows.extend(planner.targets(proofs).rows)
    for run in found.statistics:
        targets.rows.extend(statistics.targets(run).rows)
    return {
        "pictures": [
            ("Speed by workload", "![Speed relative to torch by workload](speed.svg)"),
            ("What of the machine is reached", "![GFLOP/s against arithmetic intensity](roofline.svg)"),
            ("Memory", "![Memory relative to torch](memory.svg)"),
            ("Predicted and measured", "![Measured against predicted time](predictions.svg)" if proofs else None),
        ],
        "tables": [
            ("By kind", tables.kinds(first)),
            ("A step in float32, all contenders", tables.steps(first)),
            ("Slots in float32, auto", tables.slots(first, AUTO)),
            ("Slots in float32, fastest", tables.slots(first, FASTEST)),
            ("Dtypes, auto", tables.dtypes(first, AUTO)),
            ("Dtypes, fastest", tables.dtypes(first, FASTEST)),
            ("Per-sample gradient of the weight", tables.per_sample(first)),
            ("Peak extra memory of a step in float32, MiB", tables.memory(first)),
        ],
        "others": [
            (f"{title}, {run.environment.get('gpu', run.environment['kind'])}", table(run))
            for run in runs[1:]
            for title, table in (("By kind", tables.kinds), ("A step in float32", tables.steps))
        ],
        "losses": [("Slower than torch", tables.losses(first))],
        "planner": [
            ("Regret", planner.regrets(proofs)),
            *(
                (f"Where auto loses most, {proof.kind}, {profile} profile", planner.worst(proof, profile))
                for proof in proofs
                for profile in PROFILES
            ),
        ],
        "statistics": [
            (f"{title}{statistic}, {run.environment['threads']} threads", table(run, statistic))
            for run in found.statistics
            for statistic in STATISTICS
            for title, table in (("Time of ", statistics.times), ("Memory of ", statistics.memory))
        ],
        "machines": [
            ("Workloads", tables.sources(first)),
            ("Not timed", tables.skipped(first)),
            ("Machines", tables.machines(runs)),
            ("Machines of the planner's proof", planner.machines(proofs)),
            ("The machine of the figures above", tables.environment(first)),
        ],
        "targets": [("Targets", targets)],
    }


def markdown(sections: Sequence[Section]) -> str:
    """A part as Markdown, with third-level headings and links to pictures beside it."""
    blocks = []
    for title, body in sections:
        empty = body is None or (isinstance(body, tables.Table) and not body.rows)
        blocks += [f"### {title}", "None." if empty else str(body)]
    return "\n\n".join(blocks) + "\n"


def write_markdown(found: Found, folder: Path) -> list[Path]:
    """Write a file for each part, and pictures."""
    from benchmarks.plots import draw  # a run prints its summary without matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    draw(found.runs[0], found.proofs, folder)
    written = []
    for name, sections in parts(found).items():
        written.append(folder / f"{name}.md")
        written[-1].write_text(markdown(sections))
    return written


def write_html(found: Found, path: Path) -> None:
    """Write one page that needs no other file."""
    from tempfile import TemporaryDirectory

    from markdown_it import MarkdownIt

    with TemporaryDirectory() as name:
        written = write_markdown(found, folder := Path(name))
        body = MarkdownIt().enable("table").render("\n".join(part.read_text() for part in written))
        for picture in folder.glob("*.svg"):
            data = base64.b64encode(picture.read_bytes()).decode()
            body = body.replace(f'src="{picture.name}"', f'src="data:image/svg+xml;base64,{data}"')
    path.write_text(_PAGE.format(body=body))


def committed() -> list[Path]:
    """All results in the repository, without those of unfinished runs."""
    return sorted(path for path in COMMITTED.glob("*.json") if "." not in path.stem)


def load(paths: Iterable[Path]) -> Found:
    """Results of any kind."""
    found = Found([], [], [])
    for path in paths:
        values = json.loads(path.read_text())
        if "measurements" in values:
            found.runs.append(read(path))
        elif "measured" in values:
            found.statistics.append(read_statistics(path))
        else:
            found.proofs.append(read_proof(path))
    return found


def main() -> int:
    """Print summaries of results, and write the files asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description="Tables and plots of results.")
    known = "JSON of benchmarks.run, .planner and .statistics (default: all of benchmarks/results)"
    parser.add_argument("results", type=Path, nargs="*", default=committed(), help=known)
    parser.add_argument("--markdown", type=Path, metavar="FOLDER", help="write Markdown and SVG pictures there")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write all of it as one page")
    options = parser.parse_args()
    found = load(options.results)
    told = *map(summary, found.runs), *map(proof_summary, found.proofs), *map(statistics_summary, found.statistics)
    print(*told, sep="\n")
    if not found.runs and (options.markdown or options.html):
        parser.error("a page needs results of benchmarks.run")
    if options.markdown:
        write_markdown(found, options.markdown)
    if options.html:
        write_html(found, options.html)
    return 0


if __name__ == "__main__":
    sys.exit(main())
