"""What the documents name exists: tests, files and sessions."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def _tests(path: Path) -> set[str]:
    return {
        node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_tests_exist(page: Path) -> None:
    for file, name in re.findall(r"`(tests/\w+\.py)(?:::(\w+))?`", page.read_text()):
        assert (ROOT / file).is_file()
        assert not name or name in _tests(ROOT / file), f"{page.name} names {file}::{name}"


def test_every_promise_names_its_test() -> None:
    rows = [line for line in (ROOT / "docs" / "compatibility.md").read_text().splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not row.startswith("| what")]
    assert len(promises) > 30
    assert all("`tests/test_" in row.split("|")[3] for row in promises)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_files_exist(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([\w./-]+)\)", page.read_text()):
        assert (page.parent / target).exists() or (ROOT / target).exists(), f"{page.name} links to {target}"
