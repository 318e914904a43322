r"""
K-FAC
=====

Natural gradient descent divides the gradient by the Fisher matrix, which has as many rows as the model has parameters.
K-FAC replaces a layer's block of it by a Kronecker product :math:`A \otimes B` of two small matrices: the covariance
:math:`A` of the layer's inputs and the covariance :math:`B` of its output gradients. For a convolution the inputs are
windows (KFC, `Grosse and Martens, 2016 <https://arxiv.org/abs/1602.01407>`_).

`ndconv.curvature.record` collects both during one forward and one backward."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from ndconv.curvature import record

digits = load_digits()
images = torch.tensor(digits.images).float()[:, None] / 16
labels = torch.tensor(digits.target)


def network(groups=1):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=groups),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(256, 10),
    )


model, x, y = network(), images[:256], labels[:256]
with record(model, "input_covariance", "output_covariance", bias=True) as statistics:
    F.cross_entropy(model(x), y, reduction="sum").backward()
for name, statistic in statistics.items():
    print(name, statistic)

# %%
# ``bias=True`` adds a last row and column for an input of 1, which the bias multiplies. The first axis is that of the
# groups: a grouped convolution has a factor for each, and so has the network further below.
#
# Beside curvlinops
# -----------------
#
# The factors are plain sums, and every library divides them in its own way. curvlinops divides :math:`A` by the number
# :math:`N` of samples and by the number :math:`P` of positions. With a summed loss it leaves :math:`B` as it is. The
# corner of :math:`A`, where the bias's input meets itself, is :math:`NP`.

from curvlinops import KFACLinearOperator

theirs = KFACLinearOperator(
    model,
    torch.nn.CrossEntropyLoss(reduction="sum"),
    list(model.parameters()),
    [(x, y)],
    fisher_type="empirical",
    separate_weight_and_bias=False,
).state_dict()
for name, statistic in statistics.items():
    A, B = statistic.input_covariance[0], statistic.output_covariance[0]
    A = A / A[-1, -1]
    for ours, key in ((A, "input_covariances"), (B, "gradient_covariances")):
        difference = (ours - theirs[key][name]).abs().max() / ours.abs().max()
        print(f"{name} {key:20} {tuple(ours.shape)!s:10} differ by {difference:.0e}")

# %%
# That is for ``groups=1``. With groups, curvlinops averages the windows of all groups and gives one factor for the
# layer. Here every group has its own, because it has its own block of the Fisher matrix.
#
# Steps
# -----
#
# The Fisher matrix is an expectation over labels that the model itself draws, so :math:`B` comes from drawn labels; the
# real ones would give the *empirical* Fisher matrix. In the step below, factors are averaged over time and damped. The
# gradients of weight and bias stand side by side, in the order of :math:`A`.


class KFAC:
    def __init__(self, model, lr, damping, decay=0.9):
        self.model, self.lr, self.damping, self.decay = model, lr, damping, decay
        self.factors, self.count = {}, 0

    def update_factors(self, x):
        with record(
            self.model, "input_covariance", "output_covariance", bias=True
        ) as statistics:
            logits = self.model(x)
            drawn = torch.distributions.Categorical(logits=logits).sample()
            loss = F.cross_entropy(logits, drawn, reduction="sum")
            loss.backward()
        self.count += 1
        keep = min(self.decay, 1 - 1 / self.count)
        for name, s in statistics.items():
            positions = s.input_covariance[0, -1, -1] / len(x)
            new = s.input_covariance / len(x), s.output_covariance / len(x) / positions
            old = self.factors.get(name, new)
            self.factors[name] = [
                keep * a + (1 - keep) * b for a, b in zip(old, new, strict=True)
            ]

    @torch.no_grad()
    def step(self):
        for name, (A, B) in self.factors.items():
            layer = self.model.get_submodule(name)
            weight, bias = layer.weight.grad.flatten(1), layer.bias.grad[:, None]
            grad = torch.cat([weight, bias], 1).unflatten(
                0, (len(A), -1)
            )  # g, d, (c, k)
            traces = [f.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] for f in (A, B)]
            ratio = (traces[0] / traces[1]).sqrt()
            root = self.damping**0.5
            A = A + ratio * root * torch.eye(A.shape[1])
            B = B + root / ratio * torch.eye(B.shape[1])
            step = torch.linalg.solve(B, torch.linalg.solve(A, grad, left=False))
            step = step.flatten(0, 1)
            layer.weight -= self.lr * step[:, :-1].view_as(layer.weight)
            layer.bias -= self.lr * step[:, -1]


# %%
# Every layer is treated alike, grouped or not, and the linear one too: ``torch.linalg.solve`` takes the axis of groups
# as a batch. Now compare with SGD with momentum, on the same batches of 256 digits. The learning rates of both were
# chosen by trying a few. A step of K-FAC takes longer, so SGD takes more of them.

import time


def train(kind, steps):
    model = network(groups=2)
    torch.manual_seed(1)
    if kind == "K-FAC":
        optimizer = KFAC(model, lr=0.1, damping=1e-3)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    losses, seconds = [], [0.0]
    for _ in range(steps):
        with torch.no_grad():
            losses.append(F.cross_entropy(model(images), labels).item())
        start = time.perf_counter()
        chosen = torch.randint(len(images), (256,))
        if kind == "K-FAC":
            optimizer.update_factors(images[chosen])
        model.zero_grad()
        F.cross_entropy(model(images[chosen]), labels[chosen]).backward()
        optimizer.step()
        seconds.append(seconds[-1] + time.perf_counter() - start)
    return losses, seconds[:-1]


import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 2, sharey=True)
for kind, steps in (("K-FAC", 60), ("SGD", 270)):
    losses, seconds = train(kind, steps)
    print(
        f"{kind:6} loss {losses[-1]:.4f} after {len(losses)} steps, {seconds[-1]:.1f} s"
    )
    axes[0].plot(losses, label=kind)
    axes[1].plot(seconds, losses)
axes[0].set_yscale("log")
axes[0].set_ylabel("loss on all digits")
axes[0].set_xlabel("steps")
axes[0].set_xlim(0, 60)
axes[1].set_xlabel("seconds")
axes[0].legend()
fig.suptitle("Training with K-FAC and with SGD, by steps and by seconds")
plt.show()

# %%
# By steps K-FAC is far ahead. By seconds, on layers this small, it is not: forward and backward for the factors, and
# two solves per layer, cost as much as several steps of SGD. Implementations update the factors and solve only now and
# then.
