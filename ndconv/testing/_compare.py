"""Helpers of all checks: exceptions for not passing, comparisons for equality, and gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ndconv import get_workspace_limit, set_workspace_limit
from ndconv._lowerings import LOWERINGS
from ndconv._tensors.dtypes import wide_dtype
from ndconv.testing._oracle import Array
from ndconv.testing._space import is_exact
from ndconv.testing._subject import Subject

# Compilers of older releases of torch cannot trace what is here.
_COMPILER = "2.13"


class UnmetError(Exception):
    """A property that should hold does not."""


class NotApplicableError(Exception):
    """There is nothing to check; the message says why."""


@contextmanager
def limited(limit: int) -> Iterator[None]:
    """Set the workspace limit to so many bytes inside the block."""
    before = get_workspace_limit()
    set_workspace_limit(limit)
    try:
        yield
    finally:
        set_workspace_limit(before)


def tolerance(subject: Subject, dtype: torch.dtype | None = None, norms: float | None = None) -> float:
    """The error that a result may have: 0, or the bound that an inexact lowering states.

    Args:
        subject: The trial, with its lowering.
        dtype: Dtype of the result.
        norms: Product of the operands' norms; by default four times that of the trial's largest integers, for values
            made of two results or rounded to a half type.
    """
    trial, dtype = subject.trial, dtype or subject.trial.torch_dtype
    if is_exact(trial.lowering) or not (dtype.is_floating_point or dtype.is_complex):
        return 0.0
    if norms is None:
        elements = sorted(math.prod(shape) for shape in subject.shapes.values())
        norms = 4 * math.sqrt(elements[1] * elements[2]) * trial.bound**2 * (2 if dtype.is_complex else 1)
    rounding = max(LOWERINGS[trial.lowering].rounding(step.problem) for step in subject.steps().values())
    return torch.finfo(wide_dtype(dtype)).eps * rounding * norms


def unequal(got: Tensor, want: Tensor, most: float) -> Tensor:
    """Mask of elements that differ by more than a tolerance; NaN equals NaN.

    Complex numbers that are not finite all count as equal, as their parts are unspecified.
    """
    alike = ~(got.isfinite() | want.isfinite()) if got.is_complex() else got.isnan() & want.isnan()
    return ~alike & (got != want if not most else ~((got - want).abs() <= most))


def same(what: str, got: Tensor, want: Array, subject: Subject, dtype: torch.dtype | None = None) -> None:
    """Compare shape, dtype, device and, on devices with values, the values up to `tolerance`."""
    dtype = dtype or subject.trial.torch_dtype
    if tuple(got.shape) != want.shape or got.dtype != dtype:
        raise UnmetError(f"{what} is {tuple(got.shape)} {got.dtype}, not {want.shape} {dtype}")
    if got.device.type != torch.device(subject.device).type:
        raise UnmetError(f"{what} is on {got.device}, not on {subject.device}")
    if got.is_meta:
        return
    expected = torch.from_numpy(np.array(want)).to(dtype)
    different = unequal(got.detach().cpu(), expected, tolerance(subject, dtype))
    if bool(different.any()):
        index = tuple(int(i) for i in different.nonzero()[0])
        raise UnmetError(
            f"{what} differs from the NumPy loop in {int(different.sum())} of {got.numel()} elements, first at "
            f"{list(index)}: {got[index].item()}, not {expected[index].item()}"
        )


def laid_out(what: str, tensor: Tensor, likes: Sequence[Tensor]) -> None:
    """Check that a tensor is channels-last if one of ``likes`` is, and contiguous otherwise.

    With one channel, or one position, a tensor is both; so it may be with other strides on axes of one element.
    """
    if any(_channels_last(like) and not like.is_contiguous() and _is_plain(like) for like in likes):
        if not _channels_last(tensor):
            raise UnmetError(f"{what} is not channels-last: its strides are {tensor.stride()}")
    elif not tensor.is_contiguous() and not any(map(_channels_last, likes)):
        raise UnmetError(f"{what} is not contiguous: its strides are {tensor.stride()}")


_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Channels-last formats by number of axes."""


def _channels_last(tensor: Tensor) -> bool:
    format = _FORMATS.get(tensor.dim())
    return format is not None and tensor.is_contiguous(memory_format=format)


def _is_plain(tensor: Tensor) -> bool:
    """Whether a channels-last tensor has the strides of a new one."""
    new = torch.empty(tensor.shape, memory_format=_FORMATS[tensor.dim()], device="meta")
    return tensor.stride() == new.stride()


def needs_numbers(subject: Subject) -> None:
    """Skip a check of values on a device without any."""
    if torch.device(subject.device).type == "meta":
        raise NotApplicableError("meta tensors have shapes and no numbers")


def needs_compiler(subject: Subject) -> None:
    """Skip a check of compiled or exported functions where torch cannot trace what is here."""
    needs_numbers(subject)
    if torch.__version__ < _COMPILER:
        raise NotApplicableError(f"the compiler and exporter of torch {_COMPILER} or newer are needed")


def differentiated(subject: Subject) -> tuple[tuple[Tensor, Tensor], list[Tensor]]:
    """The operands, and the ones of them that need a gradient."""
    tensors = subject.tensors()
    return tensors, requiring(subject, tensors)


def requiring(subject: Subject, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The operands that need a gradient by the trial, with ``requires_grad`` set."""
    named = zip(subject.operands, tensors, strict=True)
    return [tensor.requires_grad_() for name, tensor in named if name in subject.needed]


def outer(subject: Subject) -> tuple[Array, Tensor]:
    """A gradient of the result, as numbers and as a tensor."""
    numbers = subject.numbers(subject.open)
    return numbers, subject.tensor(numbers)


def same_gradients(how: str, result: Tensor, chosen: Sequence[Tensor], subject: Subject, *, keep: bool = False) -> None:
    """Compare the gradients of the operands that need one."""
    if chosen:
        numbers, grad = outer(subject)
        found = torch.autograd.grad(result, chosen, grad, retain_graph=keep)
        for name, got in zip(subject.needed, found, strict=True):
            same(f"the gradient of {name}{how}", got, subject.gradient(name, subject.filled(), numbers), subject)


def same_second_gradients(
    how: str, found: Sequence[Tensor | None], steps: Mapping[str, Array], numbers: Array, subject: Subject
) -> None:
    """Compare second derivatives: gradients of the inner product of both gradients with ``steps``."""
    for name, got in zip(subject.needed, found, strict=True):
        (other,) = set(subject.operands) - {name}
        if other in subject.needed:
            assert got is not None
            want = subject.expected(name, {other: steps[other].conj(), subject.open: numbers})
            same(f"the second gradient of {name}{how}", got, want, subject)
        elif got is not None:
            raise UnmetError(f"the gradient of {name} does not depend on {name}, but has a gradient for it")
