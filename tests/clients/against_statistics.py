"""Statistics of gradients against the tools that have them, and where groups are wrong elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from backpack import backpack, extend, extensions
from curvlinops import KFACLinearOperator
from einconv.expressions import convNd_kfac_reduce, convNd_kfc
from opacus import GradSampleModule
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ndconv.curvature import Statistics, convnd_input_covariance, record
from ndconv.testing import Case, sample

X, LABELS = torch.randn(5, 4, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
POSITIONS = 16
SAME = "`ndconv.curvature` finds the same"
Row = Callable[[str, str], None]
LOSS = nn.CrossEntropyLoss(reduction="sum")


def network(groups: int) -> nn.Sequential:
    torch.manual_seed(0)
    first = nn.Conv2d(4, 6, 3, padding=1, stride=2, groups=groups)
    return nn.Sequential(first, nn.Flatten(), nn.Linear(6 * POSITIONS, 3)).double()


def gradients(model: nn.Module) -> Tensor:
    """Those of the convolution's weight, of every sample."""
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def one(parameters: dict[str, Tensor], x: Tensor, label: Tensor) -> Tensor:
        loss: Tensor = LOSS(functional_call(model, parameters, (x[None],)), label[None])
        return loss

    found: Tensor = vmap(grad(one), (None, 0, 0))(parameters, X, LABELS)["0.weight"]
    return found


def ours(groups: int, *names: str, **options: Any) -> Statistics:
    model = network(groups)
    with record(model, *names, **options) as statistics:
        LOSS(model(X), LABELS).backward()
    return statistics


@pytest.mark.client("backpack-for-pytorch")
@pytest.mark.parametrize("groups", [1, 2])
def test_backpack(groups: int, row: Row) -> None:
    model, loss = extend(network(groups)), extend(nn.CrossEntropyLoss(reduction="sum"))
    with backpack(extensions.BatchL2Grad(), extensions.SumGradSquared()):
        loss(model(X), LABELS).backward()
    theirs = model[0].weight
    want, found = gradients(network(groups)), ours(groups, "weight_sqnorm", "weight_square")["0"]
    torch.testing.assert_close(found.weight_sqnorm, want.flatten(1).square().sum(1))
    torch.testing.assert_close(found.weight_square, want.square().sum(0))
    # The norms contract the Gram matrices of all channels, whatever their groups; the squares are right.
    is_right = torch.allclose(theirs.batch_l2, found.weight_sqnorm)
    assert is_right == (groups == 1)
    torch.testing.assert_close(theirs.sum_grad_squared, found.weight_square)
    row("`SumGradSquared`", SAME)
    if groups == 1:
        row("`BatchL2Grad`", SAME)
    else:
        row("`BatchL2Grad` of two groups", "theirs is wrong, for it contracts all channels with one another")


@pytest.mark.client("opacus")
@pytest.mark.parametrize("groups", [1, 2])
def test_opacus(groups: int, row: Row) -> None:
    model: Any = GradSampleModule(network(groups), loss_reduction="sum")
    LOSS(model(X), LABELS).backward()
    theirs, found = next(model.parameters()).grad_sample, ours(groups, "weight_sqnorm", "weight_square")["0"]
    torch.testing.assert_close(found.weight_sqnorm, theirs.flatten(1).square().sum(1))
    torch.testing.assert_close(found.weight_square, theirs.square().sum(0))
    row("norms and squares of `grad_sample`", SAME)


CASES = [case for case in sample(40, (1, 2, 3), seed=4, symmetric=True) if case.batch]


@pytest.mark.client("einconv")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("kind", ["expand", "reduce"])
def test_einconv(case: Case, kind: Any, row: Row) -> None:
    x, *_ = case.operands(torch.float64)
    options = {
        "stride": case.stride,
        "padding": case.symmetric_padding,
        "dilation": case.dilation,
        "groups": case.groups,
    }
    expression = convNd_kfc if kind == "expand" else convNd_kfac_reduce
    equation, operands, shape = expression.einsum_expression(x, case.kernel, **options)
    # Theirs divides by the batch, and by the squared number of positions where these were averaged.
    positions = torch.Size(case.output_size).numel()
    count = case.batch * (1 if kind == "expand" else positions**2)
    theirs = count * torch.einsum(equation, *operands).reshape(shape)
    found: Tensor = convnd_input_covariance(x, case.kernel, kind=kind, **options)
    torch.testing.assert_close(found, theirs, rtol=1e-6, atol=1e-6)  # they scale in float32
    row(f"`{expression.__name__.rpartition('.')[2]}`", SAME)


@pytest.mark.client("curvlinops-for-pytorch")
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", ["expand", "reduce"])
def test_curvlinops(kind: Any, groups: int, row: Row) -> None:
    model = network(groups)
    theirs = KFACLinearOperator(
        model, nn.CrossEntropyLoss(), [*model.parameters()], [(X, LABELS)], fisher_type="empirical", kfac_approx=kind,
        separate_weight_and_bias=False, check_deterministic=False,
    )  # fmt: skip
    theirs.compute_kronecker_factors()
    found = ours(groups, "input_covariance", "output_covariance", kind=kind, bias=True)["0"]
    count = len(X) * (POSITIONS if kind == "expand" else POSITIONS**2)
    first, second = theirs._input_covariances["0"], theirs._gradient_covariances["0"]
    if groups == 1:
        torch.testing.assert_close(first, found.input_covariance[0] / count)
        torch.testing.assert_close(second, found.output_covariance[0] / len(X))
        row(f"factors of K-FAC, `{kind}`", SAME)
        return
    # Theirs averages the groups' windows, and so knows no group; of outputs ours are the blocks on the diagonal.
    averaged = found.input_covariance.sum(0) / count
    assert not torch.allclose(first, averaged, rtol=0.1)
    blocks = torch.stack([second[:3, :3], second[3:, 3:]])
    torch.testing.assert_close(blocks, found.output_covariance / len(X))
    row(f"factors of K-FAC, `{kind}`, of two groups", "theirs knows no group: it averages their windows")
