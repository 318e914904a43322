r"""
Derivatives of derivatives
==========================

Some losses contain a gradient: the penalty of a Wasserstein GAN, forces as derivatives of an energy, Hessians of any
kind. Then the backward pass must be differentiated itself. Here nothing is left to derive. The gradient
:math:`\operatorname{INPUT}(w, g)` is the same form, linear in :math:`w` and in :math:`g`. Its derivative with respect
to either leaves that slot open. With :math:`v` the gradient that arrives for it:

.. math::

   \frac{\partial \langle v, \operatorname{INPUT}(w, g) \rangle}{\partial g} = \operatorname{OUTPUT}(v, w), \qquad
   \frac{\partial \langle v, \operatorname{INPUT}(w, g) \rangle}{\partial w} = \operatorname{WEIGHT}(v, g)

The three operations turn into one another for ever. A double backward needs nothing that is not already there.
"""

import torch

import ndconv

torch.manual_seed(0)
x = torch.randint(-3, 4, (1, 2, 6)).double().requires_grad_()
w = torch.randint(-3, 4, (3, 2, 3)).double().requires_grad_()
g = torch.randint(-3, 4, (1, 3, 4)).double().requires_grad_()
v = torch.randint(-3, 4, (1, 2, 6)).double()

y = ndconv.functional.conv1d(x, w)
(grad_x,) = torch.autograd.grad(y, x, g, create_graph=True)
of_g, of_w = torch.autograd.grad(grad_x, (g, w), v)
print(torch.equal(of_g, ndconv.functional.conv1d(v, w)))
print(torch.equal(of_w, ndconv.grad.conv1d_weight(v, w.shape, g)))

# %%
# A page shows the programs of all three. `And yours? <../try.html#input=1,2,6&out_channels=3&kernel_size=3>`__
#
# The graph of two layers
# -----------------------
#
# This is the graph that autograd recorded for two layers with a ReLU between them: the Function, in green, once for
# each layer, and the parameters it leads to.

u = torch.randint(-3, 4, (2, 3, 2)).double().requires_grad_()
out = ndconv.functional.conv1d(torch.relu(ndconv.functional.conv1d(x, w)), u).sum()

# sphinx_gallery_start_ignore
import figures
import matplotlib.pyplot as plt

names = {id(x): "input x", id(w): "kernel w", id(u): "kernel u", id(v): "v"}
fig, ax = plt.subplots(figsize=(7.2, 2.2))
figures.autograd_graph(ax, out, names)
figures.say(
    fig,
    "Autograd's graph from the sum through two Trilinear nodes and a ReLU to the input and the two kernels",
)
plt.show()
# sphinx_gallery_end_ignore

# %%
# And this is the graph of the *gradient* of the first kernel. There are more green nodes, but no new kind.

(grad_w,) = torch.autograd.grad(out, w, create_graph=True)

# sphinx_gallery_start_ignore
fig, ax = plt.subplots(figsize=(7.2, 3.4))
figures.autograd_graph(ax, grad_w, names)
figures.say(
    fig,
    "Autograd's graph of the first kernel's gradient: Trilinear nodes once more, leading to the same leaves",
)
plt.show()
# sphinx_gallery_end_ignore

# %%
# A Hessian is symmetric
# ----------------------
#
# For a loss that is quadratic in the kernel, differentiating twice must give a symmetric and positive matrix. The whole
# Hessian, by ``torch.func``, forward over reverse:

hessian = torch.func.hessian(
    lambda kernel: ndconv.functional.conv1d(x.detach(), kernel).square().sum() / 2
)(w.detach())
matrix = hessian.reshape(18, 18)
print(
    torch.equal(matrix, matrix.T), bool((torch.linalg.eigvalsh(matrix) > -1e-9).all())
)

# %%
# By the chapter on regression it has to be :math:`X^\top X`, the windows multiplied with themselves, once for each
# output channel:

windows = x.detach().unfold(2, 3, 1).transpose(1, 2).reshape(4, 6)
print(torch.equal(matrix[:6, :6], windows.T @ windows))
