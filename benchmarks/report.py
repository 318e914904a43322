"""Tables and plots of results: ``python -m benchmarks.report benchmarks/results/cpu.json --html report.html``."""

from __future__ import annotations

import argparse
import base64
import sys
from pathlib import Path

from benchmarks import console, tables
from benchmarks.names import AUTO, FASTEST
from benchmarks.results import Results, read

_PAGE = """<!doctype html><meta charset="utf-8"><title>ndconv benchmarks</title>
<style>body{{font:15px/1.5 sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}}img{{max-width:100%}}
table{{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}}
td,th{{padding:.2em .7em;border-bottom:1px solid #ddd;white-space:nowrap}}</style>
{body}"""


def summary(results: Results) -> str:
    """What to print at the end of a run."""
    chosen = [table for table in (tables.steps(results), tables.kinds(results), tables.targets(results)) if table.rows]
    legend = "Speed relative to torch, quartiles in brackets; above 1 is faster."
    return "\n".join([*(console.table(table.header, table.rows) for table in chosen), legend])


def markdown(results: Results) -> str:
    """The report, its headings of the third level and its pictures beside it."""
    sections = {
        "Targets": tables.targets(results),
        "By kind": tables.kinds(results),
        "A step in float32, all contenders": tables.steps(results),
        "Slots in float32, auto": tables.slots(results, AUTO),
        "Slots in float32, fastest": tables.slots(results, FASTEST),
        "Dtypes, auto": tables.dtypes(results, AUTO),
        "Dtypes, fastest": tables.dtypes(results, FASTEST),
        "Per-sample gradient of the weight": tables.per_sample(results),
        "Peak extra memory of a step in float32, MiB": tables.memory(results),
        "Slower than torch": tables.losses(results),
        "Not timed": tables.skipped(results),
        "Workloads": tables.sources(results),
        "Machine": tables.environment(results),
    }
    pictures = {
        "By kind": "![Speed relative to torch by workload](speed.svg)",
        "Slots in float32, auto": "![GFLOP/s against arithmetic intensity](roofline.svg)",
        "Peak extra memory of a step in float32, MiB": "![Memory against the size of the kernel](memory.svg)",
    }
    parts = []
    for title, table in sections.items():
        parts += [
            f"### {title}",
            *([pictures[title]] if title in pictures else []),
            str(table) if table.rows else "None.",
        ]
    return "\n\n".join(parts) + "\n"


def write_markdown(results: Results, folder: Path) -> None:
    """Write ``performance.md`` and its pictures."""
    from benchmarks.plots import draw  # a run prints its summary without matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    draw(results, folder)
    (folder / "performance.md").write_text(markdown(results))


def write_html(results: Results, path: Path) -> None:
    """Write one page that needs no other file."""
    from tempfile import TemporaryDirectory

    from markdown_it import MarkdownIt

    with TemporaryDirectory() as name:
        write_markdown(results, folder := Path(name))
        body = MarkdownIt().enable("table").render((folder / "performance.md").read_text())
        for picture in folder.glob("*.svg"):
            data = base64.b64encode(picture.read_bytes()).decode()
            body = body.replace(f'src="{picture.name}"', f'src="data:image/svg+xml;base64,{data}"')
    path.write_text(_PAGE.format(body=body))


def main() -> int:
    """Print the summary of a results file, and write what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description="Tables and plots of results.")
    parser.add_argument("results", type=Path, help="JSON that benchmarks.run wrote")
    parser.add_argument("--markdown", type=Path, metavar="FOLDER", help="write performance.md and SVG pictures there")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write all of it as one page")
    options = parser.parse_args()
    results = read(options.results)
    print(summary(results))
    if options.markdown:
        write_markdown(results, options.markdown)
    if options.html:
        write_html(results, options.html)
    return 0


if __name__ == "__main__":
    sys.exit(main())
