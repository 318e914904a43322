"""Remember what a function of integers answered, except while a compiler traces: its symbols have no hash."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

from torch.compiler import is_compiling

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def cached(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """``functools.lru_cache`` that a compiler does not see."""
    remembered = lru_cache(maxsize=4096)(function)

    @wraps(function)
    def call(*arguments: object) -> Answer:
        if is_compiling():
            return function(*arguments)
        try:
            return remembered(*arguments)
        except TypeError:  # a symbol outside of a compiler, as in `make_fx`
            return function(*arguments)

    call.cache_clear = remembered.cache_clear  # type: ignore[attr-defined]
    return call


def recalled(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """`cached` for arguments that a user wrote: what is not plain is looked at anew, as 1, 1.0 and True are one key."""
    remembered = lru_cache(maxsize=4096)(function)

    @wraps(function)
    def call(*arguments: Arguments.args, **keywords: Arguments.kwargs) -> Answer:
        if is_compiling() or not (_plain(arguments) and _plain(keywords.values())):
            return function(*arguments, **keywords)
        return remembered(*arguments, **keywords)  # type: ignore[arg-type]

    return call


def _plain(values: Iterable[object]) -> bool:
    """Whether these are integers, strings, None, and tuples of them."""
    return all(
        type(value) is int or type(value) is str or value is None or (isinstance(value, tuple) and _plain(value))
        for value in values
    )
