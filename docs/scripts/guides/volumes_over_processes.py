"""
Volumes over several processes
==============================

A volume that is too large for one device is cut along its spatial axes, and every process keeps a part. Convolutions
then need a few rows of their neighbours: a *halo exchange*. ndconv's functions and modules take the DTensors of
`torch.distributed.tensor <https://docs.pytorch.org/docs/stable/distributed.tensor.html>`_ that are cut in this way.
They support any kernel, stride, dilation, padding, padding mode, groups and number of axes, transposed or not. The
result has the bits that one process gives.

This page is a program for several processes. Started alone, it starts two copies of itself; each of them runs what
follows."""

import subprocess
import sys

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

import ndconv
from ndconv.distributed import from_local, local_slices, parallelize

SIZE = (1, 1, 24, 20, 20)
PLACEMENTS = [Shard(2)]


def say(*words):
    """Print once, and not once per process."""
    if dist.get_rank() == 0:
        print(*words)


# %%
# A loader that reads its part alone
# ----------------------------------
#
# `local_slices` tells which part of a volume a process has. Index a memory map, Zarr or HDF5 with it. Here the volume
# is computed, each part in its own process.


def load(step, mesh):
    part = local_slices(SIZE, mesh, PLACEMENTS)
    z, y, x = (torch.linspace(-1, 1, n) for n in SIZE[2:])
    z, y, x = torch.meshgrid(z[part[2]], y[part[3]], x[part[4]], indexing="ij")
    center = 0.3 * torch.tensor(float(step)).sin()
    ball = ((x - center) ** 2 + y**2 + z**2 < 0.4).float()
    noisy = ball + (43758.5 * (13 * x + 78 * y + 38 * z + step).sin()).frac()
    return (from_local(v[None, None], SIZE, mesh, PLACEMENTS) for v in (noisy, ball))


# %%
# A network, made for it
# ----------------------
#
# `parallelize` changes a model in place: convolutions, norms, pooling and upsampling take shards, and parameters become
# replicated DTensors. It returns what changed, and what it left alone because it does not know it.


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv3d(1, 8, 3, padding=1, bias=False),
        torch.nn.BatchNorm3d(8),
        torch.nn.ReLU(),
        torch.nn.MaxPool3d(2),
        torch.nn.Conv3d(8, 8, 3, padding=2, dilation=2, padding_mode="replicate"),
        torch.nn.ReLU(),
        torch.nn.ConvTranspose3d(8, 8, 4, stride=2, padding=1),
        torch.nn.Conv3d(8, 1, 1),
    )


def train(model, batch):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(10):
        optimizer.zero_grad()
        noisy, ball = batch(step)
        loss = torch.nn.functional.mse_loss(model(noisy), ball)
        loss.backward()
        optimizer.step()
        yield loss.full_tensor().item() if isinstance(loss, DTensor) else loss.item()


# %%
# What is sent is known before
# ----------------------------
#
# ``plan`` of a DTensor tells what this process sends and receives. The backward exchanges the gradient of the output,
# once for both gradients; no partial gradient is ever sent and added up, so the result does not depend on where the
# cuts are.


def main():
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    model = network()
    say(parallelize(model, mesh, PLACEMENTS))

    noisy, _ = load(0, mesh)
    say("\n", ndconv.plan(noisy, model[0].weight, padding=1).shards)

    whole = network()  # every process, for comparison, on all of it
    sharded = train(model, lambda step: load(step, mesh))
    alone = train(whole, lambda step: [v.full_tensor() for v in load(step, mesh)])
    say("\nloss of two processes, of one, and their difference")
    for a, b in zip(sharded, alone, strict=True):
        say(f"{a:.6f}  {b:.6f}  {abs(a - b):.0e}")
    dist.destroy_process_group()


# %%
# Batch norm sums over all processes, in an order of its own, so the losses agree to rounding. Convolutions alone give
# the same bits in outputs and gradients of the input, wherever a shard takes the lowering of the whole. The gradient of
# the weight agrees to one rounding, because its sum over processes has another order.

if dist.is_torchelastic_launched():
    main()
else:
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", sys.argv[0]]
    run = subprocess.run([sys.executable, *launch], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(run.stderr)
    print(run.stdout)

# %%
# With data parallelism besides
# -----------------------------
#
# Space takes one dimension of the mesh, data another. `parallelize` gets the dimension for space, and FSDP2 the other:
#
# .. code-block:: python
#
#    mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("data", "space"))
#    parallelize(model, mesh["space"], [Shard(2)])
#    torch.distributed.fsdp.fully_shard(model, mesh=mesh["data"])
#
# `DistributedDataParallel` wants plain parameters: pass ``distribute_parameters=False``, and the process group of
# ``mesh["data"]``. Convolutions and norms give plain parameters plain gradients, already added up over space.
#
# Checkpoints are the same as on one process: names do not change, and every process has every parameter.
#
# What does not go
# ----------------
#
# Channels may not be sharded, nor one axis over two dimensions of the mesh: this raises `NotImplementedError` on all
# processes, before anything is sent. DTensors have no forward-mode derivatives and no ``vmap``. Statistics of gradients
# and `ndconv.functional.unfoldnd` take plain tensors only. Everything was run over gloo; NCCL has not been tried.
