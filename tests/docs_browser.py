"""The site in a real browser: `nox -s docs_browser` opens every page, at desktop and telephone width.

It needs the built site and a Chromium, which is Debian's package of that name.
"""

from __future__ import annotations

import functools
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from playwright.sync_api import Page

from docs.answers.page import answer, texts
from tests.browsing import SITE, faults_of

PAGES = sorted(str(page.relative_to(SITE)) for page in SITE.rglob("*.html") if "_static" not in page.parts)

# Text of a page as it is read: without code, and without what MathJax keeps for those who listen to a page.
PROSE = """() => {
    const copy = document.body.cloneNode(true);
    copy.querySelectorAll("pre, code, script, style, mjx-container").forEach(each => each.remove());
    return copy.textContent;
}"""
# What sticks out of the window, unless it scrolls in a box of its own.
OVERFLOW = "() => document.scrollingElement.scrollWidth - window.innerWidth"
UNSEEN = """() => [...document.images].filter(image => !image.complete || !image.naturalWidth || !image.alt.trim())
    .map(image => image.src)"""
UNSET = "() => [...document.querySelectorAll('.math')].filter(each => !each.querySelector('mjx-container')).length"
LINKS = "() => [...document.querySelectorAll('a[href]')].map(link => link.href)"


class _Anchors(HTMLParser):
    """The ids that links may point to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.update(value for name, value in attrs if name in ("id", "name") and value)


@functools.cache
def _anchors(page: Path) -> set[str]:
    return _Anchors(page).found


def _open(page: Page, address: str) -> None:
    page.goto(address, wait_until="networkidle")
    page.evaluate("() => window.MathJax?.startup?.promise")


@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, site: str, page: Page) -> None:
    faults = faults_of(page, site)
    _open(page, site + name)
    for image in page.locator("img").all():
        image.scroll_into_view_if_needed()
    page.wait_for_load_state("networkidle")

    faults += [f"image not loaded or without words: {source}" for source in page.evaluate(UNSEEN)]
    if unset := page.evaluate(UNSET):
        faults.append(f"{unset} formulas are not set")
    prose = page.evaluate(PROSE)
    faults += [f"raw TeX: {sign}" for sign in ("\\(", "\\[", "$$", "\\frac", "\\operatorname") if sign in prose]
    faults += [f"leads nowhere: {link}" for link in page.evaluate(LINKS) if not _leads_somewhere(link, site)]
    for width in (1300, 390):
        page.set_viewport_size({"width": width, "height": 844})
        if (too_much := page.evaluate(OVERFLOW)) > 0:
            faults.append(f"{too_much} pixels too wide for {width}")
    assert not faults, "\n".join([name, *dict.fromkeys(faults)])


def _leads_somewhere(link: str, site: str) -> bool:
    """Whether a link stays on the site and finds its page and place, or leaves it."""
    address, anchor = urldefrag(urljoin(site, link))
    if not address.startswith(site):
        return True
    target = SITE / unquote(urlsplit(address).path.lstrip("/"))
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return False
    if target.name == "try.html" and "=" in anchor:
        return "html" in answer(texts(unquote(anchor)))
    return not anchor or target.suffix != ".html" or unquote(anchor) in _anchors(target)


def test_search_finds_a_chapter(site: str, page: Page) -> None:
    _open(page, f"{site}search.html?q=dilation")
    page.wait_for_selector("#search-results li a")
    found = [link.get_attribute("href") or "" for link in page.locator("#search-results li a").all()]
    assert any("mathematics/stride_and_dilation" in href for href in found), found


def test_every_chapter_has_a_next_page(site: str, page: Page) -> None:
    """The last links of pages lead through the whole site, from the first page on."""
    seen, address = [], f"{site}index.html"
    while address and address not in seen:
        seen.append(address)
        page.goto(address, wait_until="domcontentloaded")
        following = page.locator("a.next-page")
        address = urljoin(address, following.get_attribute("href") or "") if following.count() else ""
    names = [urlsplit(each).path for each in seen]
    assert {"/mathematics/common_mistakes.html", "/guides/drop_in.html", "/gallery/lowerings_compared.html"} <= {*names}
