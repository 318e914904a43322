"""Stated costs of programs against torch's measurements of a run, and a worked example."""

from __future__ import annotations

import gc
import math
import tracemalloc
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import ndconv
from ndconv._form.geometry import Form, Geometry, Problem, Slot
from ndconv._lowerings import LOWERINGS
from ndconv._lowerings._samples import samples_last
from ndconv._lowerings.columns import Columns
from ndconv._planner import choice as _choice
from ndconv._planner.choice import AUTO, NAMES, Setting, automatic, cheapest, choose
from ndconv._planner.computed import computed, widened
from ndconv._programs import source as _source
from ndconv._programs.builder import Builder
from ndconv._programs.copies import moved
from ndconv._programs.price import Cost, price
from ndconv._programs.rates import ProductRate
from ndconv._programs.source import source
from ndconv._programs.steps import Copied, Product, Work
from ndconv._programs.target import Target
from ndconv._programs.values import Value
from ndconv._tensors.dtypes import name_of
from ndconv._tensors.execute import _load
from ndconv.testing import sample
from tests.programs import RATES, lines_of

ROOMY, TIGHT = (Target("cpu", limit, RATES) for limit in (2**28, 3000))
DTYPES = {8: torch.float64, 4: torch.float32, 16: torch.complex128}
# What the sum that tells whether all is finite takes, and what it is told by.
_FINITE = 64


def setting(target: Target = ROOMY, dtype: str = "float64") -> Setting:
    return Setting(dtype, False, False, target)


def cost(name: str, problem: Problem, setting: Setting) -> Cost:
    """The cost of the cheapest variant."""
    return cheapest(name, problem, setting)[0]


# Two groups of 3 channels to 4, five samples of 9x8; windows do not overlap.
APART = Problem(Slot.OUTPUT, Geometry((3, 2), (3, 2), ((0, 0), (0, 0)), (1, 1), 2), 5, 3, 4, (9, 8), (3, 4), 8)
X, W, Y, WINDOWS = 5 * 6 * 72, 8 * 18, 5 * 8 * 12, 5 * 6 * 6 * 12


def test_worked_example() -> None:
    """One copy of the windows, which are the input, and a product for each sample and group."""
    got = cost("reshape", APART, setting())
    # Windows as columns, and the weight once for every sample.
    assert (got.multiply_adds, got.workspace) == (18 * Y, (WINDOWS + 5 * W) * 8)
    assert got.matmuls == "10 x (4, 18) @ (18, 12)"
    # The copies read and write all of it, the weight is read once; the products read both and write the output.
    copied, multiplied = 2 * WINDOWS + 6 * W, WINDOWS + 5 * W + Y
    assert got.bytes_moved == 8 * (copied + multiplied)
    assert got.calls == 3
    product = RATES.products["float64"]["batch"].nanoseconds(Product(10, 4, 18, 12, "batch"))
    assert got.nanoseconds > product + 3 * RATES.call + 8 * copied * RATES.cached


def test_nanoseconds_are_those_of_each_step() -> None:
    """With the steps below, one of each kind."""
    rate = ProductRate(multiply_add=2.0, narrow=9.0, vector=4.0, read=0.25, written=0.125, each=100.0, start=30.0)
    rates = replace(
        RATES, products={"float64": {"blas": rate, "batch": rate}}, call=1000.0, view=10.0, cached=0.25, streamed=0.5,
        cache=2**20, row=90.0, block=5.0, apart=9.0, fresh=2.0, large=2**22,
    )  # fmt: skip
    builder = Builder(ROOMY._replace(rates=rates), prices=True)
    a, c = builder.operand("a", (10, 20), None, "float64"), builder.operand("c", (20, 30), None, "float64")
    made = builder.call("f", (10, 30), a, c, work=Work(None, Product(1, 10, 20, 30, "blas")))
    product = 1000 + 2 * 6000 + 0.25 * 40 * 20 + 0.125 * 300 + 30
    for _ in builder.each(7, "n"):
        builder.change("g", made, a[:, :10], c, work=Work(Copied.plain(300), Product(3, 10, 20, 4, "batch")))
    narrow = 1000 + 10 + 3 * (9 * 200 + 0.25 * 14 * 20 + 0.125 * 40) + 2 * 100 + 30
    again = 300 * 8 * 0.25 + 5 / 2
    builder.change("h", made.mT, work=Work(Copied(300, 10, 30, 2), calls=2))
    once = 2000 + 10 + 300 * (90 / 20 + 2 * 5 / 60)  # starting on a row takes longer than moving its bytes
    builder.change("h", made, work=Work(Copied.plain(300)._replace(apart=1)))
    apart = 1000 + 300 * 9 + 5 / 2
    found = price(builder, made)
    assert found.nanoseconds == pytest.approx(product + 7 * (narrow + again) + once + apart)
    assert found == Cost(
        multiply_adds=6000 + 7 * 3 * 800,
        bytes_moved=8 * (40 * 20 + 300 + 7 * 300 + 300 + 300),
        workspace=0,
        matmuls="21 x (10, 20) @ (20, 4), 1 x (10, 20) @ (20, 30)",
        calls=1 + 7 + 2 + 1,
        nanoseconds=found.nanoseconds,
    )
    # Memory fresh from the system, from so many bytes on.
    size = 2**22 // 8
    for elements, fresh in ((size - 1, 0.0), (size, 2**22 * 2.0)):
        builder = Builder(ROOMY._replace(rates=rates), prices=True)
        first = builder.operand("a", (elements,), None, "float64")
        buffer = builder.call("f", (elements,), first)
        found = price(builder, builder.call("f", (1,), buffer))
        assert found.workspace == 8 * elements
        assert found.nanoseconds == pytest.approx(2 * 1000 + fresh)


def test_gaps_and_short_rows_take_longer() -> None:
    times = [
        RATES.moving(copied, "float32")
        for copied in (
            Copied.plain(1000), Copied(1000, 100, 1000), Copied(1000, 100, 200), Copied(1000, 100, 200, 5),
            Copied(1000, 4, 200, 5), Copied(1000, 1, 8, 5),
        )
    ]  # fmt: skip
    assert times == sorted(times)
    assert RATES.moving(Copied.plain(1000)._replace(apart=1), "float32") > 2 * times[0]
    gaps = [RATES.moving(Copied.plain(1000)._replace(apart=apart), "float64") for apart in (1, 4, 8, 16)]
    assert gaps[0] < gaps[1] < gaps[2] == gaps[3]  # no more is moved than lines


def test_what_fits_a_cache_is_moved_faster_once_more() -> None:
    cache = RATES.cache
    first, *again = (
        RATES.moving(Copied.plain(1000), "float32", size) for size in (0, 1, cache, 2 * cache, 100 * cache)
    )
    assert again[0] == again[1] < again[2] < again[3] < first


def test_a_loop_touches_all_buffers_of_its_steps() -> None:
    """The whole of each buffer, however little a step touches; an inner loop counts its own."""

    def nanoseconds(elements: int) -> float:
        builder = Builder(ROOMY, prices=True)
        x, y = (builder.operand(name, (elements,), None, "float32") for name in "xy")
        for _ in builder.each(3, "n"):
            builder.change("f", y, work=Work(Copied.plain(0)))
            for _ in builder.each(5, "m"):
                builder.change("g", x[:1000], work=Work(Copied.plain(1000)))
        return price(builder, x).nanoseconds

    fits = RATES.cache // 4
    assert nanoseconds(2000) == nanoseconds(fits) < nanoseconds(2 * fits)


def test_products_take_no_less_than_moving_what_they_read() -> None:
    """A matrix-vector product uses each element of the matrix once."""
    builder = Builder(ROOMY, prices=True)
    a, c = builder.operand("a", (1, 1000), None, "float64"), builder.operand("c", (1000, 1000), None, "float64")
    one = Product(1, 1, 1000, 1000, "blas")
    made = builder.call("f", (1, 1000), a, c, work=Work(None, one))
    least = RATES.moving(Copied.plain(one.elements), "float64")
    assert price(builder, made).nanoseconds == RATES.call + max(least, RATES.multiplying(one, "float64"))
    assert RATES.multiplying(one, "float64") > RATES.products["float64"]["blas"].vector * 10**6


def test_copies_are_told_by_their_rows_and_gaps() -> None:
    builder = Builder(ROOMY)
    x = builder.operand("x", (4, 6, 10), None, "float32")
    assert moved(x) == Copied(480, 240, 240)
    assert moved(x[:, :, :8]) == Copied(192 + 192, 8, 192, 2)
    assert moved(x[:, :3, :8]) == Copied(96 + 96, 8, 24, 3)
    assert moved(x.transpose(1, 2)) == Copied(480, 6, 60, 3, apart=1)
    assert moved(x[:, :, ::2]) == Copied(240, 120, 120, 1, apart=2)
    # torch goes along the rows of what is written.
    assert moved(x, x.transpose(0, 1).contiguous().transpose(0, 1)) == Copied(480, 10, 40, 3)


def posed(seed: int, number: int, dtype: torch.dtype = torch.float64) -> Iterator[tuple[Problem, Tensor, Tensor]]:
    """Problems of all slots, with operands with separate groups; kernels that suit winograd included."""
    for overlap in (True, False):
        for case in sample(number, (0, 1, 2, 3), seed=seed, overlap=overlap):
            ones = (1,) * case.ndim
            geometry = Geometry(case.kernel, case.stride, case.padding, case.dilation, case.groups)
            yield from _problems(geometry, case.input_size, dtype)
            if case.ndim and overlap:
                size = tuple(max(n, k) + 2 for n, k in zip(case.input_size, case.kernel, strict=True))
                yield from _problems(Geometry(case.kernel, ones, case.padding, ones, case.groups), size, dtype)


def _problems(
    geometry: Geometry, size: tuple[int, ...], dtype: torch.dtype
) -> Iterator[tuple[Problem, Tensor, Tensor]]:
    for slot in Slot:
        problem = Problem(slot, geometry, 2, 3, 4, size, geometry.output_size(size), dtype.itemsize)
        first, second = (torch.randint(-4, 5, problem.shape(filled)).to(dtype) for filled in slot.operands)
        yield problem, first, second


def recorded(name: str, problem: Problem, first: Tensor, second: Tensor, target: Target) -> tuple[Any, int]:
    """The program of a lowering as a function, and the bytes of the storage that it returns."""
    builder = Builder(target)
    values = [
        builder.operand(NAMES[slot], problem.shape(slot), None, name_of(first.dtype)) for slot in problem.slot.operands
    ]
    result = widened(builder, cheapest(name, problem, setting(target, name_of(first.dtype)))[1], problem, *values)
    result = _laid_out(builder, problem, result)
    return _load(source("program", builder, result)), result.variable.bytes


def _laid_out(builder: Builder, problem: Problem, result: Value) -> Value:
    """The result in its final layout, except that of torch's own kernel, which may have it already."""
    if result.variable.opaque:
        return result
    axis = problem.slot.group_axis
    return builder.laid_out(result.flatten(axis, axis + 1), False)


def _raw(function: Any) -> Any:
    """Make `FlopCounterMode` pass tensors, not their shapes."""
    function._get_raw = True
    return function


@_raw
def _multiplied(*operands: Tensor, out_val: Any = None, **keywords: Any) -> int:
    made = out_val if isinstance(out_val, Tensor) else keywords["out"]
    # Products of complex numbers are four.
    return (8 if made.is_complex() else 2) * int(made.numel())


@_raw
def _added(total: Tensor, first: Tensor, second: Tensor, **_: Any) -> int:
    return 2 * total.numel() * first.shape[-1]


# What torch's counter knows nothing of.
FORMULAS = {
    torch.ops.aten.mul: _multiplied, torch.ops.aten.addcmul_: _multiplied,
    torch.ops.aten.addmm_: _added, torch.ops.aten.baddbmm_: _added,
}  # fmt: skip


@pytest.mark.parametrize("target", [ROOMY, TIGHT], ids=["whole", "in chunks"])
@pytest.mark.parametrize("name", LOWERINGS)
def test_products_are_counted_as_they_run(name: str, target: Target) -> None:
    tried: dict[Slot, int] = defaultdict(int)
    for problem, first, second in posed(5, 16):
        if LOWERINGS[name].refusal(problem) is not None:
            continue
        if name == "native" and problem.slot is Slot.WEIGHT and problem.geometry.groups > 1:
            continue  # of which torch's counter counts every group's products with all of the others
        run, _ = recorded(name, problem, first, second, target)
        with FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
            run(first, second)
        found = cost(name, problem, setting(target))
        assert counter.get_total_flops() == 2 * found.multiply_adds
        assert found.multiply_adds >= (problem.multiply_adds if name in ("window", "native") else 0)
        tried[problem.slot] += 1
    assert min(tried[slot] for slot in Slot) > 10


def allocated(run: Any, *operands: Tensor) -> tuple[int, int]:
    """Peak bytes of a run by torch's profiler, and the bytes left when it has returned."""
    run(*operands)  # what torch sets up once
    gc.disable()  # what was there before is not to go meanwhile
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        result = run(*operands)
    gc.enable()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    del result
    return most, now


@pytest.mark.parametrize("target", [ROOMY, TIGHT], ids=["whole", "in chunks"])
# What torch's own kernel takes beside is not known.
@pytest.mark.parametrize("name", [name for name in LOWERINGS if name != "native"])
def test_workspace_and_result_are_what_is_allocated(name: str, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all buffers treated as large: small ones are not freed before their name is needed again."""
    monkeypatch.setattr(_source, "_LARGE", 0)
    used = []
    for problem, first, second in posed(6, 16):
        if LOWERINGS[name].refusal(problem) is None:
            run, result = recorded(name, problem, first, second, target)
            stated = cost(name, problem, setting(target)).workspace
            most, left = allocated(run, first, second)
            assert left == result
            assert most <= stated + result + _FINITE
            used.append(most / (stated + result))
    assert len(used) > 30
    # And no more is said than is needed; an einsum may copy less than it could.
    assert sum(used) / len(used) > (0.5 if name == "window" else 0.85)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8, torch.int64, torch.complex128], ids=str)
@pytest.mark.parametrize("name", ["columns", "taps"])
def test_workspace_of_other_dtypes(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_source, "_LARGE", 0)
    for target in (ROOMY._replace(emulated=("float16", "bfloat16")), TIGHT):
        for problem, first, second in posed(7, 3, dtype):
            run, result = recorded(name, problem, first, second, target)
            stated = cost(name, problem, setting(target, name_of(dtype))).workspace
            most, left = allocated(run, first, second)
            # A cast to what has gaps, and a digit, take a buffer more for a moment.
            longest = 8 * max(first.numel(), second.numel(), math.prod(problem.shape(problem.slot)))
            assert left == result
            assert most <= stated + result + _FINITE + (0 if dtype.is_complex else 2 * longest)


def test_large_buffers_are_given_back_as_soon_as_nobody_needs_them() -> None:
    """So that the stated workspace holds for real sizes, also in nested loops and after them."""
    volume = Problem(Slot.INPUT, Geometry((3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)), 2, 64, 64, (96, 96), (48, 48), 4)
    for name in ("taps", "columns", "window", "fourier"):
        for target in (ROOMY, Target("cpu", 2**22, RATES)):
            for problem in (replace(volume, slot=slot) for slot in Slot):
                first, second = (torch.randn(problem.shape(slot)) for slot in problem.slot.operands)
                run, result = recorded(name, problem, first, second, target)
                stated = cost(name, problem, setting(target, "float32")).workspace
                most, _ = allocated(run, first, second)
                assert most <= stated + result + 2 * _source._LARGE


def test_a_plan_says_what_its_program_costs() -> None:
    plan = ndconv.plan((5, 6, 9, 8), (8, 3, 3, 2), stride=(3, 2), groups=2, dtype=torch.float64, lowering="reshape")
    for slot_plan in (plan.output, plan.grad_input, plan.grad_weight):
        stated = slot_plan.choice.costs["reshape"]
        assert (slot_plan.multiply_adds, slot_plan.workspace) == (stated.multiply_adds, stated.workspace)
        assert (slot_plan.bytes_moved, slot_plan.matmuls) == (stated.bytes_moved, stated.matmuls)
    target = Target("cpu", ndconv.get_workspace_limit(), RATES)
    assert plan.output.choice.costs["reshape"].multiply_adds == cost("reshape", APART, setting(target)).multiply_adds


def test_the_least_estimate_of_what_is_exact_is_chosen() -> None:
    for problem, _, _ in posed(8, 8):
        choice = choose(problem, AUTO, setting())
        exact = [name for name in choice.costs if LOWERINGS[name].exact and name != "native"]
        assert choice.name == min(exact, key=choice.estimates.__getitem__)
        assert _choice.pick(problem, AUTO, setting()) is cheapest(choice.name, problem, setting())[1]
        assert choice.estimates == {name: each.nanoseconds for name, each in choice.costs.items()}
        assert set(choice.costs) | set(choice.refusals) == set(LOWERINGS)


def test_what_is_priced_is_what_is_recorded() -> None:
    """For kernels with few taps; of many taps, equal ones are priced as one. The cheapest variant is taken."""
    for problem, first, _ in posed(9, 8):
        for name in LOWERINGS:
            if LOWERINGS[name].refusal(problem) is None:
                prices = {}
                for way in LOWERINGS[name].ways(problem):
                    builder = Builder(TIGHT)
                    values = [
                        builder.operand(NAMES[slot], problem.shape(slot), None, name_of(first.dtype))
                        for slot in problem.slot.operands
                    ]
                    result = widened(builder, way, problem, *values)
                    prices[way] = price(builder, _laid_out(builder, problem, result))
                found, taken = cheapest(name, problem, setting(TIGHT))
                assert prices[taken] == found
                assert found.nanoseconds == min(each.nanoseconds for each in prices.values())


def test_phases_of_one_shape_are_told_once() -> None:
    halved = Geometry((4,), (2,), ((1, 1),), (1,))
    found = cost("columns", Problem(Slot.INPUT, halved, 1, 4, 3, (64_000,), (32_000,), 4), setting(dtype="float32"))
    assert found.matmuls == "2 x (4, 6) @ (6, 32000)"


def test_the_gradient_of_the_input_gathers_or_adds_up() -> None:
    """Whichever is less: windows of many channels to few, or of few to many; and a phase for each stride element."""

    def gathers(problem: Problem) -> bool:
        way = cheapest("columns", problem, setting(dtype="float32"))[1]
        assert isinstance(way, Columns)
        return way.gathers

    one = Problem(Slot.INPUT, Geometry((3,), (1,), ((1, 1),), (1,)), 1, 64, 64, (8000,), (8000,), 4)
    assert gathers(replace(one, features=4))
    assert not gathers(replace(one, channels=4))
    apart = replace(one, geometry=Geometry((3,), (2,), ((1, 1),), (1,)), output_size=(4000,))
    assert gathers(apart)
    far = replace(one, geometry=Geometry((30,), (30,), ((0, 0),), (1,)), input_size=(600,), output_size=(20,))
    assert not gathers(far)


def test_no_program_is_longer_than_can_be_read() -> None:
    """However many phases a stride over several axes has: here 5 ** 4."""
    for lowering in ("auto", "columns", "taps", "winograd"):
        plan = ndconv.plan(
            (1, 9, 2, 3, 3, 4, 4), (9, 3, 7, 7, 7, 7, 3), (5, 5, 5, 5, 1), lowering=lowering, transposed=True
        )
        assert len(plan.output.source.splitlines()) < 1000, lowering


@pytest.mark.parametrize("slot", Slot)
def test_samples_make_rows_of_small_images_longer(slot: Slot) -> None:
    def moves(problem: Problem) -> bool:
        way = cheapest("columns", problem, setting(dtype="float32"))[1]
        assert isinstance(way, Columns)
        return way.moves

    kernel = Geometry((3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1))
    small = Problem(slot, kernel, 32, 32, 64, (6, 6), (4, 4), 4)
    moved = samples_last(small)
    assert (moved.batch, moved.input_size, moved.output_size) == (1, (6, 6, 32), (4, 4, 32))
    assert moved.multiply_adds == small.multiply_adds
    assert moves(small) or slot is Slot.INPUT
    assert not moves(replace(small, batch=1))
    assert not moves(replace(small, input_size=(58, 58), output_size=(56, 56)))  # long rows


@pytest.mark.parametrize("slot", [Slot.OUTPUT, Slot.WEIGHT])
def test_elements_that_a_stride_sets_apart_are_put_side_by_side(slot: Slot) -> None:
    """I3D's first layer, whose windows have forty times as many elements as the input."""

    def parts(problem: Problem) -> bool:
        way = cheapest("columns", problem, setting(dtype="float32"))[1]
        assert isinstance(way, Columns)
        return way.parts

    stem = Geometry((7, 7, 7), (2, 2, 2), ((3, 3),) * 3, (1, 1, 1))
    first = Problem(slot, stem, 1, 3, 64, (16, 112, 112), (8, 56, 56), 4)
    assert parts(first)
    assert not parts(replace(first, geometry=replace(stem, stride=(2, 2, 1)), output_size=(8, 56, 112)))


def test_chunks_are_counted() -> None:
    """19 kB: a row of windows takes 2304 bytes, a sample of them 11520."""
    output = replace(APART, geometry=Geometry((3, 2), (2, 1), ((1, 1), (0, 2)), (1, 2), 2), output_size=(5, 8))
    whole, cut = (cost("columns", output, setting(Target("cpu", limit, RATES))) for limit in (2**28, 19_000))
    assert (whole.matmuls, cut.matmuls) == ("2 x (4, 18) @ (18, 200)", "10 x (4, 18) @ (18, 40)")
    assert whole.multiply_adds == cut.multiply_adds
    assert cut.calls > 2 * whole.calls
    assert cut.workspace < whole.workspace


def test_a_product_in_place_moves_nothing_else() -> None:
    pointwise = Problem(Slot.INPUT, Geometry((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)), 5, 3, 4, (9, 8), (9, 8), 4)
    found = cost("reshape", pointwise, setting(dtype="float32"))
    assert found.matmuls == "5 x (3, 4) @ (4, 72)"
    assert (found.workspace, found.calls) == (0, 1)
    assert found.bytes_moved == 4 * 5 * (3 * 4 + 4 * 72 + 3 * 72)


@pytest.mark.parametrize("slot", Slot)
def test_thin_factors_take_a_call_for_each_column(slot: Slot) -> None:
    """In depthwise layers a tap of all groups is one operation; the weight's gradient sums over positions."""
    depthwise = Geometry((3, 2), (1, 1), ((1, 1), (0, 2)), (1, 2), groups=50)
    one, wide = (
        cost("taps", Problem(slot, depthwise, 5, *counts, (9, 8), depthwise.output_size((9, 8)), 8), setting())
        for counts in ((1, 1), (4, 5))
    )
    assert 6 <= one.calls < 22
    assert one.calls <= wide.calls
    # Six taps on rows and columns with their gaps.
    assert one.bytes_moved > 8 * 6 * 2 * 50 * 5 * 9 * 8


# Pricing is cheap: it looks at no tap, however many there are.
FAR = {
    "8193 taps": (Geometry((8193,), (1,), ((0, 0),), (1,)), (20_000,)),
    "8193 taps with a stride": (Geometry((8193,), (3,), ((5, 5),), (1,)), (40_000,)),
    "far dilation": (Geometry((65,), (1,), ((0, 0),), (100_003,)), (10**8,)),
    "two axes": (Geometry((127, 127), (2, 3), ((1, 0), (0, 1)), (1, 2)), (2000, 2000)),
}


def price_all(problem: Problem) -> None:
    for name in automatic(LOWERINGS):
        if LOWERINGS[name].refusal(problem) is None:
            _choice.cheapest.__wrapped__(name, problem, setting(dtype="float32"))  # type: ignore[attr-defined]


@pytest.mark.parametrize("slot", Slot)
@pytest.mark.parametrize("name", FAR)
def test_pricing_stays_cheap(name: str, slot: Slot) -> None:
    geometry, size = FAR[name]
    problem = Problem(slot, geometry, 8, 4, 4, size, geometry.output_size(size), 4)
    price_all(problem)  # tables that serve all problems
    tracemalloc.start()
    price_all(problem)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**20
    assert lines_of(lambda: price_all(replace(problem, batch=9))) < 100_000


def test_a_program_in_parts_is_computed_in_parts() -> None:
    """For a form with kernel elements computed one by one, `computed` records the products of the parts only."""
    far = Geometry((3,), (1,), ((2**31, 2**31),), (2**31,))
    builder = Builder(ROOMY)
    x, w = builder.operand("x", (2, 4, 1000), None, "float32"), builder.operand("w", (8, 4, 3), None, "float32")
    result = computed(builder, Form(Slot.OUTPUT, far, (1000,), AUTO), lambda problem: LOWERINGS["reshape"], x, w)
    assert price(builder, result).multiply_adds == 2 * 8 * 4 * 1000
