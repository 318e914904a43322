"""The quick level of the matrix, a test per trial, and the promises about every level."""

from __future__ import annotations

import math
from itertools import combinations, product

import pytest

from ndconv.testing import Case, Outcome, Trial, examine, matrix, sample
from ndconv.testing._coverage import allowed, coverage
from ndconv.testing._covering import Constraint, covering_array
from ndconv.testing._space import CONSTRAINTS, parameters
from ndconv.testing._trials import draw_trial

QUICK = matrix("quick")
TRIALS = list(dict.fromkeys(trial for trial, _ in QUICK.trials))
# More axes than the levels have: those that are compiled or differentiated twice there are enough.
MODES = ("zeros", "reflect", "replicate", "circular")
MORE = [
    Trial(case, operation=operation, lowering=lowering, dtype=dtype)
    for case in sample(6, (6, 7, 8), seed=11, modes=MODES) + sample(6, (6, 7, 8), seed=13, overlap=False, modes=MODES)
    for operation, lowering, dtype in product(("conv", "transposed"), ("auto", "taps"), ("float64", "float16"))
]
MORE = [trial for trial in MORE if trial.bound]


def marks(trial: Trial) -> list[pytest.MarkDecorator]:
    return [pytest.mark.compiler] if trial.transform in ("compile", "export") else []


def faults(trial: Trial, device: str) -> list[Outcome]:
    return [outcome for outcome in examine(trial, device) if outcome.status in ("failed", "unsupported")]


@pytest.mark.parametrize("trial", [pytest.param(trial, id=trial.id, marks=marks(trial)) for trial in TRIALS])
def test_trial(trial: Trial, device: str) -> None:
    assert faults(trial, device) == []


@pytest.mark.parametrize("trial", MORE, ids=[trial.id for trial in MORE])
def test_more_axes(trial: Trial, device: str) -> None:
    assert faults(trial, device) == []


def test_every_valid_pair_is_covered() -> None:
    counted = coverage(parameters(), [row for _, row in QUICK.trials], 2)
    assert (QUICK.valid, QUICK.covered) == (counted.valid, counted.covered)
    assert counted.missing == ()
    assert counted.valid > 2000


@pytest.mark.parametrize("strength", [1, 3])
def test_every_valid_combination_is_covered_at_other_strengths(strength: int) -> None:
    space = parameters()
    counted = coverage(space, covering_array(space, strength, 0, CONSTRAINTS), strength)
    assert counted.missing == ()
    assert counted.valid > {1: 90, 3: 90_000}[strength]


def test_a_covering_array_has_what_its_constraints_imply_together() -> None:
    """No written constraint forbids "a" with "c"; two of them do."""
    space = {"one": "ab", "two": "ab", "three": "abc", "four": "abcd"}
    constraints = [
        Constraint("alike", ("one", "two"), lambda one, two: one == two),
        Constraint("unlike", ("two", "three"), lambda two, three: two == "b" or three != "c"),
        Constraint("of another space", ("two", "five"), lambda two, five: False),
    ]
    rows = covering_array(space, 2, 0, constraints)
    assert all(each.holds(row) for row in rows for each in constraints)
    pairs = {(row["one"], row["three"]) for row in rows}
    assert pairs == {("a", "a"), ("a", "b"), ("b", "a"), ("b", "b"), ("b", "c")}
    assert {(row["three"], row["four"]) for row in rows} == set(product("abc", "abcd"))
    assert len(rows) <= 16
    assert covering_array(space, 2, 0, [Constraint("nothing", ("one",), lambda one: False)]) == []


def test_the_counter_sees_what_is_missing() -> None:
    space = parameters()
    rows = [row for _, row in QUICK.trials]
    pair = {"dtype": "int8", "lowering": "reshape"}
    fewer = [row for row in rows if any(row[name] != level for name, level in pair.items())]
    assert pair in coverage(space, fewer, 2).missing


def test_the_counter_knows_what_is_valid() -> None:
    """By hand: written constraints, and one that follows from two."""
    space = parameters()
    assert allowed(space, {"dtype": "int8", "transform": "vmap"})
    assert not allowed(space, {"bias": "biased", "slot": "weight"})
    assert not allowed(space, {"dtype": "int8", "transform": "jvp"})
    assert not allowed(space, {"format": "channels_last", "batch": "unbatched"})


def test_rows_keep_the_constraints() -> None:
    assert all(constraint.holds(row) for _, row in QUICK.trials for constraint in CONSTRAINTS)
    assert all(constraint.reason for constraint in CONSTRAINTS)


def test_same_seed_same_trials() -> None:
    space = parameters(["float64"], ["taps"])
    rows, again, others = (covering_array(space, 2, seed, CONSTRAINTS) for seed in (3, 3, 4))
    assert rows == again
    assert rows != others
    assert [draw_trial(row, 3) for row in rows] == [draw_trial(row, 3) for row in rows]
    assert [draw_trial(row, 3) for row in rows] != [draw_trial(row, 4) for row in rows]


def test_ids_bring_their_trials_back() -> None:
    for trial in TRIALS + MORE:
        assert Trial.parse(trial.id) == trial
    for id in ("", "n1g1c1d1-k1-s1-p0.0-d1-i1-nonsense-jvp", "n1g1c1d1-k1-s1-p0.0-d1"):
        with pytest.raises(ValueError, match="id of a"):
            Trial.parse(id)


def holds(trial: Trial, name: str, level: str) -> bool:
    """Whether the sizes of a trial agree with its row."""
    case = trial.case
    lo_hi = list(case.padding)
    meanings = {
        "ndim": lambda: str(case.ndim) == level,
        "kernel": lambda: {
            "one": set(case.kernel) == {1},
            "even": any(k % 2 == 0 for k in case.kernel) and all(k == 1 or k % 2 == 0 for k in case.kernel),
            "odd": any(k > 1 for k in case.kernel) and all(k % 2 for k in case.kernel),
            "mixed": len(set(case.kernel)) > 1 or (case.ndim == 1 and case.kernel[0] > 1),
        }[level],
        "windows": lambda: {
            "one": set(case.output_size) == {1},
            "several": set(case.output_size) != {1},
            "many": math.prod(case.output_size) >= 256,
        }[level],
        "stride": lambda: {
            "one": set(case.stride) == {1},
            "two": set(case.stride) == {2},
            "apart": all(s > d * (k - 1) for s, d, k in zip(case.stride, case.dilation, case.kernel, strict=True)),
            "mixed": len(set(case.stride)) > 1 or (case.ndim == 1 and case.stride[0] > 1),
        }[level],
        "dilation": lambda: {
            "one": set(case.dilation) == {1},
            "two": set(case.dilation) == {2},
            "mixed": len(set(case.dilation)) > 1 or (case.ndim == 1 and case.dilation[0] > 1),
            "far": any(k > 1 and d > n for k, d, n in zip(case.kernel, case.dilation, case.input_size, strict=True)),
        }[level],
        "padding": lambda: {
            "zero": not any(map(any, lo_hi)) and trial.padding == "amount",
            "valid": not any(map(any, lo_hi)) and trial.padding == "valid",
            "even": all(lo == hi for lo, hi in lo_hi) and any(map(any, lo_hi)),
            "sided": any(lo != hi for lo, hi in lo_hi) and trial.padding == "pairs",
            "deep": any(max(pair) > d * (k - 1) for pair, d, k in zip(lo_hi, case.dilation, case.kernel, strict=True)),
        }.get(level, trial.padding == level),
        "mode": lambda: case.mode == level,
        "groups": lambda: {
            "one": case.groups == 1,
            "several": case.groups > 1 and case.channels > 1,
            "depthwise": case.groups > 1 and case.channels == case.features == 1,
            "multiplied": case.groups > 1 and case.channels == 1 and case.features > 1,
        }[level],
        "remainder": lambda: trial.padding in ("same", "causal") or any(case.remainder) == (level == "some"),
        "batch": lambda: {
            "unbatched": trial.batch == "unbatched" and case.batch == 1,
            "many": trial.batch == "batched" and case.batch > 1,
        }.get(level, trial.batch == "batched" and str(case.batch) == level),
    }
    return meanings[name]() if name in meanings else getattr(trial, name) == level


def test_trials_are_what_their_rows_say() -> None:
    for trial, row in QUICK.trials:
        assert [name for name, level in row.items() if not holds(trial, name, level)] == []
        assert trial.bound > 0


def test_every_remainder_of_a_stride_occurs() -> None:
    seen = {
        pair for trial in TRIALS for pair in zip(trial.case.stride, trial.case.remainder, strict=True) if pair[0] <= 4
    }
    assert seen == {(stride, rest) for stride in range(1, 5) for rest in range(stride)}


def test_sampled_cases_reach_every_kind() -> None:
    cases = sample(80, (1, 2, 3, 4, 5), seed=10) + sample(80, (1, 2, 3, 4, 5), seed=12, overlap=False)
    bordered = sample(60, (1, 2, 3, 4, 5), seed=14, modes=MODES[1:])
    assert {case.ndim for case in cases} == set(range(1, 6))
    assert {case.batch for case in cases} == {0, 1, 2, 3}
    assert any(case.groups > 1 and case.channels == 1 and case.features > 1 for case in cases)
    assert any(case.symmetric_padding is None for case in cases)
    assert any(set(case.kernel) == {1} for case in cases)
    assert any(set(case.output_size) == {1} and set(case.kernel) != {1} for case in cases)
    assert any(any(case.remainder) for case in cases)
    assert {(case.ndim, case.mode) for case in bordered} >= set(product(range(1, 6), MODES[1:]))
    assert all(Case.parse(case.id) == case for case in cases + bordered)
    assert all(a != b for a, b in combinations(cases, 2))
