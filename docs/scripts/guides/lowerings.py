"""
Choosing a lowering, reading a plan
===================================

A *lowering* is a way to turn a convolution into matrix products. There are several because none is best everywhere: to
copy all windows is quick for small images, hopeless for large volumes, and pointless for windows that do not overlap.
By default nobody chooses: ``"auto"`` takes the exact one whose program costs the least, for each of the three
operations apart.

`ndconv.plan` shows what that is. It computes nothing; shapes are enough.
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
#     the one that will run. If another was asked for and does not apply, it says so.
# ``matmuls``
#     how many matrix products, and their shapes.
# ``multiply-adds``
#     what the lowering multiplies, and in brackets what the sum needs. The first is larger where a lowering computes
#     something that it throws away.
# ``bytes moved``
#     read and written, copies included: what a lowering is usually lost by.
# ``workspace``
#     buffers beside operands and result.
# ``not ...``
#     the others, and why not: their cost as a multiple of the chosen one's, or the reason why they do not apply.
#
# All but the first two are read off the program that will run. ``print(f"{plan:source}")`` shows the programs below the
# table; :doc:`/mathematics/what_runs` reads some.
#
# Windows that do not overlap, as in patches, need no copy of windows at all:

print(ndconv.plan((8, 3, 224, 224), (768, 3, 16, 16), stride=16).output)

# %%
# A plan is an object, not a text. It has fields, can be compared and pickled, and a layer has one of its own:

layer = ndconv.Conv3d(16, 16, 3, padding=1)
plan = layer.plan((1, 16, 32, 32, 32))
print(plan.output.lowering, plan.grad_input.lowering, plan.grad_weight.lowering)
print(plan.output.workspace / 2**20, "MiB of workspace")

# %%
# Choosing
# --------
#
# For one call, one layer, a block, or everything, in this order of precedence:

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
# result depends on nothing outside its window: a NaN or an infinity reaches what it is tied to and nothing else. Zeros
# of the padding are elements that a window reads, as in torch's documentation, and 0 * NaN is NaN; the gradient of the
# input takes nothing from them. ``"auto"`` picks from these. ``"winograd"`` transforms tiles of a few elements, which
# takes down to a quarter of the products. ``"fourier"`` transforms all at once and multiplies at every frequency, which
# is quicker for long kernels by far. Both round in between, relative to the *largest* sums of what they transform
# together, and spread a NaN over all of it. So they are there for those who name them:

signal, long = (
    torch.randint(-3, 4, shape).float() for shape in ((1, 1, 4096), (1, 1, 1024))
)
print(ndconv.plan(signal, long).output)
for name in ("auto", "fourier"):
    y = ndconv.functional.conv1d(signal, long, lowering=name)
    print(name, (y - y.round()).abs().max().item(), "of", y.abs().max().item())

# %%
# Who needs equality whatever somebody named, or under ``"fastest"``, forbids both. They are never used for integer
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
# ``"fastest"`` runs every lowering, torch's own kernel included, and keeps the quickest; only transforms whose estimate
# is hopeless are left out, and torch's kernel is kept unless it is beaten by 4 percent. It does so in the fourth step
# of training that meets a problem, so that sizes which never come again cost nothing, and for no longer in all than
# `ndconv.set_measuring_budget` allows. Where torch's kernel wins the forward and both gradients, torch's own operator
# takes over and differentiates itself. What it measured when this page was built, on one thread of whatever machine
# that was:

x.requires_grad_()
for _ in range(4):
    ndconv.functional.conv2d(x, w, lowering="fastest").sum().backward()
print(ndconv.plan(x, w, lowering="fastest").output)

# %%
# `ndconv.save_timings` writes what was learnt to a file, and `ndconv.load_timings` spares the next process the trouble.
# Under ``torch.compile`` it is the same, for the lowering is chosen when the compiled program runs; a program that
# `torch.export` writes takes ``"auto"`` for it.
