"""The contenders' names."""

from __future__ import annotations

TORCH, AUTO, FASTEST = "torch", "auto", "fastest"
PEERS = ("einconv", "unfoldNd", "article")
OPACUS = "opacus style"
