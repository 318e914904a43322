"""The ``--device`` option, for tests and doctests alike."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
import torch

import ndconv

# `nox -s oracle` has JAX and runs this file; the doctests of all files would import it everywhere.
collect_ignore = [] if find_spec("jax") else ["tests/against_jax.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--device``."""
    parser.addoption("--device", default="cpu", help="torch device that the tests compute on (default: cpu)")


def pytest_configure() -> None:
    """One thread: the cases are tiny, and on a busy machine a second one makes them wait for it."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """The device under test, with TF32 off: the tests compare for equality."""
    name: str = request.config.getoption("--device")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return name


@pytest.fixture
def tiny_workspace() -> Iterator[None]:
    """A workspace in which hardly an element fits."""
    limit = ndconv.get_workspace_limit()
    ndconv.set_workspace_limit(64)
    yield
    ndconv.set_workspace_limit(limit)


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test draws the same random numbers, whichever tests ran before it."""
    torch.manual_seed(0)
