"""A LeNet learns real handwritten digits three times, side by side: ``python -m benchmarks.demo``.

The same network is trained with `torch.nn.Conv2d`, with `ndconv.Conv2d` and with the seed article's operator, from the
same initial weights on the same batches. All take turns at every step, so that other load on the machine affects all
alike. Times are compared step by step.

The first two must follow one loss curve to float rounding:

* **float64**: twins of the two train along in double precision, and their curves must agree to `FLOAT64_LIMIT` at
  every step. Rounding alone took them 2e-15 apart. An error of one part in a million takes them 1e-7 apart in the
  gradient of the weight, and 1e-9 in that of the input.
* **float32**: the curves must agree to `FLOAT32_LIMIT` over the first `FLOAT32_STEPS` steps; 1e-4 was the most in 300
  runs. This limit is loose, and later steps have none. Of the millions of inputs of the ReLUs a few lie so near zero
  that rounding decides their sign, and from then on correct runs diverge. (In float64 that takes a million times as
  many inputs.) The tight check of float32 is for each convolution alone, which has no such edges: it and its gradients
  must agree with float64 to `ROUNDING`, relative to the largest element.

Exits with status 1 if a check fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError, gradcheck
from torch.nn.functional import cross_entropy
from tqdm import tqdm

import ndconv
from benchmarks.article import ArticleConv2d
from benchmarks.console import table
from benchmarks.lenet import lenet
from benchmarks.machine import environment

TORCH, NDCONV, ARTICLE = "torch.nn.Conv2d", "ndconv.Conv2d", "article's operator"
IMPLEMENTATIONS: dict[str, type[nn.Conv2d]] = {TORCH: nn.Conv2d, NDCONV: ndconv.Conv2d, ARTICLE: ArticleConv2d}

FLOAT64_LIMIT = 1e-12
FLOAT32_LIMIT, FLOAT32_STEPS = 1e-3, 5
ROUNDING = 1e-5
BATCH = 64


@dataclass
class Trainee:
    """One network in training, with the loss and the seconds of each of its steps."""

    model: nn.Sequential
    dtype: torch.dtype
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model.to(self.dtype)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.02, momentum=0.9)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Take one step of gradient descent on a batch."""
        images = images.to(self.dtype)
        start = time.perf_counter()
        self.optimizer.zero_grad()
        loss = cross_entropy(self.model(images), labels)
        loss.backward()
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - start)
        self.losses.append(loss.item())

    @torch.no_grad()
    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Return the share of images that the network classifies correctly."""
        self.model.eval()
        named = self.model(images.to(self.dtype)).argmax(1)
        return float((named == labels).double().mean())


def digits(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return scikit-learn's 1797 digits: training images and labels, test images and labels."""
    images, labels = load_digits(return_X_y=True)
    split = train_test_split(images.reshape(-1, 1, 8, 8) / 16, labels, test_size=0.2, random_state=seed)
    train_images, test_images, train_labels, test_labels = map(torch.from_numpy, split)
    return train_images, train_labels, test_images, test_labels


def convolutions(model: nn.Sequential) -> list[tuple[nn.Conv2d, int]]:
    """Return the convolutions of a LeNet, each with the height and width of its input."""
    layers = [layer for layer in model if isinstance(layer, nn.Conv2d)]
    return list(zip(layers, (8, 6), strict=True))


def trainee(name: str, dtype: torch.dtype, seed: int) -> Trainee:
    """Return a fresh network; one seed draws the same weights for every implementation and dtype."""
    torch.manual_seed(seed)
    return Trainee(lenet(IMPLEMENTATIONS[name]), dtype)


def train(trainees: list[Trainee], images: Tensor, labels: Tensor, epochs: int, seed: int) -> None:
    """Train all networks on the same batches, in turns; the first one rotates."""
    generator = torch.Generator().manual_seed(seed)
    steps = len(images) // BATCH
    with tqdm(total=epochs * steps, desc="training", unit="step", ncols=100, mininterval=0.5) as progress:
        for _ in range(epochs):
            for batch in torch.randperm(len(images), generator=generator).split(BATCH)[:steps]:
                for one in trainees:
                    one.step(images[batch], labels[batch])
                trainees = [*trainees[1:], trainees[0]]
                progress.set_postfix(loss=f"{trainees[0].losses[-1]:.4f}", refresh=False)
                progress.update()


def distances(curves: dict[str, Trainee]) -> Tensor:
    """Return how far apart the loss curves of torch and ndconv are at each step."""
    theirs, ours = (torch.tensor(curves[name].losses, dtype=torch.float64) for name in (TORCH, NDCONV))
    return (theirs - ours).abs()


def verdict(holds: bool) -> str:
    return "ok" if holds else "FAILED"


def check_curves(single: dict[str, Trainee], double: dict[str, Trainee]) -> bool:
    """Compare ndconv's loss curves with torch's, as the docstring of this module says."""
    exact, rounded = distances(double), distances(single)
    checks = [  # a nan outlives the tensor's max, and fails
        (f"float64, all {len(exact)} steps", float(exact.max()), FLOAT64_LIMIT),
        (f"float32, first {FLOAT32_STEPS} steps", float(rounded[:FLOAT32_STEPS].max()), FLOAT32_LIMIT),
    ]
    print(f"\nLargest distance between the loss curves of {TORCH} and {NDCONV}:")
    for what, distance, limit in checks:
        print(f"  {what:<23} {distance:.1e}, limit {limit:.0e}: {verdict(distance <= limit)}")
    print(f"  {f'float32, all {len(rounded)} steps':<23} {rounded.max():.1e}, no limit: rounding decides a few ReLUs")
    return all(distance <= limit for _, distance, limit in checks)


def check_layer(name: str, layer: nn.Conv2d, size: int) -> bool:
    """Gradcheck a convolution in float64, then compare float32 with that.

    A convolution is linear in each operand, so a difference of step 1 has no truncation error.
    """
    names, parameters = zip(*layer.named_parameters(), strict=True)
    operands = [torch.randn(2, layer.in_channels, size, size), *(p.detach() for p in parameters)]

    def convolve(x: Tensor, *values: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), x)
        return result

    def leaves(dtype: torch.dtype) -> list[Tensor]:
        return [operand.to(dtype).detach().requires_grad_() for operand in operands]

    def derivatives(dtype: torch.dtype) -> list[Tensor]:
        output = convolve(*(inputs := leaves(dtype)))
        return [output.detach(), *torch.autograd.grad(output.square().sum(), inputs)]

    problem = ""
    try:
        gradcheck(convolve, leaves(torch.float64), eps=1.0, atol=1e-13, rtol=1e-10, fast_mode=True)
    except GradcheckError as error:
        problem = f"\n{error}"
    pairs = zip(derivatives(torch.float32), derivatives(torch.float64), strict=True)
    gap = float(torch.stack([(a - b).abs().max() / b.abs().max() for a, b in pairs]).max())
    checks = f"gradcheck {verdict(not problem)}, float32 off by {gap:.1e}: {verdict(gap <= ROUNDING)}"
    print(f"  {name:<18}  {layer.in_channels:>2} -> {layer.out_channels}  {checks}{problem}")
    return not problem and gap <= ROUNDING


def draw(single: dict[str, Trainee], double: dict[str, Trainee], path: Path) -> None:
    """Write a picture of the loss curves, and of their distances from torch's."""
    figure = Figure(figsize=(8, 7), dpi=150, layout="constrained")
    curves, gaps = figure.subplots(2, 1, sharex=True)
    styles: dict[str, tuple[str, float, str]] = {
        TORCH: ("#b4c3d2", 5, "-"),
        NDCONV: ("#d1495b", 1.8, "-"),
        ARTICLE: ("black", 1, ":"),
    }
    steps = range(1, len(single[TORCH].losses) + 1)
    for name, (color, width, style) in styles.items():
        curves.semilogy(steps, single[name].losses, style, color=color, lw=width, label=name)
    curves.set(title="One LeNet on handwritten digits, three convolutions", ylabel="training loss, float32")
    for label, twins, limit, until, color in (
        ("float32", single, FLOAT32_LIMIT, FLOAT32_STEPS, "#d1495b"),
        ("float64", double, FLOAT64_LIMIT, len(steps), "#2e6f95"),
    ):
        largest = distances(twins).cummax(0).values.clamp(min=1e-17)
        gaps.semilogy(steps, largest, color=color, lw=1.8, label=label)
        gaps.hlines(limit, 0, until, color, "--", lw=1.2, label=f"limit, {label}")
    gaps.set(xlabel="step", ylabel="largest distance so far, torch to ndconv", ylim=(1e-17, 1e3))
    gaps.legend(ncols=2, frameon=False, loc="upper right")
    curves.legend(frameon=False)
    for axes in (curves, gaps):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path)


def main() -> int:
    """Run the demo; 0 if every check holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description="Train a LeNet on digits.")
    parser.add_argument("--epochs", type=int, default=15, help="passes over the training images (default: 15)")
    parser.add_argument("--output", type=Path, default=Path("lenet_digits.png"), help="where the picture goes")
    parser.add_argument("--seed", type=int, default=0, help="fixes the split, the initial weights and the batches")
    parser.add_argument("--quick", action="store_true", help="two epochs")
    options = parser.parse_args()
    epochs, seed = 2 if options.quick else options.epochs, options.seed

    train_images, train_labels, test_images, test_labels = digits(seed)
    facts = environment()
    print(f"torch {facts['torch']} on {facts['cpu']}, {facts['threads']} threads; seed {seed}")
    print(f"{len(train_images)} training images, {len(test_images)} test images, {epochs} epochs, batches of {BATCH}")

    single = {name: trainee(name, torch.float32, seed) for name in IMPLEMENTATIONS}
    double = {name: trainee(name, torch.float64, seed) for name in (TORCH, NDCONV)}
    for layer, size in convolutions(single[NDCONV].model):
        assert isinstance(layer, ndconv.Conv2d)
        plan = layer.plan((BATCH, layer.in_channels, size, size))
        print(f"\n{layer}\n{plan}")
    print(f"\nWhat runs for the gradient of the last one's weight:\n\n{plan.grad_weight.source}", end="")

    print(f"\nEach convolution: derivatives in float64, and the distance of float32 (limit {ROUNDING:.0e}):")
    checks = [check_layer(name, *layer) for name, one in single.items() for layer in convolutions(one.model)]
    train([*single.values(), *double.values()], train_images, train_labels, epochs, seed)
    checks.append(check_curves(single, double))
    draw(single, double, options.output)

    def row(name: str, one: Trainee) -> list[str]:
        speed = median(a / b for a, b in zip(single[TORCH].seconds, one.seconds, strict=True))
        accuracy = one.accuracy(test_images, test_labels)
        return [name, f"{accuracy:.2%}", f"{sum(one.seconds):.2f}", f"{speed:.2f}"]

    header = ["float32 training", "test accuracy", "seconds", "speed relative to torch"]
    print(f"\n{table(header, [row(name, one) for name, one in single.items()])}")
    print("Speed: median over the steps of torch's time by the other's; above 1 is faster than torch.")
    print(f"Loss curves: {options.output}")
    return 0 if all(checks) else 1


if __name__ == "__main__":
    sys.exit(main())
