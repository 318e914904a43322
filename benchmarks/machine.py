"""The machine of a measurement: its description, and its limits of compute and bandwidth."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

import ndconv

Facts = dict[str, str | int | bool]


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((n.split(":", 1)[1].strip() for n in names if n.startswith("model name")), platform.processor())


def kind(device: str) -> str:
    """The kind of machine that results are filed under: the built-in profile that fits, ``"avx2"``."""
    return ndconv.Profile.built_in(device).kind


def profile(device: str) -> str:
    """The profile that programs are priced with."""
    with torch.device(device):
        return ndconv.plan((1, 1, 1), (1, 1, 1)).profile


def environment(device: str = "cpu") -> Facts:
    """Versions, hardware and the settings of torch that affect timings."""
    facts: Facts = {
        "ndconv": ndconv.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": device,
        "kind": kind(device),
        "profile": profile(device),
    }
    if device == "cuda":
        facts |= {
            "gpu": torch.cuda.get_device_name(),
            "cuda": str(torch.version.cuda),
            "tf32": torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        }
    return facts


def pin(device: str, tf32: bool, threads: int | None) -> None:
    """Set the switches of torch that affect timings, for all contenders alike."""
    if threads is not None:
        torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = device == "cuda"  # torch at its best


def clock(device: str) -> float:
    """The time after all work of the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _least(run: Callable[[], object], device: str, seconds: float) -> float:
    """The least time of a run, over about ``seconds`` and at least three runs."""
    run()
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        start = clock(device)
        run()
        times.append(clock(device) - start)
    return min(times)


def matmul_ceiling(device: str, dtype: str, seconds: float = 1.0) -> float:
    """GFLOP/s of a large matrix product by torch's quickest kernel; a complex multiply-add counts as four."""
    kind = getattr(torch, dtype)
    size = 8192 if device == "cuda" else 1536
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in "ab")
    products: list[Callable[[], object]] = [lambda: a @ b]
    if (device, dtype) == ("cpu", "float32") and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        products.append(lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], ""))
    return flops(size**3, dtype) / min(_least(product, device, seconds) for product in products) / 1e9


def copy_ceiling(device: str, seconds: float = 1.0) -> float:
    """GB/s of a copy too large for caches, counting bytes read and bytes written."""
    source = torch.ones(2**30 // 4 if device == "cuda" else 2**28 // 4, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _least(lambda: target.copy_(source), device, seconds) / 1e9


def flops(multiply_adds: int, dtype: str) -> int:
    """Floating-point operations of multiply-adds."""
    return multiply_adds * (8 if dtype.startswith("complex") else 2)
