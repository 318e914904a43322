"""The library changed in every way that mutmut knows, and whether anybody notices: ``python -m tests.mutation``.

mutmut makes the mutants. They are tried here, each in a process forked off one that has everything loaded and knows all
answers of the oracle: most then take a fraction of a second, where a process of their own would take half a minute.
What judges is the eager quick level of the matrix, up to its first failure, and a few tests of what no number shows.
What happened goes into ``docs/results/mutation.json``; every survivor needs the reason of a rule below.
"""

from __future__ import annotations

import argparse
import difflib
import functools
import importlib
import inspect
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mutmut.mutation.trampoline
import pytest
from mutmut.mutation.file_mutation import mutate_file_contents
from tqdm import tqdm

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs/results/mutation.json"
# Rows 0 to 2 of the design.
MUTATED = (
    *("_form/geometry.py", "_form/subscripts.py", "_programs/*.py", "_lowerings/*.py"),
    *("_planner/computed.py", "_planner/ties.py", "_planner/choice.py", "_tensors/execute.py", "_autograd/function.py"),
)
# What no number shows, by the names of functions, and the tests that see it: those of costs before the matrix.
COSTS = r"\.cost$|\.price$|elements_per_|_programs\.price\."
TESTS = {
    COSTS: ("test_costs.py",),
    r"^ndconv\._(planner|tensors)\.": ("test_plan.py", "test_fastest.py", "test_autocast.py", "test_programs.py"),
    r"^ndconv\._programs\.products\.": ("test_matmul.py",),
    r"^ndconv\._programs\.": ("test_windows.py", "test_costs.py", "test_programs.py"),
    r"^ndconv\._lowerings\._phases\.": ("test_phases.py",),
    r"^ndconv\._lowerings\.(_residues|_samples)\.": ("test_rows.py",),
    r"^ndconv\._lowerings\.(_cook_toom|_tiles|winograd)\.": ("test_winograd.py", "test_inexact.py"),
    r"^ndconv\._lowerings\.fourier\.": ("test_fourier.py", "test_inexact.py"),
}
LEAST = 0.9
PATIENCE = 300
"""Seconds, some twenty times what a survivor takes."""
# How a process ends that tried a mutant.
SURVIVED, BY_MATRIX, BY_TESTS = 0, 11, 12
ENDS = {SURVIVED: "survived", BY_MATRIX: "matrix", BY_TESTS: "tests", -signal.SIGALRM: "time"}

Function = Callable[..., Any]
Judge = Callable[[str], str | None]


class Rule(NamedTuple):
    """Why survivors in functions and lines that match are no cases that the matrix lacks."""

    function: str
    line: str
    why: str


_NO_AXES = "acceptable: a kernel without axes, which the matrix has not; tests/test_plan.py has"
RULES = (
    Rule("", r"strict=|zip\(.*, \)", "equivalent: what is zipped has the same length by construction"),
    Rule(
        COSTS,
        "",
        "acceptable: the cost model chooses among lowerings that compute the same; tests/test_plan.py",
    ),
    Rule(
        r"set_lowering|\.resolve$",
        "",
        "acceptable: public settings and their errors; tests/test_plan.py, test_errors.py",
    ),
    Rule(r"\.refusal$", r"return f?\"", "acceptable: the words of a refusal; tests/test_plan.py"),
    Rule(r"\.execute$", r"empty|new_zeros", "equivalent: an empty result is rounded to its dtype later"),
    Rule(
        r"_framed|_traced|_with_hints",
        "",
        "acceptable: under a compiler only; compiled trials run it, and no mutant is tried on those",
    ),
    Rule(r"Columns.product_output", r"flatten\(3\)", "equivalent: the product flattens all that is not the batch"),
    Rule(r"weight_product", "_LONG", "equivalent: two ways to sum over the batch, of which one takes less time"),
    Rule(r"squeeze|Reshape\.input|_pack_weight|_parts", r"squeeze|or \(|ndim ==", _NO_AXES),
    Rule(
        r"_parts$|_chunk$",
        "",
        "acceptable: how large chunks are, and what that takes; tests/test_plan.py, test_memory.py",
    ),
    Rule(r"Windowed\.(in|out)put", r"len\(parts\)", "equivalent: the loop over several parts does for one too"),
    Rule(r"_reorder", "device", "acceptable: only another device than the CPU can tell; the matrix there does"),
    Rule(r"_fastest", "if seconds|if \\(seconds", "acceptable: what is left to do where no lowering could be measured"),
    Rule(r"_fastest", "computing without", "equivalent: without a wish, too, the cheapest is chosen"),
    Rule(
        r"_fastest|choose|execute",
        "key_of|Choice|_fastest",
        "found since, by a test that came of it: test_fastest.py",
    ),
    Rule("", r"is_compiling", "acceptable: what a compiler takes instead computes the same eagerly, and the reverse"),
    Rule(
        r"_contract$", r"backend|einsum\(", "equivalent: opt_einsum finds the backend itself; einsum is the compiler's"
    ),
    Rule(r"_phases\.", "after = ", "found since, by asking tests/test_phases.py: lowerings look at the low side only"),
    Rule(r"_phases\.", "count = ", "equivalent: without phases the windows are added up"),
    Rule(r"_phases\.", r"slice\(", "equivalent: a slice to the end"),
    Rule(r"products\.", r"\[:\+2\]", "equivalent: there are four axes, or a first of one element"),
    Rule(r"products\.", "linear", "equivalent: what fuses nothing has no algorithm"),
    Rule(r"windows\.windows", "dilation >= 1", "equivalent: a slice with step 1 is the whole"),
    Rule(r"subscripts\.", "", "equivalent: another symbol of the alphabet for the same axis"),
    Rule(r"function\.(_un)?_?fold", "rindex", "equivalent: an index occurs once"),
    Rule(
        r"function\._save",
        r"materialize_grads|if \(parts\) or True",
        "acceptable: absent gradients become zeros, and cost time",
    ),
    Rule(r"setup_context$", r"inputs, None", "equivalent: the output is not looked at"),
    Rule(r"Form\.derivative", r"None|True", "equivalent: autograd rounds a wide gradient to the operand's dtype"),
    Rule(r"Convolution\.of", r"zeros|ZEROS|None", "acceptable: an empty border is added for nothing"),
)


class Switch:
    """In place of mutmut's decorator: a function runs as it is until one of its mutants is chosen."""

    def __init__(self) -> None:
        self.current: dict[str, list[Function]] = {}
        self.mutants: dict[str, dict[str, Function]] = {}

    def __call__(self, mutants: dict[str, Function], is_classmethod: bool = False) -> Any:
        def decorate(function: Function) -> Function:
            name, current = f"{function.__module__}.{function.__qualname__}", [function]
            self.current[name], self.mutants[name] = current, mutants

            @functools.wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                bound = is_classmethod and current[0] is not function
                return current[0](*args[bound:], **kwargs)

            return call

        return decorate

    def module(self, function: str) -> str:
        """Where a function is from."""
        return self.current[function][0].__module__

    def names(self) -> list[tuple[str, str]]:
        """Every function with every mutant of it."""
        return [(name, key) for name, found in self.mutants.items() for key in found if not key.endswith("_orig")]

    def choose(self, function: str, mutant: str) -> None:
        """Let a function be one of its mutants."""
        self.current[function][0] = self.mutants[function][mutant]

    def difference(self, function: str, mutant: str) -> tuple[str, str]:
        """What was, and what became of it."""
        versions = (self.mutants[function][name] for name in ("_mutmut_orig", mutant))
        before, after = (
            [line for line in inspect.getsource(version).splitlines() if "__mutmut_" not in line]
            for version in versions
        )
        lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
        was, became = ("\n".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
        return was, became


def generate(tree: Path, patterns: Sequence[str]) -> Switch:
    """Write the package into a folder, some of its files mutated, and import from there what comes."""
    switch = Switch()
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(ROOT / "ndconv", tree / "ndconv", ignore=shutil.ignore_patterns("__pycache__"))
    for pattern in patterns:
        for path in sorted((tree / "ndconv").glob(pattern)):
            path.write_text(mutate_file_contents(str(path), path.read_text()).code)
    vars(mutmut.mutation.trampoline)["wrap_in_trampoline"] = switch
    sys.path.insert(0, str(tree))
    return switch


def judge(function: str, first_failure: Judge) -> int:
    """Who notices the mutant that this process has become."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    tests = [
        str(ROOT / "tests" / name) for where, names in TESTS.items() if re.search(where, function) for name in names
    ]
    judges: list[tuple[int, Callable[[], object]]] = [(BY_MATRIX, lambda: first_failure("cpu"))]
    if tests:
        options = ["-x", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
        judges.append((BY_TESTS, lambda: pytest.main([*options, *tests])))
    if re.search(COSTS, function):
        judges.reverse()
    for end, notices in judges:
        try:
            if notices():
                return end
        except BaseException:
            return end
    return SURVIVED


def try_all(switch: Switch, first_failure: Judge, workers: int) -> dict[tuple[str, str], str]:
    """Try every mutant in a process of its own, and the library as it is, named ("", "")."""
    found: dict[tuple[str, str], str] = {}
    waiting, running = [*switch.names(), ("", "")], dict[int, tuple[str, str]]()
    with tqdm(total=len(waiting), unit="mutant", ncols=100) as progress:
        while waiting or running:
            while waiting and len(running) < workers:
                name = waiting.pop()
                if not (process := os.fork()):
                    signal.alarm(PATIENCE)
                    if all(name):
                        switch.choose(*name)
                    os._exit(judge(name[0], first_failure))
                running[process] = name
            process, status = os.wait()
            code = os.waitstatus_to_exitcode(status)
            found[running.pop(process)] = ENDS.get(code, "crash")
            progress.update()
            progress.set_postfix_str(f"{sum(end == 'survived' for end in found.values())} survived")
    return found


def attempt(files: Sequence[str]) -> dict[str, Any]:
    """By module, how its mutants ended, and which survived."""
    switch = generate(ROOT / "mutants", files)
    faults = importlib.import_module("tests.test_faults")  # only now, for it imports the library
    importlib.import_module("torch").set_num_threads(1)
    faults.first_failure("cpu")  # the oracle answers, and torch loads what it loads late
    faults.forget()  # what functions answered that were no mutants yet
    ends = try_all(switch, faults.first_failure, os.cpu_count() or 1)
    if (end := ends.pop(("", ""))) != "survived":
        sys.exit(f"the library as it is did not survive: {end}")
    modules: dict[str, Any] = {}
    for (function, mutant), end in ends.items():
        module = modules.setdefault(
            switch.module(function), {"ends": dict.fromkeys([*ENDS.values(), "crash"], 0), "survivors": []}
        )
        module["ends"][end] += 1
        if end == "survived":
            was, became = switch.difference(function, mutant)
            module["survivors"].append({"function": function, "was": was, "became": became})
    for module in modules.values():
        module["survivors"].sort(key=str)
    return modules


def reason(survivor: dict[str, str]) -> str:
    """Why it may be one, by the first rule that holds."""
    lines = f"{survivor['was']}\n{survivor['became']}"
    rules = (rule for rule in RULES if re.search(rule.function, survivor["function"]) and re.search(rule.line, lines))
    return next((rule.why for rule in rules), "")


def main() -> int:
    """Try the mutants of all files, or of those named, and write what became of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Mutate the code, see who notices.")
    parser.add_argument("files", nargs="*", default=MUTATED, metavar="FILE", help="such as _lowerings/taps.py")
    parser.add_argument("--reasons", action="store_true", help="only give the survivors on record their reasons anew")
    options = parser.parse_args()
    modules: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not options.reasons:
        modules |= attempt(options.files)
    survivors = [survivor for module in modules.values() for survivor in module["survivors"]]
    for survivor in survivors:
        survivor["why"] = reason(survivor)
        if not survivor["why"]:
            print(f"{survivor['function']}\n  - {survivor['was']}\n  + {survivor['became']}")
    RESULTS.write_text(json.dumps(dict(sorted(modules.items())), indent=1, ensure_ascii=False) + "\n")
    total = sum(sum(module["ends"].values()) for module in modules.values())
    score, unexplained = 1 - len(survivors) / total, sum(not survivor["why"] for survivor in survivors)
    print(f"{total} mutants, {score:.1%} noticed; {unexplained} survivors without a reason")
    return int(score < LEAST or bool(unexplained))


if __name__ == "__main__":
    sys.exit(main())
