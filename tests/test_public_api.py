"""The public names, torch's signatures, and who imports whom."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.grad as nn_grad

import ndconv

PACKAGE = Path(ndconv.__file__).parent
ROOT = PACKAGE.parent

# A module imports only from those above it. "torch" stands between what knows integers and what knows tensors.
ORDER = [
    "_geometry", "_subscripts",
    "torch",
    "_tracing", "_cache", "_workspace", "_exact", "_autocast", "_layout", "_windows", "_borders", "_matmul",
    "_rules._arguments", "_rules._calls", "_rules",
    "_lowerings._base", "_lowerings._finite", "_lowerings._products", "_lowerings._phases", "_lowerings._residues",
    "_lowerings._runs", "_lowerings._samples", "_lowerings._windowed", "_lowerings._cook_toom", "_lowerings._tiles",
    "_lowerings.columns", "_lowerings.fourier", "_lowerings.native", "_lowerings.reshape", "_lowerings.taps",
    "_lowerings.window", "_lowerings.winograd",
    "_lowerings", "_precision", "_ties", "_budget", "_timings", "_plan", "_operator",
    "_function", "_linear",
    "_recorded", "_convolution", "_explain",
    "functional._conv", "functional._conv_transpose", "functional._unfold", "functional",
    "grad._conv", "grad._conv_transpose", "grad._bias", "grad._backward", "grad",
    "nn._layer", "nn._conv", "nn._conv_transpose", "nn._lazy", "nn",
    "_convert",
    "", "testing._cases", "testing._oracle", "testing._space", "testing._trials", "testing._matrix",
    "testing._subject", "testing._compare", "testing._checks", "testing._transforms", "testing._values",
    "testing._runner", "testing._report", "testing._writers", "testing", "testing.__main__",
]  # fmt: skip


def _module(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix("__init__").removesuffix(".")


def _imports(path: Path) -> set[str]:
    """Modules a file imports, those of the package without its name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            source = str(node.module)
            submodules = {f"{source}.{alias.name}" for alias in node.names}
            found |= {name if name.removeprefix("ndconv.") in ORDER else source for name in submodules}
    return found


MODULES = {_module(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def test_the_order_names_every_module() -> None:
    assert set(MODULES) == set(ORDER) - {"torch"}


@pytest.mark.parametrize("name", MODULES)
def test_modules_import_only_from_above(name: str) -> None:
    above = ORDER[: ORDER.index(name)]
    for imported in _imports(MODULES[name]):
        if imported.split(".")[0] == "torch":
            assert "torch" in above
        elif imported == "ndconv" or imported.startswith("ndconv."):
            assert imported.removeprefix("ndconv").removeprefix(".") in above


# What these look at has no public name.
UNITS = {
    "test_budget.py",
    "test_cache.py",
    "test_compiled.py",
    "test_costs.py",
    "test_fastest.py",
    "test_faults.py",
    "test_fourier.py",
    "test_geometry.py",
    "test_inexact.py",
    "test_matmul.py",
    "test_matrix.py",
}
UNITS |= {
    "test_phases.py",
    "test_precision.py",
    "test_rows.py",
    "test_ties.py",
    "test_windows.py",
    "test_winograd.py",
    "a_lowering_of_your_own.py",
}
FOLDERS = [("benchmarks", "**/*.py"), ("docs", "**/*.py"), ("tests", "*.py")]
OUTSIDE = [path for folder, files in FOLDERS for path in sorted((ROOT / folder).glob(files)) if path.name not in UNITS]


@pytest.mark.parametrize("path", OUTSIDE, ids=[str(path.relative_to(ROOT)) for path in OUTSIDE])
def test_others_use_public_names(path: Path) -> None:
    for imported in _imports(path):
        if imported.startswith("ndconv"):
            assert not any(part.startswith("_") for part in imported.split("."))


def test_public_names_exist() -> None:
    for module in (ndconv, ndconv.functional, ndconv.grad, ndconv.nn):
        assert sorted(module.__all__) == sorted(set(module.__all__))
        assert all(hasattr(module, name) for name in module.__all__)


def _parameters(function: Any) -> list[tuple[str, object]]:
    return [
        (name, parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]


# torch documents these signatures; its built-in functions have none to inspect.
DOCUMENTED = {
    "conv": "(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1)",
    "conv_transpose": "(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1)",
}


@pytest.mark.parametrize("name", [name for name in ndconv.functional.__all__ if "fold" not in name])
def test_functions_take_torchs_arguments(name: str) -> None:
    theirs: dict[str, Any] = {}
    exec(f"def function{DOCUMENTED[name[:-2]]}: ...", theirs)
    assert _parameters(getattr(ndconv.functional, name)) == _parameters(theirs["function"])


@pytest.mark.parametrize("name", ["unfold", "fold"])
def test_folds_take_torchs_arguments(name: str) -> None:
    assert _parameters(getattr(ndconv.functional, f"{name}nd")) == _parameters(getattr(torch.nn.functional, name))


@pytest.mark.parametrize("name", [name for name in ndconv.grad.__all__ if re.fullmatch(r"conv.d_(input|weight)", name)])
def test_gradients_take_torchs_arguments(name: str) -> None:
    theirs = getattr(nn_grad, name.replace("nd", "2d"))
    assert _parameters(getattr(ndconv.grad, name)) == _parameters(theirs)


@pytest.mark.parametrize("name", [name for name in ndconv.grad.__all__ if "transpose" in name])
def test_gradients_of_transposed_convolutions_take_arguments_in_the_order_of_the_forward(name: str) -> None:
    forward = _parameters(ndconv.functional.conv_transposend)
    assert _parameters(getattr(ndconv.grad, name))[3:] == forward[3:]


MODULES_OF_TORCH = [name for name in ndconv.nn.__all__ if "N" not in name]


@pytest.mark.parametrize("name", MODULES_OF_TORCH)
def test_modules_take_torchs_arguments(name: str) -> None:
    assert _parameters(getattr(ndconv, name)) == _parameters(getattr(torch.nn, name))


def test_every_convolution_of_torch_is_there() -> None:
    assert {name for name in dir(torch.nn) if re.fullmatch(r"(Lazy)?Conv(Transpose)?\dd", name)} == set(
        MODULES_OF_TORCH
    )


@pytest.mark.parametrize("name", [name for name in ndconv.nn.__all__ if "N" in name])
def test_modules_of_any_ndim_take_the_number_of_axes_first(name: str) -> None:
    assert _parameters(getattr(ndconv, name))[0] == ("ndim", inspect.Parameter.empty)
    assert _parameters(getattr(ndconv, name))[1:] == _parameters(getattr(torch.nn, name.replace("N", "2")))
