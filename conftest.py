"""The ``--device`` option, for tests and doctests alike."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
import torch

import ndconv
from ndconv.testing._runner import set_full_precision

# `nox -s oracle` has JAX, and `nox -s clients` the clients; the doctests of all files would import these everywhere.
AGAINST = {"tests/against_jax.py": "jax", "tests/clients": "kronfluence"}
collect_ignore = [file for file, package in AGAINST.items() if not find_spec(package)]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--device``."""
    parser.addoption("--device", default="cpu", help="torch device that the tests compute on (default: cpu)")


def pytest_configure() -> None:
    """Set what holds for all tests.

    One thread: the cases are tiny, and on a busy machine a second one makes them wait for it. And a folder of their own
    for rates that are measured: they neither use nor lose what a user has measured.
    """
    torch.set_num_threads(1)
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="ndconv-")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """The device under test, in full precision."""
    name: str = request.config.getoption("--device")
    set_full_precision()
    return name


@pytest.fixture
def tiny_workspace() -> Iterator[None]:
    """A workspace in which hardly an element fits."""
    limit = ndconv.get_workspace_limit()
    ndconv.set_workspace_limit(64)
    yield
    ndconv.set_workspace_limit(limit)


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dispatch mode sees the operators of a lowering, which are one operator to everyone else."""
    monkeypatch.setattr("ndconv._autograd.operator._is_watched", lambda first, second: False)


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test draws the same random numbers, whichever tests ran before it."""
    torch.manual_seed(0)
