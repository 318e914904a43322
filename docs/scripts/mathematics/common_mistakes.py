r"""
Common mistakes
===============

Code for convolution gradients is copied from page to page, and its mistakes with it. Here are the most common ones,
each with its effect, the answer of ndconv, and the right form."""

from textwrap import fill

import torch

import ndconv

torch.manual_seed(0)
x = torch.randint(-4, 5, (2, 3, 8)).double()
w = torch.randint(-4, 5, (5, 3, 3)).double()


def answer(call, *arguments, **options):
    """Print what a call raises, or the shape of what it returns."""
    try:
        print("returns", tuple(call(*arguments, **options).shape))
    except Exception as error:
        print(fill(f"{type(error).__name__}: {error}", 84, subsequent_indent="    "))


# %%
# A backward that forgets the unfold
# ----------------------------------
#
# The forward unfolds and multiplies; the backward remembers only :math:`\operatorname{grad}_W = G X^\top` and
# multiplies with the raw input. With padding "same" input and output are equally long, so it runs:

y = ndconv.functional.conv1d(x, w, padding="same")
g = torch.randint(-4, 5, y.shape).double()

wrong = torch.einsum("ndo,nco->dc", g, x)
print(tuple(wrong.shape), "for a weight of", tuple(w.shape))

# %%
# It lacks the kernel axis. Where a :func:`view <torch.Tensor.view>` or a broadcast mends the shape, nobody notices. It
# computes the middle element of the kernel's gradient, and none of the others. The :math:`X` of the rule is the matrix
# of windows, because windows were multiplied:

windows = torch.nn.functional.pad(x, (1, 1)).unfold(2, 3, 1)
right = torch.einsum("ndo,ncok->dck", g, windows)
print(torch.equal(right[:, :, 1], wrong), torch.equal(right[:, :, 0], wrong))
print(torch.equal(right, ndconv.grad.conv1d_weight(x, w.shape, g, padding="same")))

# %%
# A caller who passes the wrong shape gets an error:

answer(ndconv.grad.conv1d_weight, x, (5, 3), g, padding="same")

# %%
# A gradient that no input can have
# ---------------------------------
#
# ``conv2d_input`` takes the size of an input and the gradient of an output. The two are tied: here an input of 8 x 8
# has an output of 3 x 3, not of 4 x 4.

kernel = torch.ones(1, 1, 3, 3)
above = torch.ones(1, 1, 4, 4)
answer(torch.nn.grad.conv2d_input, (1, 1, 8, 8), kernel, above, stride=2)
answer(ndconv.grad.conv2d_input, (1, 1, 8, 8), kernel, above, stride=2)

# %%
# The gradient to pass is one of the output's shape. If there is no output at hand, a plan knows its shape;
# so does a page. `And yours? <../try.html#input=1,1,8,8&kernel_size=3&stride=2>`__

shape = ndconv.plan((1, 1, 8, 8), kernel, stride=2).output_shape
answer(ndconv.grad.conv2d_input, (1, 1, 8, 8), kernel, torch.ones(shape), stride=2)

# %%
# And the size to pass is that of the *input*, batch and channels included, not the spatial part alone:

answer(ndconv.grad.conv2d_input, (8, 8), kernel, torch.ones(shape), stride=2)

# %%
# Arguments in another order
# --------------------------
#
# ``conv2d_input`` takes a size, then the weight; ``conv2d_weight`` takes the input, then a size. Swapped, torch fails
# somewhere inside:

image, above = torch.ones(1, 1, 8, 8), torch.ones(1, 1, 6, 6)
answer(torch.nn.grad.conv2d_input, kernel, image.shape, above)
answer(ndconv.grad.conv2d_input, kernel, image.shape, above)
answer(torch.nn.grad.conv2d_weight, image, above, kernel.shape)
answer(ndconv.grad.conv2d_weight, image, above, kernel.shape)

# %%
# Worse are two orders that no check can tell apart. A convolution takes ``(stride, padding, dilation, groups)``, a
# transposed one ``(stride, padding, output_padding, groups, dilation)``: what was the dilation becomes a number of
# groups. ndconv keeps torch's order, so it cannot object either. Pass them by name.

channels, weight = torch.ones(1, 4, 8, 8), torch.ones(4, 4, 3, 3)
print("a dilation of 2, meant as one:", end=" ")
answer(ndconv.functional.conv_transpose2d, channels, weight, dilation=2)
print("written where conv2d has it:", end=" ")
answer(ndconv.functional.conv_transpose2d, channels, weight, None, 1, 0, 0, 2)

# %%
# An axis of one that broadcasts
# ------------------------------
#
# ``einsum`` lets an axis of size 1 stand for any size. A forgotten channel then gives a result instead of an error: the
# same channel, summed three times:

one_channel = x[:, :1]
answer(torch.einsum, "ncok,dck->ndo", one_channel.unfold(2, 3, 1), w)
answer(ndconv.functional.conv1d, one_channel, w)

# %%
# Fold as the inverse of unfold
# -----------------------------
#
# Fold is the *transpose* of unfold: it adds. An element that lies in three windows comes back three times as large.

ones = torch.ones(1, 1, 6)
columns = ndconv.functional.unfoldnd(ones, 3)
print(ndconv.functional.foldnd(columns, (6,), 3))

# %%
# Divided by the fold of unfolded ones, it does give the input back:

ramp = torch.arange(6.0).view(1, 1, 6)
added = ndconv.functional.foldnd(ndconv.functional.unfoldnd(ramp, 3), (6,), 3)
print(added / ndconv.functional.foldnd(columns, (6,), 3))

# %%
# A kernel turned once too often
# ------------------------------
#
# torch's convolution does not turn its kernel, NumPy's does. The gradient of the input turns it *once*, relative to
# whichever of the two the forward used. The gradient: right, turned once too often, and without its full padding:

# sphinx_gallery_start_ignore
import figures
import matplotlib.pyplot as plt

small = torch.tensor([[0.0, 1, 0], [0, 1, 1], [0, 0, 0]]).view(1, 1, 3, 3)
arrow = torch.zeros(1, 1, 5, 5)
arrow[0, 0, 2, 1] = arrow[0, 0, 1, 3] = 1
good = ndconv.grad.conv2d_input((1, 1, 7, 7), small, arrow)
turned = torch.nn.functional.conv2d(torch.nn.functional.pad(arrow, (2, 2, 2, 2)), small)
short = torch.nn.functional.conv2d(arrow, small.flip(2, 3), padding=1)
fig, axes = plt.subplots(1, 4, figsize=(7.2, 2.3), width_ratios=[3, 7, 7, 5])
figures.cells(axes[0], small[0, 0], "kernel", numbers=False)
figures.cells(axes[1], good[0, 0], "right", numbers=False)
figures.cells(axes[2], turned[0, 0], "turned too often", numbers=False)
figures.cells(axes[3], short[0, 0], "padded too little", numbers=False)
figures.say(
    fig,
    "A kernel; the gradient with two copies of it upright; one with the copies upside down; one cut off at the border",
)
plt.show()
# sphinx_gallery_end_ignore

# %%
# Where the output gradient has a single one, the gradient of the input shows the kernel upright, as the window saw it.
# If yours is upside down, it was turned once too often.
