r"""
Convolution is a linear regression on windows
=============================================

Slide a window of three elements along a signal. At each place predict one number from the elements in the window,
always with the same three weights:

.. math:: y_o = \sum_k w_k \, x_{o+k}

Stack the windows as rows of a matrix :math:`X_{ok} = x_{o+k}`. What is left is :math:`y = X w`, a linear regression
with the windows as its samples.
"""

import torch

x = torch.tensor([1.0, 3, 2, 0, 4, 1])
w = torch.tensor([1.0, 0, -1])

X = x.unfold(0, size=3, step=1)
print(X)
print(X @ w)

# %%
# torch calls this a convolution. (Mathematicians call it a cross-correlation: their convolution turns the kernel
# around. It will turn around by itself in the gradient of the input.) Point at an element to see which others it meets:
# `and yours? <../try.html#input=1,1,6&kernel_size=3>`__

y = torch.nn.functional.conv1d(x.view(1, 1, -1), w.view(1, 1, -1))
print(y)

# %%
# The second window, and the one number that it gives:

# sphinx_gallery_start_ignore
import figures
import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 4, figsize=(7.2, 2.4), width_ratios=[6, 3, 1, 1])
figures.cells(axes[0], x, "signal x", columns="i", frame=[(0, 1, 1, 3)])
figures.cells(axes[1], X, "windows X", rows="o", columns="k", frame=[(1, 0, 1, 3)])
figures.cells(axes[2], w[:, None], "w", rows="k")
figures.cells(axes[3], (X @ w)[:, None], "y", rows="o", frame=[(1, 0, 1, 1)])
figures.say(
    fig,
    "A signal of six numbers, its four windows of three as rows of a matrix, the kernel, and their product",
)
plt.show()
# sphinx_gallery_end_ignore

# %%
# The gradient of a regression
# ----------------------------
#
# Now the first chapter applies as it stands. The product is :math:`y = Xw`, so with :math:`g` the gradient of
# :math:`y`
#
# .. math:: \operatorname{grad}_w = X^\top g, \qquad \operatorname{grad}_X = g\, w^\top .

g = torch.tensor([1.0, 2, 0, -1])

grad_w = X.T @ g
grad_X = torch.outer(g, w)
print(grad_w)
print(grad_X)

# %%
# The windows, though, were not the input. Element :math:`x_i` was copied into up to three of them, and a number that is
# used in several places collects the gradients of all of them. So the gradient of the input adds the elements with the
# same :math:`i = o + k`. They are the diagonals of this matrix from bottom left to top right:
#
# .. math:: \operatorname{grad}_{x,i} = \sum_{o + k = i} g_o\, w_k

grad_x = torch.zeros(6)
for o in range(4):
    grad_x[o : o + 3] += grad_X[o]
print(grad_x)

# %%
# Autograd agrees with both:

x.requires_grad_()
w.requires_grad_()
y = torch.nn.functional.conv1d(x.view(1, 1, -1), w.view(1, 1, -1))
theirs = torch.autograd.grad(y, (x, w), grad_outputs=g.view(1, 1, -1))
print(torch.equal(theirs[0], grad_x), torch.equal(theirs[1], grad_w))

# %%
# A real regression
# -----------------
#
# The word *regression* is meant literally. Blur a signal with secret weights: the least-squares solution on its windows
# finds them.

torch.manual_seed(0)
signal, secret = torch.randn(200), torch.tensor([0.25, 0.5, 0.25])
windows = signal.unfold(0, 3, 1)
observed = windows @ secret + 0.01 * torch.randn(198)
print(torch.linalg.lstsq(windows, observed[:, None]).solution.flatten())

# %%
# Windows over an image
# ---------------------
#
# With two axes the window is a small square and slides in two directions. Nothing else changes.

# sphinx_gallery_start_ignore
from sklearn.datasets import load_digits

image = torch.tensor(load_digits().images[0]).float()
windows = image.unfold(0, 3, 1).unfold(1, 3, 1)
fig = plt.figure(figsize=(7.2, 3.4))
left, right = fig.subfigures(1, 2, width_ratios=[1, 1.1])
ax = left.subplots()
figures.cells(
    ax,
    image,
    "a digit, 8 × 8",
    numbers=False,
    frame=[(0, 0, 3, 3), (2, 3, 3, 3), (5, 5, 3, 3)],
)
for ax, (row, column) in zip(
    right.subplots(6, 6).flat, [(r, c) for r in range(6) for c in range(6)], strict=True
):
    frame = [(0, 0, 3, 3)] if (row, column) in ((0, 0), (2, 3), (5, 5)) else []
    figures.cells(ax, windows[row, column], numbers=False, frame=frame)
right.suptitle("its 6 × 6 windows of 3 × 3")
words = "A handwritten digit of 8 by 8 pixels and beside it all 36 windows of 3 by 3, three of them framed in both"
figures.say(fig, words)
plt.show()
# sphinx_gallery_end_ignore

# %%
# Each of the 36 small images is one sample of the regression, with nine features. Many of them share pixels. That makes
# a convolution cheap to store, and its gradient a little harder than that of a matrix product.
