"""
Finding mislabelled samples
===========================

A sample with a wrong label pulls at a model that has learnt the others. The norm of its gradient measures how hard. It
is a score that needs no second model and no held-out data (GraNd,
`Paul et al., 2021 <https://arxiv.org/abs/2107.07075>`_).

Here are the handwritten digits, 5 % of them with a label that we made wrong."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from ndconv.curvature import record

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images).float()[:, None] / 16
truth = torch.tensor(digits.target)
flipped = torch.randperm(len(truth))[: len(truth) // 20]
given = truth.clone()
given[flipped] = (given[flipped] + torch.randint(1, 10, flipped.shape)) % 10
print(f"{len(flipped)} of {len(given)} labels are wrong")

# %%
# Train briefly, on the wrong labels too: long enough to learn what most digits have in common, and not so long that
# single ones are memorised.

model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 16, 3, padding=1),
    torch.nn.ReLU(),
    torch.nn.Conv2d(16, 32, 3, padding=1, groups=2),
    torch.nn.ReLU(),
    torch.nn.MaxPool2d(2),
    torch.nn.Flatten(),
    torch.nn.Linear(512, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
for _ in range(5):
    for chosen in torch.randperm(len(images)).split(64):
        optimizer.zero_grad()
        F.cross_entropy(model(images[chosen]), given[chosen]).backward()
        optimizer.step()

# %%
# Now one backward over all 1797 digits gives the norm of every digit's gradient with respect to the whole network. No
# per-sample gradients are kept: they would be 1797 times as large as the network. The loss is a sum, so that a digit's
# gradient is that of its own loss.

with record(model, "weight_sqnorm", "bias_sqnorm") as statistics:
    losses = F.cross_entropy(model(images), given, reduction="none")
    losses.sum().backward()
norms = statistics.sqnorm().sqrt()

is_flipped = torch.zeros(len(given), dtype=torch.bool)
is_flipped[flipped] = True
print(f"median norm of the flipped {norms[is_flipped].median():.1f}")
print(f"median norm of the others  {norms[~is_flipped].median():.1f}")

ranked = norms.argsort(descending=True)
for percent in (5, 10):
    count = len(given) * percent // 100
    found = is_flipped[ranked[:count]].sum()
    print(f"the first {percent:2} % hold {found} of {len(flipped)}")

# %%
# Ranked by their loss, which needs no backward pass, and counted the same way:

found = is_flipped[losses.argsort(descending=True)[: len(given) // 20]].sum()
print(f"the first  5 % hold {found} of {len(flipped)}")

# %%
# So for wrong labels the loss does as well, and is cheaper. The norms also come layer by layer: they tell where a
# sample pulls, and the loss does not.
#
# Here are the digits with the largest gradients, with the given label, and with the true one where we had flipped it.
# The last row has the largest gradients among the labels that we did not change: digits that are hard to read.

import matplotlib.pyplot as plt

others = ranked[~is_flipped[ranked]]
fig, axes = plt.subplots(3, 8, figsize=(7.2, 4))
for ax, i in zip(axes.flat, (*ranked[:16], *others[:8]), strict=True):
    ax.imshow(-images[i, 0])
    if is_flipped[i]:
        ax.set_title(f"{given[i]}, is {truth[i]}", color="C3", fontsize=10)
    else:
        ax.set_title(f"{given[i]}", color="C0", fontsize=10)
    ax.set_axis_off()
fig.suptitle("Given and true labels, by rank; below, the highest with a right label")
plt.show()
