"""
A lowering of your own
======================

A lowering computes three slots of the trilinear form for any number of axes, and says beforehand what that costs. It
sees plain tensors, ``x[n,g,c,*i]``, ``w[g,d,c,*k]`` and ``y[n,g,d,*o]``, and sizes; shapes have been checked, half
types widened, groups set apart, and autograd, ``vmap`` and forward mode are seen to by the Function above it. So it
is short. This one is complete: for every kernel element, one product on a strided slice of the padded input."""

import math
from itertools import product

import torch

from ndconv._form.geometry import Slot
from ndconv._lowerings import LOWERINGS, Cost, Lowering
from ndconv._programs.windows import pad, unpad


class Slices(Lowering):
    """One product per kernel element, on a strided slice of the padded input."""

    name = "slices"

    def cost(self, problem):
        x, w, y = (math.prod(problem.shape(slot)) for slot in Slot)
        taps, positions = (
            math.prod(problem.geometry.kernel),
            math.prod(problem.output_size),
        )
        return Cost(
            multiply_adds=problem.multiply_adds,
            elements_moved=2 * x
            + w
            + taps * (2 * y + y // problem.features * problem.channels),
            elements_cached=0,
            workspace=x + y,
            matmuls=f"{taps} x ({problem.features}, {problem.channels}) @ ({problem.channels}, {positions})",
            calls=6 * taps,
        )

    def frame(self, problem):
        return problem.geometry.fit(
            problem.input_size, problem.geometry.reach(problem.output_size)
        )

    def slices(self, problem, padded):
        geometry = problem.geometry
        axes = list(
            zip(geometry.stride, geometry.dilation, problem.output_size, strict=True)
        )
        for index in product(*map(range, geometry.kernel)):
            steps = [
                slice(d * k, d * k + s * (o - 1) + 1, s)
                for k, (s, d, o) in zip(index, axes, strict=True)
            ]
            yield (..., *index), padded[(..., *steps)]

    def output(self, problem, x, w):
        y = x.new_zeros(problem.shape(Slot.OUTPUT))
        for k, view in self.slices(problem, pad(x, self.frame(problem))):
            y += torch.einsum("ngc...,gdc->ngd...", view, w[k])
        return y

    def input(self, problem, w, y):
        padded = pad(y.new_zeros(problem.shape(Slot.INPUT)), self.frame(problem))
        for k, view in self.slices(problem, padded):
            view += torch.einsum("gdc,ngd...->ngc...", w[k], y)
        return unpad(padded, self.frame(problem))

    def weight(self, problem, x, y):
        w, flat = (
            x.new_zeros(problem.shape(Slot.WEIGHT)),
            y.flatten(2).unflatten(2, (problem.features, -1)),
        )
        for k, view in self.slices(problem, pad(x, self.frame(problem))):
            w[k] = torch.einsum(
                "ngcp,ngdp->gdc",
                view.flatten(2).unflatten(2, (problem.channels, -1)),
                flat,
            )
        return w


# %%
# The line ``i = S*o + D*k - lo`` is in ``slices``: for a fixed :math:`k`, the elements of all windows are a slice that
# begins at :math:`Dk` and steps by :math:`S`. ``output`` reads these slices, ``weight`` reads them, and ``input``
# writes to them.
#
# Registering it
# --------------
#
# In the library that is a file ``ndconv/_lowerings/slices.py`` and one line in ``ndconv/_lowerings/__init__.py``. The
# same in a process that is already running:

import ndconv

LOWERINGS["slices"] = Slices()

x, w = torch.randn(2, 6, 20, 20), torch.randn(8, 3, 3, 3)
print(ndconv.plan(x, w, groups=2, stride=2, lowering="slices").output)

# %%
# It has gradients, and theirs, though nothing above mentions autograd:

x, w = (
    torch.randint(-2, 3, shape).double().requires_grad_()
    for shape in ((1, 4, 5, 4), (4, 2, 2, 3))
)


def convolve(x, w):
    return ndconv.functional.conv2d(
        x, w, stride=(1, 2), padding=((1, 0), (2, 1)), groups=2, lowering="slices"
    )


print(
    torch.autograd.gradcheck(
        convolve, (x, w), eps=1.0, atol=0.0, rtol=0.0, check_forward_ad=True
    )
)
print(torch.autograd.gradgradcheck(convolve, (x, w)))

# %%
# The matrix
# ----------
#
# Whether it is right, the matrix tells: every pair of settings, for this lowering. The trials that compile take a
# second or more each and are left out here, and of the rest every sixth is run, with all of its checks:

from collections import Counter

from ndconv.testing import examine_all, matrix

generated = matrix("quick", lowerings=["slices"])
eager = [
    (trial, row)
    for trial, row in generated.trials
    if trial.transform not in ("compile", "export")
]
chosen = eager[::6]
examined = list(examine_all(chosen))
print(len(chosen), "of", len(generated.trials), "trials")
counts = Counter(outcome.status for one in examined for outcome in one.outcomes)
print(counts)
assert counts["passed"] > 100
assert not counts["failed"] + counts["unsupported"]

# %%
# Once it is in the library,
#
# .. code-block:: sh
#
#    python -m ndconv.testing --lowering slices
#
# runs all of them, the compiler included. If they pass, it is right in every dtype and on as many axes as you like.
#
# Is it any good?
# ---------------
#
# ``"auto"`` compares what lowerings state. Estimated cost, as a multiple of the cheapest, over the number of channels:

import matplotlib.pyplot as plt

from ndconv import _plan

channels = [2, 4, 8, 16, 32, 64, 128, 256]
names = ("slices", "window", "columns", "taps")
costs = {name: [] for name in names}
for count in channels:
    choice = ndconv.plan(
        (8, count, 32, 32), (count, count, 3, 3), padding=1
    ).output.choice
    cheapest = min(choice.estimates[name] for name in names)
    for name in names:
        costs[name].append(choice.estimates[name] / cheapest)

fig, ax = plt.subplots()
for name in names:
    ax.plot(channels, costs[name], marker="o", markersize=4, label=name)
ax.set_xscale("log", base=2)
ax.set_yscale("log", base=2)
ax.set_xlabel("channels, in and out")
ax.set_ylabel("cost, of the cheapest")
ax.legend()
fig.suptitle("Estimated cost of four lowerings for a 3 × 3 layer on 32 × 32 elements")
plt.show()

# sphinx_gallery_start_ignore
del LOWERINGS["slices"]
_plan._prepared.cache_clear()
# sphinx_gallery_end_ignore

# %%
# ``taps`` is this idea done well: it writes the padded input as one flat matrix, so that a slice is a shifted view on
# which a plain matrix product runs, and splits a stride into phases first. A lowering that says what it costs, and
# honestly, need not be best everywhere; it need only be best somewhere.
