"""
A lowering of your own
======================

A lowering is a function that computes one slot of the trilinear form from the two others, for any number of axes. It
gets two of the operands ``x[n,g,c,*i]``, ``w[g,d,c,*k]`` and ``y[n,g,d,*o]``, and a builder. Shapes have been checked,
half types widened and groups given an axis of their own. The Function above it handles autograd, ``vmap`` and forward
mode. So it is short. This one is complete: for every kernel element, one matrix product on the elements of all windows
that it meets."""

from itertools import product

from ndconv.lowerings import Slot, windows


def slices(b, problem, first, second):
    """One product per kernel element."""
    geometry, slot = problem.geometry, problem.slot
    shape, reach = problem.shape(slot), geometry.reach(problem.output_size)
    frame = geometry.fit(problem.input_size, reach)
    if slot is Slot.INPUT:
        padded = result = first.new_zeros((*shape[:3], *reach))
    else:
        padded, result = b.pad(first, frame), first.new_zeros(shape)
    if slot is Slot.WEIGHT:
        y = second.flatten(3).permute(1, 2, 0, 3).flatten(2)
    view = windows(padded, geometry)
    for k in product(*map(range, geometry.kernel)):
        part = view[(..., *k)]
        if slot is Slot.OUTPUT:
            added = b.matmul(second[(..., *k)], part.flatten(3))
            result += added.view(*shape)
        elif slot is Slot.INPUT:
            added = b.matmul(first[(..., *k)].mT, second.flatten(3))
            part += added.view(*part.shape)
        else:
            rows = part.flatten(3).permute(1, 0, 3, 2).flatten(1, 2)
            result[(..., *k)] = b.matmul(y, rows)
    return b.unpad(result, frame) if slot is Slot.INPUT else result


# %%
# The line ``i = S*o + D*k - lo`` is in `windows <ndconv.lowerings.windows>`: its view has all windows,
# ``[n,g,c,*o,*k]``. For a fixed :math:`k` these are the elements that begin at :math:`Dk` and are :math:`S` apart.
# OUTPUT and WEIGHT read them, INPUT writes to them. `register <ndconv.lowerings.register>` has a table of the first and
# second operand of each slot.
#
# Registering it
# --------------
#
# From now on the name can be used wherever a lowering is named:

import torch

import ndconv

ndconv.lowerings.register("slices", slices)

x, w = torch.randn(2, 6, 20, 20), torch.randn(8, 3, 3, 3)
plan = ndconv.plan(x, w, groups=2, stride=2, lowering="slices")
print(plan.grad_weight)

# %%
# Nothing above says what it costs. The function is not run on tensors: it is run on sizes, and its steps are recorded.
# A plan adds up what they move and multiply; later they run as a program. Here is the program for a kernel with two
# elements:

print(ndconv.plan((2, 3, 6), (4, 3, 2), lowering="slices").output.source)

# %%
# So there is one rule: the function must decide by the problem, never by numbers in tensors, which are not there yet.
#
# It has first and second derivatives, though nothing above mentions autograd:

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
# The :doc:`test matrix </test_matrix>` tells whether it is right, by trials of every pair of settings. Trials that
# compile take a second or more each and are left out here. Of the rest every sixth is run, with all of its checks:

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
# If the function and its `register <ndconv.lowerings.register>` are in a module, say ``my_module.py``,
#
# .. code-block:: sh
#
#    python -m ndconv.testing --plugin my_module --lowering slices
#
# runs all trials, the compiler's included, in as many processes as there are cores. If they pass, it is right in every
# dtype and on as many axes as you like.
#
# Is it any good?
# ---------------
#
# The planner compares what programs take. Estimated time, as a multiple of the least, over the number of channels:

import matplotlib.pyplot as plt

channels = [2, 4, 8, 16, 32, 64, 128, 256]
names = ("slices", "window", "columns", "taps")
multiples = {name: [] for name in names}
for count in channels:
    choice = ndconv.plan(
        (8, count, 32, 32), (count, count, 3, 3), padding=1
    ).output.choice
    least = min(choice.estimates[name] for name in names)
    for name in names:
        multiples[name].append(choice.estimates[name] / least)

fig, ax = plt.subplots()
for name in names:
    ax.plot(channels, multiples[name], marker="o", markersize=4, label=name)
ax.set_xscale("log", base=2)
ax.set_yscale("log", base=2)
ax.set_xlabel("channels, in and out")
ax.set_ylabel("estimated time, of the least")
ax.legend()
fig.suptitle("Estimates of four lowerings for a 3 × 3 layer on 32 × 32 elements")
plt.show()

# sphinx_gallery_start_ignore
ndconv.lowerings.unregister("slices")
# sphinx_gallery_end_ignore

# %%
# ``taps`` is this idea done well. It writes the padded input as one flat matrix, so that the elements that a kernel
# element meets are a shifted view, on which a plain matrix product runs. It splits a stride into phases first. A
# lowering need not be best everywhere, only somewhere. If it is, register it with ``automatic=True``, and ``"auto"``
# will take it there.
