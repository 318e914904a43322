"""
Hessian-vector products
=======================

The Hessian of a network has as many entries as the square of the number of parameters, and is never written down. Its
product with a vector costs two passes: it is the derivative of the gradient in one direction. Power iteration then
finds the direction in which the loss curves most."""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

import ndconv

torch.manual_seed(0)
digits = load_digits()
images, targets = (
    torch.tensor(digits.images)[:150, None].float() / 16,
    torch.tensor(digits.target)[:150],
)
model = nn.Sequential(
    ndconv.Conv2d(1, 4, 5, stride=2, padding=2), nn.Tanh(), ndconv.Conv2d(4, 4, 3), nn.Tanh(), nn.Flatten(),
    nn.Linear(16, 10),
)  # fmt: skip
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(60):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), targets).backward()
    optimizer.step()

names = [name for name, _ in model.named_parameters()]
values = tuple(parameter.detach() for parameter in model.parameters())
sizes = [value.numel() for value in values]


def loss(*values):
    logits = torch.func.functional_call(
        model, dict(zip(names, values, strict=True)), images
    )
    return nn.functional.cross_entropy(logits, targets)


# %%
# Forward over reverse: the derivative of the gradient along a vector.


def product(vector):
    parts = tuple(
        part.view_as(value)
        for part, value in zip(vector.split(sizes), values, strict=True)
    )
    gradient = torch.func.grad(loss, argnums=tuple(range(len(values))))
    _, change = torch.func.jvp(gradient, values, parts)
    return torch.cat([part.flatten() for part in change])


vector = torch.randn(sum(sizes))
curvatures = []
for _ in range(60):
    vector = vector / vector.norm()
    image = product(vector)
    curvatures.append((vector @ image).item())
    vector = image
print(f"{sum(sizes)} parameters, largest curvature {curvatures[-1]:.4f}")

# %%
# With so few parameters the whole Hessian can be computed for comparison, one product for each of its columns:

hessian = torch.func.vmap(product, chunk_size=64)(torch.eye(sum(sizes)))
spectrum = torch.linalg.eigvalsh(hessian)
print(f"by the whole matrix      {spectrum[-1]:.4f}")

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
left.plot(curvatures, marker=".", label="power iteration")
left.axhline(spectrum[-1], linestyle="--", color="0.5", label="largest eigenvalue")
left.set_xlabel("iteration")
left.set_ylabel("curvature")
left.legend()
right.semilogy(spectrum.abs().flip(0).sort(descending=True).values.clamp(min=1e-9))
right.set_xlabel("eigenvalue, by size")
right.set_title("the whole spectrum")
fig.suptitle("Power iteration on Hessian-vector products finds the largest curvature")
plt.show()
