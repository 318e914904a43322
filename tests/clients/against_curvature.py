"""curvlinops' matrices of curvature, of a converted network, times a vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import curvlinops
import pytest
import torch
from torch import Tensor, nn

from tests.clients.against_tools import LABELS, X, network

pytestmark = pytest.mark.client("curvlinops-for-pytorch")

KRONECKER = {"fisher_type": "empirical"}
OPERATORS: dict[str, dict[str, Any]] = {
    "JacobianLinearOperator": {},
    "TransposedJacobianLinearOperator": {},
    "HessianLinearOperator": {},
    "GGNLinearOperator": {},
    "EFLinearOperator": {},
    "KFACLinearOperator": KRONECKER,
    "EKFACLinearOperator": KRONECKER,
}


def product(kind: str, name: str) -> Tensor:
    model = network(kind).double()
    loss = () if "Jacobian" in name else (nn.CrossEntropyLoss(),)
    data = [(X.double(), LABELS)]
    operator = getattr(curvlinops, name)(model, *loss, [*model.parameters()], data, **OPERATORS[name])
    result: Tensor = operator @ torch.linspace(-1, 1, operator.shape[1], dtype=torch.float64)
    return result


@pytest.mark.parametrize("name", OPERATORS)
def test_products(name: str, row: Callable[[str, str], None]) -> None:
    torch.testing.assert_close(product("ours", name), product("torch", name))
    row(f"`{name}`", "same product with a vector")
