"""Caches for functions of integers, bypassed while a compiler traces: its symbols have no hash.

Every function has a cache of its own, bounded in entries and in bytes. The oldest entries are dropped first, so sizes
that change with every call do not pile up. An answer larger than a whole cache is not kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable
from functools import wraps
from threading import Lock
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def _never() -> bool:
    return False


passed_by: Callable[[], bool] = _never
"""Whether to bypass the caches because a compiler traces; torch's own function once torch is imported."""

_ENTRIES, _BYTES = 4096, 4 * 2**20
_NUMBERS = {int}
_ATOMS = {*_NUMBERS, str, type(None)}
# Approximate bytes of an object with attributes: a problem, its geometry and their tuples.
_OBJECT = 512
# Bytes of a program's function per byte of its code, with names and the lines that tracebacks show.
_FUNCTION = 5


class Memory:
    """A cache: answers by their arguments, each with the bytes of both."""

    def __init__(self) -> None:
        self.answers: dict[Hashable, tuple[Any, int]] = {}
        self.bytes = 0
        self._lock = Lock()

    def keep(self, arguments: Hashable, answer: object) -> None:
        """Remember an answer; forget the oldest ones to make room."""
        size = _weigh(arguments) + _weigh(answer)
        with self._lock:
            if size > _BYTES or arguments in self.answers:
                return
            self.answers[arguments] = answer, size
            self.bytes += size
            while self.bytes > _BYTES or len(self.answers) > _ENTRIES:
                _, forgotten = self.answers.pop(next(iter(self.answers)))
                self.bytes -= forgotten

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.answers.clear()
            self.bytes = 0


MEMORIES: list[Memory] = []
"""All caches, those of `cached` and `recalled` functions among them."""


def cached(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """Cache a function's answers by its hashable arguments; compilers do not see the cache."""
    store = memory()
    answers = store.answers

    @wraps(function)
    def call(*arguments: Any) -> Answer:
        if passed_by():
            return function(*arguments)
        try:
            found = answers.get(arguments)
        except TypeError:  # a symbol outside of a compiler, as in `make_fx`
            return function(*arguments)
        if found is not None:
            answer: Answer = found[0]
            return answer
        answer = function(*arguments)
        store.keep(arguments, answer)
        return answer

    call.cache_clear = store.clear  # type: ignore[attr-defined]
    return call


def recalled(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """`cached` for arguments that a user wrote. Only `plain` ones are cache keys: 1, 1.0 and True would be the same."""
    store = memory()
    answers = store.answers

    @wraps(function)
    def call(*arguments: Arguments.args, **keywords: Arguments.kwargs) -> Answer:
        key = (*arguments, *keywords.values()) if keywords else arguments
        if passed_by() or not plain(key):
            return function(*arguments, **keywords)
        key = key, *keywords
        found = answers.get(key)
        if found is not None:
            answer: Answer = found[0]
            return answer
        answer = function(*arguments, **keywords)
        store.keep(key, answer)
        return answer

    return call


def clear() -> None:
    """Forget everything that was remembered."""
    for each in MEMORIES:
        each.clear()


def memory() -> Memory:
    """A new cache, cleared with the others."""
    MEMORIES.append(Memory())
    return MEMORIES[-1]


def plain(values: Iterable[object]) -> bool:
    """Whether these are integers, strings, None, and tuples of them."""
    for value in values:
        kind = type(value)
        if kind not in _ATOMS and not (issubclass(kind, tuple) and plain(value)):  # type: ignore[arg-type]
            return False
    return True


def _weigh(value: object) -> int:
    """Approximate bytes of a value and of all it holds."""
    if isinstance(value, tuple):
        weigh = sys.getsizeof if _NUMBERS.issuperset(map(type, value)) else _weigh
        return sys.getsizeof(value) + sum(map(weigh, value))
    if isinstance(value, FunctionType):
        return _FUNCTION * sys.getsizeof(value.__code__)
    return _OBJECT if hasattr(value, "__dict__") else sys.getsizeof(value)
