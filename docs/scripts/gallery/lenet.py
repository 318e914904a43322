"""
A LeNet on handwritten digits
=============================

The digits of scikit-learn, 1797 images of 8 x 8 pixels, and a small network: two convolutions from ndconv, everything
else from torch.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

import ndconv

torch.manual_seed(0)
digits = load_digits()
order = torch.randperm(1797)
images = torch.tensor(digits.images).float()[order, None] / 16
targets = torch.tensor(digits.target)[order]
train, test = slice(0, 1400), slice(1400, None)

model = nn.Sequential(
    ndconv.Conv2d(1, 16, 3), nn.ReLU(),
    ndconv.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10),
)  # fmt: skip
print(sum(parameter.numel() for parameter in model.parameters()), "parameters")

# %%
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
losses = []
for _ in range(12):
    for batch in torch.randperm(1400).split(50):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(
            model(images[train][batch]), targets[train][batch]
        )
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

with torch.no_grad():
    guesses = model(images[test]).argmax(1)
right = guesses == targets[test]
print(f"{100 * right.float().mean():.1f} % of {len(right)} digits it has not seen")

# %%
# The loss, the first layer's kernels, and the digits it got wrong:

fig = plt.figure(figsize=(8, 3.2))
left, middle, last = fig.subfigures(1, 3, width_ratios=[1.4, 1, 1])
ax = left.subplots()
ax.semilogy(losses, linewidth=0.8)
ax.set_xlabel("step")
ax.set_ylabel("loss")
for ax, kernel in zip(
    middle.subplots(4, 4).flat, model[0].weight.detach()[:, 0], strict=True
):
    ax.imshow(kernel, cmap="RdBu", vmin=-0.8, vmax=0.8)
    ax.set_axis_off()
middle.suptitle("kernels")
wrong = (~right).nonzero().flatten()[:9]
for index, ax in enumerate(last.subplots(3, 3).flat):
    ax.set_axis_off()
    if index < len(wrong):
        ax.imshow(-images[test][wrong[index], 0])
        ax.set_title(
            f"{guesses[wrong[index]]}, not {targets[test][wrong[index]]}", fontsize=8
        )
fig.suptitle("Training a LeNet: its loss, the kernels it learnt and what it gets wrong")
plt.show()
