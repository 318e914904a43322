"""The two profiles that are compared, without a change to the user's own calibration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from platformdirs import user_cache_path

import ndconv

_CACHE = "XDG_CACHE_HOME"


@contextmanager
def set_aside(device: str) -> Iterator[None]:
    """Price with built-in rates, and calibrate freely; the user's own file is neither read nor changed.

    Afterwards this process goes on with built-in rates, and later processes with the user's file.
    """
    before = os.environ.get(_CACHE)
    with TemporaryDirectory() as folder:
        os.environ[_CACHE] = folder
        try:
            if not user_cache_path("ndconv").is_relative_to(Path(folder)):
                raise RuntimeError(f"this system has its caches elsewhere than {_CACHE} says")
            ndconv.calibrate(device, reset=True)
            yield
            ndconv.calibrate(device, reset=True)
        finally:
            os.environ.pop(_CACHE)
            if before is not None:
                os.environ[_CACHE] = before
