"""Checks of trials with a NaN or an infinity, in one place of one tensor at a time."""

from __future__ import annotations

from contextlib import suppress
from itertools import product

from ndconv.testing._checks import forward, gradients, other_lowerings, small_workspace
from ndconv.testing._compare import NotApplicableError, UnmetError, needs_numbers
from ndconv.testing._shards import shards
from ndconv.testing._subject import Subject
from ndconv.testing._transforms import TRANSFORMS


def not_finite(subject: Subject) -> None:
    """Result and gradients are NaN or infinite where the loop's are, and equal elsewhere, by every lowering."""
    needs_numbers(subject)
    transform = TRANSFORMS.get(subject.trial.transform)
    checks = (forward, gradients, other_lowerings, small_workspace, shards, *([transform] if transform else []))
    for check, name in product(checks, "xwy"):
        try:
            with suppress(NotApplicableError):
                check(Subject(subject.trial, subject.device, name))
        except UnmetError as fault:
            raise UnmetError(f"with {name} spoilt, {fault}") from None
