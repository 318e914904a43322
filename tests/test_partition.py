"""The rows that each process owns, reads and sends: the integers alone, against sets of rows."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ndconv._form.geometry import Convolution, Geometry
from ndconv._form.partition import Axis, Frame, chunks, exchange
from ndconv._sharded.local import Share


@pytest.mark.parametrize("parts", range(1, 8))
def test_chunks_are_torchs(parts: int) -> None:
    for size in range(21):
        found = chunks(size, parts)
        theirs = [len(each) for each in torch.arange(size).chunk(parts)] if size else []
        assert [len(each) for each in found] == theirs + [0] * (parts - len(theirs))
        assert [row for each in found for row in each] == [*range(size)]


@st.composite
def wishes(draw: st.DrawFn) -> tuple[tuple[range, ...], list[list[range]]]:
    """Owned rows, and disjoint runs of wanted rows by process."""
    size, parts = draw(st.integers(0, 12)), draw(st.integers(1, 5))
    wanted = []
    for _ in range(parts):
        ends = sorted(draw(st.sets(st.integers(0, size), max_size=6)))
        wanted.append([range(start, stop) for start, stop in zip(ends[::2], ends[1::2], strict=False)])
    return chunks(size, parts), wanted


def rows(runs: object) -> list[int]:
    return [row for run in runs for row in run]  # type: ignore[attr-defined]


@settings(deadline=None, max_examples=200)
@given(wishes())
def test_everybody_gets_what_he_wants(given: tuple[tuple[range, ...], list[list[range]]]) -> None:
    owned, wanted = given
    everybody = range(len(owned))
    plans = [exchange(owned, wanted, part) for part in everybody]
    for part, plan in enumerate(plans):
        assert plan.owned == owned[part]
        assert sorted(rows([*plan.kept, *(block.rows for block in plan.received)])) == rows(wanted[part])
        assert {*rows([*plan.kept, *(block.rows for block in plan.sent)])} <= {*owned[part]}
        assert part not in {block.peer for block in (*plan.sent, *plan.received)}
        assert plan.idle == (not any(each.sent for each in plans))
        for peer in everybody:
            sent = [block.rows for block in plan.sent if block.peer == peer]
            assert sent == [block.rows for block in plans[peer].received if block.peer == part]


AXES = [
    Axis(kernel, stride, dilation, lo, (0, 0), "zeros", inputs, outputs, parts)
    for kernel, stride, dilation, lo, inputs, outputs, parts in product(
        (1, 2, 3), (1, 2, 4), (1, 3), (0, 1, 5), (1, 4, 7), (1, 3, 6), (1, 2, 3, 5)
    )
]


def windows(axis: Axis, outputs: range) -> set[int]:
    """Rows of the input that windows span."""
    extent = axis.dilation * (axis.kernel - 1) + 1
    starts = [axis.stride * o - axis.lo for o in outputs]
    return {row for start in starts for row in range(start, start + extent) if 0 <= row < axis.inputs}


def test_what_is_read_are_windows() -> None:
    """And the rows between them, where a stride skips rows."""
    for axis in AXES:
        for part, outputs in enumerate(axis.owned_outputs()):
            seen, read = windows(axis, outputs), rows(axis.reading(part).rows)
            assert seen <= {*read}
            if outputs and all(windows(axis, range(o, o + 1)) for o in outputs):
                assert read == [*range(min(seen), max(seen) + 1)]
        for part, inputs in enumerate(axis.owned_inputs()):
            tied = [o for o in range(axis.outputs) if windows(axis, range(o, o + 1)) & {*inputs}]
            read = rows(axis.ties(part).rows)
            assert {*tied} <= {*read}
            assert not tied or (read[0], read[-1]) == (tied[0], tied[-1])


def test_local_problems_have_the_outputs_that_they_ought_to() -> None:
    for axis in AXES:
        extent = axis.dilation * (axis.kernel - 1) + 1
        for part, outputs in enumerate(axis.owned_outputs()):
            reading = axis.reading(part)
            if outputs:
                padded = reading.frame.size + sum(reading.padding)
                assert (padded - extent) // axis.stride + 1 == len(outputs)
                assert (padded - extent) % axis.stride == 0


def test_windows_of_the_padding_alone_read_nothing() -> None:
    """Of six outputs of two elements the first and the last two see no input."""
    axis = Axis(1, 1, 1, 2, (0, 0), "zeros", 2, 6, 3)
    assert [axis.reading(part).rows for part in range(3)] == [(), (range(2),), ()]
    assert [axis.reading(part).padding for part in range(3)] == [(2, 0), (0, 0), (0, 2)]
    assert [axis.ties(part).rows for part in range(3)] == [(range(2, 3),), (range(3, 4),), ()]


def test_a_halo_wider_than_a_shard_comes_from_several() -> None:
    """Each of six processes owns one element, and windows of five need two on either side."""
    axis = Axis(5, 1, 1, 2, (0, 0), "zeros", 6, 6, 6)
    wanted = [axis.reading(part).rows for part in range(6)]
    assert wanted[2] == (range(5),)
    plan = exchange(axis.owned_inputs(), wanted, 2)
    assert [(block.peer, [*block.rows]) for block in plan.received] == [(0, [0]), (1, [1]), (3, [3]), (4, [4])]
    assert not plan.idle


def test_a_border_is_read_at_the_other_end() -> None:
    """Circular: the first of four processes reads the last row, which its owner sees twice."""
    axis = Axis(3, 1, 1, 0, (1, 1), "circular", 8, 8, 4)
    assert axis.reading(0).rows == (range(3), range(7, 8))
    ties = axis.ties(3)
    assert ties.rows == (range(1), range(5, 8))
    assert [len(piece.outputs) for piece in ties.pieces] == [1, 3]


def test_points_send_nothing() -> None:
    axis = Axis(1, 1, 1, 0, (0, 0), "zeros", 7, 7, 3)
    assert all(exchange(axis.owned_inputs(), [axis.reading(each).rows for each in range(3)], p).idle for p in range(3))
    frame = axis.reading(0).frame
    assert isinstance(frame, Frame)
    assert frame.size == 3


def test_what_waits_for_nothing_reads_nothing_of_others() -> None:
    """With zeros around the input, and some of it in every window, all outputs that need no other rows are found."""
    borders = [
        Axis(kernel, stride, 1, lo, border, mode, inputs, outputs, parts)
        for kernel, stride, lo, border, (mode, inputs, outputs), parts in product(
            (1, 3, 4),
            (1, 2, 3),
            (-1, 0, 1),
            ((0, 0), (1, 0), (0, 2), (2, 1)),
            [(mode, inputs, 5) for mode in ("reflect", "replicate", "circular") for inputs in (4, 9, 13)],
            (2, 3),
        )
    ]
    found = 0
    for axis in (*AXES, *borders):
        alone = [axis.read_for(range(o, o + 1)).rows for o in range(axis.outputs)]
        for part, (rows_owned, outputs) in enumerate(zip(axis.owned_inputs(), axis.owned_outputs(), strict=True)):
            settled, needless = axis.settled(part), [o for o in outputs if {*rows(alone[o])} <= {*rows_owned}]
            assert {*settled} <= {*needless}
            found += 0 < len(settled) < len(outputs)
            if rows_owned and all(alone) and axis.mode == "zeros":
                assert [*settled] == needless
    assert found


@pytest.mark.parametrize(("ndim", "axis"), [(1, 0), (2, 0), (2, 1), (3, 0), (3, 2)])
def test_padding_alone_is_multiplied_as_one_process_does(ndim: int, axis: int) -> None:
    """Along any axis, for a process that sees zeros alone, times numbers that are not finite."""
    padding = tuple((4, 0) if each == axis else (0, 0) for each in range(ndim))
    geometry = Geometry((1,) * ndim, (1,) * ndim, padding, (1,) * ndim)
    parts, part = tuple(2 if each == axis else 1 for each in range(ndim)), (0,) * ndim
    share = Share(Convolution.of(geometry, (4,) * ndim, ((0, 0),) * ndim, "zeros"), parts, part, "columns")
    x = torch.ones(2, 1, *(0 if each == axis else 4 for each in range(ndim)))
    assert share.output(x, torch.full((1, 1, *(1,) * ndim), torch.inf), False, False).isnan().all()
