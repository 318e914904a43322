"""Two processes over gloo train as one does: DDP and FSDP2, parameters equal after three steps."""

from __future__ import annotations

import copy
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

import ndconv

STEPS, PROCESSES = 3, 2


def network() -> nn.Sequential:
    """With 1x1 convolutions: DDP used to find their gradients with other strides than the weight."""
    torch.manual_seed(0)
    return nn.Sequential(
        ndconv.Conv2d(3, 8, 3, padding=1, padding_mode="circular"),
        nn.ReLU(),
        ndconv.Conv2d(8, 8, 1, groups=2),
        nn.ReLU(),
        ndconv.ConvTranspose2d(8, 4, 2, stride=2),
    ).double()


def batches() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        yield torch.randn(4, 3, 6, 5, generator=generator, dtype=torch.float64)


def train(model: nn.Module, mine: slice) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for batch in batches():
        optimizer.zero_grad()
        model(batch[mine]).square().mean().backward()
        optimizer.step()


def worker(rank: int, folder: str, kind: str, layout: torch.memory_format) -> None:
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", ".*barrier.*|.*device_id.*|.*c10d.*", UserWarning)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=PROCESSES)
    try:
        model: Any = network()
        model = model.to(memory_format=layout)
        if kind == "ddp":
            model = DistributedDataParallel(model)
        else:
            for layer in model:
                if isinstance(layer, nn.modules.conv._ConvNd):
                    fully_shard(layer)
            fully_shard(model)
        share = 4 // PROCESSES
        train(model, slice(rank * share, (rank + 1) * share))
        whole = {
            name.removeprefix("module."): value.full_tensor() if isinstance(value, DTensor) else value.detach()
            for name, value in model.named_parameters()
        }
        if rank == 0:
            torch.save({name: value.contiguous() for name, value in whole.items()}, os.path.join(folder, "result"))
        dist.barrier()  # or the process that ends first may take the other's connection with it
    finally:
        dist.destroy_process_group()
    sys.stderr.flush()
    os._exit(0)  # FSDP over gloo leaves threads behind that an orderly end may trip over


@pytest.mark.skipif(not dist.is_gloo_available(), reason="this torch was built without gloo")
@pytest.mark.parametrize(
    ("kind", "layout"),
    [
        pytest.param("ddp", torch.contiguous_format, id="ddp"),
        pytest.param("ddp", torch.channels_last, id="ddp-channels_last"),
        pytest.param(
            "fsdp2",
            torch.contiguous_format,
            id="fsdp2",
            marks=pytest.mark.skipif(
                not hasattr(torch.cpu.Stream, "record_event"), reason="this torch has no FSDP2 for the CPU"
            ),
        ),
    ],
)
def test_two_processes_train_as_one(kind: str, layout: torch.memory_format, tmp_path: Path) -> None:
    context: Any = spawn(worker, (str(tmp_path), kind, layout), nprocs=PROCESSES, join=False)
    end = time.monotonic() + 120
    while not context.join(timeout=5):
        if time.monotonic() > end:
            for process in context.processes:
                process.kill()
            pytest.fail("the processes do not end")
    alone = copy.deepcopy(network())
    train(alone, slice(None))
    for name, value in torch.load(tmp_path / "result").items():
        torch.testing.assert_close(value, alone.state_dict()[name], rtol=1e-9, atol=1e-12)
