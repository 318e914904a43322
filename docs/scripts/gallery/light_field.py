"""
Refocusing a light field
========================

A light field is an image from every place of a small window: four axes, two for the place and two for the pixel. Near
objects move more from place to place than far ones. Shift every image by its place times a number, and take the mean:
objects that move by that number are sharp. So one photograph becomes many, focused at any depth, after it was taken.

Shift and mean are linear and the same everywhere, so they are a convolution: a 4-D one.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_sample_image

import ndconv

far, near = (
    torch.tensor(load_sample_image(name)).float().mean(2)[40:400:3, 80:560:3] / 255
    for name in ("china.jpg", "flower.jpg")
)

# %%
# Two layers of 120 x 160 pixels, seen from 5 x 5 places: the far one stays where it is. The near one, a disk cut out of
# another photograph, moves by two pixels from place to place.

places = 5
rows, columns = torch.meshgrid(torch.arange(120.0), torch.arange(160.0), indexing="ij")
disk = ((rows - 60) ** 2 + (columns - 80) ** 2 < 38**2).float()


def view(v, u):
    shift = (2 * (v - places // 2), 2 * (u - places // 2))
    moved, mask = (layer.roll(shift, (0, 1)) for layer in (near, disk))
    return mask * moved + (1 - mask) * far


field = torch.stack(
    [torch.stack([view(v, u) for u in range(places)]) for v in range(places)]
)
print(field.shape, "place v, place u, row, column")

# %%
# The kernel is nonzero where the shift of a place leads. Three depths are three output channels.

kernel = torch.zeros(3, 1, places, places, 9, 9)
for depth in range(3):
    for v in range(places):
        for u in range(places):
            kernel[depth, 0, v, u, 4 + depth * (v - 2), 4 + depth * (u - 2)] = (
                1 / places**2
            )

padding = ((0, 0), (0, 0), (4, 4), (4, 4))
focused = ndconv.functional.convnd(
    field[None, None], kernel, padding=padding, padding_mode="replicate"
)
print(focused.shape)

fig, axes = plt.subplots(1, 3, figsize=(8.4, 2.6))
for ax, image, depth in zip(
    axes, focused[0, :, 0, 0], ("far", "between", "near"), strict=True
):
    ax.imshow(image)
    ax.set_title(f"focused {depth}")
    ax.set_axis_off()
fig.suptitle("One light field, focused at three depths by one 4-D convolution")
plt.show()
