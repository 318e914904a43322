r"""
One form, three slots, any rank
===============================

Three sums have come up. Side by side, with one axis and :math:`i = S o + D k - lo` under every sum sign:

.. math::

   y_{ndo} &= \sum_{c,k} x_{nci} \, w_{dck} \\
   \operatorname{grad}_{x,\,nci} &= \sum_{d,\,(o,k)} w_{dck} \, g_{ndo} \\
   \operatorname{grad}_{w,\,dck} &= \sum_{n,o} x_{nci} \, g_{ndo}

Each has two of three tensors on its right side and the third on its left. So all three come from one number, a form
that is linear in each of three tensors,

.. math:: T(x, w, y) = \sum_{i \,=\, S o + D k - lo} x_{nci} \, w_{dck} \, y_{ndo}

*with one slot left open*, where a slot is the place of one tensor. Leave out :math:`y`, and its factor is the
convolution. Leave out :math:`x` or :math:`w`, and its factor is a gradient.
"""

import torch

import ndconv

# %%
# The three contractions as pictures, with the windows :math:`X_{ncok} = x_{n,c,\,So+Dk-lo}`. Compare them with the
# three at the end of :doc:`matrix_product`.

# sphinx_gallery_start_ignore
import figures
import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 3, figsize=(7.4, 1.7))
x_, w_, y_ = ("X", figures.BLUE), ("w", figures.ORANGE), ("y", figures.GREEN)
figures.contraction(axes[0], x_, w_, "ck", "no", "d", "OUTPUT  ncok, dck → ndo")
figures.contraction(axes[1], w_, y_, "d", "ck", "no", "INPUT  dck, ndo → ncok")
figures.contraction(axes[2], x_, y_, "no", "ck", "d", "WEIGHT  ncok, ndo → dck")
figures.say(
    fig,
    "Three diagrams of two tensors each: lines between them are summed, "
    "open lines are the indices of the result",
)
plt.show()
# sphinx_gallery_end_ignore

# %%
# Nothing inside ndconv knows more than that. An operation is told which slot is open, and the equation follows. It is
# generated from the number of axes, so there is no 2-D case and no 3-D case. For zero to four axes, OUTPUT and INPUT:

for ndim in range(5):
    plan = ndconv.plan((1, 1, *[4] * ndim), (1, 1, *[2] * ndim))
    print(f"{ndim}  {plan.output.equation:24} {plan.grad_input.equation}")

# %%
# The first line has no axis at all: it is the matrix product of the first chapter and its two gradients, once for each
# group. Below are five axes. Their program has no more lines than that of one axis. `And yours?
# <../try.html#input=2,3,4,3,5,3,4&out_channels=2&kernel_size=2,1,3,2,2&stride=1,1,2,1,2&padding=1>`__

torch.manual_seed(0)
x = torch.randint(-3, 4, (2, 3, 4, 3, 5, 3, 4)).double()
w = torch.randint(-3, 4, (2, 3, 2, 1, 3, 2, 2)).double()
y = ndconv.functional.convnd(x, w, stride=(1, 1, 2, 1, 2), padding=1)
print(y.shape)

# %%
# One number, three ways
# ----------------------
#
# Fill the open slot, and all three operations give the same :math:`T`. This is the *adjoint identity*
#
# .. math:: \langle \operatorname{OUTPUT}(x, w),\, y \rangle = \langle x,\, \operatorname{INPUT}(w, y) \rangle
#           = \langle w,\, \operatorname{WEIGHT}(x, y) \rangle

g = torch.randint(-3, 4, y.shape).double()
arguments = {"stride": (1, 1, 2, 1, 2), "padding": 1}

print((y * g).sum().item())
print((x * ndconv.grad.convnd_input(x.shape, w, g, **arguments)).sum().item())
print((w * ndconv.grad.convnd_weight(x, w.shape, g, **arguments)).sum().item())

# %%
# It holds for every form that is linear in each tensor, so it checks a convolution and both of its gradients against
# one another without a second implementation; with integers, exactly. :doc:`/test_matrix` does so in every one of its
# trials.
#
# The line of code
# ----------------
#
# The derivative of a product that is linear in each factor is the product with that factor taken away. For the form:
# the gradient of an operand is *the form with that operand's slot open instead*. The library has a single
# ``autograd.Function``, and its backward calls this once for each operand:
#
# .. literalinclude:: ../../ndconv/_autograd/function.py
#    :pyobject: _gradient
#    :dedent:
#
# ``trilinear`` is the Function itself. For complex tensors the other operand is conjugated: the ``conj`` above.
