"""Every lowering, slot and dtype against the NumPy loop, one test per case and lowering."""

from __future__ import annotations

import pytest
import torch

from ndconv.testing import Case, failures, sample

PLAIN = sample(80, (1, 2, 3, 4, 5), seed=10) + sample(9, (6, 7, 8), seed=11)
SEPARATE = sample(80, (1, 2, 3, 4, 5), seed=12, overlap=False) + sample(9, (6, 7, 8), seed=13, overlap=False)
MODES = ("reflect", "replicate", "circular")
BORDERED = sample(60, (1, 2, 3, 4, 5), seed=14, modes=MODES) + sample(6, (6, 7, 8), seed=15, modes=MODES)
CASES = [(case, name) for case in BORDERED for name in ("window", "columns", "taps", "auto")]
CASES += [(case, name) for case in PLAIN for name in ("window", "columns", "taps", "auto")]
CASES += [(case, name) for case in SEPARATE for name in ("window", "columns", "taps", "reshape")]


@pytest.mark.parametrize(("case", "lowering"), CASES, ids=[f"{case.id}-{name}" for case, name in CASES])
def test_case_is_exact(case: Case, lowering: str, device: str) -> None:
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        if case.largest_value(dtype):
            assert failures(case, dtype, lowering, device) == []


def test_sampled_cases_reach_every_kind() -> None:
    cases = PLAIN + SEPARATE
    assert {case.ndim for case in cases} == set(range(1, 9))
    assert {case.batch for case in cases} == {0, 1, 2, 3}
    assert any(case.groups > 1 and case.channels == 1 and case.features > 1 for case in cases)
    assert any(case.symmetric_padding is None for case in cases)
    assert any(set(case.kernel) == {1} for case in cases)
    assert any(set(case.output_size) == {1} and set(case.kernel) != {1} for case in cases)
    assert any(any(case.remainder) for case in cases)
    assert {(case.ndim, case.mode) for case in BORDERED} >= {(ndim, mode) for ndim in range(1, 6) for mode in MODES}
    assert all(Case.parse(case.id) == case for case in cases + BORDERED)


def test_a_wrong_result_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from ndconv import grad

    right = grad.convnd_weight
    monkeypatch.setattr(grad, "convnd_weight", lambda *args, **kwargs: right(*args, **kwargs) + 1)
    found = failures(PLAIN[1], torch.float64, "taps")
    assert any("grad weight by slot differs from the NumPy loop" in fault for fault in found)
    assert any("not one number" in fault for fault in found)
