"""Norms, pooling and resizing of DTensors against the single process, on 2, 3 and 2x2 processes.

Too slow for the ordinary tests, so its name is not that of a test: ``pytest tests/across_processes_layers.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode

import ndconv.distributed
from tests.processes import run

# The order of sums differs. Half types are rounded once, torch's are rounded on the way.
TOLERANCES: dict[torch.dtype, Any] = {
    torch.float64: {"rtol": 1e-8, "atol": 1e-8},
    torch.float32: {"rtol": 1e-4, "atol": 1e-4},
    torch.bfloat16: {"rtol": 3e-2, "atol": 3e-2},
}
MESHES = [(2,), (3,), (2, 2)]
SECONDS = 120


@dataclass(frozen=True)
class Case:
    """A module on one input.

    Args:
        make: Torch's module.
        shape: Of the input.
        dtype: Of the input, and of the parameters unless it is a half type.
        exact: Whether everything is equal; values are small integers.
        orders: How many derivatives are compared.
        placed: Whether parameters and buffers are DTensors.
        last: Whether the input is channels-last.
        training: Whether the module is.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float64
    exact: bool = False
    orders: int = 2
    placed: bool = False
    last: bool = False
    training: bool = True


SPACES: dict[int, list[tuple[int, ...]]] = {
    1: [(12,), (7,), (4,)],
    2: [(8, 12), (7, 9), (5, 4)],
    3: [(4, 6, 4), (5, 4, 7)],
}


def of(module: Any, *arguments: Any, **keywords: Any) -> Callable[[], nn.Module]:
    """A function that makes a module with these arguments."""
    return partial(module, *arguments, **keywords)


def _pools() -> Iterator[Case]:
    for axes, spaces in SPACES.items():
        maximum, mean, adaptive = (getattr(nn, f"{kind}{axes}d") for kind in ("MaxPool", "AvgPool", "AdaptiveAvgPool"))
        for space in spaces:
            shape = (3, 2, *space)
            for arguments in ((2,), (3, 1, 1)):
                yield Case(of(maximum, *arguments), shape, torch.float32, True)
                yield Case(of(mean, *arguments), shape)
            yield Case(of(maximum, 3, 2, 1, ceil_mode=True), shape, torch.float32, True)
            yield Case(of(maximum, 2, 1, dilation=3), shape, torch.float32, True)
            yield Case(of(mean, 3, 2, 1, ceil_mode=True), shape)
            yield Case(of(mean, 2), shape, torch.float32, True)
            yield Case(of(mean, 4, 3, 2, ceil_mode=True, count_include_pad=False), shape)
            for size in (1, 3, 9):
                yield Case(of(adaptive, size), shape)
    yield Case(of(nn.AvgPool2d, 2, stride=1, divisor_override=8), (3, 2, 7, 6), torch.float32, True)
    yield Case(of(nn.AvgPool2d, (3, 2), (1, 2)), (3, 2, 7, 6), torch.bfloat16, orders=1)
    yield Case(of(nn.MaxPool2d, (3, 2), (1, 2)), (3, 2, 7, 6), torch.bfloat16, orders=1)
    yield Case(of(nn.MaxPool2d, 3, 1, 1), (3, 4, 7, 6), torch.float32, True, last=True)
    yield Case(of(nn.AvgPool2d, 2), (3, 4, 8, 6), torch.float32, True, last=True)


def _resizings() -> Iterator[Case]:
    for axes, spaces in SPACES.items():
        linear = ("linear", "bilinear", "trilinear")[axes - 1]
        for space in spaces:
            shape = (3, 2, *space)
            for mode in ("nearest", "nearest-exact"):
                for scale in (2, 0.7):
                    yield Case(of(nn.Upsample, scale_factor=scale, mode=mode), shape, torch.float32, True)
                yield Case(of(nn.Upsample, (9, 5, 11)[:axes], mode=mode), shape)
            for aligned in (False, True):
                yield Case(of(nn.Upsample, scale_factor=2, mode=linear, align_corners=aligned), shape)
                yield Case(of(nn.Upsample, (9, 3, 11)[:axes], mode=linear, align_corners=aligned), shape)
            for recomputed in (None, True):
                yield Case(of(nn.Upsample, scale_factor=1.6, mode=linear, recompute_scale_factor=recomputed), shape)
    yield Case(of(nn.Upsample, scale_factor=(1.1, 1.9), mode="bilinear"), (3, 2, 7, 6))
    yield Case(of(nn.Upsample, scale_factor=2, mode="bilinear"), (3, 2, 7, 6), torch.float32, True)
    yield Case(of(nn.Upsample, scale_factor=2, mode="bilinear"), (3, 2, 7, 6), torch.bfloat16, orders=1)
    yield Case(of(nn.Upsample, scale_factor=2), (3, 4, 7, 6), torch.float32, True, last=True)
    yield Case(of(nn.Upsample, (4, 9), mode="area"), (3, 2, 7, 6))


def _norms() -> Iterator[Case]:
    for axes, spaces in SPACES.items():
        batch, instance = getattr(nn, f"BatchNorm{axes}d"), getattr(nn, f"InstanceNorm{axes}d")
        for space in spaces:
            shape = (3, 4, *space)
            for dtype, placed in ((torch.float64, False), (torch.float32, True)):
                yield Case(of(batch, 4), shape, dtype, placed=placed)
                yield Case(of(nn.GroupNorm, 2, 4), shape, dtype, placed=placed)
                yield Case(of(instance, 4, affine=True, track_running_stats=True), shape, dtype, placed=placed)
            yield Case(of(batch, 4, momentum=None, eps=0.1), shape)
            yield Case(of(batch, 4, affine=False, track_running_stats=False), shape)
            yield Case(of(batch, 4), shape, training=False)
            yield Case(of(nn.GroupNorm, 1, 4, affine=False), shape)
            yield Case(of(instance, 4), shape)
            yield Case(of(instance, 4, track_running_stats=True), shape, training=False)
    yield Case(of(nn.GroupNorm, 2, 4), (5, 4))
    yield Case(of(nn.BatchNorm1d, 4), (5, 4))
    yield Case(of(nn.BatchNorm2d, 4), (3, 4, 7, 6), torch.bfloat16, orders=1)
    yield Case(of(nn.GroupNorm, 2, 4), (3, 4, 7, 6), torch.bfloat16, orders=1)
    yield Case(of(nn.BatchNorm2d, 4), (3, 4, 7, 6), last=True)
    yield Case(of(nn.GroupNorm, 2, 4), (3, 4, 7, 6), last=True)


CASES = [*_pools(), *_resizings(), *_norms()]


def _local(value: Any) -> Any:
    return value.to_local() if isinstance(value, DTensor) else value


def _ours(module: nn.Module) -> Any:
    """A copy of torch's module that takes DTensors."""
    ours = copy.deepcopy(module)
    ours.__class__ = getattr(ndconv.distributed, type(module).__name__)
    return ours


class Checks:
    """The comparisons of one process."""

    def __init__(self, mesh: Any) -> None:
        self.mesh = mesh
        self.everywhere: list[Any] = [Replicate()] * mesh.ndim

    def shared(self, tensor: Any, placements: Any) -> Any:
        """A DTensor from a tensor that every process has."""
        return distribute_tensor(tensor.detach(), self.mesh, placements, src_data_rank=None)

    def module(self, case: Case) -> tuple[Any, Any]:
        """The module of torch and the one for DTensors, with the same parameters."""
        theirs = case.make().train(case.training)
        if case.dtype is not torch.bfloat16:
            theirs.to(case.dtype)
        for parameter in theirs.parameters():
            parameter.data.copy_(torch.randint(1, 4, parameter.shape))
        for name, buffer in theirs.named_buffers():
            if name.startswith("running"):
                buffer.copy_(torch.randint(1, 4, buffer.shape))
        ours = _ours(theirs)
        if case.placed:
            for name, parameter in [*ours.named_parameters()]:
                setattr(ours, name, nn.Parameter(self.shared(parameter, self.everywhere)))
            for name, buffer in [*ours.named_buffers()]:
                setattr(ours, name, self.shared(buffer, self.everywhere))
        return theirs, ours

    def placements(self, case: Case, number: int) -> list[list[Any]]:
        """Two ways to shard batch and space, different from case to case."""
        axes = [0, *range(2, len(case.shape))][: 3 if self.mesh.ndim == 1 else 2 + (len(case.shape) > 3)]
        found: list[list[Any]] = [
            [*map(Shard, chosen)] for chosen in permutations(axes, min(self.mesh.ndim, len(axes)))
        ]
        if self.mesh.ndim > 1:
            found = [each + [Replicate()] * (self.mesh.ndim - len(each)) for each in found]
            found.append([Replicate(), Shard(axes[-1])])
        first = number % len(found)
        return (found[first:] + found[:first])[:2]

    def compare(self, case: Case, what: str, found: Any, wanted: Any) -> None:
        """Each process compares its own shard: equal, or within the table's tolerance."""
        if wanted is None or found is None:
            assert all(each is None or not _local(each).any() for each in (wanted, found)), f"{what}: one is missing"
            return
        local = _local(found)
        if isinstance(found, DTensor):
            wanted = self.shared(wanted, found.placements).to_local()
        if case.exact:
            assert torch.equal(local, wanted), f"{what}: {local} is not {wanted}"
        else:
            torch.testing.assert_close(local, wanted, **TOLERANCES[case.dtype], msg=lambda text: f"{what}: {text}")

    def check(self, case: Case, placements: list[Any]) -> None:
        """Output, gradients, second derivatives and buffers."""
        theirs, ours = self.module(case)
        input = torch.randint(-9, 10, case.shape).to(case.dtype)
        if case.last:
            input = input.contiguous(memory_format=torch.channels_last)
        cotangent = torch.randint(-3, 4, theirs(input).shape).to(case.dtype)
        ours(self.shared(input, placements))
        results: list[Any] = []
        for module, place in ((theirs, lambda each: each.clone()), (ours, lambda each: self.shared(each, placements))):
            x, g = (place(each).requires_grad_() for each in (input, cotangent))
            y = module(x)
            variables: list[Any] = [x, *module.parameters()]
            first = torch.autograd.grad(y, variables, g, create_graph=case.orders > 1)
            seeds: list[Any]
            second: Any = ()
            if case.orders > 1:
                generator = torch.Generator().manual_seed(1)
                seeds = [torch.randint(-2, 3, each.shape, generator=generator).to(each.dtype) for each in variables]
                if module is ours:
                    seeds = [
                        self.shared(seed, each.placements) if isinstance(each, DTensor) else seed
                        for seed, each in zip(seeds, variables, strict=True)
                    ]
                second = torch.autograd.grad(first, [*variables, g], seeds, allow_unused=True)
            results.append((y, first, second))
        (wanted, wanted_first, wanted_second), (found, found_first, found_second) = results
        assert list(found.placements) == placements == list(found_first[0].placements)
        if case.last:
            for each in (found, found_first[0]):
                assert each.is_contiguous(memory_format=torch.channels_last)
                assert each.to_local().is_contiguous(memory_format=torch.channels_last)
        assert all(isinstance(each, DTensor) == case.placed for each in found_first[1:])
        self.compare(case, "output", found, wanted)
        for number, pair in enumerate(zip(found_first, wanted_first, strict=True)):
            self.compare(case, f"gradient {number}", *pair)
        for number, pair in enumerate(zip(found_second, wanted_second, strict=True)):
            self.compare(case, f"second derivative {number}", *pair)
        for (name, buffer), other in zip(theirs.named_buffers(), ours.buffers(), strict=True):
            self.compare(case, name, other, buffer)
        with torch.no_grad():
            self.compare(case, "eval", ours.eval()(self.shared(input, placements)), theirs.eval()(input))

    def special(self) -> None:
        """NaN, infinities, samples without a batch, counts of collectives, refusals."""
        line = [Shard(2), *self.everywhere[1:]]
        x = torch.randint(-9, 10, (2, 3, 12)).double()
        x[0, 0, 3], x[0, 1, :4], x[1, 2, 7], x[1, 1, 5:] = torch.nan, -torch.inf, torch.inf, -torch.inf
        equal: Any = {"rtol": 0, "atol": 0, "equal_nan": True}
        modules: Any = (nn.MaxPool1d(3, 2, 1), nn.MaxPool1d(3, 1, 1, 2), nn.AvgPool1d(2), nn.Upsample(scale_factor=2))
        for module in modules:
            a, b = x.clone().requires_grad_(), self.shared(x, line).requires_grad_()
            wanted, found = module(a), _ours(module)(b)
            torch.testing.assert_close(_local(found), _local(self.shared(wanted, line)), **equal)
            wanted.backward(torch.ones_like(wanted))
            found.backward(self.shared(torch.ones_like(wanted), line))
            torch.testing.assert_close(_local(b.grad), _local(self.shared(a.grad, line)), **equal)
        sample = [Shard(1), *self.everywhere[1:]]
        single = torch.randint(-9, 10, (3, 7)).double()
        modules = nn.MaxPool1d(2), nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(3), nn.InstanceNorm1d(3, affine=True)
        for module in modules:
            found, wanted = _ours(module).double()(self.shared(single, sample)), module.double()(single)
            torch.testing.assert_close(found.to_local(), self.shared(wanted, sample).to_local())
        self.counts(line)
        self.refusals()

    def counts(self, line: list[Any]) -> None:
        """One collective for each pass of a norm, none for windows within a shard."""
        size = 4 * self.mesh.size(0)
        for module, back in (
            (ndconv.distributed.BatchNorm1d(3), 1),
            (ndconv.distributed.GroupNorm(3, 3), 1),
            (ndconv.distributed.InstanceNorm1d(3, affine=True), 1),
            (ndconv.distributed.MaxPool1d(2), 0),
            (ndconv.distributed.AvgPool1d(2), 0),
            (ndconv.distributed.Upsample(scale_factor=2), 0),
        ):
            x = self.shared(torch.rand(2, 3, size), line).requires_grad_()
            forward, backward = CommDebugMode(), CommDebugMode()
            with forward:
                y = module(x)
            gradient = self.shared(torch.rand(y.shape), line)
            with backward:
                y.backward(gradient)
            counts = forward.get_total_counts(), backward.get_total_counts()
            assert counts == (2 * back, back), f"{type(module).__name__}: {counts} collectives"

    def refusals(self) -> None:
        """Every process refuses alike, with the placements in the message, and nothing is sent."""
        x = torch.rand(2, 4, 8, 8)
        modules = ndconv.distributed
        channels, space = [Shard(1), *self.everywhere[1:]], [Shard(2), *self.everywhere[1:]]
        of_weight = modules.BatchNorm2d(4)
        of_weight.weight = nn.Parameter(self.shared(torch.rand(4), [Shard(0), *self.everywhere[1:]]))
        cases: list[tuple[nn.Module, list[Any], str]] = [
            *((module, channels, "input may be sharded") for module in (
                modules.BatchNorm2d(4), modules.GroupNorm(2, 4), modules.InstanceNorm2d(4), modules.MaxPool2d(2),
                modules.AvgPool2d(2), modules.AdaptiveAvgPool2d(2), modules.Upsample(scale_factor=2),
            )),
            (modules.MaxPool2d(2, return_indices=True), space, "return_indices=True"),
            (modules.Upsample(scale_factor=2, mode="bicubic"), space, "mode='bicubic'"),
            (of_weight, space, "weight must be replicated"),
        ]  # fmt: skip
        for module, placements, text in cases:
            with CommDebugMode() as counter, pytest.raises(NotImplementedError, match=text) as error:
                module(self.shared(x, placements))
            assert "Shard(dim=" in str(error.value)
            assert not counter.get_total_counts()
        with pytest.raises(RuntimeError, match="pad should be at most half"):
            modules.MaxPool2d(2, padding=2)(self.shared(x, space))
        with pytest.raises(RuntimeError, match="every window must have an input"):
            modules.MaxPool1d(2, 1, 1, 2)(self.shared(torch.rand(3, 4, 1), space))
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            modules.BatchNorm1d(4)(self.shared(torch.rand(1, 4, 1), space))


def _work(mesh: Any, folder: str) -> None:
    """The work of one process; it names the case that fails."""
    checks, done, where = Checks(mesh), 0, "start"
    try:
        for number, case in enumerate(CASES):
            for placements in checks.placements(case, number):
                torch.manual_seed(number)
                where = f"{case.make()} of {case}, {placements}"
                checks.check(case, placements)
                done += 1
        where = "special"
        checks.special()
    except Exception as error:
        raise AssertionError(f"process {torch.distributed.get_rank()} at {where}") from error
    Path(folder, f"done{torch.distributed.get_rank()}").write_text(str(done))


@pytest.mark.parametrize("shape", MESHES, ids=str)
def test_layers_are_those_of_one_process(shape: tuple[int, ...], tmp_path: Path) -> None:
    run(_work, shape, tmp_path, str(tmp_path), seconds=SECONDS)
    done = {path.read_text() for path in tmp_path.glob("done*")}
    assert len(done) == 1
    print(f"\n{shape}: {done.pop()} comparisons of modules")
