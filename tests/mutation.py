"""What survived mutation testing, and why that may be: `nox -s mutation` runs this after mutmut.

It reads mutmut's results, gives every survivor the reason of the first rule below that fits it, writes
``docs/results/mutation.json`` and fails if fewer than nine in ten were killed or a survivor has no reason.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

from mutmut.mutation.diff_apply import get_diff_for_mutant

LEAST = 0.9
# mutmut's exit codes: pytest found a failure (1, or 3 of its own), a timeout, or a crash of the process.
_SURVIVED = {0: "survived", 33: "not reached", 5: "not reached"}


class Rule(NamedTuple):
    """Why survivors in functions and lines that match are no cases that the matrix lacks."""

    function: str
    line: str
    why: str


RULES = (
    Rule("", r"strict=|zip\(.*, \)", "equivalent: what is zipped has the same length by construction"),
    Rule(
        r"\.cost$|\.estimate$|_elements_per_sample|_elements_per_row",
        "",
        "acceptable: the cost model chooses among lowerings that compute the same; tests/test_plan.py",
    ),
    Rule(
        r"set_lowering|\.resolve$",
        "",
        "acceptable: public settings and their errors; tests/test_plan.py, test_errors.py",
    ),
    Rule(r"\.refusal$", r"return f?\"", "acceptable: the words of a refusal; tests/test_plan.py"),
    Rule(r"Taps\.refusal", "_MOST_TAPS", "acceptable: kernels of 16384 elements; tests/test_lowerings.py has them"),
    Rule(r"\.execute$", r"kind|autocast|return execute", "acceptable: autocast; tests/test_autocast.py"),
    Rule(r"\.execute$", r"empty|new_zeros", "equivalent: an empty result is rounded to its dtype later"),
    Rule("", r"is_compiling", "acceptable: what a compiler takes instead computes the same eagerly, and the reverse"),
    Rule(
        r"_contract$", r"backend|einsum\(", "equivalent: opt_einsum finds the backend itself; einsum is the compiler's"
    ),
    Rule(r"_subscripts\.", "", "equivalent: another symbol of the alphabet for the same axis"),
    Rule(r"_windows\.place", "d >= 1", "equivalent: spreading by a dilation of 1 moves nothing"),
    Rule(r"_function\.(_un)?_?fold", "rindex", "equivalent: an index occurs once"),
    Rule(
        r"Trilinear",
        r"materialize_grads|if \(parts\) or True",
        "acceptable: absent gradients become zeros, and cost time",
    ),
    Rule(r"setup_context$", r"inputs, None", "equivalent: the output is not looked at"),
    Rule(r"Form\.derivative", r"None|True", "equivalent: autograd rounds a wide gradient to the operand's dtype"),
    Rule(r"Convolution\.of", r"zeros|ZEROS|None", "acceptable: an empty border is added for nothing"),
    Rule(r"taps\.layout", r"last|runs", "acceptable: runs that are not merged are more products with the same sum"),
    Rule(r"taps\._tied", "last_shift", "equivalent: what lies past the last window is cut off, or zero"),
)


def survivors() -> tuple[int, list[dict[str, str]]]:
    """How many mutants there were, and those that nothing failed on."""
    total, found = 0, []
    for results in sorted(Path("mutants").rglob("*.meta")):
        for name, code in json.loads(results.read_text())["exit_code_by_key"].items():
            total += 1
            if code is None:
                sys.exit(f"{name} was not tried: run `mutmut run` to the end first")
            if code in _SURVIVED:
                lines = get_diff_for_mutant(name).splitlines()
                removed, added = (
                    "\n".join(line[1:].strip() for line in lines if re.match(rf"\{sign}(?!\{sign})", line))
                    for sign in "-+"
                )
                function = re.sub(r"\.x_?ǁ?(.*?)__mutmut_\d+$", r".\1", name).replace("ǁ", ".")
                found.append({"function": function, "was": removed, "became": added, "result": _SURVIVED[code]})
    return total, found


def main() -> int:
    """Write what survived."""
    total, found = survivors()
    for survivor in found:
        text = survivor["was"] + "\n" + survivor["became"]
        reasons = (
            rule.why for rule in RULES if re.search(rule.function, survivor["function"]) and re.search(rule.line, text)
        )
        survivor["why"] = next(reasons, "")
    score = 1 - len(found) / total
    unexplained = [survivor for survivor in found if not survivor["why"]]
    for survivor in unexplained:
        print(f"{survivor['function']} ({survivor['result']})\n  - {survivor['was']}\n  + {survivor['became']}")
    print(f"{total} mutants, {total - len(found)} killed ({score:.1%}), {len(unexplained)} survivors without a reason")
    values = {"mutants": total, "killed": total - len(found), "survivors": found}
    Path("docs/results/mutation.json").write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    return int(score < LEAST or bool(unexplained))


if __name__ == "__main__":
    sys.exit(main())
