"""
What a gradient step does to a kernel
=====================================

The gradient of a kernel is the sum of all windows, each weighted by the error of the output there. A step subtracts it:
the kernel becomes a little less like the windows that led it astray. Here a random kernel learns to find edges, from
nothing but the wanted result."""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_sample_image

import ndconv

torch.manual_seed(0)
photo = (
    torch.tensor(load_sample_image("china.jpg")).float().mean(2)[::3, ::3][None, None]
    / 255
)
photo = (photo - photo.mean()) / photo.std()
secret = torch.tensor(
    [
        [0.0, 0, 0, 0, 0],
        [0, -1, -1, -1, 0],
        [0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]
)
wanted = ndconv.functional.conv2d(photo, secret[None, None], padding="same")

# %%
# The step, written out. ``error`` is the gradient of half the mean square, and `ndconv.grad.conv2d_weight` correlates
# it with the windows.

kernel = 0.3 * torch.randn(1, 1, 5, 5)
history = []
for _ in range(401):
    error = (
        ndconv.functional.conv2d(photo, kernel, padding="same") - wanted
    ) / wanted.numel()
    gradient = ndconv.grad.conv2d_weight(photo, kernel.shape, error, padding="same")
    history.append(
        (kernel.clone(), gradient, 0.5 * wanted.numel() * error.square().sum().item())
    )
    kernel = kernel - 0.05 * gradient

print([f"step {step}: {history[step][2]:.4f}" for step in (0, 1, 10, 100, 400)])

# %%
# Neighbouring pixels are alike, so the first gradients are nearly flat: the mean of the kernel is corrected at once,
# its differences slowly. This is why images are whitened, and why optimizers rescale.

shown = (0, 1, 10, 100, 400)
fig, axes = plt.subplots(3, 5, figsize=(8, 5), height_ratios=[1, 1, 1.1])
for column, step in enumerate(shown):
    kernel, gradient, loss = history[step]
    axes[0, column].imshow(kernel[0, 0], cmap="RdBu", vmin=-1, vmax=1)
    axes[0, column].set_title(f"step {step}")
    scale = gradient.abs().max()
    axes[1, column].imshow(gradient[0, 0], cmap="RdBu", vmin=-scale, vmax=scale)
    axes[2, column].imshow(
        ndconv.functional.conv2d(photo, kernel, padding="same")[0, 0, 20:90, 60:150]
    )
for row, name in zip(axes, ("kernel", "gradient", "result"), strict=True):
    row[0].set_ylabel(name)
for ax in axes.flat:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
fig.suptitle(
    "A random kernel becomes an edge filter: kernel, gradient and result at five steps"
)
plt.show()
