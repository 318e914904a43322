"""
Drop-in, and converting a model
===============================

In your model, change the module that a layer comes from. Arguments, parameters, names in the state dict and initial
draws are torch's, so nothing else changes.

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
# Outputs and gradients are equal for small integers, and close for random floats, because two correct programs add in
# different orders. Here the largest difference is:

x = torch.randn(4, 3, 32, 32)
print((ours(x) - theirs(x)).abs().max().item())

# %%
# A whole model
# -------------
#
# `ndconv.convert` exchanges the classes of all convolutions, in place. Parameters stay the same objects, so optimizers
# made before, hooks and shared weights still work.

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
# ``only=`` selects modules by a name with ``*`` and ``?``, by a class, or by a function of name and module.
# `ndconv.revert` goes back.

print(
    ndconv.revert(model, only=["4", lambda name, module: module.kernel_size == (1, 1)])
)

# %%
# What is left alone, and says so
# -------------------------------
#
# A subclass of torch's classes may do more in its ``forward``, so it stays. Calls of ``torch.nn.functional.conv2d``
# stay too; they are no modules and have no row.


class Scaled(torch.nn.Conv2d):
    def forward(self, input):
        return 0.5 * super().forward(input)


print(ndconv.convert(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), Scaled(8, 8, 3))))

# %%
# For more than one line
# ----------------------
#
# - Convert before ``fully_shard``, which makes classes of its own, and before ``torch.compile``.
# - Layers that torch does not have cannot be reverted: more than three axes, ``(lo, hi)`` padding, ``"causal"``,
#   strided ``"same"``. `ndconv.revert` leaves these alone and says why.
# - :doc:`/compatibility` lists every promise with the test that checks it, and where the two differ.
