"""What the tests have shown, written down as they say it."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--results", type=Path, help="JSON file for what was tried with which release, and how it went")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "client(distribution): the package that a test tries, by its name on the index")


@pytest.fixture
def row(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Callable[[str, str], None]:
    """Note what was tried and how it went; it counts if the test passes."""
    (client,) = request.node.get_closest_marker("client").args

    def note(what: str, how: str) -> None:
        record_property("row", {"client": client, "version": version(client), "what": what, "how": how})

    return note


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    found: torch.dtype = request.param
    return found


class Results:
    """Gathers the rows of the tests that pass, each once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Any] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            found = (value for name, value in report.user_properties if name == "row")
            self.rows += [value for value in found if value not in self.rows]

    def pytest_sessionfinish(self) -> None:
        found = {"python": platform.python_version(), "torch": torch.__version__, "rows": self.rows}
        self.path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def pytest_sessionstart(session: pytest.Session) -> None:
    if path := session.config.getoption("--results"):
        session.config.pluginmanager.register(Results(path))
