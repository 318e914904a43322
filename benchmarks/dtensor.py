"""Convolutions of DTensors by torch's own rules and by ndconv: correctness, time, bytes sent.

``python -m benchmarks.dtensor`` prints a Markdown table. Each case runs on two processes of its own, because some cases
end their processes. The input is sharded along its last axis by default, the one that torch's rules are for. Both
libraries take turns; the ratio is of median times of the forward. Bytes are those given to collectives.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.nn import functional as F

import ndconv
from benchmarks.sharded import Sent

ROUNDS = 15


@dataclass
class Case:
    """A convolution over two axes."""

    name: str
    weight: tuple[int, ...] = (16, 16, 3, 3)
    width: int = 64
    how: dict[str, Any] = field(default_factory=dict)
    transposed: bool = False
    axis: int = 3


CASES = [
    Case("3x3, padding 1", how={"padding": 1}),
    Case("3x3, no padding"),
    Case("3x3, padding 1, width 63", width=63, how={"padding": 1}),
    Case("3x3, padding 1, cut along the rows", how={"padding": 1}, axis=2),
    Case("1x1", (16, 16, 1, 1)),
    Case("1x1, cut along the rows", (16, 16, 1, 1), axis=2),
    Case("2x2, stride 2", (16, 16, 2, 2), how={"stride": 2}),
    Case("3x3, stride 2, padding 1", how={"stride": 2, "padding": 1}),
    Case("3x3, dilation 2, padding 2", how={"dilation": 2, "padding": 2}),
    Case("3x3, 16 groups, padding 1", (16, 1, 3, 3), how={"padding": 1, "groups": 16}),
    Case("4x4 transposed, stride 2, padding 1", (16, 16, 4, 4), how={"stride": 2, "padding": 1}, transposed=True),
]


def judged(case: Case, mesh: DeviceMesh) -> Iterator[tuple[str, str]]:
    """The results of a case, yielded column by column: some cases end the process."""
    name = "conv_transpose2d" if case.transposed else "conv2d"
    functions = {"torch": getattr(F, name), "ndconv": getattr(ndconv.functional, name)}
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-3, 4, (4, 16, 64, case.width), generator=generator).float()
    w = torch.randint(-3, 4, case.weight, generator=generator).float()
    x.requires_grad_()
    w.requires_grad_()
    y = functions["torch"](x, w, **case.how)
    want = torch.autograd.grad(y, (x, w), torch.ones_like(y))
    operands = [
        distribute_tensor(each.detach(), mesh, [placement], src_data_rank=None).requires_grad_()
        for each, placement in ((x, Shard(case.axis)), (w, Replicate()))
    ]
    forwards: dict[str, Any] = {
        library: partial(functions[library], *operands, **case.how) for library in ("ndconv", "torch")
    }
    right = []
    for library, forward in forwards.items():
        sent = Sent()
        verdict = _verdict(sent, partial(_several, forward), [y])
        yield f"{library}, output", verdict
        right.append(verdict == "right")
        if library == "torch" and all(right):
            yield "time", f"{_ratio(forwards):.2f}"
        sent = Sent()
        yield f"{library}, gradients", _verdict(sent, partial(_gradients, forward, operands), want)
        yield f"{library}, B", str(sent.everything)


def _ratio(forwards: dict[str, Callable[[], Any]]) -> float:
    """Median time of the first by that of the second."""
    times: list[list[float]] = [[] for _ in forwards]
    for _ in range(ROUNDS):
        for taken, forward in zip(times, forwards.values(), strict=True):
            dist.barrier()
            start = time.perf_counter()
            forward()
            taken.append(time.perf_counter() - start)
    first, second = map(statistics.median, times)
    return first / second


def _several(forward: Callable[[], Tensor]) -> list[Tensor]:
    return [forward()]


def _gradients(forward: Callable[[], Tensor], operands: list[Tensor]) -> tuple[Tensor, ...]:
    y = forward()
    return torch.autograd.grad(y, operands, torch.ones_like(y))


def _verdict(sent: Sent, compute: Callable[[], Any], want: Sequence[Tensor]) -> str:
    """Whether all results are right, or else the fault or the exception; counts the bytes sent."""
    try:
        with sent:
            computed = compute()
    except Exception as error:  # of any kind: it is the result
        return f"{type(error).__name__}: {str(error).splitlines()[0].split('[')[0][:60]}"
    try:
        whole = [each.full_tensor() for each in computed]
    except RuntimeError:
        return "**wrong**: parts do not make the whole"
    right = all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(whole, want, strict=True))
    return "right" if right else "**wrong**"


def one_of_two(case: Case) -> None:
    """The work of each process; the first one prints."""
    dist.init_process_group("gloo", timeout=timedelta(seconds=20))
    torch.set_num_threads(1)
    mesh = init_device_mesh("cpu", (2,))
    for told in judged(case, mesh):
        if dist.get_rank() == 0:
            print(json.dumps(told), flush=True)
    dist.destroy_process_group()


def main() -> None:
    """Print the table."""
    if dist.is_torchelastic_launched():
        one_of_two(CASES[int(sys.argv[1])])
        return
    columns = [f"{library}, {what}" for library in ("torch", "ndconv") for what in ("output", "gradients", "B")]
    print("| convolution |", " | ".join([*columns, "ndconv's time by torch's, forward"]), "|")
    print("|---" * (2 + len(columns)) + "|")
    for number, case in enumerate(CASES):
        launch = [*["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "benchmarks.dtensor"], str(number)]
        run = subprocess.run([sys.executable, *launch], capture_output=True, text=True)
        found = dict(json.loads(line) for line in run.stdout.splitlines() if line.startswith("["))
        rest = "the processes end" if run.returncode else ""
        print(f"| {case.name} |", " | ".join(found.get(column, rest) for column in (*columns, "time")), "|", flush=True)


if __name__ == "__main__":
    main()
