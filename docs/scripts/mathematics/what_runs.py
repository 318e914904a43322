r"""
What runs
=========

The equations are done; what is left is to compute them. For every operation ndconv writes a *program*: a function of a
few lines of torch in which every size is a number. It is written once, when an operation of such sizes is first met,
and run from then on. A *lowering* is a way to write one. This page reads the programs of several lowerings, all for one
operation: the gradient of the weight of a layer with stride 2 and padding 1.

By hand
-------

:doc:`gradient_of_the_kernel` has the equation. Written down with torch's own means, it takes five lines:
"""

import torch

import ndconv


def by_hand(x, y):
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    windows = padded.unfold(2, 3, 2).unfold(3, 3, 2)  # n c o p k l
    columns = windows.permute(1, 4, 5, 0, 2, 3).reshape(27, 18)  # (c k l, n o p)
    y = y.transpose(0, 1).reshape(4, 18)  # (d, n o p)
    return (y @ columns.T).view(4, 3, 3, 3)


x = torch.randint(-3, 4, (2, 3, 6, 6)).float()
y = torch.randint(-3, 4, (2, 4, 3, 3)).float()
print(by_hand(x, y).shape)

# %%
# ``columns``
# -----------
#
# This is what ndconv runs. A plan needs shapes only; the weight's is ``(4, 3, 3, 3)``. A page of this site writes the
# same without torch. `And yours?
# <../try.html#input=2,3,6,6&out_channels=4&kernel_size=3&stride=2&padding=1&lowering=columns>`__


def program(lowering, stride=2):
    plan = ndconv.plan(x, (4, 3, 3, 3), stride, padding=1, lowering=lowering)
    return plan.grad_weight.source


print(program("columns"))

# %%
# Line by line it is the same. ``unfold``, ``unfold`` and ``permute`` only say where elements lie, and so does
# ``as_strided``, in one call. The first tuple has the sizes :math:`c, k, l, n, o, p`. The second has the strides: how
# far apart in memory neighbours along each axis are. Memory has rows of 7, so a step of :math:`k` is 7 elements long,
# and a step of :math:`o` is 14: the stride :math:`S = 2` of the line :math:`i = S\,o + D\,k - lo`. A dilation would be
# in the step of :math:`k`. :math:`lo` is in the padding. The far side has none, because no window reaches that far; the
# version by hand pads a row and a column that no window reads.
#
# ``reshape`` is the copy. The picture shows a channel of the padded input, with two windows, and the part of the
# columns made from it: a row for each kernel element, a column for each window of either sample.

# sphinx_gallery_start_ignore
import figures
import matplotlib.pyplot as plt

padded = torch.constant_pad_nd(x, (1, 0, 1, 0))
columns = padded.as_strided((3, 3, 3, 2, 3, 3), (49, 7, 1, 147, 14, 2)).reshape(27, 18)
fig, (left, right) = plt.subplots(
    1, 2, figsize=(7.4, 3.0), width_ratios=[1, 1.9], layout="constrained"
)
figures.cells(left, padded[0, 0], "padded[0, 0]", frame=[(0, 0, 3, 3), (2, 4, 3, 3)])
figures.cells(
    right,
    columns[:9],
    "columns[:9]",
    rows="k, l",
    columns="n, o, p",
    frame=[(0, 0, 9, 1), (0, 5, 9, 1)],
)
words = "A padded channel of 7 by 7 numbers with two windows, and the columns that these windows become"
figures.say(fig, words)
plt.show()
# sphinx_gallery_end_ignore

# %%
# The text is the program
# -----------------------
#
# The text does not describe the program, it is the program: Python compiles it, and a traceback shows its lines. It
# needs torch and nothing else. Copied into a file of yours, it computes the same bits:


def run(text, *operands):
    scope = {}
    exec(text, scope)
    return [*scope.values()][-1](*operands)


print(torch.equal(run(program("columns"), x, y), by_hand(x, y)))

# %%
# ``window``
# ----------
#
# Without the copy it is the equation itself, an `einsum <torch.einsum>` over a view of all windows. It has other
# letters, one for each axis. torch decides how to contract them, and copies where it must:

print(program("window"))

# %%
# ``taps``
# --------
#
# Another way is one product for each kernel element, or *tap*. With stride 1 the padded input is written into one long
# matrix, a row for each channel. A row has samples and rows of the image one after the other, with zeros between. The
# elements that one tap meets are then a slice of the matrix, shifted by ``place``, and the loop has one matrix product
# for each of the nine. Nothing is copied nine times:

print(program("taps", stride=1))

# %%
# The last lines are about numbers that are not finite. Between the rows lie zeros, and zero times infinity is not zero.
# So if the result has a NaN or an infinity, it is computed again in a way that multiplies only elements that belong
# together.
#
# With stride 2, even and odd rows and columns are put apart first. Each of these four phase images is met with stride
# 1, and taps that meet several of them at one place share a product:

print(program("taps"))

# %%
# ``reshape``
# -----------
#
# If windows do not overlap, no element is copied twice: the windows *are* the input, in another order. With a stride of
# 3, all that is left is to rearrange, and to multiply:

print(program("reshape", stride=3))

# %%
# Transforms
# ----------
#
# ``fourier`` makes a product at every frequency. The gradient of the weight is a correlation, so one of the two spectra
# is conjugated, and of the result only the first 3 x 3 elements are wanted:

print(program("fourier"))

# %%
# ``winograd`` multiplies by three matrices of fixed numbers, before and after its products. These are fewer than the
# sum has. With one axis they are small enough to read:

print(ndconv.plan((1, 3, 8), (4, 3, 3), lowering="winograd").output.source)

# %%
# And ``native`` is torch's own kernel:

print(program("native"))

# %%
# All compute the same. The integers are exact, except where the transforms round:

for lowering in ("columns", "window", "taps", "fourier", "native"):
    error = run(program(lowering), x, y) - by_hand(x, y)
    print(f"{lowering:8} {error.abs().max():.0e}")

# %%
# The other two slots
# -------------------
#
# The convolution reads the same columns, and multiplies them by the weight. The gradient of the input goes the other
# way: a product gives a number for every element of every window. These are added to the places that the windows were
# taken from (col2im), first along one axis, then along the other. The slices ``:5:2``, ``1::2`` and ``2::2`` are the
# three kernel elements of an axis:

plan = ndconv.plan(x, (4, 3, 3, 3), stride=2, padding=1, lowering="columns")
print(plan.output.source)
print(plan.grad_input.source)

# %%
# With more axes there are more numbers in the tuples, and no more lines:

print(ndconv.plan((2, 3, 6, 6, 6, 6), (4, 3, 3, 3, 3, 3), 2).grad_weight.source)

# %%
# Loops
# -----
#
# Columns are several times as large as the input. If they are larger than a cache, or than `ndconv.set_workspace_limit`
# allows, the program has a loop, and in it columns of a few samples, or of a few rows of one:

ndconv.set_workspace_limit(1024)
print(program("columns"))
ndconv.set_workspace_limit(256 * 2**20)

# %%
# What it costs
# -------------
#
# Everything can be counted in the program: what each line copies, which products it computes, how many operations it
# starts, and how much memory is in use at one time. The table of a plan is read off the program, and so is the estimate
# by which ``"auto"`` chooses one:

plan = ndconv.plan(x, (4, 3, 3, 3), stride=2, padding=1)
print(f"{plan.grad_weight:source}")

# %%
# A lowering is a function that writes such a program; :doc:`/guides/a_lowering_of_your_own` makes a further one.
