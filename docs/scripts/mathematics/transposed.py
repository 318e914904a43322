r"""
Transposed convolution
======================

For a fixed kernel a convolution is linear in its input, so it is a matrix: :math:`y = M x`. Its gradient is
:math:`M^\top g`. A *transposed convolution* uses this second operation as a layer: its forward pass computes
:math:`M^\top y`.
"""

import torch

import ndconv

w = torch.tensor([1.0, 2, 3]).view(1, 1, 3)
eye = torch.eye(7).view(7, 1, 7)
M = ndconv.functional.conv1d(eye, w, stride=2).squeeze(1).T
print(M)

# %%
y = torch.tensor([1.0, 0, -1]).view(1, 1, 3)
print(M.T @ y.flatten())
print(ndconv.functional.conv_transpose1d(y, w, stride=2).flatten())

# %%
# Every element of :math:`y` writes a scaled copy of the kernel into the result, :math:`S` places after the one before,
# and copies that overlap are added. Its matrix is the transpose of the other one:

# sphinx_gallery_start_ignore
import figures
import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), width_ratios=[7, 3])
figures.cells(axes[0], M, "conv1d: M", rows="o", columns="i")
figures.cells(axes[1], M.T, "conv_transpose1d: Mᵀ", rows="i", columns="o")
figures.say(
    fig,
    "The matrix of a strided convolution, three rows of seven, and its transpose beside it",
)
plt.show()
# sphinx_gallery_end_ignore

# %%
# In the terms of the last chapter the operation is the slot INPUT. ndconv starts its one Function there, and has no
# code for transposed convolutions besides the rules for their arguments. Its gradients are then the other two slots:
# the gradient of its input is a plain *convolution*, and that of its weight is WEIGHT with the roles of input and
# output exchanged.

torch.manual_seed(0)
y = torch.randint(-4, 5, (2, 5, 4, 3)).double().requires_grad_()
w = torch.randint(-4, 5, (5, 3, 3, 2)).double().requires_grad_()
x = ndconv.functional.conv_transpose2d(y, w, stride=2)
g = torch.randint(-4, 5, x.shape).double()

grad_y, grad_w = torch.autograd.grad(x, (y, w), g)
print(torch.equal(grad_y, ndconv.functional.conv2d(g, w, stride=2)))
print(torch.equal(grad_w, ndconv.grad.conv2d_weight(g, w.shape, y, stride=2)))

# %%
# Which size?
# -----------
#
# Several inputs have the same output size (:doc:`stride_and_dilation`), so going back there is a choice to make. The
# smallest is taken unless ``output_padding`` adds elements on the far side, fewer than :math:`S`. Both sizes are below.
# `And yours? <../try.html#transposed=True&input=1,1,3&kernel_size=3&stride=2&output_padding=1>`__

for extra in (0, 1):
    print(
        ndconv.functional.conv_transpose1d(
            torch.ones(1, 1, 3), torch.ones(1, 1, 3), stride=2, output_padding=extra
        )
    )

# %%
# ``padding`` here is that of the convolution whose transpose it is: it takes elements *away*. And a transposed
# convolution does not undo a convolution: :math:`M^\top` is not :math:`M^{-1}`. Sizes come back, values do not.

x = torch.tensor([1.0, 4, 2, 8, 5, 7, 1]).view(1, 1, 7)
w = torch.tensor([1.0, 2, 3]).view(1, 1, 3)
back = ndconv.functional.conv_transpose1d(
    ndconv.functional.conv1d(x, w, stride=2), w, stride=2
)
print(x.shape == back.shape, back.flatten())
