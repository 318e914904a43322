"""
A vessel in a volume
====================

A thin spiral in a noisy volume, as a vessel is in a scan. Smoothing with a Gaussian is three convolutions, each along
one axis; the second derivatives of the result are three more, and their sum is strongly negative in the middle of a
tube."""

import matplotlib.pyplot as plt
import torch

import ndconv

torch.manual_seed(0)
z, y, x = torch.meshgrid(*[torch.linspace(-1, 1, 64)] * 3, indexing="ij")
tube = torch.exp(
    -((x - 0.6 * torch.cos(5 * z)) ** 2 + (y - 0.6 * torch.sin(5 * z)) ** 2) / 0.005
)
scan = tube + 0.6 * torch.randn(64, 64, 64)

offsets = torch.arange(-6, 7).float()
gauss = torch.exp(-(offsets**2) / (2 * 2.0**2))
gauss = gauss / gauss.sum()
curvature = gauss * (offsets**2 - 4) / 16  # the second derivative of that Gaussian


def along(axis, kernel, volume):
    """Convolve a volume along one of its axes."""
    shape = [1] * 5
    shape[2 + axis] = len(kernel)
    return ndconv.functional.conv3d(
        volume, kernel.view(shape), padding="same", padding_mode="reflect"
    )


def laplacian(volume):
    parts = []
    for axis in range(3):
        part = volume
        for other in range(3):
            part = along(other, curvature if other == axis else gauss, part)
        parts.append(part)
    return sum(parts)


found = -laplacian(scan[None, None])[0, 0]
print(ndconv.plan((1, 1, 64, 64, 64), (1, 1, 13, 1, 1), padding="same").output)

# %%
# Maximum intensity projections along one axis. The correlation with the tube that was put in says how well each tells
# the tube from the rest.


def correlation(volume):
    return torch.corrcoef(torch.stack([volume.flatten(), tube.flatten()]))[0, 1].item()


fig, axes = plt.subplots(1, 3, figsize=(8, 3))
for ax, volume, name in zip(
    axes, (tube, scan, found), ("the vessel", "the scan", "found"), strict=True
):
    ax.imshow(volume.amax(1), cmap="magma")
    ax.set_title(f"{name}, correlation {correlation(volume):.2f}")
    ax.set_axis_off()
fig.suptitle("A spiral vessel, hidden in noise, and found by second derivatives")
plt.show()
