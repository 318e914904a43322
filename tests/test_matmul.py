"""Products by either of torch's libraries: the same sums, and no slow path into oneDNN."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ndconv._form import cache
from ndconv._form.geometry import Geometry, Problem, Slot
from ndconv._lowerings import LOWERINGS
from ndconv._lowerings._products import input_product, output_product, weight_product
from ndconv._machine import target as _target
from ndconv._programs.builder import Builder
from ndconv._programs.rates import ProductRate
from ndconv._programs.steps import Copied, Product
from ndconv._programs.target import Target
from ndconv._programs.values import Value
from ndconv.testing import sample
from tests.programs import RATES, recorded, run

CASES = [case for overlap in (True, False) for case in sample(12, (0, 1, 2, 3), seed=7, overlap=overlap)]
# Rates by which oneDNN gets every product that it can take, and none.
QUICK = replace(
    RATES, products={"float32": {**RATES.products["float32"], "onednn": ProductRate(0, 0, 0, 0, 0, 0, -1e9)}}
)
SLOW = replace(RATES, products={"float32": {**RATES.products["float32"], "onednn": ProductRate(0, 0, 0, 0, 0, 0, 1e9)}})
ONEDNN, BLAS = Target("cpu", 256 * 2**20, QUICK, onednn=True), Target("cpu", 256 * 2**20, QUICK)
HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def integers(*shape: int) -> Tensor:
    return torch.randint(-4, 5, shape).float()


class Products(TorchDispatchMode):
    """Records the operands that oneDNN multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "_linear_pointwise" in func.name():
            self.taken.append(args[:2])
        return func(*args, **kwargs or {})


@pytest.fixture
def products() -> Iterator[list[tuple[Tensor, Tensor]]]:
    """The operands that oneDNN multiplies, which gets every product that it can take."""
    if not HAS_ONEDNN:
        pytest.skip("this build of torch has no oneDNN product")
    with Products() as seen:
        yield seen.taken


def matmul(first: Tensor, second: Tensor, target: Target = ONEDNN) -> Tensor:
    return recorded(lambda b, first, second: b.matmul(first, second), first, second, target=target)


def accumulate(total: Tensor, first: Tensor, second: Tensor, *, fresh: bool = False) -> None:
    """Accumulate a product in place, by a program."""

    def steps(b: Builder, total: Value, first: Value, second: Value) -> Value:
        b.accumulate(total, first, second, fresh=fresh)
        return total

    recorded(steps, total, first, second, target=ONEDNN)


@pytest.mark.parametrize("lead", [(1,), (3,), (2, 3), (1, 1)], ids=str)
@pytest.mark.parametrize("turned", [False, True])
def test_every_product_of_a_batch(products: list[tuple[Tensor, Tensor]], lead: tuple[int, ...], turned: bool) -> None:
    first, second = integers(lead[-1], 5, 7), integers(*lead, 7, 6)
    if turned:
        second = second.mT.contiguous().mT
    expected = torch.einsum("bij,...bjk->...bik", first, second)
    assert torch.equal(matmul(first, second), expected)
    assert len(products) == torch.Size(lead).numel()
    del products[:]
    assert torch.equal(matmul(first, second, BLAS), expected)
    assert not products
    total, one = integers(lead[-1], 5, 6), second[(0,) * (len(lead) - 1)]
    expected = total + first @ one
    accumulate(total, first, one)
    assert torch.equal(total, expected)
    assert len(products) == lead[-1]
    accumulate(total, first, one, fresh=True)
    assert torch.equal(total, first @ one)


def test_long_sums_have_the_smaller_matrix_laid_out_anew(products: list[tuple[Tensor, Tensor]]) -> None:
    small, large = integers(1, 5, 1024), integers(1, 6, 1024)
    for first, second, transposed in ((small, large, True), (large, small, False)):
        product = matmul(first, second.mT)
        assert torch.equal(product, first @ second.mT)
        assert product.mT.is_contiguous() == transposed
        total = product.clone()
        accumulate(total, first, second.mT)
        assert torch.equal(total, 2 * product)
        assert [x.shape[0] for x, _ in products] == [6, 6]
        del products[:]
    matmul(small[..., 1:], large[..., 1:].contiguous().mT)  # too short
    matmul(small, large.mT.contiguous())  # columns of the larger lie side by side, not rows
    assert [x.shape[0] for x, _ in products] == [5, 5]


def test_matrices_with_gaps_between_their_rows_are_left_to_blas(products: list[tuple[Tensor, Tensor]]) -> None:
    first, second = integers(2, 5, 7), integers(2, 9, 8)[:, :7, :6]
    assert torch.equal(matmul(first, second), first @ second)
    total = integers(2, 5, 6)
    expected = total + first @ second
    accumulate(total, first, second)
    assert torch.equal(total, expected)
    assert not products


def test_who_multiplies(products: list[tuple[Tensor, Tensor]]) -> None:
    first, second = integers(2, 5, 7), integers(2, 7, 6)
    matmul(first.double(), second.double())  # of which the rates know nothing
    matmul(first, second, BLAS)
    matmul(first, second, ONEDNN._replace(rates=SLOW))
    assert not products
    # Two calls, and a copy that puts each result to its place, for one call.
    blas = RATES.multiplying(Product(2, 5, 7, 6, "batch"), "float32") + RATES.call
    copies = RATES.moving(Copied.plain(2 * 5 * 6), "float32") + RATES.call
    for start, number in ((blas / 2 - copies - RATES.call + 1, 0), (blas / 2 - copies - RATES.call - 1, 2)):
        onednn = ProductRate(0, 0, 0, 0, 0, 0, start)
        products_of = {"float32": {**RATES.products["float32"], "onednn": onednn}}
        matmul(first, second, ONEDNN._replace(rates=replace(RATES, products=products_of)))
        assert len(products) == number


@pytest.mark.filterwarnings("ignore:TF32")  # the flags speak of all that they set
def test_programs_count_on_onednn_where_it_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for there in (True, False):
        monkeypatch.setattr(_target, "_ONEDNN", SimpleNamespace(**{"_linear_pointwise": None} if there else {}))
        cache.clear()
        with torch.backends.mkldnn.flags(enabled=True):
            assert _target.target_of(cpu).onednn == (there and torch.backends.mkldnn.is_available())
        with torch.backends.mkldnn.flags(enabled=False):
            assert not _target.target_of(cpu).onednn
        assert not _target.target_of(torch.device("meta")).onednn
    cache.clear()


@pytest.mark.parametrize("slot", Slot)
@pytest.mark.parametrize("name", ["columns", "reshape"])
def test_lowerings_with_onednn_agree_with_the_reference(
    products: list[tuple[Tensor, Tensor]], name: str, slot: Slot
) -> None:
    for case in CASES:
        geometry = Geometry(case.kernel, case.stride, case.padding, case.dilation, case.groups)
        problem = Problem(slot, geometry, 2, 3, 4, case.input_size, case.output_size, 4)
        first, second = (integers(*problem.shape(filled)) for filled in slot.operands)
        if LOWERINGS[name].refusal(problem) is None:
            expected = run("window", problem, first, second)
            assert torch.equal(run(name, problem, first, second, target=ONEDNN), expected)
    assert products


@pytest.mark.parametrize("positions", [1, 3])
@pytest.mark.parametrize(
    ("product", "first", "second", "equation"),
    [
        (output_product, "gdr", "nglr", "gdr,nglr->ngdl"),
        (input_product, "gdr", "ngdl", "gdr,ngdl->nglr"),
        (weight_product, "nglr", "ngdl", "nglr,ngdl->gdr"),
    ],
    ids=["output", "input", "weight"],
)
def test_products_of_batches(product: Any, first: str, second: str, equation: str, positions: int) -> None:
    """Also with one position, where the batch takes its place: eager lowerings have that with few samples only."""
    sizes = {"n": 2, "g": 3, "d": 4, "r": 5, "l": positions}
    operands = [torch.randint(-3, 4, [sizes[each] for each in letters]).double() for letters in (first, second)]
    assert torch.equal(recorded(product, *operands), torch.einsum(equation, *operands))
