"""
Lipschitz constants of layers
=============================

How much can a layer stretch a difference of its inputs? A convolution is a linear map, so the answer is its largest
singular value, the *operator norm*. It depends on the border, the stride and the size of the input. It is not the norm
of the matrix ``weight.flatten(1)``.

`ndconv.curvature.conv2d_operator_norm` and its variants for any number of axes find it without the matrix. They return
three numbers: the ``value`` that was found, which can be differentiated, a ``lower`` bound that some input reaches, and
an ``upper`` bound that none exceeds."""

import torch
import torch.nn.functional as F

from ndconv.curvature import conv2d_operator_norm, conv_transpose2d_operator_norm

torch.manual_seed(0)
w = torch.randn(8, 8, 3, 3) / 9
size = (8, 12, 12)
layers = {
    "zeros": conv2d_operator_norm(w, size, padding=1),
    "circular": conv2d_operator_norm(w, size, padding=1, padding_mode="circular"),
    "reflect": conv2d_operator_norm(w, size, padding=1, padding_mode="reflect"),
    "stride 2": conv2d_operator_norm(w, size, stride=2, padding=1),
    "4 groups": conv2d_operator_norm(w[:, :2], size, padding=1, groups=4),
    "transposed": conv_transpose2d_operator_norm(w, (8, 6, 6), stride=2, padding=1),
}
print(f"{'':10}   lower   value   upper")
for name, (value, lower, upper) in layers.items():
    print(f"{name:10} {lower:7.4f} {value:7.4f} {upper:7.4f}")
print(f"matrix of the weight: {torch.linalg.matrix_norm(w.flatten(1), 2):.4f}")

# %%
# The upper bound is the norm on an infinite input. So it is close for zeros and a large input. For a circular border it
# is exact up to the frequencies that the size has. A mirroring border copies elements and may stretch more than the
# inside does. There the upper bound has to allow for all copies and is loose.
#
# Is it right? The matrices of these layers are small enough to be written down and decomposed:

maps = {
    "zeros": lambda x: F.conv2d(x, w, padding=1),
    "circular": lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1), "circular"), w),
    "reflect": lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), w),
    "stride 2": lambda x: F.conv2d(x, w, stride=2, padding=1),
    "4 groups": lambda x: F.conv2d(x, w[:, :2], padding=1, groups=4),
    "transposed": lambda x: F.conv_transpose2d(x, w, stride=2, padding=1),
}
for name, map_ in maps.items():
    basis = torch.eye(8 * 36 if name == "transposed" else 8 * 144)
    images = map_(basis.unflatten(1, (8, 6, 6) if name == "transposed" else size))
    exact = torch.linalg.matrix_norm(images.flatten(1), 2)
    print(f"{name:10} {exact:.4f}, off by {(layers[name].value - exact) / exact:+.0e}")

# %%
# The value is the result of an iteration that ends at ``tolerance``. It never exceeds the exact norm by more than
# rounding. For a guaranteed bound take ``upper``.
#
# A network with a small constant
# -------------------------------
#
# The constant of a network is at most the product of its layers' norms. Here the value, which can be differentiated,
# serves as a penalty on layers that stretch by more than 1.

from sklearn.datasets import load_digits

digits = load_digits()
images = torch.tensor(digits.images).float()[:, None] / 16
labels = torch.tensor(digits.target)
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
train, test = order[:1300], order[1300:]


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 16, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(256, 10),
    )


def norms(model, **options):
    """Values and upper bounds of all layers."""
    sizes = iter([(1, 8, 8), (8, 8, 8), (16, 4, 4)])
    found = []
    for layer in model:
        if isinstance(layer, torch.nn.Conv2d):
            how = layer.stride, layer.padding, layer.dilation, layer.groups
            size = next(sizes)
            found.append(conv2d_operator_norm(layer.weight, size, *how, **options)[::2])
        elif isinstance(layer, torch.nn.Linear):
            norm = torch.linalg.matrix_norm(layer.weight, 2)
            found.append((norm, norm))
    values, uppers = zip(*found, strict=True)
    return torch.stack(values), torch.stack(uppers).detach()


def trained(penalty, steps=100):
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.006)
    for _ in range(steps):
        chosen = train[torch.randint(len(train), (128,))]
        loss = F.cross_entropy(model(images[chosen]), labels[chosen])
        if penalty:
            values, _ = norms(model, tolerance=0.05, bounded=False)
            loss = loss + penalty * (values - 1).relu().square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


models = {"before": network(), "plain": trained(0), "penalised": trained(0.05)}

# %%
# The product is a bound, and a loose one: no single input stretches all layers to the full. The norms of the network's
# Jacobian at the digits show how loose it is there.


def at_digits(model):
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x: model(x[None])[0]))
    matrices = jacobian(images[test[:100]]).flatten(2)
    return torch.linalg.matrix_norm(matrices, 2).max().item()


for name, model in models.items():
    values, uppers = norms(model, tolerance=1e-3)
    with torch.no_grad():
        right = (model(images[test]).argmax(1) == labels[test]).float().mean()
    print(
        f"{name:13} {right:6.1%} right, product of bounds {uppers.prod():8.2f}, "
        f"at digits {at_digits(model):5.2f}"
    )

# %%
# Both columns shrink with the penalty, and some accuracy goes with them.

import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.2))
sides = [3, 4, 6, 8, 12, 16, 24, 32]
for mode in ("zeros", "circular"):
    found = [
        conv2d_operator_norm(w, (8, s, s), padding=1, padding_mode=mode) for s in sides
    ]
    axes[0].plot(sides, [each.value for each in found], "o-", label=mode)
axes[0].axhline(layers["zeros"].upper, color="C4", linestyle=":", label="upper, zeros")
axes[0].set_xscale("log", base=2)
axes[0].set_xticks([4, 8, 16, 32], ["4", "8", "16", "32"])
axes[0].set_xlabel("side of the input")
axes[0].set_title("Norm of one layer")
axes[0].legend()
for offset, (name, model) in zip((-0.27, 0, 0.27), models.items(), strict=True):
    values, _ = norms(model, tolerance=1e-3)
    axes[1].bar(torch.arange(4) + offset, values.detach(), 0.25, label=name)
axes[1].axhline(1, color="C4", linestyle=":")
axes[1].set_xticks(range(4), ["conv", "strided,\ngrouped", "conv", "linear"])
axes[1].set_title("Norms of a network's layers")
axes[1].set_ylim(0, 1.5 * axes[1].get_ylim()[1])
axes[1].legend(loc="upper right")
fig.suptitle("Operator norms")
plt.show()

# %%
# The bound takes longer to compute than the value, and both come with every call: on wide layers the penalty costs more
# than the step itself. Then penalise only every few steps.
