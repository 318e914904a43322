r"""
The gradient of the input
=========================

Of the three sums this is the one that people get wrong. We know it from the regression already: an input element
collects from every window that contains it.

.. math:: \operatorname{grad}_{x,i} = \sum_{o + k = i} g_o \, w_k

The pairs :math:`(o, k)` with :math:`o + k = i` are given by :math:`k` alone, since :math:`o = i - k`:

.. math:: \operatorname{grad}_{x,i} = \sum_k w_k \; g_{i-k}

The minus sign turns the kernel around: as :math:`k` grows, :math:`g` is read backwards. And it makes the convolution
*full*: :math:`i - k` runs beyond both ends of :math:`g`, by :math:`K - 1` on each side, where we let :math:`g` be zero.
So: pad the output gradient with :math:`K - 1` zeros on both sides, turn the kernel, convolve.
"""

import torch
from torch.nn.functional import conv1d, conv2d, pad

g = torch.tensor([1.0, 2, 0, -1]).view(1, 1, 4)
w = torch.tensor([1.0, 0, -1]).view(1, 1, 3)

grad_x = conv1d(pad(g, (2, 2)), w.flip(2))
print(grad_x)

# %%
# These are the numbers that the regression on windows gave.

# sphinx_gallery_start_ignore
import figures
import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 3, figsize=(7.2, 1.7), width_ratios=[8, 3, 6])
figures.cells(axes[0], pad(g, (2, 2))[0], "g, padded by K − 1", frame=[(0, 1, 1, 3)])
figures.cells(axes[1], w.flip(2)[0], "w, turned")
figures.cells(axes[2], grad_x[0], "gradient of x", columns="i", frame=[(0, 1, 1, 1)])
figures.say(
    fig,
    "The padded output gradient, the turned kernel, and the six numbers of the input gradient",
)
plt.show()
# sphinx_gallery_end_ignore

# %%
# A layer
# -------
#
# With channels, the sum is over output channels now, because the gradient has those of the input:
#
# .. math:: \operatorname{grad}_{x,\,ncij} = \sum_{d,k,l} w_{dckl} \; g_{n,d,\,i-k,\,j-l}
#
# In the code, the kernel turns along both of its axes and its two channel axes change places.

torch.manual_seed(0)
x = torch.randint(-4, 5, (2, 3, 6, 7)).double().requires_grad_()
w = torch.randint(-4, 5, (5, 3, 3, 2)).double()
y = conv2d(x, w)
g = torch.randint(-4, 5, y.shape).double()

grad_x = conv2d(pad(g, (1, 1, 2, 2)), w.flip(2, 3).transpose(0, 1))
print(torch.equal(grad_x, torch.autograd.grad(y, x, g)[0]))

# %%
# Without turning anything
# ------------------------
#
# There is a second way to read the same sum. First compute a gradient for every *window element*, by the rule of the
# first chapter as an einsum. Then put every window back where it was taken from, and add what overlaps. This second
# step is the transpose of unfold: *fold*.

window_gradients = torch.einsum("dckl,ndop->ncklop", w, g)
added = torch.zeros_like(x)
for k in range(3):
    for l in range(2):
        added[:, :, k : k + 4, l : l + 6] += window_gradients[:, :, k, l]
print(torch.equal(added, grad_x))

# %%
# This form needs no turned kernel, no padding, and, as the next chapter shows, no zeros between the elements where
# there is a stride. It is what ndconv does. Slices are added in a fixed order, never two at once, so the same call
# gives the same bits. A page shows which element goes where.
# `And yours? <../try.html#input=2,3,6,7&out_channels=5&kernel_size=3,2>`__

import ndconv

print(torch.equal(ndconv.grad.conv2d_input(x.shape, w, g), grad_x))
print(ndconv.plan(x, w).grad_input.equation)
