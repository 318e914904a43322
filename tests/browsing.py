"""A browser, the built site, and the faults between them: a plugin for the browser tests."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

SITE = Path(__file__).parent.parent / "docs" / "_build" / "html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of the built site, served to this machine alone."""
    if not (SITE / "index.html").exists():
        pytest.fail(f"There is no site in {SITE}: nox -s docs builds it.")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.fail(f"None of {', '.join(BROWSERS)} is installed; on Debian: apt-get install chromium")
    # Chromium refuses to sandbox the pages of root.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page, 1300 pixels wide."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    # A browser asks for this by itself where a page names no icon, as that of the test matrix does not.
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    yield page
    page.close()


def faults_of(page: Page, site: str) -> list[str]:
    """A list to which the page adds errors, failed requests, and requests that leave the site."""
    faults: list[str] = []
    page.on("console", lambda message: faults.append(f"console: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("requestfailed", lambda request: faults.append(f"failed: {request.url}"))
    page.on("response", lambda answer: faults.append(f"{answer.status}: {answer.url}") if answer.status > 399 else None)
    page.on(
        "request",
        lambda request: (
            faults.append(f"off the site: {request.url}") if not request.url.startswith((site, "data:")) else None
        ),
    )
    return faults
