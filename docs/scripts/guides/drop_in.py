"""
Drop-in, and converting a model
===============================

In a model of yours, change the module that the layer comes from. Arguments, parameters, names in the state dict and
initial draws are torch's, so nothing else changes.

.. code-block:: diff

   - conv = torch.nn.Conv2d(3, 16, 3, stride=2, padding=1)
   + conv = ndconv.Conv2d(3, 16, 3, stride=2, padding=1)
"""

import torch

import ndconv

torch.manual_seed(0)
theirs = torch.nn.Conv2d(3, 16, 3, stride=2, padding=1)
torch.manual_seed(0)
ours = ndconv.Conv2d(3, 16, 3, stride=2, padding=1)

print(torch.equal(ours.weight, theirs.weight), torch.equal(ours.bias, theirs.bias))
print(isinstance(ours, torch.nn.Conv2d), ours.load_state_dict(theirs.state_dict()))

# %%
# Outputs and gradients are equal for small integers, and close for random floats: two correct programs add in different
# orders. How close, here:

x = torch.randn(4, 3, 32, 32)
print((ours(x) - theirs(x)).abs().max().item())

# %%
# A whole model
# -------------
#
# `ndconv.convert` exchanges the classes of all convolutions, in place. Parameters stay the same objects, so an
# optimizer that was made before does not notice, nor do hooks and shared weights.

model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 16, 3, padding=1),
    torch.nn.ReLU(),
    torch.nn.Conv2d(16, 16, 3, padding=1, groups=16),
    torch.nn.Conv2d(16, 32, 1),
    torch.nn.ConvTranspose2d(32, 3, 4, stride=2, padding=1),
)
before = model(x)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

print(ndconv.convert(model))

# %%
print((model(x) - before).abs().max().item())

# %%
# ``only=`` names which ones: a module's name with ``*`` and ``?``, a class, or a function of name and module. And
# `ndconv.revert` goes back.

print(
    ndconv.revert(model, only=["4", lambda name, module: module.kernel_size == (1, 1)])
)

# %%
# What is left alone, and says so
# -------------------------------
#
# A class that somebody derived from torch's may do more in its ``forward``, so it stays. Calls of
# ``torch.nn.functional.conv2d`` are no modules, stay too, and have no row.


class Scaled(torch.nn.Conv2d):
    def forward(self, input):
        return 0.5 * super().forward(input)


print(ndconv.convert(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), Scaled(8, 8, 3))))

# %%
# For more than one line
# ----------------------
#
# - Convert before ``fully_shard``, which makes classes of its own, and before ``torch.compile``.
# - What torch does not have, it cannot be reverted to: more than three axes, ``(lo, hi)`` padding, ``"causal"``,
#   strided ``"same"``. `ndconv.revert` leaves these alone and says why.
# - :doc:`/compatibility` lists every promise with the test that holds it, and where the two differ.
