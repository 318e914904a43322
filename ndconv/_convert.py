"""Convert whole models from torch's convolutions to ndconv's and back, in place.

Only the class of a module changes: parameters, buffers, hooks, the training flag and all references to it stay, and
what layers share stays shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch.nn import Module
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import is_parametrized

from ndconv import nn
from ndconv._planner.selection import resolve
from ndconv.nn._layer import Layer

Only = str | type[Module] | Callable[[str, Module], bool]

_OURS = {getattr(torch.nn, name): getattr(nn, name) for name in nn.__all__ if "N" not in name}


@dataclass(frozen=True)
class Change:
    """What happened to one module.

    Args:
        name: Name of the module in the model; the first one if it has several.
        before: Name of its class before.
        after: Name of its class after; None if it was left alone.
        arguments: Its `extra_repr`.
        reason: Why it was left alone.
    """

    name: str
    before: str
    after: str | None
    arguments: str
    reason: str = ""


@dataclass(frozen=True)
class Conversion:
    """What `convert`, `revert` or `ndconv.distributed.parallelize` did, one row for each module; ``print`` it.

    Args:
        changes: The rows, in the order of ``named_modules``.
        what: What the rows are about, for the last line of the print.
    """

    changes: tuple[Change, ...]
    what: str = "convolutions"

    def __len__(self) -> int:
        """Number of modules that changed."""
        return sum(change.after is not None for change in self.changes)

    def __iter__(self) -> Iterator[Change]:
        """The rows."""
        return iter(self.changes)

    def __str__(self) -> str:
        rows = [("module", "before", "after", "arguments")]
        rows += [
            (change.name or "(model)", change.before, change.after or f"left alone: {change.reason}", change.arguments)
            for change in self.changes
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, f"{len(self)} of {len(self.changes)} {self.what} changed"])


def convert(model: Module, *, lowering: str | None = None, only: Only | Iterable[Only] | None = None) -> Conversion:
    """Make every convolution module of a model ndconv's, in place.

    Classes are exchanged: ``torch.nn.Conv2d`` becomes ``ndconv.Conv2d``, and so on for 1 to 3 axes, transposed and lazy
    modules. Parametrizations (as of ``weight_norm``) stay. Subclasses of torch's classes are left alone, as their
    ``forward`` may do more. So are calls of ``torch.nn.functional``, which are no modules.

    Args:
        model: The model, or a single convolution.
        lowering: How the converted modules compute; None takes the current lowering at every call.
        only: Which modules: a module's name, with ``*`` and ``?`` as in file names, for it and all below it; a class; a
            function of name and module; or several of these, of which one must match.

    Returns:
        A printable `Conversion`.

    Raises:
        ValueError: If there is no such lowering, or no module with a name in ``only``.
        TypeError: If ``model`` is no module or ``only`` is none of these.

    Example:
        >>> import torch, ndconv
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 1))
        >>> print(ndconv.convert(model, only="0"))
        module  before  after          arguments
        0       Conv2d  ndconv.Conv2d  3, 8, kernel_size=(3, 3), stride=(1, 1)
        1 of 1 convolutions changed
    """
    if lowering is not None:
        resolve("convert", lowering)
    changes = []
    for name, module in _convolutions("convert", model, only):
        if not isinstance(module, Layer):
            cls = _class(module)
            reason = "" if cls in _OURS else "a class of its own, whose forward may do more"
            changes.append(_exchange(name, module, _OURS.get(cls), reason))
            if not reason:
                module.__dict__["lowering"] = lowering
    return Conversion(tuple(changes))


def revert(model: Module, *, only: Only | Iterable[Only] | None = None) -> Conversion:
    """Make every convolution module of a model torch's again, in place.

    Modules that torch does not have are left alone: more than three axes, padding by pairs, ``"causal"``, strided
    ``"same"``, a transposed convolution with a padding mode.

    Args:
        model: The model, or a single convolution.
        only: As in `convert`.

    Returns:
        A printable `Conversion`.

    Raises:
        ValueError: If there is no module with a name in ``only``.
        TypeError: If ``model`` is no module or ``only`` is none of these.

    Example:
        >>> import torch, ndconv
        >>> model = torch.nn.Sequential(ndconv.Conv2d(3, 8, 3), ndconv.Conv1d(8, 8, 3, padding="causal"))
        >>> print(ndconv.revert(model))
        module  before         after                                     arguments
        0       ndconv.Conv2d  Conv2d                                    3, 8, kernel_size=(3, 3), stride=(1, 1)
        1       ndconv.Conv1d  left alone: torch has no padding 'causal'  8, 8, kernel_size=(3,), ...
        1 of 2 convolutions changed
    """
    changes = []
    for name, module in _convolutions("revert", model, only):
        if isinstance(module, Layer):
            theirs, reason = _theirs(module)
            changes.append(_exchange(name, module, theirs, reason))
            if not reason:
                del module.lowering
                module._reversed_padding_repeated_twice = _reversed_padding(module)
    return Conversion(tuple(changes))


def _class(module: Module) -> type[Module]:
    """The class of a module, below the one that torch makes for its parametrizations."""
    cls = type(module)
    return cls.__bases__[0] if is_parametrized(module) else cls


def _label(cls: type[Module]) -> str:
    """A name that distinguishes ndconv's classes from torch's."""
    folder, *below = cls.__module__.split(".")
    place = "ndconv.distributed." if below[:1] == ["distributed"] else "ndconv."
    return place + cls.__name__ if folder == "ndconv" else cls.__name__


def _exchange(name: str, module: Module, cls: type[Module] | None, reason: str) -> Change:
    """Give a module another class, unless there is a reason against it."""
    before, arguments = _class(module), module.extra_repr()
    if reason or cls is None:
        return Change(name, _label(before), None, arguments, reason)
    if is_parametrized(module):
        # The properties of its class give the parametrized tensors.
        module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), dict(vars(type(module))))
    else:
        module.__class__ = cls
    return Change(name, _label(before), _label(cls), arguments)


def _theirs(module: Layer) -> tuple[type[Module] | None, str]:
    """Torch's class for one of ours, or why there is none."""
    cls, ndim, padding = _class(module), len(module.kernel_size), module.padding
    if getattr(nn, cls.__name__, None) is not cls:
        return None, "a class of its own, whose forward may do more"
    theirs = getattr(torch.nn, cls.__name__.replace("Nd", f"{ndim}d"), None)
    if theirs is None:
        return None, f"torch has no convolution over {ndim} axes"
    if not isinstance(padding, str) and not all(isinstance(amount, int) for amount in padding):
        return None, "torch has no padding by pairs"
    if padding == "causal" or (padding == "same" and any(s > 1 for s in module.stride)):
        return None, f"torch has no {'strided ' if padding == 'same' else ''}padding {padding!r}"
    if module.transposed and (isinstance(padding, str) or module.padding_mode != "zeros"):
        return None, "torch's transposed convolutions pad by numbers and zeros only"
    return theirs, ""


def _reversed_padding(module: _ConvNd) -> list[int]:
    """The amounts that torch's padding modes pad, last axis first."""
    spans = [d * (k - 1) for k, d in zip(module.kernel_size, module.dilation, strict=True)]
    if isinstance(module.padding, str):
        sides = [(span // 2, span - span // 2) if module.padding == "same" else (0, 0) for span in spans]
    else:
        sides = [(amount, amount) for amount in module.padding]
    return [amount for pair in reversed(sides) for amount in pair]


def _convolutions(function: str, model: Module, only: Only | Iterable[Only] | None) -> Iterator[tuple[str, _ConvNd]]:
    """The convolutions that were asked for, each once, by the first name that was asked for."""
    if not isinstance(model, Module):
        raise TypeError(f"{function}: model must be a torch.nn.Module, but is {type(model).__name__}")
    choices = _choices(function, model, only)
    seen = set()
    # A list, as modules change during the walk.
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, _ConvNd) and module not in seen and any(choice(name, module) for choice in choices):
            seen.add(module)
            yield name, module


def _choices(function: str, model: Module, only: Only | Iterable[Only] | None) -> list[Callable[[str, Module], bool]]:
    """``only`` as functions of name and module."""
    if only is None:
        return [lambda name, module: True]
    if isinstance(only, str):
        if not any(_is_below(name, only) for name, _ in model.named_modules(remove_duplicate=False)):
            raise ValueError(f"{function}: only must name a module of the model, but is {only!r}")
        return [lambda name, module: _is_below(name, only)]
    if isinstance(only, type) and issubclass(only, Module):
        return [lambda name, module: isinstance(module, only)]
    if isinstance(only, Iterable) and not isinstance(only, Module):
        return [choice for each in only for choice in _choices(function, model, each)]
    if callable(only) and not isinstance(only, type | Module):
        return [only]
    raise TypeError(f"{function}: only must be a name, a module class, a function or several, but is {only!r}")


def _is_below(name: str, pattern: str) -> bool:
    """Whether the name of a module, or of one that contains it, matches the pattern."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:length]), pattern) for length in range(1, len(parts) + 1))
