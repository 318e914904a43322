"""Forms of a `Report`: text for a terminal, one HTML page, Markdown and JUnit XML."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

from ndconv.testing._report import Report
from ndconv.testing._runner import FAILED, NOT_APPLICABLE, STATUSES, UNSUPPORTED, Examined, Outcome

_MOST_FAILURES = 25
"""Number of failures that a terminal shows; files have all of them."""


def _key(parameter: str) -> Callable[[Examined, Outcome], str]:
    return lambda one, outcome: outcome.check if parameter == "check" else one.levels[parameter]


def tally(report: Report, rows: str, columns: str) -> tuple[list[str], list[str], dict[tuple[str, str], Counter[str]]]:
    """Count statuses by two parameters, or by ``"check"`` and one.

    Returns:
        Names of the rows, names of the columns, and a counter of statuses for each pair that occurs.
    """
    row, column = _key(rows), _key(columns)
    counts: dict[tuple[str, str], Counter[str]] = {}
    for one in report.examined:
        for outcome in one.outcomes:
            counts.setdefault((row(one, outcome), column(one, outcome)), Counter())[outcome.status] += 1
    names = [list(dict.fromkeys(pair[i] for pair in counts)) for i in (0, 1)]
    return names[0], sorted(names[1]), counts


def reasons(report: Report, status: str) -> list[tuple[str, str, int]]:
    """Checks of one status with details and counts, the most frequent first."""
    found = Counter(
        (outcome.check, outcome.detail)
        for one in report.examined
        for outcome in one.outcomes
        if outcome.status == status
    )
    return [(check, detail, count) for (check, detail), count in found.most_common()]


def failures(report: Report) -> list[tuple[str, Outcome]]:
    """Every failed check with the id of its trial."""
    return [(one.id, outcome) for one in report.examined for outcome in one.outcomes if outcome.status == FAILED]


def headline(report: Report) -> str:
    """One line with the numbers of trials and checks, and their outcomes."""
    counts = ", ".join(f"{report.count(status)} {status}" for status in STATUSES)
    return f"{len(report.examined)} trials, {counts}, in {report.seconds:.0f} s"


def covered(report: Report) -> str:
    """One line about the covering array."""
    if not report.strength:
        return "trials chosen by id: nothing is said of coverage"
    return f"level {report.level}: {report.covered} of {report.valid} valid {report.strength}-tuples of levels covered"


def _grid(report: Report, rows: str, columns: str) -> list[list[str]]:
    """A table of counts, its header first."""
    names, others, counts = tally(report, rows, columns)
    cells = {pair: "/".join(str(count[status]) for status in STATUSES) for pair, count in counts.items()}
    return [[rows, *others], *([name, *(cells.get((name, other), "-") for other in others)] for name in names)]


def _aligned(table: list[list[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for first, *others in table:
        cells = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *cells])


def text(report: Report) -> str:
    """The report as text for a terminal."""
    told = ", ".join(f"{name} {value}" for name, value in report.environment.items())
    lines = ["", told, covered(report), "", f"cells: {' / '.join(STATUSES)}"]
    for rows in ("check", "dtype"):
        lines += ["", *_aligned(_grid(report, rows, "lowering"))]
    for status in (NOT_APPLICABLE, UNSUPPORTED):
        if found := reasons(report, status):
            lines += ["", f"{status}:"]
            lines += [f"{count:>7}  {check}: {detail}" for check, detail, count in found]
    if failed := failures(report):
        lines += ["", f"{FAILED}:"]
        for id, outcome in failed[:_MOST_FAILURES]:
            lines += [f"  {id}", f"    {outcome.check}: {outcome.detail}"]
        if len(failed) > _MOST_FAILURES:
            lines += [f"  and {len(failed) - _MOST_FAILURES} more"]
        lines += ["", "one again: python -m ndconv.testing --case ID"]
    return "\n".join([*lines, "", headline(report)])


def write_markdown(report: Report, path: str | Path) -> None:
    """Write a report as Markdown tables; arguments as for `write_json`."""
    lines = [f"{covered(report).capitalize()}.", "", f"{headline(report).capitalize()}.", ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in report.environment.items())]
    lines += ["", f"Cells: {' / '.join(STATUSES)}."]
    for rows, columns in (("check", "lowering"), ("check", "dtype"), ("dtype", "lowering"), ("padding", "mode")):
        table = _grid(report, rows, columns)
        head, *body = ["| " + " | ".join(cells) + " |" for cells in table]
        lines += ["", f"### By {rows} and {columns}", "", head, "|" + "---|" * len(table[0]), *body]
    for status in (NOT_APPLICABLE, UNSUPPORTED, FAILED):
        found = reasons(report, status)
        lines += ["", f"### {status.capitalize()}", ""]
        lines += ["| times | check | why |", "|---|---|---|"] if found else ["None."]
        lines += [f"| {count} | {check} | {detail} |" for check, detail, count in found]
    Path(path).write_text("\n".join([*lines, ""]))


def write_html(report: Report, path: str | Path) -> None:
    """Write a report as one HTML page with filters for every parameter; arguments as for `write_json`.

    The page needs no network.
    """
    values = {**report.as_json(), "headline": headline(report), "covered": covered(report), "statuses": STATUSES}
    # A script element ends at the first "</", whatever it contains.
    data = json.dumps(values).replace("</", "<\\/")
    template = files("ndconv.testing").joinpath("_page.html").read_text()
    Path(path).write_text(template.replace("{{report}}", data))


def write_junit(report: Report, path: str | Path) -> None:
    """Write a report as JUnit XML, one test case per trial; arguments as for `write_json`.

    Trials are skipped if the device lacks an operation, with torch's message.
    """
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(root, "testsuite", name=f"ndconv {report.level} on {report.environment['device']}")
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in report.environment.items():
        ElementTree.SubElement(properties, "property", name=name, value=value)
    for one in report.examined:
        case = ElementTree.SubElement(suite, "testcase", name=one.id, time=f"{one.seconds:.3f}")
        case.set("classname", f"ndconv.matrix.{one.levels['lowering']}")
        told = {
            status: "\n".join(
                f"{outcome.check}: {outcome.detail}" for outcome in one.outcomes if outcome.status == status
            )
            for status in STATUSES
        }
        if told[FAILED]:
            ElementTree.SubElement(case, "failure", message=told[FAILED].splitlines()[0]).text = told[FAILED]
        elif told[UNSUPPORTED]:
            ElementTree.SubElement(case, "skipped", message=told[UNSUPPORTED].splitlines()[0])
        if told[NOT_APPLICABLE]:
            ElementTree.SubElement(case, "system-out").text = f"{NOT_APPLICABLE}:\n{told[NOT_APPLICABLE]}"
    for name, tag in (("tests", "testcase"), ("failures", "testcase/failure"), ("skipped", "testcase/skipped")):
        suite.set(name, str(len(suite.findall(tag))))
    suite.set("errors", "0")
    suite.set("time", f"{report.seconds:.3f}")
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
