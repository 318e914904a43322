"""
Per-sample gradients
====================

Training sums the gradients of a batch. Some methods need them separately: differential privacy clips each one,
influence functions ask which sample had an effect, and gradient noise is the spread over samples.

``per_sample=True`` leaves out the sum over the batch. It needs no loop and no hook, and for grouped layers it computes
no block that is then discarded."""

import torch

import ndconv

torch.manual_seed(0)
x, g = torch.randn(32, 8, 12, 12), torch.randn(32, 16, 10, 10)

apart = ndconv.grad.conv2d_weight(x, (16, 8, 3, 3), g, per_sample=True)
together = ndconv.grad.conv2d_weight(x, (16, 8, 3, 3), g)
print(apart.shape, torch.allclose(apart.sum(0), together, atol=1e-3))

# %%
# The bias too, and all at once:

gradients = ndconv.grad.convnd_backward(x, torch.randn(16, 8, 3, 3), g, per_sample=True)
print(gradients.weight.shape, gradients.bias.shape)

# %%
# What it is
# ----------
#
# The gradient of the weight sums over samples and windows, ``ngcopkl,ngdop->gdckl``. Keep ``n`` in the result and it is
# ``ngcopkl,ngdop->ngdckl``: ``n`` is now in all three tensors, as ``g`` is. So every sample is a group, and the
# operation is the same as before (:doc:`/mathematics/groups`).
#
# A whole model
# -------------
#
# ``torch.func`` gives the layers of a model one gradient for each sample. Below are the gradients of a small network on
# handwritten digits, and then their norms.

from sklearn.datasets import load_digits

digits = load_digits()
images = torch.tensor(digits.images).float()[:200, None] / 16
targets = torch.tensor(digits.target)[:200]
model = torch.nn.Sequential(
    ndconv.Conv2d(1, 8, 3),
    torch.nn.ReLU(),
    ndconv.Conv2d(8, 16, 3, groups=2),
    torch.nn.ReLU(),
    torch.nn.Flatten(),
    torch.nn.Linear(256, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(10):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(images), targets).backward()
    optimizer.step()

parameters = {name: value.detach() for name, value in model.named_parameters()}


def loss(parameters, image, target):
    logits = torch.func.functional_call(model, parameters, image[None])
    return torch.nn.functional.cross_entropy(logits, target[None])


gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(
    parameters, images, targets
)
norms = sum(value.flatten(1).square().sum(1) for value in gradients.values()).sqrt()
print(f"median {norms.median():.3f}, largest {norms.max():.3f}")

# %%
# A clipped step, as in differential privacy: no sample's gradient may be longer than the median. If only norms are
# needed, :doc:`/guides/private_training` has them without the gradients.

factors = (norms.median() / norms).clamp(max=1)
clipped = {
    name: torch.einsum("n,n...->...", factors, value) / 200
    for name, value in gradients.items()
}
print(tuple(clipped["2.weight"].shape), "as the weight itself")

# %%
# The digits with the largest gradients after some training, and those with the smallest:

import matplotlib.pyplot as plt

order = norms.argsort()
fig, axes = plt.subplots(2, 8, figsize=(7.2, 2.4))
for row, chosen in zip(axes, (order[-8:], order[:8]), strict=True):
    for ax, index in zip(row, chosen, strict=True):
        ax.imshow(-images[index, 0])
        ax.set_title(int(targets[index]), fontsize=9)
        ax.set_axis_off()
fig.suptitle("Digits with the largest gradients, above, and the smallest, below")
plt.show()
