"""What the demo and the benchmarks print: a table, and the machine a number belongs to."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import torch


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under a header, the first column flush left and the others flush right."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]
    rule = "-" * len(aligned[0])
    return "\n".join([rule, aligned[0], rule, *aligned[1:], rule])


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((n.split(":", 1)[1].strip() for n in names if n.startswith("model name")), platform.processor())


def environment(device: str = "cpu") -> dict[str, str | int | bool]:
    """Versions, hardware and the settings of torch that decide a timing."""
    facts: dict[str, str | int | bool] = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "threads": torch.get_num_threads(),
        "device": device,
    }
    if device == "cuda":
        facts |= {
            "gpu": torch.cuda.get_device_name(),
            "cuda": str(torch.version.cuda),
            "tf32": torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        }
    return facts
