"""Cached programs: threads, processes, tracebacks, and memory."""

from __future__ import annotations

import copy
import gc
import io
import linecache
import multiprocessing
import pickle
import random
import threading
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format

import ndconv
from ndconv._form import cache
from ndconv._form.geometry import Form, Geometry, Slot
from ndconv._machine import target as _target
from ndconv._programs.builder import Builder
from ndconv._programs.copies import settled
from ndconv._programs.values import is_channels_last, view_strides
from ndconv._tensors import execute as _execute
from ndconv._tensors.execute import program_of
from tests.programs import recorded

# Bytes that a new size may keep, of all three slots together; the matrices of transforms stand in their programs.
PER_SIZE = {"winograd": 80 * 2**10}


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Every test compiles its programs itself."""
    cache.clear()
    yield
    cache.clear()


def integers(*shape: int) -> Tensor:
    return torch.randint(-3, 4, shape).float()


def form(slot: Slot = Slot.OUTPUT, lowering: str = "auto", size: tuple[int, ...] = (9, 8)) -> Form:
    return Form(slot, Geometry((3, 2), (2, 1), ((1, 1), (0, 1)), (1, 2)), size, lowering)


def step(module: torch.nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    y = module(x.requires_grad_())
    return y.detach(), *torch.autograd.grad(y.square().sum(), (x, *module.parameters()))


def test_a_program_is_compiled_once_for_operands_alike() -> None:
    x, w = integers(2, 3, 9, 8), integers(4, 3, 3, 2)
    first = program_of(form(), x, w)
    assert program_of(form(), x.clone(), w + 1) is first
    others = [
        program_of(form(), *operands)
        for operands in (
            (x.contiguous(memory_format=torch.channels_last), w),
            (x, w.mT.contiguous().mT),
            (x.double(), w.double()),
            (x[:1], w),
            (x.to("meta"), w.to("meta")),
        )
    ]
    assert len({id(each) for each in (first, *others)}) == 6
    assert first.lowerings == (ndconv.plan(x, w, (2, 1), 1, (1, 2)).output.lowering,)


def test_what_is_set_for_the_process_is_looked_up_too() -> None:
    x, w = integers(2, 3, 9, 8), integers(4, 3, 3, 2)
    by_fourier = program_of(form(lowering="fourier"), x, w)
    assert by_fourier.lowerings == ("fourier",)
    ndconv.set_exact(True)
    try:
        assert program_of(form(lowering="fourier"), x, w).lowerings != ("fourier",)
    finally:
        ndconv.set_exact(False)
    whole, limit = program_of(form(lowering="columns"), x, w), ndconv.get_workspace_limit()
    ndconv.set_workspace_limit(500)
    try:
        assert "for " in program_of(form(lowering="columns"), x, w).source
        assert "for " not in whole.source
    finally:
        ndconv.set_workspace_limit(limit)
    half = integers(2, 3, 9, 8).bfloat16(), integers(4, 3, 3, 2).bfloat16()
    mkldnn: Any = torch.backends.mkldnn
    if mkldnn.enabled and "bfloat16" not in _target.target_of(torch.device("cpu")).emulated:
        before = program_of(form(lowering="columns"), *half)
        mkldnn.enabled = False
        try:
            assert program_of(form(lowering="columns"), *half).source != before.source
        finally:
            mkldnn.enabled = True


def test_strides_of_a_view_are_torchs() -> None:
    """Whatever strides axes of one element have."""
    chance, viewed = random.Random(0), 0
    for _ in range(3000):
        shape = tuple(chance.choices((1, 2, 3, 4), (2, 1, 1, 1), k=chance.randint(0, 4)))
        strides, step = [0] * len(shape), 1
        for axis in chance.sample(range(len(shape)), len(shape)):
            strides[axis] = step if shape[axis] > 1 else chance.choice((1, 2, 3, step))
            step *= shape[axis] * chance.choice((1, 1, 2))
        wanted = [*shape, *[1] * chance.randint(0, 2)]
        chance.shuffle(wanted)
        while len(wanted) > 1 and chance.random() < 0.4:
            wanted[:2] = [wanted[0] * wanted[1]]
        tensor = torch.empty_strided(shape, strides)
        try:
            expected = tensor.view(wanted).stride()
        except RuntimeError:
            expected = None
        viewed += expected is not None
        assert view_strides(shape, tuple(strides), tuple(wanted)) == expected, (shape, strides, wanted)
    assert 500 < viewed < 2900


def test_channels_last_is_what_torch_calls_so() -> None:
    chance, found = random.Random(0), 0
    for _ in range(3000):
        shape = tuple(chance.choice((1, 1, 2, 3)) for _ in range(chance.choice((4, 5))))
        strides, step = [0] * len(shape), 1
        for axis in (1, *range(len(shape) - 1, 1, -1), 0):
            strides[axis] = max(1, step + chance.choice((0, 0, 0, 0, -1, 1)) * (axis != 1))
            step = strides[axis] * shape[axis]
        expected = suggest_memory_format(torch.empty(5000).as_strided(shape, strides)) is not torch.contiguous_format
        found += expected
        assert is_channels_last(shape, tuple(strides)) == expected, (shape, strides)
    assert 500 < found < 2500


def test_threads_compile_the_same_problem_at_once() -> None:
    """Each gets a program that computes the same; one of them is cached."""
    x, w = integers(2, 3, 9, 8), integers(4, 3, 3, 2)
    want = ndconv.functional.conv2d(x, w, None, (2, 1), 1, (1, 2))
    for _ in range(5):
        cache.clear()
        barrier, found = threading.Barrier(4), list[Any]()

        def work(barrier: threading.Barrier = barrier, found: list[Any] = found) -> None:
            barrier.wait()
            try:
                for lowering in ("auto", "taps", "window", "fourier"):
                    found.append(ndconv.functional.conv2d(x, w, None, (2, 1), 1, (1, 2), lowering=lowering))
            except BaseException as error:
                found.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 16
        for each in found:
            torch.testing.assert_close(each, want, rtol=0, atol=1e-4)
        kept = _execute._programs
        assert len(kept.answers) == 4
        assert kept.bytes == sum(size for _, size in kept.answers.values())


@pytest.mark.parametrize("lowering", ["auto", "taps", "winograd", "fourier"])
def test_modules_and_plans_are_copied_after_their_programs_were_compiled(lowering: str) -> None:
    module, x = ndconv.Conv2d(3, 4, 3, padding=1, lowering=lowering), integers(2, 3, 9, 8)
    want = step(module, x)
    plan = module.plan(x)
    assert "import torch" in plan.output.source
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert all(map(torch.equal, step(again, x), want))
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    assert b"ndconv program" not in file.getvalue()
    for same in (copy.deepcopy(plan), pickle.loads(pickle.dumps(plan))):
        assert same == plan
        assert same.grad_weight.source == plan.grad_weight.source


def _compute(pipe: Any, module: torch.nn.Module, x: Tensor) -> None:
    torch.set_num_threads(1)
    pipe.send([each.tolist() for each in step(module, x)])
    pipe.close()


@pytest.mark.filterwarnings("ignore:This process")  # which has threads, and so must not fork, says Python 3.12
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_compute_after_programs_were_compiled(method: str) -> None:
    module, x = ndconv.Conv2d(3, 4, 3, padding=1), integers(2, 3, 9, 8)
    want = [each.tolist() for each in step(module, x)]
    context: Any = multiprocessing.get_context(method)
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_compute, args=(there, module, x.detach()))
    process.start()
    there.close()
    assert here.poll(120)
    assert here.recv() == want
    process.join(60)
    assert process.exitcode == 0


def test_a_traceback_shows_the_line_that_failed() -> None:
    x, w = integers(2, 3, 9, 8), integers(4, 3, 3, 2)
    program = program_of(form(lowering="columns"), x, w)
    with pytest.raises(RuntimeError) as caught:
        program.run(x, w[:, :2])
    told = "".join(traceback.format_exception(caught.value))
    *_, frame = traceback.extract_tb(caught.value.__traceback__)
    assert frame.filename.startswith("ndconv program ")
    assert frame.name == "conv2d_output"
    assert frame.line
    assert frame.line in program.source
    assert frame.line in told
    # The lines go when the program does.
    assert frame.filename in linecache.cache
    linecache.checkcache()
    assert frame.filename in linecache.cache
    del program, caught, frame, _
    cache.clear()
    gc.collect()
    assert not [name for name in linecache.cache if str(name).startswith("ndconv program ")]


def train(sizes: range, lowering: str) -> None:
    for size in sizes:
        x, w = torch.ones(2, 4, size, 20, requires_grad=True), torch.ones(6, 4, 3, 3, requires_grad=True)
        y = ndconv.functional.conv2d(x, w, stride=(2, 1), padding=1, lowering=lowering)
        y.sum().backward()


@pytest.mark.parametrize("lowering", ["auto", "taps", "columns", "window", "fourier", "winograd"])
def test_a_new_problem_keeps_little(lowering: str) -> None:
    """All cached bytes of a new size, for its three slots together."""
    train(range(20, 24), lowering)
    gc.collect()
    tracemalloc.start()
    train(range(30, 80), lowering)
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(_execute._programs.answers) == 3 * 54
    assert grown <= 50 * PER_SIZE.get(lowering, 64 * 2**10)


def test_programs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_BYTES", 2**16)
    train(range(20, 120), "taps")
    kept = _execute._programs
    assert 0 < kept.bytes <= 2**16
    assert 3 < len(kept.answers) < 300
    assert kept.bytes == sum(size for _, size in kept.answers.values())
    # The oldest have gone, with their lines.
    gc.collect()
    lines = [name for name in linecache.cache if str(name).startswith("ndconv program ")]
    assert len(lines) == len(kept.answers)
    monkeypatch.setattr(cache, "_ENTRIES", 2)
    train(range(120, 122), "taps")
    assert len(kept.answers) == 2


VIEWS: dict[str, Callable[[Any], Any]] = {
    "unbind": lambda t: t.unbind(1)[2],
    "unbind from the end": lambda t: t.unbind(-2)[1],
    "movedim": lambda t: t.movedim(-1, 1),
    "transpose": lambda t: t.transpose(-1, 0),
    "permute": lambda t: t.permute(2, 0, 3, 1),
    "mT": lambda t: t.mT,
    "flatten": lambda t: t.flatten(-3, 2),
    "squeeze": lambda t: t[:, :1].squeeze(-3),
    "unsqueeze": lambda t: t.unsqueeze(-2),
    "expand": lambda t: t[:, :1].expand(2, 7, 4, 5),
    "unfold": lambda t: t.unfold(-1, 2, 3),
    "narrow": lambda t: t.narrow(-2, 1, 2),
    "flip": lambda t: t.flip([-1, 0]),
    "an index and slices": lambda t: t[1, ..., 1:, ::2],
    "an index from the end": lambda t: t[:, -1, None, :-1],
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_torchs(name: str) -> None:
    """In programs of registered lowerings: also with indices from the end, and views of views."""
    whole = integers(2, 3, 4, 5)
    for given in (whole, whole.transpose(1, 2).contiguous().transpose(1, 2)):
        found = recorded(lambda b, t: b.named("found", VIEWS[name](t)).contiguous(), given)
        assert torch.equal(found, VIEWS[name](given))


def test_a_copy_takes_the_shape_of_its_first_product_and_keeps_it() -> None:
    builder = Builder(_target.target_of(torch.device("cpu")))
    made = builder.operand("x", (2, 3, 4), None, "float32").mT.reshape(2, 12)
    assert made.variable.malleable
    assert settled(made.view(8, 3)).variable.shape == (8, 3)
    assert settled(made.view(4, 6)).variable.shape == (8, 3)
