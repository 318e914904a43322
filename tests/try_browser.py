"""The page *Try it* in a real browser: its answers are those of torch and the library."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page

import ndconv
from docs.answers.layer import Layer, name_of
from docs.answers.state import PRESETS, values
from ndconv._form.written import USUAL, address
from tests.browsing import faults_of
from tests.test_try_it import operands, run, shown_programs

# Twenty convolutions that torch has too, as somebody might type them.
TYPED: tuple[dict[str, str], ...] = (
    {"input": "2, 3, 12", "out_channels": "4", "kernel_size": "3"},
    {"input": "2, 3, 12", "out_channels": "4", "kernel_size": "5", "stride": "2", "padding": "2"},
    {"input": "1, 4, 15", "out_channels": "6", "kernel_size": "3", "dilation": "3", "groups": "2"},
    {"input": "2, 3, 9, 8", "out_channels": "4", "kernel_size": "3, 2"},
    {"input": "2, 3, 9, 8", "out_channels": "4", "kernel_size": "(3, 3)", "padding": "(1, 1)"},
    {"input": "2, 3, 9, 8", "out_channels": "4", "kernel_size": "3", "padding": "same"},
    {"input": "2, 3, 9, 8", "out_channels": "4", "kernel_size": "3", "padding": "'valid'", "stride": "2, 1"},
    {"input": "2, 6, 9, 8", "out_channels": "6", "kernel_size": "7", "padding": "3", "groups": "6"},
    {"input": "2, 3, 16, 16", "out_channels": "8", "kernel_size": "4", "stride": "4"},
    {"input": "2, 3, 11, 10", "out_channels": "2", "kernel_size": "1", "stride": "3"},
    {"input": "1, 2, 6, 7, 5", "out_channels": "3", "kernel_size": "3", "padding": "1"},
    {"input": "1, 2, 6, 7, 5", "out_channels": "3", "kernel_size": "2", "stride": "2", "lowering": "window"},
    {"input": "2, 3, 9, 8", "out_channels": "4", "kernel_size": "3", "lowering": "taps", "dtype": "float64"},
    {"input": "2, 3, 9, 8", "out_channels": "4", "kernel_size": "2", "dtype": "complex64", "profile": "neon"},
    {"transposed": "True", "input": "2, 4, 7", "out_channels": "3", "kernel_size": "4", "stride": "2", "padding": "1"},
    {"transposed": "True", "input": "2, 4, 5, 6", "out_channels": "3", "kernel_size": "3"},
    {"transposed": "True", "input": "2, 4, 5, 6", "out_channels": "3", "kernel_size": "3", "stride": "2",
     "padding": "1", "output_padding": "1"},
    {"transposed": "True", "input": "2, 4, 5, 6", "out_channels": "6", "kernel_size": "3", "groups": "2",
     "dilation": "2"},
    {"transposed": "True", "input": "1, 2, 3, 4, 3", "out_channels": "3", "kernel_size": "2", "stride": "2"},
    {"transposed": "True", "input": "1, 2, 6, 6", "out_channels": "3", "kernel_size": "5", "stride": "3",
     "profile": "amx", "lowering": "columns"},
)  # fmt: skip


@pytest.fixture(scope="module")
def tried(browser: Browser, site: str) -> Iterator[Page]:
    """The page, after one answer; any fault of it fails the last test too."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    faults = faults_of(page, site)
    page.goto(f"{site}try.html")
    page.wait_for_function("document.body.dataset.answers", timeout=60_000)
    yield page
    page.close()
    assert not faults, "\n".join(faults)


def enter(page: Page, texts: Mapping[str, str]) -> None:
    """Type texts into their fields, and defaults into all others."""
    for name, usual in USUAL.items():
        text = texts.get(name, "" if usual == () else str(usual))
        field = page.locator(f"#try-{name}")
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(text)
        else:
            field.fill(text)


def answered(page: Page, texts: Mapping[str, str]) -> None:
    """Wait for the answer to the typed texts."""
    fragment = address(values(texts)).partition("#")[2]
    page.wait_for_function(
        "fragment => decodeURIComponent(location.hash) === `#${fragment}`", arg=fragment, timeout=20_000
    )


def arguments_of(layer: Layer) -> dict[str, Any]:
    names = ["stride", "padding", "dilation", "groups", *["output_padding"] * layer.transposed]
    return {name: layer.typed[name] for name in names}


def torchs_shape(layer: Layer) -> tuple[int, ...]:
    function = getattr(torch.nn.functional, name_of("conv", layer.ndim, layer.transposed))
    x, w = (torch.empty(shape, device="meta") for shape in (layer.input_shape, layer.weight_shape))
    return tuple(function(x, w, **arguments_of(layer)).shape)


@pytest.mark.parametrize("typed", TYPED, ids=[" ".join(each.values()) for each in TYPED])
def test_what_is_typed_is_answered(typed: dict[str, str], tried: Page) -> None:
    enter(tried, typed)
    answered(tried, typed)
    layer = Layer.of(values(typed))
    assert tried.inner_text("#try-status").endswith(f"-> {torchs_shape(layer)}")

    given, transposed = operands(layer), layer.transposed
    arguments = arguments_of(layer)
    x, w, g = given["x"], given["w"], given["g"]
    name = name_of("conv", layer.ndim, transposed)
    expected = {
        "output": getattr(ndconv.functional, name)(x, w, **arguments),
        "grad input": getattr(ndconv.grad, f"{name}_input")(x.shape, w, g, **arguments),
        "grad weight": getattr(ndconv.grad, f"{name}_weight")(x, w.shape, g, **arguments),
    }
    programs = shown_programs(tried.inner_html("#try-answer"))
    for title, result in expected.items():
        assert torch.equal(run(programs[title], transposed, given), result), title


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str, tried: Page) -> None:
    tried.select_option("#try-preset", label=name)
    tried.wait_for_function("fragment => location.hash === `#${fragment}`", arg=PRESETS[name])
    assert not tried.evaluate("document.getElementById('try-status').classList.contains('wrong')")


def test_a_mistake_is_told_and_has_an_address(tried: Page) -> None:
    enter(tried, {"input": "1, 3, 8", "kernel_size": "3"})
    answered(tried, {"input": "1, 3, 8", "kernel_size": "3"})
    tried.fill("#try-kernel_size", "9")
    tried.wait_for_selector("#try-status.wrong")
    assert "conv1d: kernel must fit into the padded input, but spans (9,)" in tried.inner_text("#try-status")
    assert tried.evaluate("location.hash") == "#input=1,3,8&kernel_size=9"
    tried.fill("#try-kernel_size", "2")
    tried.wait_for_selector("#try-status:not(.wrong)")


def test_the_address_fills_the_fields(tried: Page) -> None:
    tried.evaluate("location.hash = '#transposed=True&input=1,8,7,7&out_channels=4&kernel_size=3&padding=(1,0),(0,1)'")
    tried.wait_for_function("document.getElementById('try-status').textContent.includes('(1, 4, 8, 8)')")
    assert tried.input_value("#try-padding") == "(1,0),(0,1)"
    assert tried.input_value("#try-transposed") == "True"
    tried.evaluate("location.hash = '#colour=blue&lowering=im2col&stride=%'")
    tried.wait_for_selector("#try-status.wrong")
    assert tried.inner_text("#try-status") == "no field is called colour; lowering cannot be im2col"


@pytest.mark.parametrize("by", ["pointer", "keyboard"])
def test_a_cell_shows_its_ties(by: str, tried: Page) -> None:
    enter(tried, {"input": "1, 1, 8", "kernel_size": "3", "stride": "2", "padding": "1"})
    answered(tried, {"input": "1, 1, 8", "kernel_size": "3", "stride": "2", "padding": "1"})
    cell = tried.locator("#try-answer .cell[data-i='3']")
    if by == "pointer":
        cell.hover()
    else:
        tried.locator("#try-answer .cell[data-i='-1']").focus()
        for _ in range(4):
            tried.keyboard.press("ArrowRight")
    lit = tried.locator("#try-answer .tie.lit").evaluate_all("ties => ties.map(tie => ({...tie.dataset}))")
    assert lit == [{"i": "3", "o": "1", "k": "2"}, {"i": "3", "o": "2", "k": "0"}]
    assert tried.locator("#try-answer .cell.lit").count() == 5  # one input, two outputs, two kernel elements
    assert cell.get_attribute("aria-label") == "i = 3: o 1, k 2; o 2, k 0"


def test_programs_are_copied(tried: Page) -> None:
    program = tried.locator("#try-answer .program").first
    program.locator("button").click()
    tried.wait_for_function("document.querySelector('#try-answer .copy').textContent === 'copied'")
    assert tried.evaluate("navigator.clipboard.readText()") == program.locator("pre").inner_text()


def test_printed_plans_lead_to_the_page(site: str, page: Page) -> None:
    page.goto(f"{site}guides/lowerings.html", wait_until="domcontentloaded")
    link = page.locator("pre a[href*='try.html#']").first
    fragment = (link.get_attribute("href") or "").partition("#")[2]
    assert re.match(r"input=[\d,]+&", fragment)
    link.click()
    page.wait_for_function("document.body.dataset.answers", timeout=60_000)
    assert page.evaluate("location.hash") == f"#{fragment}"
