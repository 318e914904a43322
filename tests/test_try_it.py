"""The answers of the page *Try it*: addresses there and back, sizes, pictures, lines and programs."""

from __future__ import annotations

import doctest
import importlib
import random
import re
from collections.abc import Iterator
from html import unescape
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ndconv
from docs.answers import page
from docs.answers.axis import Axis, axes_of
from docs.answers.layer import Layer
from docs.answers.lines import lines
from docs.answers.pattern import picture
from docs.answers.state import CHOICES, PRESETS, read, values

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "answers"
KINDS = ("zeros", "reflect", "replicate", "circular")
# Small layers that have everything between them; torch has the first ones.
SMALL = (
    "input=2,4,7,6&out_channels=6&kernel_size=3,2&stride=2,1&padding=1,0&dilation=1,2&groups=2",
    "input=2,3,9&out_channels=4&kernel_size=4&stride=3&padding=((1,2),)",
    "input=2,3,9,8&out_channels=4&kernel_size=3&padding=same",
    "input=2,3,9,8&out_channels=4&kernel_size=3&stride=2&padding=same",
    "input=1,2,11&out_channels=3&kernel_size=3&padding=causal&dilation=2",
    "input=2,3,5,4,6&out_channels=2&kernel_size=2&padding=valid&dtype=float64",
    "input=2,3,9,8&out_channels=4&kernel_size=3&padding=2,1&padding_mode=circular",
    "input=2,3,9,8&out_channels=4&kernel_size=3&padding=(2,1),(0,1)&padding_mode=reflect",
    "input=1,2,4,3,4,3&out_channels=3&kernel_size=2&stride=1,2,1,1",
    "transposed=True&input=2,4,5,4&out_channels=6&kernel_size=3,2&stride=2&padding=1,0&output_padding=1&groups=2",
    "transposed=True&input=2,4,5&out_channels=3&kernel_size=5&stride=3&padding=((1,2),)&dilation=2",
    "transposed=True&input=2,4,5,5&out_channels=3&kernel_size=3&stride=2&padding=same",
    "transposed=True&input=2,4,5,5&out_channels=3&kernel_size=2&padding=1&padding_mode=circular",
    "transposed=True&input=1,4,3,3,2,3&out_channels=3&kernel_size=2&stride=2&lowering=taps",
)


def layer_of(fragment: str) -> Layer:
    return Layer.of(read(fragment))


def operands(layer: Layer) -> dict[str, Tensor]:
    """Input, weight and the result's gradient."""
    shapes = {"x": layer.input_shape, "w": layer.weight_shape, "g": layer.output_shape}
    dtype = getattr(torch, layer.typed["dtype"])
    return {name: torch.randint(-3, 4, shape).to(dtype) for name, shape in shapes.items()}


def shown_programs(html: str) -> dict[str, str]:
    """The text of every program and line on the page, by its title."""
    found = re.findall(r'<pre tabindex="0" data-title="([^"]+)">(.*?)</pre>', html, re.DOTALL)
    return {title: unescape(re.sub(r"</?span[^>]*>", "", text)) for title, text in found}


def run(program: str, transposed: bool, given: dict[str, Tensor]) -> Tensor:
    """The result of a program of the page, from the trilinear form's operands."""
    space: dict[str, Any] = {}
    exec(program, space)
    x, y = ("g", "x") if transposed else ("x", "g")
    operands = {"x": given[x], "w": given["w"], "y": given[y]}
    ((name, arguments),) = re.findall(r"^def (\w+)\((.*?)\):", program, re.MULTILINE)
    result: Tensor = space[name](*(operands[each] for each in arguments.split(", ")))
    return result


def test_doctests() -> None:
    for path in FOLDER.glob("*.py"):
        if path.stem != "build":  # which writes the site
            assert not doctest.testmod(importlib.import_module(f"docs.answers.{path.stem}")).failed


@pytest.mark.parametrize("fragment", [*PRESETS.values(), *SMALL])
def test_an_address_comes_back(fragment: str) -> None:
    answer = page.answer(page.texts(fragment))
    assert answer["address"] == f"try.html#{fragment}"
    assert "html" in answer


def _plans() -> Iterator[ndconv.ConvPlan]:
    """Random plans of all kinds, without refused ones."""
    draw = random.Random(0)
    while True:
        ndim, groups, transposed = draw.randint(1, 4), draw.choice([1, 1, 2]), draw.random() < 0.5
        arguments: dict[str, Any] = {
            "stride": tuple(draw.randint(1, 3) for _ in range(ndim)),
            "padding": draw.choice(
                ["same", "valid", "causal", 1, tuple((draw.randint(0, 2), draw.randint(0, 2)) for _ in range(ndim))]
            ),
            "dilation": draw.randint(1, 2), "groups": groups, "transposed": transposed,
            "padding_mode": draw.choice(KINDS),
            "output_padding": draw.randint(0, 1) if transposed else 0,
        }  # fmt: skip
        kernel = tuple(draw.randint(1, 4) for _ in range(ndim))
        shape = (2, 2 * groups, *(draw.randint(4, 9) for _ in range(ndim)))
        weight = (2 * groups, 3, *kernel) if transposed else (3 * groups, 2, *kernel)
        try:
            yield ndconv.plan(shape, weight, lowering=draw.choice(["auto", "taps", "columns"]), **arguments)
        except RuntimeError:
            continue


def test_the_address_of_a_plan_is_that_convolution() -> None:
    for plan in islice(_plans(), 300):
        layer = layer_of(plan.address.partition("#")[2])
        assert layer.convolution == plan.convolution, plan.address
        assert (layer.input_shape, layer.weight_shape, layer.output_shape) == (
            plan.input_shape, plan.weight_shape, plan.output_shape,
        )  # fmt: skip
        for ours in (plan.output, plan.grad_input, plan.grad_weight):
            assert layer.plans[ours.title].shapes == ours.shapes
            assert layer.plans[ours.title].function == ours.function


@pytest.mark.parametrize("fragment", [*PRESETS.values(), *SMALL])
def test_sizes_are_worked_out(fragment: str) -> None:
    layer = layer_of(fragment)
    for axis, size in zip(axes_of(layer), layer.output_shape[2:], strict=True):
        working, result = axis.arithmetic(layer.transposed).split(" = ")
        assert eval(working) == int(result) == size


@pytest.mark.parametrize("fragment", SMALL)
def test_pictures_are_index_patterns(fragment: str) -> None:
    layer = layer_of(fragment)
    for axis in axes_of(layer):
        found = re.findall(r'class="tie" data-i="(-?\d+)" data-o="(\d+)" data-k="(\d+)"', picture(axis, False, ""))
        ties = {(int(i), int(o), int(k)) for i, o, k in found}
        pattern = ndconv.functional.index_pattern(
            axis.size, axis.kernel, axis.stride, ((axis.lo, axis.hi + axis.stride),), axis.dilation
        )
        drawn = {(i, o, k) for k, o, i in pattern.nonzero().tolist() if o < axis.windows}
        assert {tie for tie in ties if 0 <= tie[0] < axis.size} == drawn


def test_long_axes_are_drawn_with_the_same_borders() -> None:
    axis = Axis(size=224, windows=112, kernel=7, stride=2, dilation=1, lo=3, hi=2, extra=0)
    short = axis.shortened()
    assert short.windows == 12
    behind = [each.size - 1 - each.position(each.windows - 1, each.kernel - 1) for each in (axis, short)]
    assert behind[0] == behind[1]
    for huge in (Axis(10**9, 10**9, 3, 1, 1, 1, 1, 0), Axis(10**6, 10, 10**5, 10**5, 1, 0, 0, 0)):
        assert len(picture(huge, False, "")) < 200_000


def test_elements_that_no_window_reads_are_counted() -> None:
    draw = random.Random(0)
    for _ in range(300):
        kernel, stride, dilation, lo, hi = (draw.randint(least, 5) for least in (1, 1, 1, 0, 0))
        size = draw.randint(1, 30)
        windows = (size + lo + hi - dilation * (kernel - 1) - 1) // stride + 1
        if windows < 1:
            continue
        axis = Axis(size, windows, kernel, stride, dilation, lo, hi, 0)
        read = {axis.position(o, k) for o in range(windows) for k in range(kernel)} & {*range(size)}
        behind = size - 1 - max(read, default=-1)
        assert axis.unread() == (behind, size - len(read) - behind)


@pytest.mark.parametrize("fragment", SMALL)
def test_programs_and_lines_compute_the_same(fragment: str) -> None:
    layer = layer_of(fragment)
    given = operands(layer)
    results: dict[str, list[Tensor]] = {}
    for library, text in lines(layer).items():
        source, result = "yx" if layer.transposed else "xy"
        space: dict[str, Any] = {"torch": torch, "ndconv": ndconv}
        space |= {name: given[key].clone().requires_grad_() for name, key in ((source, "x"), ("w", "w"), ("g", "g"))}
        for line in text.splitlines():
            exec(line, space)
        results[library] = [space[name] for name in (result, f"d{source}", "dw")]
        assert type(space["layer"]).__module__.partition(".")[0] == library
        space["layer"].to(given["x"].dtype).weight.data = given["w"]
        assert torch.equal(space["layer"](given["x"]), space[result])
    ours = results["ndconv"]
    for found, expected in zip(results.get("torch", ours), ours, strict=True):
        assert torch.equal(found, expected)

    if layer.convolution.mode == "zeros":  # others get the input with its border
        programs = shown_programs(page.answered(layer))
        for title, expected in zip(layer.plans, ours, strict=True):
            assert torch.equal(run(programs[title], layer.transposed, given), expected), title


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"input": "1,3,8,8", "kernel_size": "9"}, "conv2d: kernel must fit into the padded input, but spans (9, 9)"),
        ({"input": "1,3,8", "groups": "2"}, "conv1d: groups must divide in_channels, but 2 does not divide 3"),
        ({"input": "1,3"}, "input must have a batch, channels and at least one axis, but is (1, 3)"),
        ({"input": "1,3,8", "stride": "x"}, "stride must be a number, or several with commas between them, but is 'x'"),
        ({"input": "1,3,8", "padding": "wide"}, "or one of valid, same, causal, but is 'wide'"),
        ({"input": "1,3,8", "stride": "1.5"}, "stride must be an integer or a sequence of integers, but is 1.5"),
        ({"input": "1,3,8", "dtype": "int8"}, "dtype must be one of float32"),
        ({"inputs": "1,3,8"}, "but no inputs"),
        ({"input": ""}, "input must have a batch"),
        ({"input": "1,3,8", "kernel_size": "0"}, "kernel_size must be positive, but is (0,)"),
        ({"input": "1,3,8", "kernel_size": "None"}, "kernel_size must be an integer or a sequence of integers, but is"),
        ({"input": "1,3,8", "output_padding": "1"}, "output_padding must be 0, for it is of transposed convolutions"),
        ({"input": "8"}, "input must be a sequence of integers, but is 8"),
    ],
)  # fmt: skip
def test_a_mistake_shows_the_librarys_message(typed: dict[str, str], message: str) -> None:
    answer = page.answer({"kernel_size": "3", **typed})
    assert message in answer["error"]
    assert "html" not in answer


LINKING = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "scripts").rglob("*.py")]


def test_links_to_the_page_are_answered() -> None:
    found = []
    for path in LINKING:
        text = re.sub(r"\n# &", "&", path.read_text())
        found += [unescape(each) for each in re.findall(r"try\.html#([^\s\">]+)", text)]
    assert len(found) >= 13
    for fragment in found:
        assert "html" in page.answer(page.texts(fragment)), fragment


def test_every_choice_answers() -> None:
    for name, each in ((name, each) for name, choices in CHOICES.items() for each in choices):
        fragment = f"input=2,4,8,8&out_channels=4&kernel_size=2&{name}={each}"
        assert "html" in page.answer(page.texts(fragment)), fragment
        assert values({"input": "1,1,1", name: each})[name] == (each == "True" if name == "transposed" else each)
