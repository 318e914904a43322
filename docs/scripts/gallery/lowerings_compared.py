"""
Lowerings compared
==================

The same convolution by four :doc:`lowerings </guides/lowerings>`, on images from small to large. All give the same
numbers, bit for bit, since they are integers. The times differ: here are those of one thread of the machine that built
this page. On another machine they will be others: see :doc:`/guides/benchmarks_on_your_machine`.
"""

import time
from functools import partial

import matplotlib.pyplot as plt
import torch

import ndconv

torch.manual_seed(0)
torch.set_num_threads(1)
names = ("window", "columns", "taps", "native")
sides = (8, 16, 32, 64)


def least(function, repeats=3):
    """The least of some times, after one run to warm up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


seconds = {name: [] for name in names}
for side in sides:
    x = torch.randint(-4, 5, (4, 16, side, side)).float()
    w = torch.randint(-4, 5, (16, 16, 3, 3)).float()
    calls = {
        name: partial(ndconv.functional.conv2d, x, w, padding=1, lowering=name)
        for name in names
    }
    assert all(torch.equal(call(), calls["native"]()) for call in calls.values())
    for name, call in calls.items():
        seconds[name].append(least(call))

# %%
# ``native`` is torch's own kernel, so 1 is the speed to reach. The pick of ``"auto"``, by estimate alone:

picked = [
    ndconv.plan((4, 16, side, side), (16, 16, 3, 3), padding=1).output.lowering
    for side in sides
]
print(dict(zip(sides, picked, strict=True)))

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2))
for name in names:
    left.loglog(
        sides, [1e3 * s for s in seconds[name]], marker="o", markersize=4, label=name
    )
    speed = [
        native / own
        for native, own in zip(seconds["native"], seconds[name], strict=True)
    ]
    right.semilogx(sides, speed, marker="o", markersize=4)
for ax, label in ((left, "milliseconds"), (right, "speed, torch's kernel = 1")):
    ax.set_xticks(sides, [str(side) for side in sides])
    ax.minorticks_off()
    ax.set_xlabel("side of the image")
    ax.set_ylabel(label)
left.legend()
fig.suptitle("Time of four lowerings for a 3 × 3 layer of 16 channels")
plt.show()
