r"""
Quantising a network
====================

To store weights in 3 bits, one can round each to the nearest of 8 levels. GPTQ
(`Frantar et al., 2023 <https://arxiv.org/abs/2210.17323>`_) does better with the same levels: it rounds one column of a
layer's weight after the other, and changes the columns that are still to come to make up for the error. The Hessian of
the layer's squared output error tells how. It is the covariance of the layer's inputs, which for a convolution are its
windows.

`ndconv.curvature.record` collects it for convolutions over any number of axes, with any stride, dilation and padding,
and for linear layers. Each group has its own Hessian, because a group's outputs do not depend on another group's
windows.

First a network to be quantised, with two grouped layers, one of them depthwise."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from ndconv.curvature import record

digits = load_digits()
images = torch.tensor(digits.images).float()[:, None] / 16
labels = torch.tensor(digits.target)
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
train, test = order[:1000], order[1000:]

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 16, 3, padding=1),
    torch.nn.ReLU(),
    torch.nn.Conv2d(16, 32, 3, padding=1, groups=4),
    torch.nn.ReLU(),
    torch.nn.MaxPool2d(2),
    torch.nn.Conv2d(32, 32, 3, padding=1, groups=32),
    torch.nn.Conv2d(32, 32, 1),
    torch.nn.ReLU(),
    torch.nn.Flatten(),
    torch.nn.Linear(512, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
for _ in range(100):
    chosen = train[torch.randint(len(train), (128,))]
    optimizer.zero_grad()
    F.cross_entropy(model(images[chosen]), labels[chosen]).backward()
    optimizer.step()


def accuracy(model):
    with torch.no_grad():
        right = model(images[test]).argmax(1) == labels[test]
    return right.float().mean().item()


print(f"{accuracy(model):.1%} of {len(test)} digits right")

# %%
# Levels
# ------
#
# Every row of a weight, that is every output channel, has its own levels, evenly spaced between its smallest weight and
# its largest. Rounding to the nearest of them is the baseline.


def grid(rows, bits):
    low = rows.amin(-1, keepdim=True).clamp(max=0)
    high = rows.amax(-1, keepdim=True).clamp(min=0)
    step = (high - low).clamp(min=1e-8) / (2**bits - 1)
    return low, step, 2**bits - 1


def rounded(rows, low, step, top):
    return low + step * ((rows - low) / step).round().clamp(0, top)


# %%
# Column by column
# ----------------
#
# ``H`` is ``(groups, a, a)`` and the weight ``(groups, d, a)``, with the columns ``a`` in the same order. All groups
# are processed at once: ``torch.linalg`` takes their axis as a batch. ``U`` is the Cholesky factor of the inverse
# Hessian, whose rows say how the columns to come have to change.


def gptq(rows, H, bits, damping=0.01):
    levels = grid(rows, bits)
    diagonal = H.diagonal(dim1=1, dim2=2)
    ridge = damping * diagonal.mean(1)[:, None, None] + 1e-6
    H = H + ridge * torch.eye(H.shape[1])
    U = torch.linalg.cholesky(torch.linalg.inv(H), upper=True)
    rows, result = rows.clone(), torch.empty_like(rows)
    for a in range(rows.shape[2]):
        result[:, :, a] = rounded(rows[:, :, a, None], *levels)[:, :, 0]
        error = (rows[:, :, a] - result[:, :, a]) / U[:, a, a, None]
        rows[:, :, a:] -= error[:, :, None] * U[:, None, a, a:]
    return result


# %%
# Layer by layer
# --------------
#
# Each layer is quantised for the inputs that it will get from the layers before it, which are already quantised.
# Recording one layer is recording a model of one module, whose name is empty. It needs no labels and no backward pass.

import copy


@torch.no_grad()
def quantised(model, bits, calibration=None):
    model = copy.deepcopy(model)
    for layer in model:
        if not isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            continue
        groups = getattr(layer, "groups", 1)
        rows = layer.weight.flatten(1).unflatten(0, (groups, -1))
        if calibration is None:
            rows = rounded(rows, *grid(rows, bits))
        else:
            with record(layer, "input_covariance") as statistics:
                model(calibration)
            rows = gptq(rows, statistics[""].input_covariance, bits)
        layer.weight.copy_(rows.reshape(layer.weight.shape))
    return model


bits = [2, 3, 4]
calibration = images[train[:500]]
models = {
    "round to nearest": [quantised(model, b) for b in bits],
    "GPTQ": [quantised(model, b, calibration) for b in bits],
}

# %%
# How many digits are right, and how far the logits are from those of the model in float32:


@torch.no_grad()
def distance(other):
    want = model(images[test])
    return ((other(images[test]) - want).norm() / want.norm()).item()


for name, found in models.items():
    for b, each in zip(bits, found, strict=True):
        print(
            f"{b} bits, {name:16}: {accuracy(each):.1%} right, logits off by {distance(each):.1%}"
        )

# %%

import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 2, figsize=(7.2, 3))
for offset, (name, found) in zip((-0.2, 0.2), models.items(), strict=True):
    wrong = [100 - 100 * accuracy(each) for each in found]
    off = [100 * distance(each) for each in found]
    for ax, heights in zip(axes, (wrong, off), strict=True):
        bars = ax.bar([b + offset for b in bits], heights, 0.38, label=name)
        ax.bar_label(bars, fmt="%.1f", padding=2, fontsize=9)
        ax.set_xticks(bits, [f"{b} bits" for b in bits])
bars = axes[0].bar(5, 100 - 100 * accuracy(model), 0.38, color="C4")
axes[0].bar_label(bars, fmt="%.1f", padding=2, fontsize=9)
axes[0].set_xticks([*bits, 5], [*(f"{b} bits" for b in bits), "float32"])
axes[0].set_title("% of test digits wrong")
axes[1].set_title("% by which the logits are off")
axes[1].legend()
for ax in axes:
    ax.margins(y=0.12)
fig.suptitle("A network after quantisation")
plt.show()

# %%
# The fewer the bits, the more there is to gain. With 4 bits both ways do as well as float32 on the digits, and only the
# logits show a difference. One Hessian averaged over the groups, as in some tools, did as well on a network this small.
# But the layer has a Hessian for each group, and that costs no more.
