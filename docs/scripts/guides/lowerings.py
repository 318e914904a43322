"""
Choosing a lowering, reading a plan
===================================

A *lowering* is a way to turn a convolution into matrix products. It writes a *program*, a short function of torch
operations. There are several lowerings because none is best everywhere: copying all windows is quick for small images,
hopeless for large volumes, and pointless for windows that do not overlap. The default, ``"auto"``, takes the exact one
whose program costs the least, for each of the three operations separately.

`ndconv.plan` shows the choice. It computes nothing; shapes are enough.
"""

import torch

import ndconv

print(ndconv.plan((16, 64, 56, 56), (64, 64, 3, 3), padding=1))

# %%
# How to read it, for each of the three operations:
#
# ``equation``
#     the sum, over windows of the input; :doc:`/mathematics/trilinear_form` tells how it is made.
# ``lowering``
#     the one that will run. If you asked for another that does not apply, the plan says so.
# ``matmuls``
#     how many matrix products, and their shapes.
# ``multiply-adds``
#     what the lowering multiplies, and in brackets what the sum needs. The first is larger where a lowering computes
#     something that it throws away.
# ``bytes moved``
#     read and written, copies included; usually what makes a lowering slow.
# ``workspace``
#     buffers besides operands and result.
# ``not ...``
#     the others: their cost as a multiple of the chosen one's, or the reason why they do not apply.
#
# All but the first two are read off the program that will run. ``print(f"{plan:source}")`` shows the programs below the
# table; :doc:`/mathematics/what_runs` reads some.
#
# Windows that do not overlap, as in patches, need no copy of windows at all:

print(ndconv.plan((8, 3, 224, 224), (768, 3, 16, 16), stride=16).output)

# %%
# A plan is an object, not a text: it has fields, and can be compared and pickled. A layer has a plan too:

layer = ndconv.Conv3d(16, 16, 3, padding=1)
plan = layer.plan((1, 16, 32, 32, 32))
print(plan.output.lowering, plan.grad_input.lowering, plan.grad_weight.lowering)
print(plan.output.workspace / 2**20, "MiB of workspace")

# %%
# Choosing
# --------
#
# Choose for one call, one layer, a block, or everything, in this order of precedence:

x, w = torch.randn(2, 8, 20, 20), torch.randn(8, 8, 3, 3)
y = ndconv.functional.conv2d(x, w, lowering="taps")

layer = ndconv.Conv2d(8, 8, 3, lowering="taps")

with ndconv.lowering("window"):
    print((ndconv.functional.conv2d(x, w) - y).abs().max().item())

ndconv.set_lowering("auto")

# %%
# The same plan, asked what ``"taps"`` would do:

print(ndconv.plan(x, w, lowering="taps").output)

# %%
# Exact or not
# ------------
#
# All lowerings but two sum the products of a convolution as they are. Integers in floats come out as integers, and a
# result depends on nothing outside its window: a NaN or an infinity reaches only the elements that the sum ties it to.
# Zeros of the padding are elements that a window reads, as in torch's documentation, and 0 * NaN is NaN; the gradient
# of the input takes nothing from them. ``"auto"`` picks from these lowerings. ``"winograd"`` transforms tiles of a few
# elements and needs down to a quarter of the products. ``"fourier"`` transforms all at once and multiplies at every
# frequency, which is far quicker for long kernels. Both round in between, relative to the *largest* sums in what they
# transform together, and spread a NaN over all of it. So they run only where they are named, or under ``"fastest"``:

signal, long = (
    torch.randint(-3, 4, shape).float() for shape in ((1, 1, 4096), (1, 1, 1024))
)
print(ndconv.plan(signal, long).output)
for name in ("auto", "fourier"):
    y = ndconv.functional.conv1d(signal, long, lowering=name)
    print(name, (y - y.round()).abs().max().item(), "of", y.abs().max().item())

# %%
# If you need equality even where one is named, or under ``"fastest"``, forbid both. They are never used for integer
# dtypes:

ndconv.set_exact(True)
y = ndconv.functional.conv1d(signal, long, lowering="fourier")
print(ndconv.plan(signal, long, lowering="fourier").output.lowering)
print((y - y.round()).abs().max().item())
ndconv.set_exact(False)

# %%
# What each needs
# ---------------
#
# Estimated workspace of the forward pass, for a kernel of 3 on every axis, 16 channels and about a million elements of
# input. A lowering that copies windows works in chunks under `ndconv.set_workspace_limit`.

import matplotlib.pyplot as plt

sides = {1: 65536, 2: 256, 3: 40, 4: 16}
fig, ax = plt.subplots()
for offset, name in enumerate(("window", "columns", "taps")):
    plans = [
        ndconv.plan((1, 16, *[s] * n), (16, 16, *[3] * n), lowering=name)
        for n, s in sides.items()
    ]
    ax.bar(
        [n + 0.25 * (offset - 1) for n in sides],
        [p.output.workspace / 2**20 for p in plans],
        0.23,
        label=name,
    )
ax.set_yscale("log")
ax.set_xticks(list(sides))
ax.set_xlabel("axes")
ax.set_ylabel("workspace in MiB")
ax.legend()
fig.suptitle("Workspace of three lowerings for one to four axes")
plt.show()

# %%
# Measuring instead of estimating
# -------------------------------
#
# ``"fastest"`` runs every lowering, torch's own kernel included, and keeps the quickest. Only transforms whose estimate
# is hopeless are left out, and torch's kernel is kept unless it is beaten by 4 percent. A problem is measured in the
# fourth step of training that meets it, so sizes which never come again cost nothing. In all, measuring takes no longer
# than `ndconv.set_measuring_budget` allows. Where torch's kernel wins the forward and both gradients, torch's own
# operator takes over, with its own backward pass. This was measured when this page was built, on one thread:

x.requires_grad_()
for _ in range(4):
    ndconv.functional.conv2d(x, w, lowering="fastest").sum().backward()
print(ndconv.plan(x, w, lowering="fastest").output)

# %%
# `ndconv.save_timings` writes what was learnt to a file, and `ndconv.load_timings` spares the next process the
# measurements. Under ``torch.compile`` it is the same, because the lowering is chosen when the compiled program runs. A
# program that `torch.export` writes takes ``"auto"`` instead.
