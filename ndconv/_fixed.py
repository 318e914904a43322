"""Signatures said once: public functions and constructors are a general one with its first arguments fixed.

A decorator takes the general one. What it decorates says place, name and docstring, and has no parameters of its own.
The result is the text that one would write by hand, compiled: a call costs no more, and Python's errors name it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    return _compiled(named, general, parameters, passed)


def _compiled(
    named: Callable[..., None], general: Callable[..., Any], parameters: Sequence[Parameter], passed: Sequence[str]
) -> Any:
    """A function of some parameters that calls the general one, as text in the place of what is decorated."""
    said = signature(general).replace(parameters=parameters)
    text = f"def {named.__name__}{said}: return {general.__qualname__}({', '.join(passed)})"

    # So that tracebacks and debuggers show that place.
    place, scope = named.__code__, dict[str, Any]()
    above = "\n" * (place.co_firstlineno - 1)
    exec(compile(above + text, place.co_filename, "exec", dont_inherit=True), named.__globals__, scope)
    function = scope[named.__name__]
    function.__qualname__, function.__doc__ = named.__qualname__, named.__doc__
    return function


def of_convolutions(
    ndim: Axes, transposed: bool, general: Callable[..., Result]
) -> Callable[[Named], Callable[..., Result]]:
    """Make a function of a general one that first takes an `Asked`: what a user writes of a convolution.

    The arguments of convolutions, or of transposed ones, in torch's order, come after the general function's own, and
    its keyword-only ones last.
    """
    return lambda named: _define_for(named, general, ndim, transposed)


_SHARED = {"stride": ("IntOrInts", 1), "padding": ("Padding", 0), "dilation": ("IntOrInts", 1), "groups": ("int", 1)}
_SHARED_TRANSPOSED = {
    name: {"output_padding": ("IntOrInts", 0), **_SHARED}[name]
    for name in ("stride", "padding", "output_padding", "groups", "dilation")
}


def _define_for(named: Callable[..., None], general: Callable[..., Any], ndim: Axes, transposed: bool) -> Any:
    _, *own = signature(general).parameters.values()
    shared = [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation, default=default)
        for name, (annotation, default) in (_SHARED_TRANSPOSED if transposed else _SHARED).items()
    ]
    mode = Parameter("padding_mode", Parameter.KEYWORD_ONLY, annotation="str", default="zeros")
    places = [each for each in own if each.kind is Parameter.POSITIONAL_OR_KEYWORD]
    words = [each for each in own if each.kind is Parameter.KEYWORD_ONLY]
    asked = [repr(named.__name__), repr(ndim), repr(transposed)]
    asked += [f"{each.name}={each.name}" for each in (*shared, mode)]
    passed = [f"Asked({', '.join(asked)})", *(each.name for each in places)]
    passed += [f"{each.name}={each.name}" for each in words]
    return _compiled(named, general, [*places, *shared, *words, mode], passed)
