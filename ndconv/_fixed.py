"""Signatures said once: public functions and constructors are a general one whose first arguments are fixed.

A decorator takes the general one; what it decorates gives place, name and docstring, and has no parameters of its own.
The result is written out and compiled as if by hand: it has a signature, and errors of Python name it.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
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
    """Make a function of a general one that takes the function's name, N and perhaps one argument further first."""
    return lambda named: _define(named, general, [], [named.__name__, ndim, *further])


def constructor_over(
    ndim: int, general: Callable[Concatenate[Any, int, P], None]
) -> Callable[[Callable[[Any], None]], Callable[Concatenate[Any, P], None]]:
    """Make a constructor of a general one that takes N first."""
    return lambda named: _define(named, general, ["self"], [ndim])


def _define(named: Callable[..., None], general: Callable[..., Any], first: list[str], fixed: list[object]) -> Any:
    """A function that passes its arguments on, with fixed values after the first of them."""
    given = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in first]
    given += [*signature(general).parameters.values()][len(first) + len(fixed) :]
    bare = Signature([parameter.replace(default=Parameter.empty, annotation=Parameter.empty) for parameter in given])
    passed = [f"{name}={name}" if one.kind is Parameter.KEYWORD_ONLY else name for name, one in bare.parameters.items()]
    passed[len(first) : len(first)] = map(repr, fixed)
    text = f"def {named.__name__}{bare}: return {general.__qualname__}({', '.join(passed)})"

    # In the place of what is decorated, so that tracebacks and debuggers show that.
    place, scope = named.__code__, dict[str, Any]()
    exec(compile("\n" * (place.co_firstlineno - 1) + text, place.co_filename, "exec"), named.__globals__, scope)
    function = scope[named.__name__]
    function.__qualname__, function.__doc__ = named.__qualname__, named.__doc__
    function.__defaults__, function.__kwdefaults__ = general.__defaults__, general.__kwdefaults__
    function.__annotations__ = {
        name: general.__annotations__[name] for name in (*bare.parameters, "return") if name not in first
    }
    return function
