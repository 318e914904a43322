"""
Private training
================

Differentially private SGD clips the gradient of every sample to one length, sums the clipped gradients and adds noise.
So it needs the norm of each sample's gradient, but never that gradient itself: a clipped sum is the gradient of a sum
of weighted losses.

`ndconv.curvature.record` gives the norms of all layers in one backward pass. Here is the whole step:"""

import torch
import torch.nn.functional as F

from ndconv.curvature import record


def clipped_step(model, images, labels, bound):
    images = images.clone().requires_grad_()
    with record(model, "weight_sqnorm", "bias_sqnorm") as statistics:
        losses = F.cross_entropy(model(images), labels, reduction="none")
        torch.autograd.grad(losses.sum(), images, retain_graph=True)
    squares = statistics.sqnorm()
    factors = (bound / squares.sqrt()).clamp(max=1)
    (factors * losses).sum().backward()


# %%
# The first backward pass asks only for the gradient of the images. It goes through every layer, which is all that the
# norms need, and computes no gradient of a weight. The second one computes those, once, with every loss weighted by its
# clipping factor. Layers that mix samples, as batch norm does, have no per-sample gradient: leave them out.
#
# A network on handwritten digits, with a grouped layer in the middle:

from sklearn.datasets import load_digits

digits = load_digits()
images = torch.tensor(digits.images).float()[:, None] / 16
labels = torch.tensor(digits.target)


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(32, 64, 3, padding=1, groups=2),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(64, 64, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(1024, 10),
    )


# %%
# Beside Opacus
# -------------
#
# `Opacus <https://opacus.ai>`_ is the usual library for this. Its ``GradSampleModule`` keeps the gradients of all
# samples. Its ghost clipping keeps none for linear layers and embeddings. For a convolution it computes them all, takes
# the norms and drops them, layer by layer.

import warnings

from opacus import GradSampleModule
from opacus.grad_sample import GradSampleModuleFastGradientClipping

warnings.filterwarnings("ignore", "Full backward hook")
plain = network()
kept = GradSampleModule(network(), loss_reduction="sum")
ghost = GradSampleModuleFastGradientClipping(
    network(), loss_reduction="sum", max_grad_norm=1.0
)
x, y = images[:256], labels[:256]


def with_record():
    plain.zero_grad()
    clipped_step(plain, x, y, 1.0)


def opacus_kept():
    kept.zero_grad()
    F.cross_entropy(kept(x), y, reduction="sum").backward()
    samples = [p.grad_sample for p in kept.parameters()]
    squares = sum(each.flatten(1).square().sum(1) for each in samples)
    factors = (1.0 / squares.sqrt()).clamp(max=1)
    for p, each in zip(kept.parameters(), samples, strict=True):
        p.grad = torch.tensordot(factors, each, 1)


def opacus_ghost():
    ghost.zero_grad()
    losses = F.cross_entropy(ghost(x), y, reduction="none")
    losses.sum().backward(retain_graph=True)
    ghost.zero_grad()
    ghost.disable_hooks()
    (ghost.get_clipping_coef() * losses).sum().backward()
    ghost.enable_hooks()


def unclipped():
    plain.zero_grad()
    F.cross_entropy(plain(x), y).backward()


# %%
# All three give the same clipped sums. The largest difference of any element:

for step in (with_record, opacus_kept, opacus_ghost):
    step()
for model in (kept, ghost):
    pairs = zip(plain.parameters(), model.parameters(), strict=True)
    print(f"{max((p.grad - q.grad).abs().max().item() for p, q in pairs):.1e}")
print(f"of {max(p.grad.abs().max().item() for p in plain.parameters()):.2f}")

# %%
# Time is measured in turns, so that other load of the machine affects all alike. The result is the median of the ratios
# to an ordinary, unclipped step. Memory is the highest sum of what torch's allocator handed out during a step, as its
# profiler reports; ``benchmarks/memory.py`` in the repository has the few lines.

import time

from benchmarks.memory import peak_bytes

steps = {
    "unclipped": unclipped,
    "record": with_record,
    "Opacus, ghost clipping": opacus_ghost,
    "Opacus, kept gradients": opacus_kept,
}
for model in (plain, kept, ghost):
    model.zero_grad()
peaks = [peak_bytes(step, "cpu") / 2**20 for step in steps.values()]
rounds = []
for _ in range(12):
    seconds = []
    for step in steps.values():
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    rounds.append(seconds)
rounds = torch.tensor(rounds[2:])
ratios = (rounds / rounds[:, :1]).median(0).values.tolist()
for name, ratio, peak in zip(steps, ratios, peaks, strict=True):
    print(f"{name:24} {ratio:5.2f} times the time, {peak:6.1f} MiB")

# %%

import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 2, sharey=True, figsize=(7.2, 2.6))
titles = "Time of a step, unclipped = 1", "Highest memory of a step, in MiB"
for ax, values, title in zip(axes, (ratios, peaks), titles, strict=True):
    bars = ax.barh(list(steps), values, color=["C4", "C0", "C1", "C1"], height=0.6)
    ax.bar_label(bars, fmt="%.1f" if values is ratios else "%.0f", padding=3)
    ax.set_title(title)
    ax.margins(x=0.15)
axes[0].invert_yaxis()
fig.suptitle("A clipped step for 256 digits", fontsize=12)
plt.show()

# %%
# None of the three is free: two backward passes and the norms cost more than the one backward of an ordinary step, and
# on layers as small as these the fixed cost of hooks counts. A network of linear layers alone gains nothing over ghost
# clipping.
#
# Training
# --------
#
# Now with noise. A batch takes every sample with probability ``rate``, because the accountant assumes that. The sum is
# divided by the size that a batch has on average. ``epsilon`` holds for a ``delta`` of 1e-4. The network is smaller:
# noise is added to every parameter, so every parameter has to be worth it.

from opacus.accountants import RDPAccountant

order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
train, test = order[:1437], order[1437:]
rate, noise, bound = 0.2, 1.5, 1.0

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 16, 3, padding=1),
    torch.nn.Tanh(),
    torch.nn.MaxPool2d(2),
    torch.nn.Conv2d(16, 32, 3, padding=1, groups=2),
    torch.nn.Tanh(),
    torch.nn.Flatten(),
    torch.nn.Linear(512, 10),
)
optimizer, accountant = torch.optim.SGD(model.parameters(), lr=2.0), RDPAccountant()
for step in range(1, 101):
    chosen = train[torch.rand(len(train)) < rate]
    optimizer.zero_grad()
    clipped_step(model, images[chosen], labels[chosen], bound)
    for p in model.parameters():
        p.grad += noise * bound * torch.randn_like(p)
        p.grad /= rate * len(train)
    optimizer.step()
    accountant.step(noise_multiplier=noise, sample_rate=rate)
    if step % 20 == 0:
        with torch.no_grad():
            right = model(images[test]).argmax(1) == labels[test]
        epsilon = accountant.get_epsilon(delta=1e-4)
        print(f"step {step:3}: {right.float().mean():.1%} right, epsilon {epsilon:.1f}")
