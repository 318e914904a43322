"""
Edge filters on a photograph
============================

The photograph comes with scikit-learn. Sobel's two kernels take the differences of brightness across and along. Each
colour is filtered by itself, by ``groups``.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_sample_image

import ndconv

photo = torch.tensor(load_sample_image("china.jpg")).permute(2, 0, 1).float() / 255

across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
sobel = torch.stack([across, across.T])[:, None].repeat(
    3, 1, 1, 1
)  # two filters for each of three colours

edges = ndconv.functional.conv2d(
    photo, sobel, padding="same", groups=3, padding_mode="replicate"
)
edges = edges.view(3, 2, *photo.shape[1:])
print(edges.shape, "colour, direction, row, column")

# %%
# The strength of an edge is the length of the gradient, its direction the angle.

strength = edges.square().sum((0, 1)).sqrt()
angle = torch.atan2(edges[:, 1].sum(0), edges[:, 0].sum(0))

fig, axes = plt.subplots(2, 2, figsize=(8, 5.6))
axes[0, 0].imshow(photo.permute(1, 2, 0))
axes[0, 0].set_title("the photograph")
axes[0, 1].imshow(edges[:, 0].sum(0), cmap="RdBu", vmin=-4, vmax=4)
axes[0, 1].set_title("differences across")
axes[1, 0].imshow(strength, cmap="magma", vmax=4)
axes[1, 0].set_title("strength of edges")
axes[1, 1].imshow(angle, cmap="twilight", alpha=(strength / 2).clamp(0, 1).numpy())
axes[1, 1].set_title("their direction, as a colour")
for ax in axes.flat:
    ax.set_axis_off()
fig.suptitle("A temple roof and the edges that Sobel's filters find in it")
plt.show()
