"""`ndconv.curvature.record` against gradients of single samples; it leaves nothing behind."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

import ndconv
from ndconv.curvature import Statistics, convnd_input_covariance, convnd_output_covariance, record

OF_GRADIENTS = "weight_sqnorm", "bias_sqnorm", "weight_square", "bias_square"


class Several(nn.Module):
    """Groups, a transposed convolution with a size, a layer used twice, a shared weight, a linear layer on rows."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, stride=2)
        self.grouped = ndconv.Conv2d(8, 8, 3, padding="same", groups=2)
        self.tied = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.tied.weight = self.grouped.weight
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2)
        self.rows, self.last = nn.Linear(4, 6), nn.Linear(6, 6)
        self.unused = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped(self.first(x).relu()).relu()
        x = self.tied(self.grouped(x)).tanh()
        x = self.up(x, output_size=(12, 12)).flatten(2).mT
        x = self.last(self.rows(x).relu()).mean(1)
        result: Tensor = self.last(x)
        return result


def loss(y: Tensor) -> Tensor:
    return y.square().sum()


def gradients(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Per-sample gradients of all parameters that are not frozen."""
    parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}

    def one(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return loss(functional_call(model, parameters, (x[None],), tie_weights=True))

    found: dict[str, Tensor] = vmap(grad(one), (None, 0))(parameters, x)
    return found


def check(statistics: Statistics, wanted: dict[str, Tensor], *, but: tuple[str, ...] = ()) -> None:
    for name, grads in wanted.items():
        module, _, which = name.rpartition(".")
        if module not in but:
            found = statistics[module]
            torch.testing.assert_close(getattr(found, f"{which}_sqnorm"), grads.flatten(1).square().sum(1))
            torch.testing.assert_close(getattr(found, f"{which}_square"), grads.square().sum(0))


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Conv1d(3, 2, 3)).double()


def rows(model: nn.Module, x: Tensor, *names: str, **options: Any) -> Statistics:
    """Statistics of one step."""
    with record(model, *names, **options) as statistics:
        loss(model(x)).backward()
    return statistics


Z = torch.linspace(-1, 1, 4 * 2 * 12, dtype=torch.float64).view(4, 2, 12).sin()


def test_every_kind_of_use() -> None:
    model, x = Several().double(), torch.randn(5, 3, 9, 9, dtype=torch.float64)
    model.rows.bias.requires_grad_(False)
    statistics = rows(model, x, *OF_GRADIENTS)
    check(statistics, gradients(model, x), but=("unused",))
    assert set(statistics) == {"first", "grouped", "tied", "up", "rows", "last"}
    assert not hasattr(statistics["tied"], "weight_sqnorm")  # stands under the first name
    assert not hasattr(statistics["rows"], "bias_sqnorm")
    with pytest.raises(AttributeError, match=r"record: there is no bias_sqnorm; recorded was weight_sqnorm"):
        _ = statistics["rows"].bias_sqnorm


def test_a_weight_that_is_used_twice_has_cross_terms() -> None:
    layer, x = nn.Conv1d(2, 2, 3, padding=1).double(), Z
    with record(layer, "weight_sqnorm") as statistics:
        loss(layer(layer(x))).backward()
    model = nn.Sequential(layer, layer)
    want = gradients(model, x)["0.weight"].flatten(1).square().sum(1)
    torch.testing.assert_close(statistics[""].weight_sqnorm, want)


@pytest.mark.parametrize("kind", ["expand", "reduce"])
@pytest.mark.parametrize("bias", [False, True])
def test_covariances(kind: Any, bias: bool) -> None:
    model = small()
    inner: list[Tensor] = []
    model[2].register_full_backward_pre_hook(lambda _, grads: inner.extend(grads))
    statistics = rows(model, Z, "input_covariance", "output_covariance", kind=kind, bias=bias)
    hidden = model[1](model[0](Z)).detach()
    for name, source in (("0", Z), ("2", hidden)):
        want = convnd_input_covariance(source, (3,), kind=kind, bias=bias)
        torch.testing.assert_close(statistics[name].input_covariance, want)
    torch.testing.assert_close(statistics["2"].output_covariance, convnd_output_covariance(inner[0], kind=kind))


def test_a_linear_layer_has_positions() -> None:
    layer, x = nn.Linear(3, 2).double(), torch.randn(4, 5, 6, 3, dtype=torch.float64)
    expand = rows(layer, x, "input_covariance", bias=True)[""].input_covariance
    extended = torch.cat([x, torch.ones_like(x[..., :1])], -1).flatten(0, 2)
    torch.testing.assert_close(expand[0], extended.mT @ extended)
    reduce = rows(layer, x, "input_covariance", kind="reduce")[""].input_covariance
    torch.testing.assert_close(reduce[0], x.sum((1, 2)).mT @ x.sum((1, 2)))


def test_sums_add_up_until_reset_and_norms_are_the_last() -> None:
    model = small()
    parts, names = (Z[:1], Z[1:]), ("weight_sqnorm", "weight_square", "input_covariance")
    whole = rows(model, Z, *names)
    with record(model, *names) as statistics:
        for part in parts:
            loss(model(part)).backward()
        for name in ("0", "2"):
            torch.testing.assert_close(statistics[name].weight_square, whole[name].weight_square)
            torch.testing.assert_close(statistics[name].input_covariance, whole[name].input_covariance)
            torch.testing.assert_close(statistics[name].weight_sqnorm, whole[name].weight_sqnorm[1:])
        statistics.reset()
        assert len(statistics) == 0
        loss(model(parts[1])).backward()
    assert whole["0"].weight_square.sum() > statistics["0"].weight_square.sum()


def test_frozen_layers_have_covariances_alone() -> None:
    model = small()
    model[0].requires_grad_(False)
    statistics = rows(model, Z, "weight_sqnorm", "input_covariance")
    assert [*vars(statistics["0"])] == ["input_covariance"]
    assert sorted(vars(statistics["2"])) == ["input_covariance", "weight_sqnorm"]
    with torch.no_grad(), record(model, "weight_sqnorm", "input_covariance") as statistics:
        model(Z)
    assert [*vars(statistics["2"])] == ["input_covariance"]


def test_hooks_are_gone_after_an_exception() -> None:
    model, inside, outside = small(), [], []

    def fail() -> None:
        with record(model, "weight_sqnorm") as first:
            outside.append(first)
            with record(model, "input_covariance") as second:
                inside.append(second)
                loss(model(Z)).backward()
                raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not any(module._forward_hooks for module in model.modules())
    assert [*vars(outside[0]["0"])] == ["weight_sqnorm"]
    assert [*vars(inside[0]["0"])] == ["input_covariance"]


def test_a_backward_after_the_block_counts_for_nothing() -> None:
    model = small()
    with record(model, "weight_sqnorm", "output_covariance") as statistics:
        y = loss(model(Z))
    y.backward()
    assert len(statistics) == 0


def test_nothing_is_kept_alive() -> None:
    model, seen = small(), []
    with record(model, "weight_sqnorm", "weight_square", "input_covariance") as statistics:
        x = Z.clone()
        loss(model(x)).backward()
        seen.append(weakref.ref(x))
        del x
        x = Z.clone()
        y = model(x)  # dropped without a backward
        seen += [weakref.ref(x), weakref.ref(y)]
        del x, y
        gc.collect()
        assert [each() for each in seen] == [None] * 3
        assert len(statistics) == 2


def test_a_graph_without_backward_does_not_hold_up_the_next() -> None:
    model = small()
    want = rows(model, Z, "weight_sqnorm")["0"].weight_sqnorm
    with record(model, "weight_sqnorm") as statistics:
        for _ in range(3):
            model(2 * Z)
        loss(model(Z)).backward()
    torch.testing.assert_close(statistics["0"].weight_sqnorm, want)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpoints(reentrant: bool) -> None:
    model, names, x = small(), ("weight_sqnorm", "weight_square", "input_covariance"), Z.clone().requires_grad_()
    want = rows(model, x, *names)
    with record(model, *names) as statistics:
        loss(checkpoint(model, x, use_reentrant=reentrant)).backward()
    for name, found in want.items():
        for key, value in vars(found).items():
            assert torch.equal(getattr(statistics[name], key), value)


def test_autocast() -> None:
    model = small().float()
    want = rows(model, Z.float(), "weight_sqnorm", "input_covariance")
    with record(model, "weight_sqnorm", "input_covariance") as statistics:
        with torch.autocast("cpu", torch.bfloat16):
            y = model(Z.float())
        loss(y.float()).backward()
    for name, found in want.items():
        for key, value in vars(found).items():
            got = getattr(statistics[name], key)
            assert got.dtype == torch.float32
            torch.testing.assert_close(got, value, rtol=0.05, atol=0.05 * float(value.abs().max()))


@pytest.mark.parametrize("lib", [nn, ndconv], ids=["torch", "ndconv"])
def test_lazy_modules(lib: Any) -> None:
    model = nn.Sequential(lib.LazyConv1d(3, 3), nn.ReLU(), nn.LazyLinear(2)).double()
    statistics = rows(model, Z, *OF_GRADIENTS)
    check(statistics, gradients(model, Z))


def test_a_branch_that_the_loss_does_not_reach_is_absent() -> None:
    left, right = nn.Conv1d(2, 3, 3).double(), nn.Conv1d(2, 3, 3).double()
    model = nn.ModuleDict({"left": left, "right": right})
    with record(model, "weight_sqnorm") as statistics:
        y, _ = left(Z), right(Z)
        loss(y).backward()
    assert [*statistics] == ["left"]
    # A use that the loss does not reach is no part of the gradient.
    with record(left, "weight_sqnorm") as statistics:
        y, other = left(Z), left(2 * Z)
        loss(y).backward()
    del other
    torch.testing.assert_close(statistics[""].weight_sqnorm, rows(left, Z, "weight_sqnorm")[""].weight_sqnorm)


def test_an_activation_in_place_does_not_matter() -> None:
    model = small()
    want = rows(model, Z, *OF_GRADIENTS)
    model[1] = nn.ReLU(inplace=True)
    got = rows(model, Z, *OF_GRADIENTS)
    for name, found in want.items():
        for key, value in vars(found).items():
            assert torch.equal(getattr(got[name], key), value)


def test_an_input_that_is_changed_before_backward_is_refused() -> None:
    layer, x = nn.Conv1d(2, 3, 3).double(), Z.clone()
    layer.weight.requires_grad_(True)
    with record(layer, "weight_sqnorm"):
        y = layer(x)
        x.mul_(2)
        with pytest.raises(RuntimeError, match=r"changed in place|inplace operation"):
            loss(y).backward()


class Own(nn.Conv1d):
    """A layer with a forward of its own, unknown to the library."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + 1


class Inherits(nn.Conv1d):
    """A subclass that changes nothing."""


@pytest.mark.parametrize(("kind", "seen"), [(Own, []), (Inherits, ["0"])])
def test_subclasses_take_part_that_compute_the_same(kind: Callable[..., nn.Module], seen: list[str]) -> None:
    assert [*rows(nn.Sequential(kind(2, 3, 3)).double(), Z, "weight_sqnorm")] == seen


def test_uses_with_other_samples_are_refused() -> None:
    layer = nn.Conv1d(2, 3, 3).double()
    with record(layer, "weight_sqnorm"), pytest.raises(RuntimeError, match=r"its batches have sizes \[1, 4\]"):
        (loss(layer(Z)) + loss(layer(Z[:1]))).backward()


def test_what_is_recorded_does_not_change_gradients() -> None:
    model = small()
    loss(model(Z)).backward()
    want = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    rows(model, Z, *OF_GRADIENTS, "input_covariance", "output_covariance")
    assert all(map(torch.equal, want, (parameter.grad for parameter in model.parameters())))  # type: ignore[arg-type]
