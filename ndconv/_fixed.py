"""Signatures said once: public functions and constructors are a general one with its first arguments fixed.

A decorator takes the general one. What it decorates says place, name and docstring, and has no parameters of its own.
The result is the text that one would write by hand, compiled: a call costs no more, and Python's errors name it.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

P = ParamSpec("P")
Result = TypeVar("Result")
Further = TypeVar("Further")

Axes = int | None
Named = Callable[[], None]


@overload
def over(
    ndim: Axes, general: Callable[Concatenate[str, Axes, P], Result], /
) -> Callable[[Named], Callable[P, Result]]: ...
@overload
def over(
    ndim: Axes, general: Callable[Concatenate[str, Axes, Further, P], Result], further: Further, /
) -> Callable[[Named], Callable[P, Result]]: ...
def over(ndim: Axes, general: Callable[..., Result], /, *further: object) -> Callable[[Named], Callable[..., Result]]:
    """Make a function of a general one that first takes the function's name, N and perhaps one argument more."""
    return lambda named: _define(named, general, [], [named.__name__, ndim, *further])


def constructor_over(
    ndim: int, general: Callable[Concatenate[Any, int, P], None]
) -> Callable[[Callable[[Any], None]], Callable[Concatenate[Any, P], None]]:
    """Make a constructor of a general one that first takes N."""
    return lambda named: _define(named, general, ["self"], [ndim])


def _define(named: Callable[..., None], general: Callable[..., Any], kept: list[str], fixed: list[object]) -> Any:
    """A function that passes its arguments on, with the fixed ones after those that are kept in front."""
    said = signature(general)
    parameters = [*said.parameters.values()]
    del parameters[len(kept) : len(kept) + len(fixed)]
    passed = [f"{one.name}={one.name}" if one.kind is Parameter.KEYWORD_ONLY else one.name for one in parameters]
    passed[len(kept) : len(kept)] = map(repr, fixed)
    head = f"def {named.__name__}{said.replace(parameters=parameters)}"
    text = f"{head}: return {general.__qualname__}({', '.join(passed)})"

    # In the place of what is decorated, so that tracebacks and debuggers show that.
    place, scope = named.__code__, dict[str, Any]()
    above = "\n" * (place.co_firstlineno - 1)
    exec(compile(above + text, place.co_filename, "exec", dont_inherit=True), named.__globals__, scope)
    function = scope[named.__name__]
    function.__qualname__, function.__doc__ = named.__qualname__, named.__doc__
    return function
