"""Convolutions of DTensors on 2, 3 and 2x2 processes equal those of one process, bit for bit on integers."""

from __future__ import annotations

import os
import random
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.placement_types import Placement
from torch.utils._python_dispatch import TorchDispatchMode

import ndconv
from ndconv import functional, grad
from ndconv.distributed import set_overlap
from ndconv.testing import Trial, matrix
from ndconv.testing._space import INTEGERS, is_exact
from ndconv.testing._subject import Subject
from tests.processes import PATIENCE, Ints, replicated, run, sharded, whole

MESHES = [(2,), (3,), (2, 2)]
named = pytest.mark.parametrize("mesh", MESHES, ids=lambda mesh: "x".join(map(str, mesh)))


def integers(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-3, 4, shape, generator=generator).float()


def same(name: str, got: Any, want: Any) -> None:
    if want is None or got is None:
        assert want is got or not whole(got if want is None else want).count_nonzero(), name
        return
    got = whole(got)
    assert (got.dtype, got.shape) == (want.dtype, want.shape), name
    assert torch.equal(got.resolve_conj(), want.resolve_conj()), f"{name}: {int((got != want).sum())} elements differ"


# Every function, slot and geometry


def fits(trial: Trial, mesh: Ints) -> bool:
    """Whether DTensors support a trial: they have no jvp and no vmap."""
    case = trial.case
    axes = case.ndim + (trial.batch == "batched" and case.batch > 0)
    return (
        axes >= len(mesh)
        and trial.values == "usual"
        and trial.format != "repeated"
        and is_exact(trial.lowering)
        and trial.transform in ("eager", "double_backward", "per_sample")
    )


def placements_of(trial: Trial, mesh: Ints) -> list[Placement]:
    draw = random.Random(zlib.crc32(trial.id.encode()))
    batched = trial.batch == "batched"
    axes = [*range(1 + batched, 1 + batched + trial.case.ndim), *([0] if batched and trial.case.batch else [])]
    placements: list[Placement] = [Shard(axis) for axis in draw.sample(axes, len(mesh))]
    if len(mesh) > 1 and draw.random() < 0.1:
        placements[0] = Replicate()
    return placements


def one_trial(mesh: DeviceMesh, trial: Trial, placements: list[Placement]) -> None:
    subject = Subject(trial, "cpu")
    plain: list[Any] = [*subject.tensors(), subject.bias()]
    keywords: dict[str, Any] = (
        {"per_sample": True} if trial.transform == "per_sample" and trial.slot == "weight" else {}
    )
    differs = trial.dtype not in INTEGERS
    draw = random.Random(zlib.crc32(trial.id.encode()) + 1)
    places = draw.random() < 0.5
    spread: list[Any] = []
    for name, tensor in zip((*subject.operands, "b"), plain, strict=True):
        if tensor is None:
            spread.append(None)
        elif name in "wb":
            spread.append(replicated(tensor, mesh) if places else tensor.clone())
        else:
            spread.append(sharded(tensor, mesh, placements))
    if differs:
        for tensor in (*plain, *spread):
            if tensor is not None:
                tensor.requires_grad_()
    want, got = (subject.call(*each, **keywords) for each in (plain, spread))
    same("the result", got, want)
    if not differs:
        return
    cotangent = (torch.arange(want.numel()).view(want.shape) % 3 - 1).to(want.dtype)
    outer = sharded(cotangent, mesh, list(got.placements)) if isinstance(got, DTensor) else cotangent.clone()
    firsts: list[Any] = [
        torch.autograd.grad(result, [each for each in operands if each is not None], start, create_graph=True)
        for result, operands, start in ((want, plain, cotangent), (got, spread, outer))
    ]
    for number, (expected, found) in enumerate(zip(*firsts, strict=True)):
        same(f"gradient {number}", found, expected)
    # A bias has none: its gradient does not depend on anything.
    seconds: list[Any] = []
    for found, operands in zip(firsts, (plain, spread), strict=True):
        steps = [torch.ones_like(each) for each in found[:2]]
        seconds.append(torch.autograd.grad(found[:2], operands[:2], steps, allow_unused=True))
    for number, (expected, found) in enumerate(zip(*seconds, strict=True)):
        same(f"second derivative {number}", found, expected)


def every_trial(mesh: DeviceMesh, ids: list[str]) -> None:
    ndconv.set_exact(True)
    for id in ids:
        trial = Trial.parse(id)
        placements = placements_of(trial, tuple(mesh.shape))
        set_overlap(zlib.crc32(id.encode()) % 2 == 0)
        try:
            one_trial(mesh, trial, placements)
        except Exception as error:
            raise AssertionError(f"{id} on {placements}") from error


@pytest.mark.parametrize("mesh", [*MESHES, (2, 2, 2)], ids=lambda mesh: "x".join(map(str, mesh)))
def test_trials_of_the_matrix(mesh: Ints, tmp_path: Path) -> None:
    ids = [trial.id for trial, _ in matrix("quick").trials if fits(trial, mesh)]
    assert len(ids) > 15
    run(every_trial, mesh, tmp_path, ids[: 15 if len(mesh) > 2 else None])


# Bits of random floats


def bits(mesh: DeviceMesh) -> None:
    torch.manual_seed(0)
    placements = [Shard(2 + i) for i in range(mesh.ndim)]
    x, w, y = torch.randn(1, 16, 16, 16, 16), torch.randn(16, 16, 3, 3, 3), torch.randn(1, 16, 16, 16, 16)
    for dtype in (torch.float32, torch.bfloat16):
        operands = x.to(dtype), w.to(dtype)
        for lowering in ("columns", "taps", "window"):
            results = []
            for one, other, step in (
                (*operands, y.to(dtype)),
                (sharded(operands[0], mesh, placements), replicated(operands[1], mesh), None),
            ):
                one.requires_grad_()
                other.requires_grad_()
                result = functional.conv3d(one, other, padding=1, lowering=lowering)
                step = sharded(y.to(dtype), mesh, placements) if step is None else step
                results.append((result, *torch.autograd.grad(result, (one, other), step)))
            for name, want, got in zip(("output", "input", "weight"), *results, strict=True):
                if name != "weight":
                    same(f"{name} {dtype} {lowering}", got, want)
                elif dtype == torch.float32:
                    torch.testing.assert_close(whole(got), want, rtol=2e-6, atol=2e-4)
                else:  # sums in float32 of another order, which may lie on two sides of where a bfloat16 rounds
                    torch.testing.assert_close(whole(got), want, rtol=2**-7, atol=0)
                    assert (whole(got) != want).float().mean() < 1e-3


def overlapped(mesh: DeviceMesh) -> None:
    """Thin pieces are products of other shapes, with another order of sums."""
    torch.manual_seed(0)
    x, w = torch.randn(1, 16, 16, 16, 16), torch.randn(16, 16, 3, 3, 3)
    want = functional.conv3d(x, w, padding=1)
    set_overlap(True)
    got = functional.conv3d(sharded(x, mesh, [Shard(2 + i) for i in range(mesh.ndim)]), w, padding=1)
    torch.testing.assert_close(whole(got), want, rtol=1e-5, atol=1e-4)


@named
def test_overlap_rounds_otherwise_at_most(mesh: Ints, tmp_path: Path) -> None:
    run(overlapped, mesh, tmp_path)


@named
def test_bits_of_random_floats(mesh: Ints, tmp_path: Path) -> None:
    run(bits, mesh, tmp_path)


# What is sent, and how large anything is


class Watch(TorchDispatchMode):
    """Bytes given to each all-to-all, the number of collectives, and the largest tensor made."""

    def __init__(self) -> None:
        super().__init__()
        self.sent, self.largest, self.collectives = 0, 0, Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(each, DTensor) for each in types):
            return NotImplemented
        name = str(func)
        if "c10d_functional.all" in name:
            self.collectives[name.split(".")[1]] += 1
        if "all_to_all" in name:
            self.sent += args[0].numel()
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.dtype != torch.uint8:
            self.largest = max(self.largest, result.numel())
        return result


def own(tensor: Any) -> Tensor:
    local: Tensor = tensor.to_local()
    return local


def sizes(mesh: DeviceMesh) -> None:
    placements = [Shard(2 + i) for i in range(mesh.ndim)]
    cases: list[tuple[int, dict[str, Any]]] = [
        (3, {"padding": 1}),
        (5, {"padding": 2}),
        (3, {"padding": 2, "dilation": 2}),
        (3, {"stride": 2, "padding": 1}),
        (3, {"padding": 1, "padding_mode": "circular"}),
    ]
    for kernel, how in cases:
        x, w = integers(2, 4, 13, 11), integers(6, 4, kernel, kernel, seed=1)
        dx, dw = sharded(x, mesh, placements).requires_grad_(), replicated(w, mesh).requires_grad_()
        shards = ndconv.plan(dx, dw, **how).shards
        with Watch() as forward:
            y = functional.conv2d(dx, dw, **how)
        step = sharded(torch.ones(y.shape), mesh, placements)
        with Watch() as backward:
            torch.autograd.grad(y, (dx, dw), step)
        assert set(forward.collectives) <= {"all_to_all_single"}, forward.collectives
        assert forward.collectives["all_to_all_single"] == len(shards.input.legs)
        assert backward.collectives["all_to_all_single"] == len(shards.grad_output.legs)
        assert backward.collectives["all_reduce"] == mesh.ndim
        assert forward.sent + backward.sent == shards.bytes_sent, (kernel, how)
        for watch, of_read, local in ((forward, shards.input, dx), (backward, shards.grad_output, y)):
            owned = own(local).numel()
            halo = sum(leg.bytes_received for leg in of_read.legs) // 4
            others = max(own(dx).numel(), own(y).numel(), w.numel())
            border = 0 if "padding_mode" not in how else 4 * 2 * 2 * (13 + 11 + 4)
            assert watch.largest <= max(owned + halo + border, others), (kernel, how, watch.largest, owned, halo)


@named
def test_nothing_is_sent_or_held_but_what_the_plan_says(mesh: Ints, tmp_path: Path) -> None:
    run(sizes, mesh, tmp_path)


def counted(mesh: DeviceMesh) -> None:
    x, w, b = integers(2, 4, 12, 9), integers(6, 4, 3, 3, seed=1), integers(6, seed=2)
    dx = sharded(x, mesh, [Shard(2)]).requires_grad_()
    dw, db = (replicated(each, mesh).requires_grad_() for each in (w, b))
    with CommDebugMode() as forward:
        y = functional.conv2d(dx, dw, db, padding=1)
    with CommDebugMode() as backward:
        y.backward(sharded(torch.ones(y.shape), mesh, [Shard(2)]))
    names = [
        {str(name).split(".")[-1]: n for name, n in each.get_comm_counts().items()} for each in (forward, backward)
    ]
    assert names == [{"all_to_all_single": 1}, {"all_to_all_single": 1, "all_reduce": 1}]
    with CommDebugMode() as together:
        got = grad.convnd_backward(dx.detach(), dw.detach(), sharded(torch.ones(y.shape), mesh, [Shard(2)]), padding=1)
    counts = {str(name).split(".")[-1]: n for name, n in together.get_comm_counts().items()}
    assert counts == {"all_to_all_single": 1, "all_reduce": 1}
    for found, want in zip(got, grad.convnd_backward(x, w, torch.ones(y.shape), padding=1), strict=True):
        same("all gradients in one call", found, want)
    with CommDebugMode() as nothing:
        functional.conv2d(dx, integers(6, 4, 1, 1))
    assert not nothing.get_total_counts()


def test_one_exchange_forward_one_back_and_one_sum(tmp_path: Path) -> None:
    run(counted, (2,), tmp_path)


# What else must hold


def refused(mesh: DeviceMesh) -> None:
    x, w = integers(2, 4, 8, 8), integers(4, 4, 3, 3)
    on = [Shard(2)] * mesh.ndim
    two = DeviceMesh("cpu", list(range(dist.get_world_size())))
    calls: dict[str, Callable[[], object]] = {
        "input may be sharded": lambda: functional.conv2d(sharded(x, two, [Shard(1)]), w),
        "weight must be replicated": lambda: functional.conv2d(
            sharded(x, two, [Shard(2)]), sharded(w, two, [Shard(0)])
        ),
        "input is a plain tensor": lambda: functional.conv2d(x, replicated(w, two)),
        "unfoldnd: input must be a plain": lambda: functional.unfoldnd(sharded(x, two, [Shard(2)]), 3),
        "sqnorm: input must be a plain": lambda: grad.conv2d_weight_sqnorm(
            sharded(x, two, [Shard(2)]), w.shape[2:], sharded(integers(2, 4, 6, 6), two, [Shard(2)])
        ),
        "must have the same placements": lambda: grad.conv2d_weight(
            sharded(x, two, [Shard(2)]), w.shape, sharded(integers(2, 4, 6, 6), two, [Shard(3)])
        ),
    }
    if mesh.ndim == 2:
        calls["input may be sharded along batch"] = lambda: functional.conv2d(sharded(x, mesh, on), w)
    for message, call in calls.items():
        with CommDebugMode() as mode, pytest.raises(NotImplementedError) as raised:
            call()
        assert message in str(raised.value), raised.value
        assert not mode.get_total_counts()
    with pytest.raises(RuntimeError, match="kernel must fit"):
        functional.conv2d(sharded(x, two, [Shard(2)]), integers(4, 4, 9, 9))


@pytest.mark.parametrize("mesh", [(2,), (2, 2)])
def test_what_is_refused_is_refused_by_all_and_before_anything_is_sent(mesh: Ints, tmp_path: Path) -> None:
    run(refused, mesh, tmp_path)


def with_a_part_of_the_processes(mesh: DeviceMesh) -> None:
    """Peers are identified by their rank in the mesh, not in the world."""
    part, x, w = DeviceMesh("cpu", [2, 3]), integers(2, 4, 9, 8), integers(6, 4, 3, 3, seed=1)
    if dist.get_rank() >= 2:
        dx, dw = sharded(x, part, [Shard(2)]).requires_grad_(), w.clone().requires_grad_()
        y = functional.conv2d(dx, dw, padding=1)
        y.sum().backward()
        x.requires_grad_()
        w.requires_grad_()
        want = functional.conv2d(x, w, padding=1)
        want.sum().backward()
        same("output", y, want)
        same("input", dx.grad, x.grad)
        same("weight", dw.grad, w.grad)


def test_a_part_of_the_processes(tmp_path: Path) -> None:
    run(with_a_part_of_the_processes, (4,), tmp_path)


def variants(mesh: DeviceMesh) -> None:
    x, w, b = integers(2, 4, 9, 8), integers(6, 4, 3, 3, seed=1), integers(6, seed=2)
    layer: Any = ndconv.Conv2d(4, 6, 3, padding=1)
    with torch.no_grad():
        layer.weight.copy_(w)
        layer.bias.copy_(b)
    on: list[Placement] = [Shard(2)]
    # A frozen weight, a frozen input, no batch, autocast, checkpoints.
    dx = sharded(x, mesh, on).requires_grad_()
    y = functional.conv2d(dx, w)
    kept: Any = y.grad_fn
    assert sum(each is not None for each in kept.saved_tensors) == 1
    y = functional.conv2d(dx.detach(), w.clone().requires_grad_())
    y.sum().backward()
    same("no batch", layer(sharded(x[0], mesh, [Shard(1)])), layer(x[0]))
    with torch.autocast("cpu", torch.bfloat16):
        got, want = layer(dx), layer(x)
        assert got.dtype == torch.bfloat16
        same("autocast", got, want)
    got.float().sum().backward()
    found = layer.weight.grad
    assert type(found) is Tensor
    found = found.clone()
    layer.weight.grad = None
    want.float().sum().backward()
    same("autocast's gradient", found, layer.weight.grad)
    got = torch.utils.checkpoint.checkpoint(lambda x: layer(x).relu(), dx, use_reentrant=False)
    layer.weight.grad = None
    got.sum().backward()
    found = layer.weight.grad.clone()
    layer.weight.grad = None
    layer(x).relu().sum().backward()
    same("a checkpoint's gradient", found, layer.weight.grad)
    # One number of three slots.
    y = integers(2, 6, 7, 6, seed=3)
    dx, dy = sharded(x, mesh, on), sharded(y, mesh, on)
    forms = [
        (functional.conv2d(dx, w) * dy).sum(),
        (grad.conv2d_input(x.shape, w, dy) * dx).sum(),
        (grad.conv2d_weight(dx, w.shape, dy) * replicated(w, mesh)).sum(),
    ]
    assert len({whole(form).item() for form in forms}) == 1
    # A Jacobian by differences of step 1.
    x, w = integers(1, 1, 7), integers(2, 1, 3, seed=4)
    base = whole(functional.conv1d(sharded(x, mesh, on), w, padding=1))
    dx = sharded(x, mesh, on).requires_grad_()
    y = functional.conv1d(dx, w, padding=1)
    for i in range(7):
        step = torch.zeros_like(x)
        step[0, 0, i] = 1
        column = whole(functional.conv1d(sharded(x + step, mesh, on), w, padding=1)) - base
        for j in range(column.numel()):
            unit = torch.zeros_like(column)
            unit.view(-1)[j] = 1
            (row,) = torch.autograd.grad(y, dx, sharded(unit, mesh, on), retain_graph=True)
            assert whole(row)[0, 0, i] == column.view(-1)[j]


def test_frozen_unbatched_autocast_checkpoints_and_adjoints(tmp_path: Path) -> None:
    run(variants, (2,), tmp_path)


def compiled(mesh: DeviceMesh) -> None:
    x, w, b = integers(2, 4, 10, 9), integers(6, 4, 3, 3, seed=1), integers(6, seed=2)
    functions: list[tuple[Any, Tensor]] = [
        (functional.conv2d, w),
        (functional.conv_transpose2d, integers(4, 6, 3, 3, seed=1)),
    ]
    for function, weight in functions:
        for backend in ("aot_eager", "inductor"):
            torch._dynamo.reset()
            whole_graph: Any = torch.compile(
                lambda x, w, b, function=function: function(x, w, b, padding=1), fullgraph=True, backend=backend
            )
            operands = [sharded(x, mesh, [Shard(2)]), replicated(weight, mesh), replicated(b, mesh)]
            plain = [x.clone(), weight.clone(), b.clone()]
            for each in (*operands, *plain):
                each.requires_grad_()
            got, want = whole_graph(*operands), function(*plain, padding=1)
            same("output", got, want)
            for result in (got, want):
                result.backward(torch.ones_like(result))
            for found, expected in zip(operands, plain, strict=True):
                same(f"gradient with {backend}", found.grad, expected.grad)


@pytest.mark.compiler
def test_compiled_whole(tmp_path: Path) -> None:
    run(compiled, (2,), tmp_path)


def dying(mesh: DeviceMesh) -> None:
    x, w = sharded(integers(1, 1, 9), mesh, [Shard(2)]), integers(1, 1, 3)
    functional.conv1d(x, w, padding=1)
    if dist.get_rank() == 1:
        os._exit(0)
    start = time.monotonic()
    with pytest.raises(RuntimeError):
        functional.conv1d(functional.conv1d(x, w, padding=1), w, padding=1)
    assert time.monotonic() - start < 6 * PATIENCE
    os._exit(0)


def test_the_others_do_not_wait_for_ever_for_one_that_died(tmp_path: Path) -> None:
    run(dying, (3,), tmp_path)
