r"""
Stride, dilation and padding
============================

A window may move by :math:`S` elements instead of one, look at every :math:`D`-th element only, and begin :math:`lo`
elements before the input, in zeros. All three are one line:

.. math:: i = S\,o + D\,k - lo

An input element :math:`i`, a window :math:`o` and a kernel element :math:`k` belong together if this holds, and not
otherwise. Nothing else about a convolution depends on :math:`S`, :math:`D` and :math:`lo`.

The index pattern
-----------------

Write the line down as a tensor of zeros and ones, one for each axis:

.. math:: P_{iok} = 1 \text{ if } i = S\,o + D\,k - lo, \text{ and } 0 \text{ if not.}
"""

import torch


def index_pattern(size, kernel, stride=1, dilation=1, lo=0, hi=0):
    windows = (size + lo + hi - dilation * (kernel - 1) - 1) // stride + 1
    i, o, k = (
        torch.arange(size)[:, None, None],
        torch.arange(windows)[:, None],
        torch.arange(kernel),
    )
    return (i == stride * o + dilation * k - lo).double()


print(index_pattern(size=5, kernel=2, stride=2)[:, :, 0])
print(index_pattern(size=5, kernel=2, stride=2)[:, :, 1])

# %%
# Below are four such tensors. The number and the shade of the cell in row :math:`o` and column :math:`i` show which
# :math:`k` ties the two. A row is a window.

# sphinx_gallery_start_ignore
import figures
import matplotlib.pyplot as plt

settings = [
    ("S = 1, D = 1", {}),
    ("S = 2, D = 1", {"stride": 2}),
    ("S = 1, D = 2", {"dilation": 2}),
    ("S = 2, D = 2, lo = hi = 2", {"stride": 2, "dilation": 2, "lo": 2, "hi": 2}),
]
fig, axes = plt.subplots(2, 2, figsize=(7.2, 5.0))
for ax, (title, arguments) in zip(axes.flat, settings, strict=True):
    pattern = index_pattern(9, 3, **arguments)
    shades = torch.einsum("iok,k->oi", pattern, torch.tensor([1.0, 2, 3]).double())
    figures.cells(
        ax, shades, title, numbers=False, rows="o", columns="i", color=figures.BLUE
    )
    for i, o, k in pattern.nonzero().tolist():
        ax.text(
            i,
            o,
            str(k),
            ha="center",
            va="center",
            color="white" if k > 1 else figures.GREY,
        )
figures.say(
    fig,
    "Index patterns of nine input elements and a kernel of three, for four settings of stride and dilation",
)
plt.show()
# sphinx_gallery_end_ignore

# %%
# With a pattern per axis the whole convolution is one einsum, and it does not even mention windows:

x = torch.arange(1.0, 64).double().view(1, 1, 7, 9)
w = torch.tensor([[1.0, 0, -1], [2, 0, 1]]).double().view(1, 1, 2, 3)
P = index_pattern(7, 2, stride=2, lo=1)
Q = index_pattern(9, 3, dilation=2, lo=2, hi=2)

y = torch.einsum("ncij,iok,jpl,dckl->ndop", x, P, Q, w)
padded = torch.nn.functional.pad(x, (2, 2, 1, 0))
print(
    torch.equal(
        y, torch.nn.functional.conv2d(padded, w, stride=(2, 1), dilation=(1, 2))
    )
)

# %%
# (`F. Dangel <https://arxiv.org/abs/2307.02275>`_ builds a whole calculus on these tensors. They have
# :math:`I \times O \times K` elements, so ndconv only explains with them, and computes with strided views.)
#
# Sizes
# -----
#
# A window spans :math:`D(K-1)+1` elements of the :math:`I + lo + hi` there are, and moves by :math:`S`:
#
# .. math:: O = \left\lfloor \frac{I + lo + hi - D(K-1) - 1}{S} \right\rfloor + 1
#
# The floor loses information. Three input sizes below have the same output size, so a gradient of the output does not
# tell how large the input was. This is why every gradient of an input asks for ``input_size``. Elements after the last
# window, which nothing reads, have the gradient 0. A page works out how many there are.
# `And yours? <../try.html#input=1,1,10&kernel_size=3&stride=3>`__

import ndconv

kernel, g = torch.ones(1, 1, 3).double(), torch.ones(1, 1, 3).double()
for size in (9, 10, 11):
    print(
        size,
        ndconv.grad.conv1d_input((1, 1, size), kernel, g, stride=3).flatten().tolist(),
    )

# %%
# The two gradients
# -----------------
#
# Leave another tensor open. The gradient of the kernel is
#
# .. math:: \operatorname{grad}_{w,k} = \sum_o x_{S o + D k - lo} \; g_o
#
# and read as a convolution, :math:`k` counting windows and :math:`o` elements, *stride and dilation have changed
# places*. Elements left over on the far side give extra windows, which must be cut off:

x = torch.arange(1.0, 15).double().view(1, 1, 14)
w = torch.tensor([1.0, 2, -1]).double().view(1, 1, 3).requires_grad_()
y = torch.nn.functional.conv1d(x, w, stride=3, dilation=2, padding=1)
g = torch.tensor([1.0, -2, 3, 1]).double().view(1, 1, 4)

grad_w = torch.nn.functional.conv1d(x, g, stride=2, dilation=3, padding=1)
print(grad_w.flatten().tolist(), "of which", w.numel(), "are wanted")
print(torch.equal(grad_w[:, :, :3], torch.autograd.grad(y, w, g)[0]))

# %%
# The gradient of the input adds, for every tied triple, :math:`g_o w_k` to element :math:`i`. In a loop it is the
# definition itself:

grad_x = torch.zeros(14).double()
for o in range(4):
    for k in range(3):
        i = 3 * o + 2 * k - 1
        if 0 <= i < 14:
            grad_x[i] += g[0, 0, o] * w[0, 0, k].detach()
arguments = {"stride": 3, "dilation": 2, "padding": 1}
print(
    torch.equal(
        grad_x.view(1, 1, 14), ndconv.grad.conv1d_input(x.shape, w, g, **arguments)
    )
)

# %%
# Textbooks say: put :math:`S - 1` zeros between the elements of :math:`g`, then convolve with the turned kernel. That
# is right, but most of its products are with zeros. The loop above has none of them, and neither has ndconv.
