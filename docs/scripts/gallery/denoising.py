"""
Denoising a signal
==================

A kernel that removes noise need not be designed. Convolution is a regression on windows: show it noisy windows with the
clean value in their middle, and the gradient finds the weights.
"""

import matplotlib.pyplot as plt
import torch

import ndconv

torch.manual_seed(0)
time = torch.linspace(0, 1, 1000)
clean = torch.sin(12 * time) + 0.5 * torch.sin(41 * time) * (time > 0.5)
noisy = clean + 0.4 * torch.randn(1000)

layer = ndconv.Conv1d(
    1, 1, kernel_size=41, padding="same", padding_mode="reflect", bias=False
)
optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
for _ in range(200):
    optimizer.zero_grad()
    signal = clean + 0.4 * torch.randn(
        32, 1, 1000
    )  # other noise every time, or it would be learnt by heart
    loss = (layer(signal) - clean).square().mean()
    loss.backward()
    optimizer.step()

# %%
# Against a mean over as many elements, on noise that neither has seen:

average = ndconv.Conv1d(1, 1, 41, padding="same", padding_mode="reflect", bias=False)
torch.nn.init.constant_(average.weight, 1 / 41)
with torch.no_grad():
    learnt, mean = (model(noisy[None]).squeeze(0) for model in (layer, average))
for name, values in (("noisy", noisy), ("mean", mean), ("learnt", learnt)):
    print(f"{name:6} {(values - clean).square().mean().sqrt():.3f}")

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3), width_ratios=[3, 1])
left.plot(time, noisy, color="0.6", linewidth=0.5, alpha=0.8, label="noisy")
left.plot(time, mean, label="mean", linewidth=1.2)
left.plot(time, learnt, label="learnt")
left.legend(ncols=3, loc="lower left")
left.set_ylim(-3, 2.6)
left.set_title("signal")
right.stem(layer.weight.detach().flatten(), markerfmt=".")
right.set_title("the learnt kernel")
fig.suptitle("A noisy signal, smoothed by a mean and by a learnt kernel")
plt.show()
