r"""
The gradient of the kernel
==========================

The windows are the data of a regression, and the kernel is its unknown. So the gradient of the kernel is the product of
windows and output gradient. In indices, with :math:`g_{ndop}` the gradient of the output:

.. math:: \operatorname{grad}_{w,\,dckl} = \sum_{n,o,p} x_{n,c,\,o+k,\,p+l} \; g_{ndop}
"""

import torch

torch.manual_seed(0)
x = torch.randint(-4, 5, (2, 3, 6, 7)).double()
w = torch.randint(-4, 5, (5, 3, 3, 2)).double().requires_grad_()
y = torch.nn.functional.conv2d(x, w)
g = torch.randint(-4, 5, y.shape).double()

windows = x.unfold(2, 3, 1).unfold(3, 2, 1)
grad_w = torch.einsum("ncopkl,ndop->dckl", windows, g)
print(torch.equal(grad_w, torch.autograd.grad(y, w, g)[0]))

# %%
# The forward equation was ``ncopkl,dckl->ndop``. The same three terms, in another order. A page shows a program that
# computes it. `And yours? <../try.html#input=2,3,6,7&out_channels=5&kernel_size=3,2>`__
#
# It is a convolution again
# -------------------------
#
# Look at the index of :math:`x` once more: :math:`o + k`. It does not say which of the two counts windows and which
# counts elements of a window. Let :math:`k` count windows and :math:`o` elements, and the sum over :math:`o, p` is a
# convolution of the input, with the output gradient as a large kernel. Samples are summed now, as channels were before,
# so the two axes change places:

as_convolution = torch.nn.functional.conv2d(
    x.transpose(0, 1), g.transpose(0, 1)
).transpose(0, 1)
print(torch.equal(as_convolution, grad_w))

# %%
# One channel, one sample, small numbers: lay the output gradient on the input, multiply, add up, and move on by one.
# Nine places, nine elements of the kernel's gradient.

# sphinx_gallery_start_ignore
import figures
import matplotlib.pyplot as plt

image = torch.randint(0, 4, (1, 1, 6, 6)).float()
above = torch.randint(-1, 2, (1, 1, 4, 4)).float()
found = torch.nn.functional.conv2d(image, above)
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.7), width_ratios=[6, 4, 3])
figures.cells(axes[0], image[0, 0], "input x", frame=[(1, 2, 4, 4)])
figures.cells(axes[1], above[0, 0], "output gradient g")
figures.cells(
    axes[2], found[0, 0], "kernel gradient", rows="k", columns="l", frame=[(1, 2, 1, 1)]
)
figures.say(
    fig,
    "The output gradient of 4 by 4 laid on the input of 6 by 6 at one of nine places gives one of nine numbers",
)
plt.show()
# sphinx_gallery_end_ignore

# %%
# In the library
# --------------
#
# Names and arguments are those of `torch.nn.grad`, for any number of axes.

import ndconv

print(torch.equal(ndconv.grad.conv2d_weight(x, w.shape, g), grad_w))
print(ndconv.plan(x, w).grad_weight.equation)

# %%
# The bias is the easy one: it was added to every element of its channel, so its gradient is their sum.

print(torch.equal(ndconv.grad.conv2d_bias(g), torch.einsum("ndop->d", g)))
