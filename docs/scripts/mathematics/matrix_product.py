r"""
A matrix product and its two gradients
======================================

Everything rests on this. Let

.. math:: Y = A B, \qquad Y_{rs} = \sum_t A_{rt} B_{ts}

and let a loss :math:`L` depend on :math:`Y`. Call :math:`G_{rs} = \partial L / \partial Y_{rs}` the gradient that
arrives from above. What are the gradients of :math:`A` and :math:`B`?
"""

import torch

A = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
B = torch.tensor([[1.0, 0], [2, -1], [0, 3]])
Y = A @ B
print(Y)

# %%
# An element :math:`A_{rt}` enters every :math:`Y_{rs}` of its row, each time with the factor :math:`B_{ts}`. By the
# chain rule, in indices and as matrices,
#
# .. math::
#
#    \frac{\partial L}{\partial A_{rt}} &= \sum_s G_{rs} B_{ts} &\quad \operatorname{grad}_A &= G B^\top \\
#    \frac{\partial L}{\partial B_{ts}} &= \sum_r A_{rt} G_{rs} &\quad \operatorname{grad}_B &= A^\top G

G = torch.tensor([[1.0, -1], [2, 0]])

grad_A = G @ B.T
grad_B = A.T @ G
print(grad_A)
print(grad_B)

# %%
# Autograd finds the same numbers, to the last bit:

A.requires_grad_()
B.requires_grad_()
theirs_A, theirs_B = torch.autograd.grad(A @ B, (A, B), grad_outputs=G)
print(torch.equal(grad_A, theirs_A), torch.equal(grad_B, theirs_B))

# %%
# There is nothing to remember. Three matrices take part, :math:`A`, :math:`B` and :math:`G`; their indices are
# :math:`rt`, :math:`ts` and :math:`rs`. A gradient has the indices of the matrix that it belongs to, and the third
# index is summed over. As an :func:`einsum <torch.einsum>` that is all one has to write:

print(torch.equal(torch.einsum("rt,ts->rs", A, B), Y))
print(torch.equal(torch.einsum("rs,ts->rt", G, B), grad_A))
print(torch.equal(torch.einsum("rt,rs->ts", A, G), grad_B))

# %%
# Two of the three matrices go in, the third comes out: one sum, read in three directions.

# sphinx_gallery_start_ignore
import figures
import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 3, figsize=(7.4, 1.5))
a_, b_, g_ = ("A", figures.BLUE), ("B", figures.ORANGE), ("G", figures.GREEN)
figures.contraction(axes[0], a_, b_, "t", "r", "s", "Y = A B")
figures.contraction(axes[1], g_, b_, "s", "r", "t", "grad A = G Bᵀ")
figures.contraction(axes[2], a_, g_, "r", "t", "s", "grad B = Aᵀ G")
words = "Three contractions of two matrices: the product and its two gradients; the line between two disks is summed"
figures.say(fig, words)
plt.show()
# sphinx_gallery_end_ignore

# %%
# Remember the picture: a disk for every matrix, a line for every index, and the line between two disks is the sum. It
# comes back with windows in the place of :math:`A`.
