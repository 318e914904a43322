"""
Four axes and more
==================

Functions and modules with an ``n`` in their names take any number of axes: that of the weight less two.

A light field is a picture of pictures: two axes say where the camera stood, two where the pixel is. A series of
volumes, as fMRI records it, has time and three axes of space."""

import torch

import ndconv

torch.manual_seed(0)
series = torch.randn(1, 1, 12, 16, 20, 16)  # sample, channel, time, z, y, x

# %%
# A layer
# -------
#
# ``ConvNd`` is told the number of axes first; the rest is as in ``Conv3d``. Every argument may be one number for all
# axes or one for each.

layer = ndconv.ConvNd(
    4,
    in_channels=1,
    out_channels=8,
    kernel_size=(3, 3, 3, 3),
    stride=(1, 2, 2, 2),
    padding="same",
)
print(layer)
print(layer(series).shape)

# %%
# The layer should not look ahead in time; in space it should. Padding by ``(lo, hi)`` pairs says both at once: two
# elements before the first moment and none after the last, one on each side in space.

padding = ((2, 0), (1, 1), (1, 1), (1, 1))
forecast = ndconv.ConvNd(4, 1, 8, 3, padding=padding)
later = series.clone()
later[:, :, 8:] = 0
same = torch.equal(forecast(series)[:, :, :8], forecast(later)[:, :, :8])
print("what happens from moment 8 on leaves moments 0 to 7 as they are:", same)

# %%
# Training it
# -----------
#
# A small encoder and decoder, trained to reproduce its input. Gradients, transposed convolutions and padding modes work
# for four axes as for two.

encoder = ndconv.ConvNd(4, 1, 6, 3, stride=2, padding=1, padding_mode="replicate")
decoder = ndconv.ConvTransposeNd(4, 6, 1, 4, stride=2, padding=1)
model = torch.nn.Sequential(encoder, torch.nn.Tanh(), decoder)
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)

grid = torch.meshgrid(*[torch.linspace(-2, 2, n) for n in (8, 8, 8, 8)], indexing="ij")
t, *space = grid
wave = torch.exp(-sum((axis - 0.5 * t) ** 2 for axis in space)).view(1, 1, 8, 8, 8, 8)

losses = []
for _ in range(60):
    optimizer.zero_grad()
    loss = (model(wave) - wave).square().mean()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"{losses[0]:.4f} -> {losses[-1]:.4f}")

# %%
# A blob that moves through space, at four moments, and the model's output; one slice of each volume:

import matplotlib.pyplot as plt

with torch.no_grad():
    rebuilt = model(wave)
fig, axes = plt.subplots(2, 4, figsize=(7.2, 3.8))
for column, moment in enumerate((1, 3, 4, 6)):
    for row, volume in enumerate((wave, rebuilt)):
        axes[row, column].imshow(
            volume[0, 0, moment, :, :, 4], cmap="viridis", vmin=0, vmax=1
        )
        axes[row, column].set_axis_off()
    axes[0, column].set_title(f"moment {moment}")
fig.suptitle("A moving blob in four dimensions, above, and rebuilt by the model, below")
plt.show()

# %%
# How many axes?
# --------------
#
# The equation has symbols for any number, and the tests go to eight axes. The limit is memory: a kernel of 3 has
# :math:`3^N` elements.

for ndim in (1, 2, 4, 8):
    plan = ndconv.plan((1, 1, *[4] * ndim), (1, 1, *[3] * ndim))
    print(
        ndim,
        "axes:",
        plan.output.equation,
        f"({plan.output.problem.multiply_adds} products)",
    )
