"""The packages that people use ndconv with, as the index has them: `nox -s clients`.

Models are small, drawn from configurations; nothing is downloaded. What each test shows becomes a row of
``docs/results/clients.json``, and so of docs/compatibility.md, "What was tried".
"""

from __future__ import annotations

import torch


def _let_torchvision_in() -> None:
    """Declare the operators that torchvision describes, where its binary does not fit the torch beside it.

    Its models, and the packages that import it, are written in Python and call none of them.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_let_torchvision_in()
