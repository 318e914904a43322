"""Properties of every convolution, for arguments from hypothesis, all exact in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ndconv.functional import conv_transposend, convnd, foldnd, unfoldnd
from ndconv.grad import convnd_input, convnd_weight
from ndconv.testing import Case

settings.register_profile("exact", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("exact")


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, tuple[int, int], int, int]:
    """Kernel, stride, padding, dilation and input size of one axis, the last from the number of windows drawn."""
    kernel, stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    windows, remainder = draw(st.integers(1, 3)), draw(st.integers(0, stride - 1))
    span = (windows - 1) * stride + dilation * (kernel - 1) + 1 + remainder
    lo = draw(st.integers(0, (span - 1) // 2))
    hi = draw(st.integers(0, min(2, span - 1 - lo)))
    return kernel, stride, (lo, hi), dilation, span - lo - hi


@st.composite
def cases(draw: st.DrawFn) -> Case:
    batch, groups, channels, features = (draw(st.integers(1, 3)) for _ in range(4))
    along = draw(st.lists(axes(), min_size=1, max_size=3))
    kernel, stride, padding, dilation, size = zip(*along, strict=True)
    return Case(batch, groups, channels, features, kernel, stride, padding, dilation, size)


LOWERINGS = st.sampled_from(["auto", "window", "columns", "taps", "reshape"])


def arguments(case: Case) -> tuple[Any, ...]:
    return case.stride, case.padding, case.dilation, case.groups


def spatial(*slices: slice) -> Any:
    """An index of the last axes."""
    return (..., *slices)


def forward(case: Case, x: Tensor, w: Tensor, lowering: str) -> Tensor:
    return convnd(x, w, None, *arguments(case), lowering=lowering)


@given(cases())
def test_the_strategy_draws_valid_cases(case: Case) -> None:
    x, w, y = case.operands(torch.float64)
    assert forward(case, x, w, "auto").shape == y.shape
    assert all(o >= 1 for o in case.output_size)


def test_the_strategy_reaches_all_kinds() -> None:
    seen: set[str] = set()

    @given(cases())
    @settings(max_examples=200)
    def look(case: Case) -> None:
        seen.update(
            name
            for name, holds in {
                "three axes": case.ndim == 3,
                "remainder": any(case.remainder),
                "uneven": case.symmetric_padding is None,
                "dilated": any(d > 1 and k > 1 for d, k in zip(case.dilation, case.kernel, strict=True)),
                "apart": all(s > d * (k - 1) for s, d, k in zip(case.stride, case.dilation, case.kernel, strict=True)),
                "depthwise": case.groups > 1 and case.channels == 1,
                "one window": set(case.output_size) == {1},
            }.items()
            if holds
        )

    look()
    assert seen == {"three axes", "remainder", "uneven", "dilated", "apart", "depthwise", "one window"}


@given(cases(), LOWERINGS, st.integers(-3, 3))
def test_linear_in_each_operand(case: Case, lowering: str, factor: int) -> None:
    x, w, _ = case.operands(torch.float64)
    other_x, other_w = x.flip(0) + 1, w.flip(-1) - 2
    y = forward(case, x, w, lowering)
    assert torch.equal(
        forward(case, x + factor * other_x, w, lowering), y + factor * forward(case, other_x, w, lowering)
    )
    assert torch.equal(
        forward(case, x, w + factor * other_w, lowering), y + factor * forward(case, x, other_w, lowering)
    )


@given(cases(), LOWERINGS)
def test_three_slots_are_adjoint(case: Case, lowering: str) -> None:
    x, w, y = case.operands(torch.float64)
    how: Any = {"lowering": lowering}
    numbers = {
        float((forward(case, x, w, lowering) * y).sum()),
        float((x * convnd_input(x.shape, w, y, *arguments(case), **how)).sum()),
        float((w * convnd_weight(x, w.shape, y, *arguments(case), **how)).sum()),
    }
    assert len(numbers) == 1


@given(cases(), LOWERINGS)
def test_transposed_is_the_input_slot(case: Case, lowering: str) -> None:
    x, w, y = case.operands(torch.float64)
    transposed = conv_transposend(
        y, w, None, case.stride, case.padding, case.remainder, case.groups, case.dilation, lowering=lowering
    )
    assert torch.equal(transposed, convnd_input(x.shape, w, y, *arguments(case), lowering=lowering))


@given(cases(), LOWERINGS)
def test_groups_are_convolutions_side_by_side(case: Case, lowering: str) -> None:
    x, w, _ = case.operands(torch.float64)
    parts = [
        forward(replace(case, groups=1), a, b, lowering)
        for a, b in zip(x.chunk(case.groups, 1), w.chunk(case.groups), strict=True)
    ]
    assert torch.equal(forward(case, x, w, lowering), torch.cat(parts, 1))


@given(cases(), LOWERINGS)
def test_samples_do_not_know_one_another(case: Case, lowering: str) -> None:
    x, w, _ = case.operands(torch.float64)
    parts = [forward(case, sample, w, lowering) for sample in x.split(1)]
    assert torch.equal(forward(case, x, w, lowering), torch.cat(parts))


@given(cases(), LOWERINGS)
def test_a_stride_leaves_outputs_out(case: Case, lowering: str) -> None:
    x, w, _ = case.operands(torch.float64)
    dense = forward(replace(case, stride=(1,) * case.ndim), x, w, lowering)
    assert torch.equal(forward(case, x, w, lowering), dense[spatial(*(slice(None, None, s) for s in case.stride))])


@given(cases(), LOWERINGS)
def test_a_dilation_is_a_kernel_stuffed_with_zeros(case: Case, lowering: str) -> None:
    x, w, _ = case.operands(torch.float64)
    extent = tuple(d * (k - 1) + 1 for d, k in zip(case.dilation, case.kernel, strict=True))
    stuffed = w.new_zeros(*w.shape[:2], *extent)
    stuffed[spatial(*(slice(None, None, d) for d in case.dilation))] = w
    dense = replace(case, dilation=(1,) * case.ndim, kernel=extent)
    assert torch.equal(forward(case, x, w, lowering), forward(dense, x, stuffed, lowering))


@given(cases(), LOWERINGS, st.data())
def test_an_axis_of_one_element_changes_nothing(case: Case, lowering: str, data: st.DataObject) -> None:
    x, w, _ = case.operands(torch.float64)
    axis = data.draw(st.integers(0, case.ndim))

    def more(values: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
        return (*values[:axis], value, *values[axis:])

    longer = replace(
        case,
        kernel=more(case.kernel, 1),
        stride=more(case.stride, 2),
        padding=more(case.padding, (0, 0)),
        dilation=more(case.dilation, 3),
        input_size=more(case.input_size, 1),
    )
    y = forward(longer, x.unsqueeze(2 + axis), w.unsqueeze(2 + axis), lowering)
    assert torch.equal(y.squeeze(2 + axis), forward(case, x, w, lowering))


@given(cases(), LOWERINGS)
def test_a_shifted_input_gives_a_shifted_output(case: Case, lowering: str) -> None:
    """By a stride, with enough room around that no window leaves the input."""
    x, w, _ = case.operands(torch.float64)
    room = tuple(s + d * k for s, d, k in zip(case.stride, case.dilation, case.kernel, strict=True))
    wide = F.pad(x, [r for r in reversed(room) for _ in range(2)])
    shifted = wide.roll(case.stride, tuple(range(2, x.dim())))
    y, z = (forward(replace(case, padding=((0, 0),) * case.ndim), a, w, lowering) for a in (wide, shifted))
    assert torch.equal(y[spatial(*[slice(0, -1)] * case.ndim)], z[spatial(*[slice(1, None)] * case.ndim)])


@given(cases(), LOWERINGS)
def test_two_convolutions_are_one_with_the_composed_kernel(case: Case, lowering: str) -> None:
    """w2 * (w1 * x) = (w2 composed with w1) * x: the composition is a full correlation, a transposed convolution."""
    x, first, _ = replace(case, groups=1).operands(torch.float64)
    second = torch.arange(2.0 * first.shape[0] * 2**case.ndim, dtype=torch.float64) - 3
    second = second.reshape(2, first.shape[0], *(2,) * case.ndim)
    x = F.pad(x[:, : case.channels], [3] * (2 * case.ndim))
    composed = conv_transposend(second, first, lowering=lowering)
    twice = convnd(convnd(x, first, lowering=lowering), second, lowering=lowering)
    assert torch.equal(twice, convnd(x, composed, lowering=lowering))


@given(cases())
def test_unfold_and_fold_are_adjoint(case: Case) -> None:
    x, _, _ = case.operands(torch.float64)
    how: Any = {"stride": case.stride, "padding": case.padding, "dilation": case.dilation}
    columns = unfoldnd(x, case.kernel, **how)
    other = columns.flip(0) * 2 - 1
    assert (columns * other).sum() == (x * foldnd(other, case.input_size, case.kernel, **how)).sum()


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@given(case=cases())
def test_a_border_is_an_input_that_was_larger(case: Case, mode: str) -> None:
    most = {"reflect": -1, "circular": 0}.get(mode, 99)
    padding = tuple(
        (min(lo, size + most), min(hi, size + most))
        for (lo, hi), size in zip(case.padding, case.input_size, strict=True)
    )
    x, w, _ = case.operands(torch.float64)
    room = [d * k for d, k in zip(case.dilation, case.kernel, strict=True)]
    x = x.repeat(1, 1, *room)  # as large as any kernel
    padded = F.pad(x, [amount for pair in reversed(padding) for amount in pair], mode)
    y = convnd(x, w, None, case.stride, padding, case.dilation, case.groups, padding_mode=mode)
    assert torch.equal(y, convnd(padded, w, None, case.stride, 0, case.dilation, case.groups))
