"""Time a training step of every workload beside torch's convolution: ``python -m benchmarks.run``.

A step is the forward and both gradients. The contenders of a workload run in one process and take turns; each round
gives every contender one ratio of torch's time to its own, and the median of these is its speed. Whatever else the
machine does meets all alike. A contender is timed only after its result and both gradients agreed with torch's.

Contenders are torch's convolution, ndconv with the lowering it picks ("auto") and with each that applies, and the seed
article's unfold and einsum where it applies. For four axes, where torch has none, a loop of its `conv3d` stands in.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import geometric_mean, median, quantiles

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

import ndconv
from benchmarks import article
from benchmarks._report import environment, table
from benchmarks.workloads import WORKLOADS, Workload

Convolve = Callable[[Tensor, Tensor], Tensor]
Tensors = tuple[Tensor, ...]

LOWERINGS = ("auto", "window", "columns", "reshape", "taps")
CONTENDERS = ("torch", *LOWERINGS, "article")


def plan(workload: Workload, lowering: str = "auto") -> ndconv.ConvPlan:
    """Return ndconv's plan of a workload."""
    return ndconv.plan(workload.input, workload.weight, *workload.geometry, lowering=lowering)


def picks(workload: Workload, lowering: str = "auto") -> dict[str, str]:
    """Return the lowering that runs for the forward and for each gradient."""
    slots = plan(workload, lowering)
    return {slot: getattr(slots, slot).lowering for slot in ("output", "grad_input", "grad_weight")}


def conv4d(input: Tensor, weight: Tensor, bias: None, stride: int, padding: int, dilation: int, groups: int) -> Tensor:
    """Convolve four axes by one `conv3d` for each kernel index of the first, that axis moved into the batch."""
    padded = functional.pad(input, (0, 0, 0, 0, 0, 0, padding, padding))
    length = padded.shape[2] - dilation * (weight.shape[2] - 1)
    parts: list[Tensor] = []
    for k, kernel in enumerate(weight.unbind(2)):
        rows = padded[:, :, dilation * k : dilation * k + length : stride].transpose(1, 2)
        part = functional.conv3d(rows.flatten(0, 1), kernel, bias, stride, padding, dilation, groups)
        parts.append(part.unflatten(0, rows.shape[:2]))
    return sum(parts[1:], parts[0]).transpose(1, 2)


def _ndconv(workload: Workload, lowering: str, x: Tensor, w: Tensor) -> Tensor:
    return ndconv.functional.convnd(x, w, None, *workload.geometry, lowering=lowering)


def contenders(workload: Workload) -> dict[str, Convolve]:
    """Return the convolutions that apply to a workload, torch's first."""
    theirs = (functional.conv1d, functional.conv2d, functional.conv3d, conv4d)[workload.ndim - 1]
    found: dict[str, Convolve] = {"torch": lambda x, w: theirs(x, w, None, *workload.geometry)}
    for lowering in LOWERINGS:
        if lowering == "auto" or set(picks(workload, lowering).values()) == {lowering}:
            found[lowering] = partial(_ndconv, workload, lowering)
    if workload.ndim == 2 and workload.groups == 1:
        found["article"] = lambda x, w: article.conv2d(x, w, None, *workload.geometry[:3])
    return found


def operands(workload: Workload, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Tensors:
    """Return a random input, weight and gradient of the output."""
    generator = torch.Generator().manual_seed(0)
    shapes = (workload.input, workload.weight, plan(workload).output_shape)
    x, w, g = (torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes)
    return x.requires_grad_(), w.requires_grad_(), g


def step(convolve: Convolve, x: Tensor, w: Tensor, grad_output: Tensor) -> Tensors:
    """Return the output and the gradients of input and weight."""
    output = convolve(x, w)
    return (output, *torch.autograd.grad(output, (x, w), grad_output))


@torch.no_grad()
def compare(name: str, results: Tensors, references: Tensors) -> None:
    """Refuse to time what is wrong; a wrong index shows as an error near 1, and the limit lies halfway to rounding."""
    for what, result, reference in zip(("output", "grad input", "grad weight"), results, references, strict=True):
        error = ((result - reference).abs().max() / reference.abs().max()).item()
        if not error <= torch.finfo(reference.dtype).eps ** 0.5:
            raise AssertionError(f"{name}: {what} is off by {error:.1e} of torch's largest element")


def clock(device: str) -> float:
    """Return the time at which all that was asked of the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(workload: Workload, device: str, dtype: torch.dtype, limit: float) -> dict[str, list[float]]:
    """Return the seconds of every round of each contender, over about ``limit`` seconds and three rounds at least."""
    x, w, g = operands(workload, device, dtype)
    steps = {name: partial(step, convolve, x, w, g) for name, convolve in contenders(workload).items()}
    reference = steps["torch"]()
    for name, run in steps.items():
        compare(f"{workload.name}, {name}", run(), reference)

    seconds: dict[str, list[float]] = {name: [] for name in steps}
    order = list(steps)
    end = time.perf_counter() + limit
    while len(seconds["torch"]) < 3 or time.perf_counter() < end:
        for name in order:
            start = clock(device)
            steps[name]()
            seconds[name].append(clock(device) - start)
        order = [*order[1:], order[0]]
    return seconds


def summary(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return median milliseconds, median speed relative to torch and the quartiles of that speed."""
    found = {}
    for name, own in seconds.items():
        speeds = [a / b for a, b in zip(seconds["torch"], own, strict=True)]
        low, middle, high = quantiles(speeds, n=4, method="inclusive")
        found[name] = {
            "milliseconds": round(1e3 * median(own), 4),
            "speed": round(middle, 4),
            "speed_low": round(low, 4),
            "speed_high": round(high, 4),
        }
    return found


def show(results: list[dict[str, dict[str, float]]], names: list[str]) -> str:
    """Return the table of speeds, with the geometric mean of each column."""
    rows = []
    for name, result in zip(names, results, strict=True):
        speeds = [f"{result[c]['speed']:.2f}" if c in result else "" for c in CONTENDERS[1:]]
        rows.append([name, f"{result['torch']['milliseconds']:.2f}", *speeds])
    columns = [[result[c]["speed"] for result in results if c in result] for c in CONTENDERS[1:]]
    rows.append(["geometric mean", "", *(f"{geometric_mean(column):.2f}" for column in columns)])
    return table(["speed relative to torch", "torch, ms", *CONTENDERS[1:]], rows)


def main() -> int:
    """Run the benchmark, print its table and write its JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Time convolutions beside torch's.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float16", "bfloat16", "float32", "float64"), default="float32")
    parser.add_argument("--quick", action="store_true", help="half a second for each workload instead of four")
    where = "where results go (default: benchmarks/results/DEVICE.json, or nowhere if quick or not float32)"
    parser.add_argument("--json", type=Path, help=where)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    path: Path | None = options.json
    if path is None and not options.quick and options.dtype == "float32":
        path = Path(__file__).parent / "results" / f"{options.device}.json"

    facts = environment(options.device) | {"dtype": options.dtype}
    print(*(f"{name}: {value}" for name, value in facts.items()), sep="\n")
    dtype, limit = getattr(torch, options.dtype), 0.5 if options.quick else 4.0
    results = []
    with tqdm(WORKLOADS, unit="workload", ncols=100) as progress:
        for workload in progress:
            progress.set_postfix_str(workload.name)
            results.append(summary(measure(workload, options.device, dtype, limit)))
    print(show(results, [workload.name for workload in WORKLOADS]))
    print("Above 1 is faster than torch; a mean is over the rows above it. light field: torch is a loop of conv3d.")
    if path is not None:
        records = [
            asdict(workload) | {"auto": picks(workload), "contenders": result}
            for workload, result in zip(WORKLOADS, results, strict=True)
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"environment": facts, "workloads": records}, indent=1) + "\n")
        print(f"Results: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
