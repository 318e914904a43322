"""Whole models on sharded volumes train as on one process, with and without data parallelism."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.nn.parallel import DistributedDataParallel

import ndconv
from ndconv.distributed import from_local, local_slices, parallelize
from tests.processes import Ints, run, whole


class Skip(nn.Module):
    """A U-Net of one level, with every layer that supports shards."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU())
        self.pool = nn.MaxPool3d(2)
        self.middle = nn.Sequential(nn.Conv3d(4, 6, 3, padding="same", dilation=2), nn.GroupNorm(2, 6), nn.GELU())
        self.up = nn.ConvTranspose3d(6, 4, 2, stride=2)
        self.smooth = nn.Sequential(nn.InstanceNorm3d(8, affine=True), nn.AvgPool3d(3, 1, 1))
        self.resized = nn.Sequential(nn.AvgPool3d(2), nn.Upsample(scale_factor=2, mode="trilinear"))
        self.last = nn.Conv3d(8, 1, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x)
        x = torch.cat([x, self.up(self.middle(self.pool(x)))], 1)
        result: Tensor = self.last(self.smooth(x) + self.resized(x))
        return result


def network() -> Skip:
    torch.manual_seed(0)
    return Skip().double()


def volumes(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    return tuple(torch.randn(4, channels, 12, 8, 10, generator=generator).double() for channels in (2, 1))  # type: ignore[return-value]


def train(model: nn.Module, share: slice, part: Any = lambda tensor: tensor) -> list[float]:
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    for step in range(3):
        optimizer.zero_grad()
        x, y = (part(each[share]) for each in volumes(step))
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(whole(loss).item())
    return losses


def close(model: nn.Module, alone: nn.Module, prefix: str = "") -> None:
    expected = alone.state_dict()
    found = {name.removeprefix(prefix): whole(value) for name, value in model.state_dict().items()}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-11, msg=name)


def trains(mesh: DeviceMesh) -> None:
    placements = [Shard(2), Shard(3)][: mesh.ndim]
    model, alone = network(), network()
    changes = parallelize(model, mesh, placements)
    assert len(changes) == len(changes.changes) == 11
    assert all(isinstance(each, DTensor) for each in model.parameters())

    def part(tensor: Tensor) -> DTensor:
        return from_local(tensor[local_slices(tensor.shape, mesh, placements)], tensor.shape, mesh, placements)

    sharded = train(model, slice(None), part)
    torch.testing.assert_close(sharded, train(alone, slice(None)), rtol=1e-10, atol=0)
    close(model, alone)
    # Whole tensors that every process has are cut by the model.
    model.eval()
    x, _ = volumes(9)
    torch.testing.assert_close(whole(model(x)), whole(model(part(x))), rtol=0, atol=0)


@pytest.mark.parametrize("mesh", [(2,), (3,), (2, 2)], ids=lambda mesh: "x".join(map(str, mesh)))
def test_a_network_trains_as_on_one_process(mesh: Ints, tmp_path: Path) -> None:
    run(trains, mesh, tmp_path)


def with_few_samples(mesh: DeviceMesh) -> None:
    """Some processes have no sample."""
    model, alone = network().eval(), network().eval()
    parallelize(model, mesh, [Shard(0)])
    x = volumes(0)[0][:2]
    for each, volume in (
        (model, from_local(x[local_slices(x.shape, mesh, [Shard(0)])], x.shape, mesh, [Shard(0)])),
        (alone, x),
    ):
        each(volume).square().sum().backward()
    for (name, found), expected in zip(model.named_parameters(), alone.parameters(), strict=True):
        assert found.grad is not None
        torch.testing.assert_close(whole(found.grad), expected.grad, rtol=1e-8, atol=1e-9, msg=name)


def test_fewer_samples_than_processes(tmp_path: Path) -> None:
    run(with_few_samples, (3,), tmp_path)


class Plain(nn.Module):
    """A model without batch norm, whose statistics data parallelism does not share."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(4, 4, 3, padding=1)
        )
        self.last = nn.ConvTranspose3d(4, 1, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.layers(x))
        return result


def with_data_parallelism(mesh: DeviceMesh, kind: str) -> None:
    torch.manual_seed(0)
    model = Plain().double()
    alone = copy.deepcopy(model)
    data, space = mesh["one"], mesh["two"]
    parallelize(model, space, [Shard(2)], distribute_parameters=kind == "fsdp2")
    trained: nn.Module = model
    if kind == "fsdp2":
        for layer in (*model.layers, model.last):
            if list(layer.parameters()):
                fully_shard(layer, mesh=data)
        fully_shard(model, mesh=data)
    else:
        trained = DistributedDataParallel(model, process_group=data.get_group())
    share = slice(2 * data.get_local_rank(), 2 * data.get_local_rank() + 2)
    train(trained, share, lambda tensor: from_local(
        tensor[local_slices(tensor.shape, space, [Shard(2)])], tensor.shape, space, [Shard(2)]
    ))  # fmt: skip
    train(alone, slice(None))
    close(trained, alone, "module.")


@pytest.mark.parametrize(
    "kind",
    [
        "ddp",
        pytest.param(
            "fsdp2",
            marks=pytest.mark.skipif(
                not hasattr(torch.cpu.Stream, "record_event"), reason="this torch has no FSDP2 for the CPU"
            ),
        ),
    ],
)
def test_space_and_data(kind: str, tmp_path: Path) -> None:
    run(with_data_parallelism, (2, 2), tmp_path, kind)


class Scaled(nn.Module):
    """A module unknown to the library."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def left_alone(mesh: DeviceMesh) -> None:
    patched: Any = nn.GroupNorm(1, 4)
    patched.forward = lambda x: x
    shared = nn.Conv2d(4, 4, 3)
    model = nn.Sequential(shared, nn.ReLU(), Scaled(), patched, nn.Linear(4, 4), shared)
    rows = [line.split("  ") for line in str(parallelize(model, mesh, [Shard(2)])).splitlines()]
    assert [[cell.strip() for cell in row if cell][:3] for row in rows] == [
        ["module", "before", "after"],
        ["0", "Conv2d", "ndconv.Conv2d"],
        ["2", "Scaled", "left alone: not known here; torch's rules for DTensors hold"],
        ["3", "GroupNorm", "left alone: a forward of its own"],
        ["4", "Linear", "left alone: not known here; torch's rules for DTensors hold"],
        ["1 of 4 layers changed"],
    ]
    assert model[0] is model[5]
    assert model[0].weight is model[5].weight
    for wrong, error, message in (
        ([Shard(1)], NotImplementedError, "parallelize: placements may be sharded along batch and spatial axes"),
        ([Shard(2), Shard(3)], ValueError, "parallelize: placements must be one per dimension of the mesh, 1"),
    ):
        with pytest.raises(error, match=message):
            parallelize(nn.Conv2d(1, 1, 1), mesh, wrong)
    with pytest.raises(TypeError, match="parallelize: placements must be one per dimension of the mesh, but are Shard"):
        parallelize(nn.Conv2d(1, 1, 1), mesh, Shard(2))  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="local_slices: placements must count axes from the front"):
        local_slices((2, 3, 5, 4), mesh, [Shard(-1)])
    with pytest.raises(ValueError, match="parameters must have shapes, but weight, bias have none yet"):
        parallelize(ndconv.LazyConv2d(4, 3), mesh, [Shard(2)])
    with pytest.raises(TypeError, match="model must be a"):
        parallelize(nn.Conv2d, mesh, [Shard(2)])  # type: ignore[arg-type]
    rank = dist.get_rank()
    assert local_slices((2, 3, 5, 4), mesh, [Shard(2)])[2] == slice(3 * rank, min(5, 3 * rank + 3))
    assert local_slices((2, 3, 5, 4), mesh, [Replicate()]) == tuple(slice(0, size) for size in (2, 3, 5, 4))
    with pytest.raises(ValueError, match=r"from_local: local must have shape \(2, 3, [32], 4\)"):
        from_local(torch.rand(2, 3, 1, 4), (2, 3, 5, 4), mesh, [Shard(2)])
    with pytest.raises(ValueError, match="placements must shard axes below 4"):
        local_slices((2, 3, 5, 4), mesh, [Shard(4)])


def test_what_is_left_alone_is_told_and_mistakes_are_refused(tmp_path: Path) -> None:
    run(left_alone, (2,), tmp_path)
