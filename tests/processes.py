"""Several gloo processes that run one function on a mesh, and report errors in any of them to the test."""

from __future__ import annotations

import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.placement_types import Placement
from torch.multiprocessing.spawn import spawn

Ints = tuple[int, ...]
PATIENCE = 10
"""Seconds that a process waits for the others."""


def run(function: Callable[..., None], mesh: Ints, folder: Path, *arguments: Any, seconds: float = 300) -> None:
    """Call ``function(mesh, *arguments)`` on each process of a mesh; fail with the error of one of them."""
    given = (str(folder), mesh, function, arguments)
    context: Any = spawn(_worker, given, nprocs=math.prod(mesh), join=False)
    end = time.monotonic() + seconds
    while not context.join(timeout=5):
        if time.monotonic() > end:
            for process in context.processes:
                process.kill()
            pytest.fail("the processes do not end")


def _worker(rank: int, folder: str, shape: Ints, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", ".*barrier.*|.*device_id.*|.*c10d.*", UserWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=math.prod(shape),
        timeout=timedelta(seconds=PATIENCE * 6),
    )
    names = ("one", "two", "three")[: len(shape)]
    function(init_device_mesh("cpu", shape, mesh_dim_names=names), *arguments)
    dist.barrier()  # or the process that ends first may take the other's connection with it
    sys.stdout.flush()
    os._exit(0)  # gloo leaves threads behind that an orderly end may trip over


def sharded(tensor: torch.Tensor, mesh: Any, placements: Sequence[Placement]) -> DTensor:
    """A DTensor from a whole tensor that every process has; nothing is sent."""
    return distribute_tensor(tensor.detach(), mesh, placements, src_data_rank=None)


def replicated(tensor: torch.Tensor, mesh: Any) -> DTensor:
    """The same, replicated."""
    return sharded(tensor, mesh, [Replicate()] * mesh.ndim)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The whole tensor of a DTensor; a plain tensor as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


__all__ = ["PATIENCE", "Replicate", "Shard", "replicated", "run", "sharded", "whole"]
