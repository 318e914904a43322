"""
Frozen layers and memory
========================

Fine-tuning freezes most of a network. The gradient of a frozen weight is not wanted, and only that gradient needs the
layer's input. So there is no reason to keep the input alive until the backward pass. Here an operand is saved only for
the gradient of the *other* one.

=====================  ==================  ===================
gradient wanted of     keeps the input     keeps the weight
=====================  ==================  ===================
both                   yes                 yes
weight only            yes                 no
input only             no                  yes
neither                no                  no
=====================  ==================  ===================

torch keeps both as soon as either is wanted; `an issue <https://github.com/pytorch/pytorch/issues/133566>`_ asks for
what is described here. The bytes that autograd saves, counted by its own hook:
"""

import torch

import ndconv


def saved(model, x):
    """Bytes of tensors that autograd keeps for a backward pass, parameters aside."""
    kept, parameters = {}, {parameter.data_ptr() for parameter in model.parameters()}

    def keep(tensor):
        if tensor.data_ptr() not in parameters:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(x).sum()
    return sum(kept.values())


def ten_layers(conv, frozen):
    torch.manual_seed(0)
    model = torch.nn.Sequential(*[conv(16, 16, 3, padding=1) for _ in range(10)])
    for layer in model[:frozen]:
        layer.requires_grad_(False)
    return model


x = torch.randn(4, 16, 32, 32, requires_grad=True)
for frozen in (0, 5, 10):
    ours, theirs = (
        saved(ten_layers(ndconv.Conv2d, frozen), x),
        saved(ten_layers(torch.nn.Conv2d, frozen), x),
    )
    print(
        f"{frozen:2} of 10 frozen: {ours / 2**20:.2f} MiB, with torch.nn {theirs / 2**20:.2f} MiB"
    )

# %%
# The input needs a gradient here, as with an adapter in front or in an adversarial attack. So the backward pass goes
# through all ten layers. Ten frozen layers keep nothing.

import matplotlib.pyplot as plt

counts = range(11)
fig, ax = plt.subplots()
for conv, label in (
    (torch.nn.Conv2d, "torch.nn.Conv2d"),
    (ndconv.Conv2d, "ndconv.Conv2d"),
):
    ax.plot(
        counts,
        [saved(ten_layers(conv, frozen), x) / 2**20 for frozen in counts],
        marker="o",
        label=label,
    )
ax.set_xlabel("frozen layers, of ten")
ax.set_ylabel("MiB kept for the backward pass")
ax.set_ylim(0)
ax.legend()
fig.suptitle("Activations kept alive, by the number of frozen layers")
plt.show()

# %%
# A ReLU between the layers keeps its own result, which is the next layer's input. Then there is nothing to gain. Layers
# without one, or with an activation that keeps something else, do gain.
#
# The workspace
# -------------
#
# Separate from that is the *workspace*, which a :doc:`lowering </guides/lowerings>` needs while it runs. It is a buffer
# of the size that a plan states, freed when the call returns. It is bounded: a lowering that copies windows does so in
# chunks under the limit.

print(ndconv.get_workspace_limit() // 2**20, "MiB")
plan = ndconv.plan((8, 32, 64, 64, 64), (32, 32, 3, 3, 3), padding=1, lowering="window")
print(plan.output.matmuls)
print(f"{plan.output.workspace / 2**20:.0f} MiB")

ndconv.set_workspace_limit(32 * 2**20)
plan = ndconv.plan((8, 32, 64, 64, 64), (32, 32, 3, 3, 3), padding=1, lowering="window")
print(f"{plan.output.workspace / 2**20:.0f} MiB")
ndconv.set_workspace_limit(256 * 2**20)

# %%
# ``lowering="taps"`` copies no windows at all; its buffers are of the size of the operands.
#
# For activations that must be kept, ``torch.utils.checkpoint`` works as with any module.
