"""A 3-D U-Net learns to find vessels, sharded over four processes, and once more on one of them.

``python -m torch.distributed.run --nproc-per-node 4 -m benchmarks.sharded``

Volumes are cut along two axes among 2x2 processes; no process ever has a whole volume. `ndconv.distributed.parallelize`
alone prepares the network for it. The first process also trains the same network on whole volumes with torch's own
layers. The two must follow one loss curve: in float64 to `FLOAT64_LIMIT` at every step. The bytes that convolutions
send are counted and must equal those of `ndconv.plan`.

Exits with status 1 if a check fails.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor.placement_types import Placement
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from tqdm import tqdm

import ndconv.distributed
from benchmarks.console import table
from benchmarks.memory import peak_bytes

FLOAT64_LIMIT = 1e-10
BATCH, SIZE, LEVELS = 2, 32, (8, 16, 32)
PLACEMENTS: tuple[Placement, ...] = (Shard(2), Shard(3))


class Block(nn.Sequential):
    """Two convolutions with a norm and a ReLU each."""

    def __init__(self, before: int, after: int) -> None:
        layers: list[nn.Module] = []
        for channels in (before, after):
            layers += [nn.Conv3d(channels, after, 3, padding=1, bias=False), nn.GroupNorm(4, after), nn.ReLU()]
        nn.Sequential.__init__(self, *layers)


class UNet(nn.Module):
    """Down by pooling, up by nearest neighbours, with skip connections: torch's layers and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        first, *deeper = LEVELS
        self.start = Block(1, first)
        self.pool, self.up = nn.MaxPool3d(2), nn.Upsample(scale_factor=2)
        self.down = nn.ModuleList(Block(a, b) for a, b in zip(LEVELS, deeper, strict=False))
        self.back = nn.ModuleList(Block(a + b, a) for a, b in zip(LEVELS, deeper, strict=False))
        self.last = nn.Conv3d(first, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """One number per voxel: the log-odds that it lies in a vessel."""
        kept = [self.start(x)]
        for block in self.down:
            kept.append(block(self.pool(kept[-1])))
        x = kept.pop()
        for block in reversed(self.back):
            x = block(torch.cat([kept.pop(), self.up(x)], 1))
        result: Tensor = self.last(x)
        return result


def vessels(step: int, part: tuple[slice, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Spirals in noise, and their places: the part of ``(BATCH, 1, SIZE, SIZE, SIZE)`` that is asked for."""
    scans, labels = [], []
    for sample in range(BATCH)[part[0]]:
        generator = torch.Generator().manual_seed(step * BATCH + sample)
        turns, phase, radius, tilt = torch.rand(4, generator=generator).tolist()
        line = torch.linspace(-1, 1, SIZE, dtype=torch.float64)
        z, y, x = torch.meshgrid(*(line[axis] for axis in part[2:]), indexing="ij")
        angle = (3 + 3 * turns) * z + 6 * phase
        distance = (x - (0.4 + 0.3 * radius) * angle.cos() - 0.2 * tilt) ** 2 + (y - 0.6 * angle.sin()) ** 2
        # Noise depends on the place alone, so that a part needs no other part.
        noise = (43758.5453 * (12.9898 * x + 78.233 * y + 37.719 * z + step + sample).sin()).frac()
        scans.append(torch.exp(-distance / 0.02) + 0.8 * noise)
        labels.append((distance < 0.03).double())
    return torch.stack(scans)[:, None].to(dtype), torch.stack(labels)[:, None].to(dtype)


class Sent(TorchDispatchMode):
    """Bytes that this process gives to all-to-alls, to all-reduces, and to all collectives."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.exchanged = self.summed = self.everything = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(each, DTensor) for each in types):
            return NotImplemented
        name = str(func)
        if "c10d" in name and "wait" not in name:
            tensors = [each for each in tree_leaves(args) if isinstance(each, Tensor)]
            self.everything += sum(each.nbytes for each in tensors)
        if "all_to_all" in name:
            self.exchanged += args[0].nbytes
        elif "c10d_functional.all_reduce" in name:
            self.summed += args[0].nbytes
        return func(*args, **(kwargs or {}))


@dataclass
class Trainee:
    """A network in training."""

    model: nn.Module
    dtype: torch.dtype
    mesh: DeviceMesh | None = None
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model.to(self.dtype)
        if self.mesh is not None:
            self.changes = ndconv.distributed.parallelize(self.model, self.mesh, PLACEMENTS)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-3)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Scans and labels: whole, or shards that each process makes for itself."""
        size = (BATCH, 1, SIZE, SIZE, SIZE)
        if self.mesh is None:
            return vessels(step, tuple(slice(0, length) for length in size), self.dtype)
        part = ndconv.distributed.local_slices(size, self.mesh, PLACEMENTS)
        scan, label = (
            ndconv.distributed.from_local(each, size, self.mesh, PLACEMENTS) for each in vessels(step, part, self.dtype)
        )
        return scan, label

    def loss(self, step: int) -> Tensor:
        """The mean over all voxels."""
        scan, label = self.batch(step)
        loss = binary_cross_entropy_with_logits(self.model(scan), label)
        return loss.full_tensor() if isinstance(loss, DTensor) else loss

    def step(self, step: int) -> None:
        """Take one step of gradient descent."""
        start = time.perf_counter()
        self.optimizer.zero_grad()
        loss = self.loss(step)
        loss.backward()
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - start)
        self.losses.append(loss.item())

    def memory(self) -> tuple[int, int]:
        """Bytes that a forward keeps for the backward, and the peak of both, beyond parameters."""
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            if not isinstance(tensor, nn.Parameter):
                local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
                kept[local.untyped_storage().data_ptr()] = local.nbytes
            return tensor

        def run() -> None:
            self.loss(0).backward()

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            run()
        peak = peak_bytes(run, "cpu")
        self.optimizer.zero_grad()
        return sum(kept.values()), peak

    def traffic(self) -> tuple[int, Sent]:
        """Bytes that convolutions send in a forward and a backward, by their plans, and the bytes sent."""
        planned = 0

        def tell(layer: Any, inputs: tuple[Tensor, ...]) -> None:
            nonlocal planned
            planned += layer.plan(inputs[0]).shards.bytes_sent

        layers = [layer for layer in self.model.modules() if isinstance(layer, _ConvNd)]
        hooks = [layer.register_forward_pre_hook(tell) for layer in layers]
        with Sent() as sent:
            self.loss(0).backward()
        for hook in hooks:
            hook.remove()
        self.optimizer.zero_grad()
        return planned, sent


def overlapped(sharded: Trainee, rounds: int = 8) -> float:
    """Median time with overlap by median time without."""
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        for enabled, taken in times.items():
            ndconv.distributed.set_overlap(enabled)
            dist.barrier()
            start = time.perf_counter()
            sharded.loss(0).backward()
            dist.barrier()
            taken.append(time.perf_counter() - start)
    ndconv.distributed.set_overlap(False)
    sharded.optimizer.zero_grad()
    without, with_overlap = map(median, times.values())
    return with_overlap / without


def main() -> int:
    """Train both, and compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharded", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--output", type=Path, default=Path("sharded_unet.png"), help="where the picture goes")
    arguments = parser.parse_args()
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    first = dist.get_rank() == 0
    processes = dist.get_world_size()
    if processes != 4:
        raise SystemExit(f"benchmarks.sharded needs 4 processes, but there are {processes}")
    mesh = init_device_mesh("cpu", (2, 2))
    torch.manual_seed(0)
    network = UNet()

    trained = {
        dtype: (Trainee(copy.deepcopy(network), dtype, mesh), Trainee(copy.deepcopy(network), dtype))
        for dtype in (torch.float32, torch.float64)
    }
    if first:
        print(trained[torch.float32][0].changes)
    for dtype, (sharded, alone) in trained.items():
        for step in tqdm(range(arguments.steps), f"sharded, {dtype}", disable=not first):
            sharded.step(step)
        for step in tqdm(range(arguments.steps if first else 0), f"alone, {dtype}", disable=not first):
            alone.step(step)
        dist.barrier()

    sharded, alone = trained[torch.float32]
    planned, sent = sharded.traffic()
    waiting = overlapped(sharded)
    own: list[Any] = [None] * processes
    dist.all_gather_object(own, (sharded.memory(), planned, sent.exchanged, sent.summed))
    agreed = True
    if first:
        whole = alone.memory()
        rows = [
            [
                f"process {rank}",
                *(f"{here / 2**20:.2f} ({here / there:.3f})" for here, there in zip(memory, whole, strict=True)),
                *map(str, others),
            ]
            for rank, (memory, *others) in enumerate(own)
        ]
        rows.append(["alone", *(f"{each / 2**20:.2f}" for each in whole), "", "", ""])
        print(table(["", "kept, MiB", "peak, MiB", "planned, B", "exchanged, B", "added up, B"], rows))
        gaps = {
            dtype: max(abs(a - b) for a, b in zip(one.losses, other.losses, strict=True))
            for dtype, (one, other) in trained.items()
        }
        print(f"a forward and backward that computes while rows are on their way takes {waiting:.2f} of the time")
        for dtype, gap in gaps.items():
            print(f"losses in {dtype} are at most {gap:.2g} apart over {arguments.steps} steps")
        draw(trained, alone, [memory[0] for memory, *_ in own], whole[0], arguments.output)
        print(f"picture: {arguments.output}")
        agreed = gaps[torch.float64] < FLOAT64_LIMIT and all(plan == bytes_ for _, plan, bytes_, _ in own)
        print("as it must be" if agreed else "NOT as it must be")
    dist.barrier()
    dist.destroy_process_group()
    return 0 if agreed else 1


def draw(
    trained: dict[torch.dtype, tuple[Trainee, Trainee]], alone: Trainee, memory: list[int], whole: int, path: Path
) -> None:
    """Loss curves, a scan with the vessels found in it, and memory."""
    scan, label = alone.batch(0)
    with torch.no_grad():
        found = alone.model(scan).sigmoid()
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    parts: Any = figure.subfigures(2, 1)
    top, bottom = parts
    curves, bars = top.subplots(1, 2, width_ratios=(2, 1))
    for (dtype, pair), style in zip(trained.items(), ("-", "--"), strict=True):
        for trainee, color, width in zip(pair, ("tab:blue", "tab:orange"), (3, 1), strict=True):
            name = f"{'four processes' if trainee.mesh else 'one process'}, {str(dtype).removeprefix('torch.')}"
            curves.plot(trainee.losses, style, color=color, linewidth=width, label=name)
    curves.set(xlabel="step", ylabel="loss", title="One loss curve")
    curves.legend()
    bars.bar([*map(str, range(len(memory))), "alone"], [each / 2**20 for each in (*memory, whole)])
    bars.set(xlabel="process", ylabel="MiB", title="Kept for the backward")
    views = bottom.subplots(1, 3)
    pictures = {"scan": scan, "found": found, "truth": label}
    for axes, (name, volume) in zip(views, pictures.items(), strict=True):
        axes.imshow(volume[0, 0].amax(2), cmap="magma")
        axes.axvline(SIZE / 2 - 0.5, color="white", linewidth=0.8)
        axes.axhline(SIZE / 2 - 0.5, color="white", linewidth=0.8)
        axes.set_title(name)
        axes.set_axis_off()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
