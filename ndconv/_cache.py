"""Remember what a function of integers answered, except while a compiler traces: its symbols have no hash."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

from torch.compiler import is_compiling

Answer = TypeVar("Answer")


def cached(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """``functools.lru_cache`` that a compiler does not see."""
    remembered = lru_cache(maxsize=4096)(function)

    @wraps(function)
    def call(*arguments: object) -> Answer:
        return function(*arguments) if is_compiling() else remembered(*arguments)

    return call
