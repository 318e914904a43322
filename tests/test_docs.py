"""Tests, files and sessions named in the documents exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import ndconv
import ndconv.distributed
import ndconv.testing
from docs import reference

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def _tests(path: Path) -> set[str]:
    return {
        node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_tests_exist(page: Path) -> None:
    for file, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text()):
        assert (ROOT / file).is_file()
        assert not name or name in _tests(ROOT / file), f"{page.name} names {file}::{name}"


def test_every_promise_names_its_test() -> None:
    rows = [line for line in (ROOT / "docs" / "compatibility.md").read_text().splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not row.startswith(("| what", "| tool"))]
    assert len(promises) > 30
    assert all(re.search(r"`tests/((clients|peers)/)?(test|against|across)_", row.split("|")[3]) for row in promises)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_files_exist(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([\w./-]+)\)", page.read_text()):
        assert (page.parent / target).exists() or (ROOT / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("section", ["mathematics", "guides"])
def test_every_chapter_is_listed(section: str) -> None:
    folder = ROOT / "docs" / "scripts" / section
    listed = re.findall(r"^   (\w+)$", (folder / "index.rst").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(script.stem for script in folder.glob("*.py"))


def test_every_public_name_has_a_page() -> None:
    pages = {path for group in reference.GROUPS for path in reference.names(group)}
    modules = (
        ndconv,
        ndconv.curvature,
        ndconv.distributed,
        ndconv.functional,
        ndconv.grad,
        ndconv.lowerings,
        ndconv.testing,
    )
    names = {f"{module.__name__}.{name}" for module in modules for name in module.__all__}
    inner = "curvature", "functional", "grad", "lowerings", "nn"
    assert pages == names - {f"ndconv.{name}" for name in inner}
    for pattern in {*reference.ERRORS, *reference.EXAMPLES}:
        assert any(re.fullmatch(pattern, page) for page in pages), f"{pattern} is of no public name"
