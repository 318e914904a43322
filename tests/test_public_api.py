"""The public names, torch's signatures, and the directions of imports."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.grad as nn_grad

import ndconv

PACKAGE = Path(ndconv.__file__).parent
ROOT = PACKAGE.parent

# What is in a row imports from it and from the rows above it; no import goes round.
ROWS = [
    ("_form",),
    ("_rules", "_fixed"),
    ("_programs", "_lowerings"),
    ("_machine", "_planner"),
    ("_tensors", "_autograd", "_sharded", "_statistics"),
    ("_explain", "functional", "grad", "curvature"),
    ("nn", "_convert", "distributed"),
    ("lowerings",),
    ("", "testing"),
    ("__main__",),
]
LEVELS = {unit: level for level, row in enumerate(ROWS) for unit in row}
# These know integers, and no tensor.
WITHOUT_TORCH = ("_form", "_rules", "_programs", "_lowerings", "_planner")


def _module(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix("__init__").removesuffix(".")


def _imports(path: Path) -> set[str]:
    """Modules that a file imports, those of the package by full name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            source = str(node.module)
            submodules = {f"{source}.{alias.name}" for alias in node.names}
            found |= {name if name.removeprefix("ndconv.") in MODULES else source for name in submodules}
    return found


MODULES = {_module(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _unit(module: str) -> str:
    """The folder or file of the table that a module belongs to."""
    return module.split(".")[0]


def _imported(name: str) -> set[str]:
    """Modules of the package that a module imports."""
    names = {each for each in _imports(MODULES[name]) if each.split(".")[0] == "ndconv"}
    return {each.removeprefix("ndconv").removeprefix(".") for each in names}


def test_the_table_names_every_folder() -> None:
    assert {_unit(name) for name in MODULES} == set(LEVELS)


@pytest.mark.parametrize("name", MODULES)
def test_modules_import_only_from_above(name: str) -> None:
    below = [imported for imported in _imported(name) if LEVELS[_unit(imported)] > LEVELS[_unit(name)]]
    assert not below


def test_no_import_goes_round() -> None:
    """Also within a folder; its ``__init__`` counts, as it is run first."""
    graph = {name: _run_time_imports(name) - {name} for name in MODULES}
    TopologicalSorter({name: {each for each in found if each in graph} for name, found in graph.items()}).prepare()


def _run_time_imports(name: str) -> set[str]:
    """Imports less those that only annotations need."""
    tree = ast.parse(MODULES[name].read_text())
    annotating = [node for node in ast.walk(tree) if isinstance(node, ast.If) and _is_for_types(node.test)]
    skipped = {f"{each.module}" for node in annotating for each in node.body if isinstance(each, ast.ImportFrom)}
    return {each for each in _imported(name) if f"ndconv.{each}" not in skipped}


def _is_for_types(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


@pytest.mark.parametrize("name", [name for name in MODULES if _unit(name) in WITHOUT_TORCH])
def test_what_knows_integers_knows_no_tensor(name: str) -> None:
    """Nor does any module that it imports."""
    seen, left = set[str](), [name]
    while left:
        module = left.pop()
        if module not in seen:
            seen.add(module)
            assert not [each for each in _imports(MODULES[module]) if each.split(".")[0] == "torch"], module
            left += _imported(module)
    assert {_unit(module) for module in seen} <= {*WITHOUT_TORCH, "_machine"}


@pytest.mark.parametrize("unit", [unit for unit in LEVELS if unit.startswith("_") and (PACKAGE / unit).is_dir()])
def test_a_folder_says_what_it_knows(unit: str) -> None:
    assert "Knows" in (ast.get_docstring(ast.parse((PACKAGE / unit / "__init__.py").read_text())) or "")


HIDDEN = "torch", "numpy", "platformdirs", "tqdm"
PROGRAM = """
from ndconv import _rules
from ndconv._machine.rates import usual_target
from ndconv._planner.choice import Setting, choose
from ndconv._planner.plans import slot_plan, slots

found = _rules.convolution("convnd", (2, 4, 9, 8), (6, 2, 3, 3), 2, "same", 1, 2)
setting = Setting("float32", False, False, usual_target("avx2", 2**20))
for title in slots(False):
    chosen = lambda _, seen: choose(seen, "auto", setting)
    plan = slot_plan(title, False, found.geometry, found.framed_size, (2, 2, 3), setting, chosen)
    print(plan, plan.source, sep=chr(10))
"""


def test_rows_of_integers_plan_and_write_programs_where_there_is_no_torch() -> None:
    modules = [f"ndconv.{name}" for name in MODULES if _unit(name) in WITHOUT_TORCH]
    hide = f"import sys; sys.modules |= dict.fromkeys({HIDDEN})"
    code = "\n".join([hide, *(f"import {name.removesuffix('.')}" for name in modules), PROGRAM])
    outputs = [
        subprocess.run([sys.executable, "-c", each], capture_output=True, text=True, check=True, cwd=ROOT).stdout
        for each in (code, PROGRAM)
    ]
    assert outputs[0] == outputs[1]
    assert "def conv2d_grad_weight(x, y):" in outputs[0]


# What these look at has no public name.
UNITS = {
    "across_processes.py",
    "try_browser.py",
    "test_budget.py",
    "test_cache.py",
    "test_compiled.py",
    "test_contest.py",
    "test_costs.py",
    "test_fastest.py",
    "test_faults.py",
    "test_fourier.py",
    "test_geometry.py",
    "test_inexact.py",
    "test_matmul.py",
    "test_matrix.py",
    "test_partition.py",
}
UNITS |= {
    "test_phases.py",
    "test_precision.py",
    "test_profile.py",
    "test_programs.py",
    "test_registered.py",
    "test_rows.py",
    "test_statistics.py",
    "test_ties.py",
    "test_windows.py",
    "test_winograd.py",
    "programs.py",
    "a_lowering_of_your_own.py",
}
FOLDERS = [("benchmarks", "**/*.py"), ("docs", "**/*.py"), ("tests", "*.py")]
# A page that runs rows of integers where there is no torch; they have no public names.
ANSWERS = sorted((ROOT / "docs" / "answers").glob("*.py"))
OUTSIDE = [
    path
    for folder, files in FOLDERS
    for path in sorted((ROOT / folder).glob(files))
    if path.name not in UNITS and path not in ANSWERS
]


@pytest.mark.parametrize("path", OUTSIDE, ids=[str(path.relative_to(ROOT)) for path in OUTSIDE])
def test_others_use_public_names(path: Path) -> None:
    for imported in _imports(path):
        if imported.startswith("ndconv"):
            assert not any(part.startswith("_") for part in imported.split("."))


@pytest.mark.parametrize("path", ANSWERS, ids=[path.name for path in ANSWERS])
def test_what_answers_in_the_browser_knows_no_tensor(path: Path) -> None:
    imported = {each.removeprefix("ndconv.") for each in _imports(path) if each.startswith("ndconv.")}
    assert {_unit(each) for each in imported if each != "_machine.rates"} <= {*WITHOUT_TORCH}
    assert not {"torch", "numpy"} & {each.split(".")[0] for each in _imports(path)}


def test_public_names_exist() -> None:
    for module in (ndconv, ndconv.functional, ndconv.grad, ndconv.curvature, ndconv.nn):
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


@pytest.mark.parametrize(
    "name", [name for name in ndconv.functional.__all__ if re.fullmatch(r"conv(_transpose)?.d", name)]
)
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
