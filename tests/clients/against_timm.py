"""Networks of timm, its own small ones for tests, which have the blocks of the large."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch

from tests.clients.checks import there_and_back

pytestmark = pytest.mark.client("timm")


@pytest.mark.parametrize("name", sorted(timm.list_models("test_*")))
def test_models(name: str, dtype: torch.dtype, row: Callable[[str, str], None]) -> None:
    shown = there_and_back(lambda: (timm.create_model(name, num_classes=4), [torch.randn(2, 3, 160, 160)]), dtype)
    row(*shown.told(name))
