"""The oracle's own oracle: the NumPy loop against JAX's convolution, both gradients and the transposed one included.

Run by `nox -s oracle`, which installs JAX; its file name keeps it out of the ordinary tests. JAX derives the gradients
by its own transposition rules. The transposed convolution is written by JAX's definition, with a dilated input and a
flipped kernel. So three programs that share nothing must agree to the last bit.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax import lax

from ndconv.testing import Case, reference, sample

jax.config.update("jax_enable_x64", True)

MODES = ("zeros", "reflect", "replicate", "circular")
CASES = [case for case in sample(300, (1, 2, 3, 4, 5), seed=60, modes=MODES) if case.batch]
IDS = [case.id for case in CASES]
_NUMPY_MODES: Any = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _dimensions(case: Case) -> tuple[str, str, str]:
    axes = "ABDEF"[: case.ndim]
    return f"NC{axes}", f"OI{axes}", f"NC{axes}"


def output(case: Case, x: Any, w: Any) -> Any:
    padding = case.padding
    if case.mode != "zeros":
        x, padding = jnp.pad(x, ((0, 0), (0, 0), *padding), _NUMPY_MODES[case.mode]), ((0, 0),) * case.ndim
    return lax.conv_general_dilated(
        x, w, case.stride, padding, rhs_dilation=case.dilation, dimension_numbers=_dimensions(case),
        feature_group_count=case.groups,
    )  # fmt: skip


def transposed(case: Case, w: Any, y: Any) -> Any:
    """A convolution of the output's gradient, dilated with zeros, with the flipped kernel, its channels exchanged."""
    apart = w.reshape(case.groups, case.features, case.channels, *case.kernel)
    exchanged = jnp.flip(jnp.swapaxes(apart, 1, 2), range(3, 3 + case.ndim))
    kernel = exchanged.reshape(case.groups * case.channels, case.features, *case.kernel)
    padding = [
        (d * (k - 1) - lo, d * (k - 1) - hi + rest)
        for d, k, (lo, hi), rest in zip(case.dilation, case.kernel, case.padding, case.remainder, strict=True)
    ]
    return lax.conv_general_dilated(
        y, kernel, (1,) * case.ndim, padding, lhs_dilation=case.stride, rhs_dilation=case.dilation,
        dimension_numbers=_dimensions(case), feature_group_count=case.groups,
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_loop_agrees_with_jax(case: Case) -> None:
    x, w, y = (jnp.asarray(operand.numpy()) for operand in case.operands(torch.float64))
    want = reference(case, torch.float64)
    got, pull = jax.vjp(lambda x, w: output(case, x, w), x, w)
    for ours, theirs in zip(want, (got, *pull(y)), strict=True):
        assert np.array_equal(ours.numpy(), np.asarray(theirs))
    if case.mode == "zeros":
        assert np.array_equal(want[1].numpy(), np.asarray(transposed(case, w, y)))


def test_cases_reach_every_number_of_axes_and_mode() -> None:
    assert {(case.ndim, case.mode) for case in CASES} == {(n, mode) for n in range(1, 6) for mode in MODES}
    assert any(math.prod(case.stride) > 1 and any(case.remainder) for case in CASES)
    assert len(CASES) > 200
