"""``python -m ndconv.testing``: run a matrix of exact checks on a device and print what holds."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

import torch

import ndconv
from ndconv._lowerings import LOWERINGS
from ndconv.testing._cases import Case, sample
from ndconv.testing._checks import failures

# Cases per number of axes.
_LEVELS = {"quick": 20, "standard": 200, "full": 2000}
_DTYPES = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m ndconv.testing", description=__doc__)
    parser.add_argument("--device", default="cpu", help="a torch device (default: cpu)")
    parser.add_argument("--level", choices=_LEVELS, default="quick", help="how many cases (default: quick)")
    parser.add_argument(
        "--dtype", choices=_DTYPES, nargs="+", default=list(_DTYPES), help="element types (default: all)"
    )
    parser.add_argument("--lowering", choices=LOWERINGS, nargs="+", default=list(LOWERINGS), help="default: all")
    parser.add_argument(
        "--case",
        type=Case.parse,
        nargs="+",
        metavar="ID",
        help="run these cases only; an id looks like n2g1c3d4-k3x2-s2x1-p1.1x0.0-d1x2-i8x5-reflect and is printed with "
        "every failure",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the cases (default: 0)")
    arguments = parser.parse_args()
    if fault := _unusable(arguments.device):
        parser.error(f"device {arguments.device!r} cannot be used: {fault}")
    return arguments


def _unusable(device: str) -> str | None:
    """Why nothing can be computed on a device, or None."""
    try:
        number = torch.ones(2, device=device).sum()
    except Exception as error:  # a missing driver has many kinds
        return str(error).splitlines()[0]
    return "it holds no numbers" if number.is_meta else None


def _cases(count: int, seed: int) -> list[Case]:
    """Half of the cases with windows that do not overlap, for the lowering that needs them."""
    ndims, modes = (1, 2, 3, 4, 5), ("zeros", "reflect", "replicate", "circular")
    plain = sample(count * len(ndims) // 2, ndims, seed=seed, modes=modes)
    return plain + sample(count * len(ndims) // 2, ndims, seed=seed + 1, overlap=False, modes=modes)


def _applies(lowering: str, case: Case) -> bool:
    rest = case.stride, case.padding, case.dilation, case.groups
    plan = ndconv.plan(case.input_shape, case.weight_shape, *rest, padding_mode=case.mode, lowering=lowering)
    return plan.output.lowering == lowering


def main() -> int:
    """Run the matrix; the exit status is 1 if anything failed."""
    arguments = _arguments()
    cases = arguments.case or _cases(_LEVELS[arguments.level], arguments.seed)
    counts: dict[tuple[str, str], Counter[str]] = {}
    for position, case in enumerate(cases, start=1):
        if sys.stderr.isatty():
            print(f"\r{position} of {len(cases)} cases", end="", file=sys.stderr)
        for dtype in arguments.dtype:
            for lowering in arguments.lowering:
                count = counts.setdefault((lowering, dtype), Counter())
                if not _applies(lowering, case) or not case.largest_value(_DTYPES[dtype]):
                    count["not applicable"] += 1
                    continue
                try:
                    found = failures(case, _DTYPES[dtype], lowering, arguments.device)
                except (NotImplementedError, RuntimeError) as error:
                    found = [f"{type(error).__name__}: {error}"]
                count["failed" if found else "passed"] += 1
                for fault in found:
                    print(f"FAILED {case.id} {lowering} {dtype} on {arguments.device}: {fault}")

    print(f"\n{len(cases)} cases of 1 to 5 axes on {arguments.device}, torch {torch.__version__}")
    print(f"{'lowering':<10}{'dtype':<10}{'passed':>10}{'failed':>10}{'not applicable':>17}")
    for (lowering, dtype), count in sorted(counts.items()):
        print(f"{lowering:<10}{dtype:<10}{count['passed']:>10}{count['failed']:>10}{count['not applicable']:>17}")
    total: Counter[str] = sum(counts.values(), Counter())
    print(f"{total['passed']} passed, {total['failed']} failed")
    return bool(total["failed"])


if __name__ == "__main__":
    sys.exit(main())
