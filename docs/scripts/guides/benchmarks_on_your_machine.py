"""
Benchmarks on your machine
==========================

Speed depends on the layer, the device and the number of threads more than on anything that a page can say. Measure
where it will run. In a clone of the repository

.. code-block:: sh

   nox -s "bench(cpu)"
   nox -s "bench(cuda)"

times whole steps (forward and both gradients) of the layers of well-known networks against torch and against a
published hand-written operator, in turns in one process, and writes a JSON file. How well the planner predicts times on
your machine, and what its picks lose, is measured by

.. code-block:: sh

   nox -s "planner(cpu)"

A layer of yours
----------------

For one layer there is a shorter way. In the fourth step with one size, ``"fastest"`` measures all
:doc:`lowerings </guides/lowerings>`, torch's own kernel among them. A plan shows what it measured.
"""

import torch

import ndconv

torch.manual_seed(0)
torch.set_num_threads(1)
layer = ndconv.Conv2d(16, 16, 3, padding=1, lowering="fastest")
x = torch.randn(4, 16, 28, 28, requires_grad=True)
for _ in range(4):
    layer(x).sum().backward()
print(layer.plan(x))

# %%
# Those are single calls of one operation. For a whole step use ``torch.utils.benchmark``, which warms up, repeats,
# waits for a GPU and pins the threads:

from torch.utils.benchmark import Timer


def step(layer):
    layer(x).sum().backward()


layers = {"torch": torch.nn.Conv2d(16, 16, 3, padding=1)}
for name in ("window", "columns", "taps", "auto"):
    layers[name] = ndconv.Conv2d(16, 16, 3, padding=1, lowering=name)
times = {
    name: Timer(
        "step(layer)", globals={"step": step, "layer": each}, num_threads=1
    ).blocked_autorange(min_run_time=0.2)
    for name, each in layers.items()
}
for name, measured in times.items():
    print(f"{name:8} {1e6 * measured.median:8.0f} µs")

# %%
import matplotlib.pyplot as plt

fig, ax = plt.subplots(figsize=(7.2, 2.4))
ax.barh(list(times), [1e3 * measured.median for measured in times.values()])
ax.invert_yaxis()
ax.set_xlabel("milliseconds for forward and backward")
fig.suptitle("One layer, five ways, on the machine that built this page")
plt.show()

# %%
# Traps
# -----
#
# - **The same precision.** On NVIDIA GPUs torch's convolutions use TF32 unless told otherwise, and its matrix products
#   do not. Set ``torch.backends.cudnn.allow_tf32`` and ``torch.backends.cuda.matmul.allow_tf32`` alike.
# - **Synchronise.** A GPU call returns before it is done.
# - **The same threads.** Both sides of a comparison in one process, after a warm-up.
# - **No denormals.** Values near :math:`10^{-40}` make a CPU many times slower; random numbers of ordinary size do not.
# - **The whole step.** A forward that wins may have a backward that loses.
