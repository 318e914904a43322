"""
A volume that no process has whole
==================================

The vessel of :ref:`the page before <sphx_glr_gallery_volume.py>`, cut into three slabs. Three processes smooth and
differentiate it, each its own slab, with kernels of 13 elements: every convolution along the cut axis reads six rows of
a neighbour, by a halo exchange. Where the volume ends it is reflected. The cuts leave no trace: all bits are those of
one process."""

import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard

import ndconv
from ndconv.distributed import from_local, local_slices

PROCESSES, SIZE = 3, (1, 1, 64, 64, 64)

torch.manual_seed(0)
z, y, x = torch.meshgrid(*[torch.linspace(-1, 1, 64)] * 3, indexing="ij")
tube = torch.exp(
    -((x - 0.6 * torch.cos(5 * z)) ** 2 + (y - 0.6 * torch.sin(5 * z)) ** 2) / 0.005
)
scan = (tube + 0.6 * torch.randn(64, 64, 64))[None, None]

offsets = torch.arange(-6, 7).float()
gauss = torch.exp(-(offsets**2) / (2 * 2.0**2))
gauss = gauss / gauss.sum()
curvature = gauss * (offsets**2 - 4) / 16


def laplacian(volume):
    total = 0
    for axis in range(3):
        part = volume
        for other in range(3):
            shape = [1] * 5
            shape[2 + other] = 13
            kernel = (curvature if other == axis else gauss).view(shape)
            part = ndconv.functional.conv3d(
                part, kernel, padding="same", padding_mode="reflect"
            )
        total = total + part
    return total


# %%
# The function is the same for a tensor and for a DTensor. Each process takes its slab, computes, and saves what it has.


def on_one_of_them(folder):
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (PROCESSES,))
    part = local_slices(SIZE, mesh, [Shard(2)])
    slab = from_local(scan[part], SIZE, mesh, [Shard(2)])
    if dist.get_rank() == 1:
        print(ndconv.plan(slab, (1, 1, 13, 1, 1), padding="same").shards)
    torch.save(laplacian(slab).to_local(), folder / f"{dist.get_rank()}.pt")
    dist.destroy_process_group()


if dist.is_torchelastic_launched():
    on_one_of_them(Path(sys.argv[1]))
    sys.exit()

# %%
# Started alone, this file starts three copies of itself, and puts the parts together again.

with tempfile.TemporaryDirectory() as folder:
    launch = ["torch.distributed.run", "--nproc-per-node", str(PROCESSES), sys.argv[0]]
    run = subprocess.run(
        [sys.executable, "-m", *launch, folder], capture_output=True, text=True
    )
    if run.returncode:
        raise RuntimeError(run.stderr)
    print(run.stdout)
    parts = [torch.load(Path(folder) / f"{rank}.pt") for rank in range(PROCESSES)]

alone = laplacian(scan)
together = torch.cat(parts, 2)
print("elements that differ from one process:", int((together != alone).sum()))

fig, axes = plt.subplots(1, 5, figsize=(10, 3.2), width_ratios=(3, 1.2, 1.2, 1.2, 3))
axes[0].imshow(scan[0, 0].amax(1).T, cmap="magma")
axes[0].set_title("the scan")
low, high = (-alone).amax((0, 1, 3)).aminmax()
for ax, part, rank in zip(axes[1:4], parts, range(PROCESSES), strict=True):
    ax.imshow((-part)[0, 0].amax(1).T, cmap="magma", vmin=low, vmax=high)
    ax.set_title(f"process {rank}")
axes[4].imshow((-together)[0, 0].amax(1).T, cmap="magma", vmin=low, vmax=high)
axes[4].set_title("together")
for ax in axes:
    ax.set_axis_off()
fig.suptitle("Found by three processes, each in its slab")
plt.show()
