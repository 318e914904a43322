"""Mutation testing: the library changed in every way that mutmut knows, ``python -m tests.mutation``.

mutmut makes the mutants. Each is tried in a process forked off one that has everything loaded and all answers of the
oracle. Most then take a fraction of a second; a process of their own would take half a minute. The judge is the eager
quick level of the matrix, up to its first failure, and a few tests of properties that no number shows. Only trials that
call the mutated function run, as others cannot notice. Checks of statistics are left out: they take a third of the time
and test code that is not changed here. Results go into ``docs/results/mutation.json``; every survivor needs the reason
of a rule below.

There are many mutants, and a survivor takes a minute. ``--every 16`` tries each sixteenth, counted through all
functions. ``--minutes 40`` tries as many as there is time for, in a random order that is always the same. Either way
the sample represents all mutants.
"""

from __future__ import annotations

import argparse
import difflib
import functools
import importlib
import inspect
import json
import linecache
import math
import os
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mutmut.mutation.trampoline
import pytest
from mutmut.mutation.file_mutation import mutate_file_contents
from tqdm import tqdm

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs/results/mutation.json"
# What computes and what chooses; of shards what the matrix plays without processes.
MUTATED = (
    *("_form/geometry.py", "_form/subscripts.py", "_form/partition.py", "_programs/*.py", "_lowerings/*.py"),
    *("_planner/computed.py", "_planner/ties.py", "_planner/choice.py", "_tensors/execute.py", "_autograd/function.py"),
    "_sharded/local.py",
)
# What no number shows, by the names of functions, and the tests that see it: those of costs before the matrix.
COSTS = r"\.cost$|\.price$|elements_per_|_programs\.price\."
TESTS = {
    COSTS: ("test_costs.py",),
    r"^ndconv\._(planner|tensors)\.": ("test_plan.py", "test_fastest.py", "test_autocast.py", "test_programs.py"),
    r"^ndconv\._form\.geometry\.": ("test_geometry.py",),
    r"^ndconv\.(_form\.partition|_sharded\.local)\.": ("test_partition.py",),
    r"_operator$": (
        "test_transforms.py::test_a_recorded_graph_is_mapped",
        "test_transforms.py::test_a_recorded_graph_is_differentiated",
    ),
    r"^ndconv\.(_programs\.|_lowerings\._)products\.|\.new_result$": (
        "test_matmul.py",
        "test_precision.py::test_products_that_keep_their_sums_round_once",
    ),
    r"^ndconv\._programs\.": ("test_windows.py", "test_costs.py", "test_programs.py"),
    r"^ndconv\._lowerings\._phases\.": ("test_phases.py",),
    r"^ndconv\._lowerings\.(_residues|_samples)\.": ("test_rows.py",),
    r"^ndconv\._lowerings\.(_cook_toom|_tiles|winograd)\.": ("test_winograd.py", "test_inexact.py"),
    r"^ndconv\._lowerings\.fourier\.": ("test_fourier.py", "test_inexact.py"),
}
LEAST = 0.9
PATIENCE = 200
"""CPU seconds of a try, about four times those of a survivor."""
# How a process ends that tried a mutant.
SURVIVED, BY_MATRIX, BY_TESTS = 0, 11, 12
ENDS = {SURVIVED: "survived", BY_MATRIX: "matrix", BY_TESTS: "tests", -signal.SIGPROF: "time"}

Function = Callable[..., Any]
Judge = Callable[..., str | None]


# A name that a variable of a program gets, changed.
_NAME = re.compile(
    r"(named\(|make\(|constant\(|name=|table\(\(|(each|cat|chunks|matmul|_linear)\(.*, |names?(: str)? = .*)"
    r'"(XX[a-z]+XX|[A-Z]+)"'
)


class Rule(NamedTuple):
    """Why survivors in matching functions and lines are no gap of the matrix."""

    function: str
    line: str
    why: str


_NO_AXES = "acceptable: a kernel without axes, which the matrix has not; tests/test_plan.py has"
RULES = (
    Rule(COSTS, "", "acceptable: the cost model chooses among lowerings that compute the same; tests/test_plan.py"),
    Rule("", r"\b(Work|Product)\(", "acceptable: what a step is said to cost; it is recorded all the same"),
    Rule(r"\.refusal$", r"return f?\"", "acceptable: the words of a refusal; tests/test_plan.py"),
    Rule(
        r"execute\.(_traced|_with_hints)",
        "",
        "acceptable: under a compiler only; compiled trials run it, and no mutant is tried on those",
    ),
    Rule("", r"is_compiling", "acceptable: what a compiler takes instead computes the same eagerly, and the reverse"),
    Rule(r"Columns.product_output", r"flatten\(3\)", "equivalent: the product flattens all that is not the batch"),
    Rule(r"weight_product", "_LONG", "equivalent: two ways to sum over the batch, of which one takes less time"),
    Rule(r"squeeze|Reshape\.input|_pack_weight|_parts", r"squeeze|or \(|ndim ==", _NO_AXES),
    Rule(
        r"_parts$|chunk$|window_elements$",
        "",
        "acceptable: how large chunks are, and what that takes; tests/test_plan.py, test_memory.py",
    ),
    Rule(
        r"expressions\.(expression|_index)$|values\._index$|lines\.broken$",
        "",
        "acceptable: the same view written in another way, at worst by as_strided",
    ),
    Rule(
        r"Builder\.digit$",
        "place < count",
        "equivalent: the highest digit without its sign is off by a multiple of what integers wrap around at",
    ),
    Rule(r"_fastest", "computing without", "equivalent: without a wish, too, the cheapest is chosen"),
    Rule(r"_phases\.", "count = ", "equivalent: without phases the windows are added up"),
    Rule(r"_phases\.", r"slice\(", "equivalent: a slice to the end"),
    Rule(r"products\.", r"\[:\+2\]", "equivalent: there are four axes, or a first of one element"),
    Rule(r"windows\.windows", "dilation >= 1", "equivalent: a slice with step 1 is the whole"),
    Rule(r"subscripts\.", "", "equivalent: another symbol of the alphabet for the same axis"),
    Rule(r"function\.(_un)?_?fold", "rindex", "equivalent: an index occurs once"),
    Rule(
        r"function\._save",
        r"materialize_grads|if \(parts\) or True",
        "acceptable: absent gradients become zeros, and cost time",
    ),
    Rule(r"_is_dropped$", "leaf = None", "acceptable: torch raises for a leaf that is asked for, which takes time"),
    Rule(
        r"_phases\._priced$|_runs\._(wraps|straight)$|_contracted$|columns\._row$|Builder\._record$",
        "",
        "acceptable: what a program is expected to cost; tests/test_costs.py",
    ),
    Rule(
        r"_is_thin$|Columns\.__init__$|Reshape\._patches$",
        r"terms != 1|moves: bool = True|_lies_along",
        "equivalent: two ways to the same sums, of which one takes less time",
    ),
    Rule(
        r"_Writer\._copied$|laid_out$|blocks$",
        r"chain\) < 1|REMADE, None|names\[1:\] and",
        "acceptable: a view or a name, written in another way",
    ),
    Rule(r"Share\.convolution_of$", "", "acceptable: what the plan of a DTensor says; tests/across_processes.py"),
    Rule(
        r"Share\._of_piece$", r"wide, None\)", "acceptable: the layout of a piece, which is copied to its place anyway"
    ),
    Rule(r"_of_inputs_read$", r"\] = 2, ", "equivalent: another row of zeros, which no window that counts reads"),
    Rule(r"partition\._merged$", "start < merged", "acceptable: neighbouring runs of rows stay two"),
    Rule(r"_Key\._remembered$", "_hash", "equivalent: the hash is computed anew"),
    Rule(r"copies\.transposed$", r"Value\(None", "equivalent: nothing is recorded by way of such a value"),
    Rule(r"Axis\.ties$", r"Side\(1, 0, 0\)", "equivalent: where nothing starts"),
    Rule(r"setup_context$", r"inputs, None", "equivalent: the output is not looked at"),
    Rule(r"Convolution\.of", r"zeros|ZEROS|None", "acceptable: an empty border is added for nothing"),
)


def is_idle(change: dict[str, str]) -> bool:
    """Whether a change has no effect: zipped sequences have one length, and variables may have any name."""
    was, became = change["was"], change["became"]
    if was.count("strict=True") > became.count("strict=True"):
        return True
    return bool(_NAME.search(became)) and was.lower() == re.sub("XX([a-z]+)XX", r"\1", became).lower()


@functools.cache
def _lines(version: Any) -> list[str]:
    code = version.__code__  # `inspect.getsource` would go through all modules each time
    block = inspect.getblock(linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :])
    return re.sub(r"\w+__mutmut_\w+", "function", "".join(block)).splitlines()


class Switch:
    """A replacement of mutmut's decorator: a function runs unchanged until one of its mutants is chosen."""

    def __init__(self) -> None:
        self.current: dict[str, list[Function]] = {}
        self.mutants: dict[str, dict[str, Function]] = {}
        self.called: set[str] = set()

    def __call__(self, mutants: dict[str, Function], is_classmethod: bool = False) -> Any:
        def decorate(function: Function) -> Function:
            name, current = f"{function.__module__}.{function.__qualname__}", [function]
            self.current[name], self.mutants[name] = current, mutants

            @functools.wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                self.called.add(name)
                bound = is_classmethod and current[0] is not function
                return current[0](*args[bound:], **kwargs)

            return call

        return decorate

    def module(self, function: str) -> str:
        """The module of a function."""
        return self.current[function][0].__module__

    def names(self) -> list[tuple[str, str]]:
        """Every function with each of its mutants."""
        return [(name, key) for name, found in self.mutants.items() for key in found if not key.endswith("_orig")]

    def choose(self, function: str, mutant: str) -> None:
        """Replace a function by one of its mutants."""
        self.current[function][0] = self.mutants[function][mutant]

    def difference(self, function: str, mutant: str) -> dict[str, str]:
        """The text before and after the mutation."""
        before, after = (_lines(self.mutants[function][name]) for name in ("_mutmut_orig", mutant))
        lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
        was, became = ("\n".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
        return {"was": was, "became": became}


def generate(tree: Path, patterns: Sequence[str]) -> Switch:
    """Write the package into a folder, some of its files mutated, and import it from there."""
    switch = Switch()
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(ROOT / "ndconv", tree / "ndconv", ignore=shutil.ignore_patterns("__pycache__"))
    for pattern in patterns:
        for path in sorted((tree / "ndconv").glob(pattern)):
            path.write_text(mutate_file_contents(str(path), path.read_text()).code)
    vars(mutmut.mutation.trampoline)["wrap_in_trampoline"] = switch
    sys.path.insert(0, str(tree))
    return switch


def callers(switch: Switch, faults: Any) -> dict[str, list[Any]]:
    """The trials that call each function; no trial uses cached answers of another."""
    found: dict[str, list[Any]] = {name: [] for name in switch.mutants}
    for trial in faults.TRIALS:
        faults.forget()
        switch.called.clear()
        faults.first_failure("cpu", [trial])
        for name in switch.called:
            found[name].append(trial)
    faults.forget()  # what functions answered that were no mutants yet
    return found


def judge(function: str, first_failure: Judge, trials: Sequence[Any]) -> int:
    """The outcome for the mutant in this process: survived, or found by the matrix or by tests."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    tests = [
        str(ROOT / "tests" / name) for where, names in TESTS.items() if re.search(where, function) for name in names
    ]
    judges: list[tuple[int, Callable[[], object]]] = [(BY_MATRIX, lambda: first_failure("cpu", trials))]
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


def try_all(
    switch: Switch, names: Sequence[tuple[str, str]], faults: Any, minutes: float = math.inf
) -> dict[tuple[str, str], str]:
    """Try mutants, each in a process of its own; first the unchanged library, named ("", "")."""
    found: dict[tuple[str, str], str] = {}
    trials = {**callers(switch, faults), "": faults.TRIALS}
    waiting, running = [*names], dict[int, tuple[str, str]]()
    random.Random(0).shuffle(waiting)
    workers, start = os.cpu_count() or 1, time.monotonic()
    waiting.append(("", ""))
    with tqdm(total=len(waiting), unit="mutant", ncols=100) as progress:
        while waiting or running:
            if time.monotonic() - start > 60 * minutes:
                waiting.clear()
            while waiting and len(running) < workers:
                name = waiting.pop()
                if not (process := os.fork()):
                    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
                    if all(name):
                        switch.choose(*name)
                    os._exit(judge(name[0], faults.first_failure, trials[name[0]]))
                running[process] = name
            process, status = os.wait()
            name = running.pop(process)
            found[name] = ENDS.get(os.waitstatus_to_exitcode(status), "crash")
            if all(name) and found[name] == "survived":
                progress.write(told({"function": name[0], **switch.difference(*name)}))
            progress.update()
            progress.set_postfix_str(f"{sum(end == 'survived' for end in found.values()) - 1} survived")
    if (end := found.pop(("", ""))) != "survived":
        sys.exit(f"the library as it is did not survive: {end}")
    return found


def attempt(files: Sequence[str], every: int, minutes: float) -> dict[str, Any]:
    """By module: the number of mutants, the outcomes of those tried, and the survivors."""
    switch = generate(ROOT / "mutants", files)
    faults = prepared()
    names: list[tuple[str, str]] = []
    modules: dict[str, Any] = {}
    for name in switch.names():
        ends = dict.fromkeys([*ENDS.values(), "crash"], 0)
        made: dict[str, Any] = {"mutants": 0, "idle": 0, "ends": ends, "survivors": []}
        module = modules.setdefault(switch.module(name[0]), made)
        module["mutants"] += 1
        if is_idle(switch.difference(*name)):
            module["idle"] += 1
        else:
            names.append(name)
    for (function, mutant), end in try_all(switch, names[::every], faults, minutes).items():
        module = modules[switch.module(function)]
        module["ends"][end] += 1
        if end == "survived":
            module["survivors"].append({"function": function, **switch.difference(function, mutant)})
    for module in modules.values():
        module["survivors"].sort(key=str)
    return modules


def attempt_again(modules: dict[str, Any]) -> None:
    """Try the survivors on record again, and correct the record."""
    switch = generate(ROOT / "mutants", MUTATED)
    faults = prepared()
    recorded = [survivor for module in modules.values() for survivor in module["survivors"]]
    wanted = Counter(map(told, recorded))
    names = []
    for name in switch.names():
        if wanted[change := told({"function": name[0], **switch.difference(*name)})] > 0:
            wanted[change] -= 1
            names.append(name)
    if missing := sum(wanted.values()):
        sys.exit(f"{missing} survivors are of other code than this")
    for (function, mutant), end in try_all(switch, names, faults).items():
        if end != "survived":
            module = modules[switch.module(function)]
            module["ends"]["survived"] -= 1
            module["ends"][end] += 1
            change = told({"function": function, **switch.difference(function, mutant)})
            module["survivors"].remove(next(each for each in module["survivors"] if told(each) == change))


def prepared() -> Any:
    """The judging module, imported only now, because it imports the library."""
    faults = importlib.import_module("tests.test_faults")
    importlib.import_module("torch").set_num_threads(1)
    importlib.import_module("ndconv.testing._statistics").STATISTICS.clear()
    return faults


def told(survivor: dict[str, str]) -> str:
    """A survivor in a few lines."""
    return f"{survivor['function']}\n  - {survivor['was']}\n  + {survivor['became']}"


def reason(survivor: dict[str, str]) -> str:
    """Why it may survive, by the first rule that holds."""
    lines = f"{survivor['was']}\n{survivor['became']}"
    rules = (rule for rule in RULES if re.search(rule.function, survivor["function"]) and re.search(rule.line, lines))
    return next((rule.why for rule in rules), "")


def main() -> int:
    """Try the mutants of all files, or of named ones, and write their outcomes."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Mutate the code, see who notices.")
    parser.add_argument("files", nargs="*", metavar="FILE", help="such as _lowerings/taps.py")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try each N-th mutant only (default: 1)")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, metavar="M", help="start on none after M minutes (default: no limit)"
    )
    parser.add_argument("--again", action="store_true", help="only try the survivors on record again")
    parser.add_argument("--reasons", action="store_true", help="only give the survivors on record their reasons anew")
    options = parser.parse_args()
    modules: dict[str, Any] = {}
    if options.files or options.again or options.reasons:
        modules = json.loads(RESULTS.read_text())
    if options.again:
        attempt_again(modules)
    elif not options.reasons:
        modules |= attempt(options.files or MUTATED, options.every, options.minutes)
    survivors = [survivor for module in modules.values() for survivor in module["survivors"]]
    for survivor in survivors:
        survivor["why"] = reason(survivor)
        if not survivor["why"]:
            print(told(survivor))
    RESULTS.write_text(json.dumps(dict(sorted(modules.items())), indent=1, ensure_ascii=False) + "\n")
    total = sum(sum(module["ends"].values()) for module in modules.values())
    score, unexplained = 1 - len(survivors) / total, sum(not survivor["why"] for survivor in survivors)
    made = sum(module["mutants"] for module in modules.values())
    print(f"{total} of {made} mutants, {score:.1%} noticed; {unexplained} survivors without a reason")
    return int(score < LEAST or bool(unexplained))


if __name__ == "__main__":
    sys.exit(main())
