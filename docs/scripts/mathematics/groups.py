r"""
Groups
======

With :math:`g` groups the channels are split into :math:`g` independent parts. Give the group an index of its own, in
all three tensors, and never sum it:

.. math:: y_{n\,g\,d\,o} = \sum_{c,k} x_{n\,g\,c\,i} \; w_{g\,d\,c\,k}

That is the letter ``g`` in every equation so far. torch writes the pair :math:`(g, c)` as one axis of channels, and
:math:`(g, d)` likewise, so the two notations differ by a reshape.
"""

import torch

import ndconv

torch.manual_seed(0)
x = torch.randint(-4, 5, (2, 6, 9)).double()
w = torch.randint(-4, 5, (9, 2, 3)).double()

windows = x.view(2, 3, 2, 9).unfold(3, 3, 1)
y = torch.einsum("ngcok,gdck->ngdo", windows, w.view(3, 3, 2, 3)).flatten(1, 2)
print(torch.equal(y, ndconv.functional.conv1d(x, w, groups=3)))

# %%
# As one large kernel it would be mostly zeros. At each :math:`k` that kernel is block diagonal, and a program that
# multiplies by all of it multiplies :math:`g` times too often.

dense = torch.zeros(9, 6, 3).double()
for group in range(3):
    dense[3 * group : 3 * group + 3, 2 * group : 2 * group + 2] = w[
        3 * group : 3 * group + 3
    ]
print(torch.equal(ndconv.functional.conv1d(x, dense), y))

# %%
# At :math:`k = 0`, one group and three:

# sphinx_gallery_start_ignore
import figures
import matplotlib.pyplot as plt

one = torch.randint(-4, 5, (9, 6)).double()
fig, axes = plt.subplots(1, 3, figsize=(7.2, 3.4), width_ratios=[6, 6, 2])
figures.cells(
    axes[0], one, "groups = 1", rows="output channel", columns="input channel"
)
blocks = [(0, 0, 3, 2), (3, 2, 3, 2), (6, 4, 3, 2)]
figures.cells(
    axes[1], dense[:, :, 0], "groups = 3", columns="input channel", frame=blocks
)
figures.cells(axes[2], w[:, :, 0], "as stored")
figures.say(
    fig,
    "A full matrix of channels, a block diagonal one with three blocks, and the three blocks as they are stored",
)
plt.show()
# sphinx_gallery_end_ignore

# %%
# The gradients need nothing new. :math:`g` is in all three tensors, so it stays where it is when another slot is left
# open. Their programs need nothing new either.
# `And yours? <../try.html#input=2,6,9&out_channels=9&kernel_size=3&groups=3>`__

g = torch.randint(-4, 5, y.shape).double()
grad_w = torch.einsum("ngcok,ngdo->gdck", windows, g.view(2, 3, 3, 7)).flatten(0, 1)
print(torch.equal(grad_w, ndconv.grad.conv1d_weight(x, w.shape, g, groups=3)))

# %%
# A batch of problems is groups
# -----------------------------
#
# An index that is never summed can stand for anything. Let it count *samples*, and the gradient of the weight comes out
# once for each sample; let it count *models*, and an ensemble is one convolution. ``per_sample=True`` works that way,
# and so does ``torch.func.vmap`` when both tensors are mapped.

x, g = (
    torch.randint(-4, 5, (4, 2, 9)).double(),
    torch.randint(-4, 5, (4, 3, 7)).double(),
)
apart = ndconv.grad.conv1d_weight(
    x.view(1, 8, 9), (12, 2, 3), g.view(1, 12, 7), groups=4
).view(4, 3, 2, 3)
print(torch.equal(apart, ndconv.grad.conv1d_weight(x, (3, 2, 3), g, per_sample=True)))
print(torch.equal(apart.sum(0), ndconv.grad.conv1d_weight(x, (3, 2, 3), g)))
