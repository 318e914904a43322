r"""
Unfold, then einsum
===================

A layer has a batch of inputs, several channels in and several out. Each adds an index and nothing else. With samples
:math:`n`, input channels :math:`c`, output channels :math:`d`, two output axes :math:`o, p` and two kernel axes
:math:`k, l`:

.. math:: y_{ndop} = \sum_{c,k,l} x_{n,c,\,o+k,\,p+l} \; w_{dckl}

First every window, as a view. No element is copied: ``unfold`` only writes down new strides.
"""

import torch

torch.manual_seed(0)
x = torch.randint(-4, 5, (2, 3, 6, 7)).double()
w = torch.randint(-4, 5, (5, 3, 3, 2)).double()

windows = x.unfold(2, 3, 1).unfold(3, 2, 1)
print(windows.shape, "indices n c o p k l")
print(windows.untyped_storage().data_ptr() == x.untyped_storage().data_ptr())

# %%
# Then the equation, letter by letter:

y = torch.einsum("ncopkl,dckl->ndop", windows, w)
print(torch.equal(y, torch.nn.functional.conv2d(x, w)))

# %%
# Other sizes, a stride or groups only change letters and numbers.
# `And yours? <../try.html#input=2,3,6,7&out_channels=5&kernel_size=3,2>`__

# %%
# The same as a matrix product
# ----------------------------
#
# Group the letters. :math:`d` stays on one side, :math:`n, o, p` on the other, and :math:`c, k, l` are summed. So it is
# one product of a matrix :math:`d \times ckl` with a matrix :math:`ckl \times nop`. The columns of the second are the
# windows laid flat, as in this picture of one small image. This is called *im2col*.

# sphinx_gallery_start_ignore
import figures
import matplotlib.pyplot as plt

import ndconv

small = torch.arange(1, 13).view(1, 1, 3, 4)
fig, axes = plt.subplots(1, 2, figsize=(7.2, 2.6), width_ratios=[4, 6])
figures.cells(
    axes[0], small[0, 0], "an image", rows="row", columns="column", frame=[(0, 1, 2, 2)]
)
figures.cells(
    axes[1],
    ndconv.functional.unfoldnd(small, 2)[0],
    "its columns",
    rows="k l",
    columns="o p",
    frame=[(0, 1, 4, 1)],
)
figures.say(
    fig,
    "An image of 3 by 4 numbers and the matrix whose columns are its six windows of 2 by 2 laid flat",
)
plt.show()
# sphinx_gallery_end_ignore

# %%
# In code:

matrix = w.flatten(1)
columns = windows.permute(1, 4, 5, 0, 2, 3).reshape(3 * 3 * 2, -1)
print(matrix.shape, "@", columns.shape)
product = (matrix @ columns).view(5, 2, 4, 6).transpose(0, 1)
print(torch.equal(product, y))

# %%
# ``columns`` is a large copy: every element of the input appears once for each window that contains it.

print(columns.numel() / x.numel())

# %%
# For a kernel of 3 x 3 that tends to 9, for 3 x 3 x 3 to 27. The *lowerings* of ndconv, its ways to compute by matrix
# products, avoid the copy or make it small enough to stay in a cache (:doc:`/guides/lowerings`). The mathematics stays
# the same.
#
# In the library
# --------------
#
# ``ndconv.functional.unfoldnd`` makes the columns for any number of axes, and the equation is generated from that
# number. A plan shows it. The letter ``g`` counts groups; there is one so far.

import ndconv

print(
    torch.equal(ndconv.functional.unfoldnd(x, (3, 2))[0], columns.view(18, 2, 24)[:, 0])
)
print(ndconv.plan(x, w).output.equation)

# %%
# The next two chapters take the two gradients from the same equation.
