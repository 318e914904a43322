"""Products by either library of torch's: the same sums, and none of the slow ways into oneDNN."""

from __future__ import annotations

import runpy
import time
from collections.abc import Iterator
from itertools import accumulate as accumulated
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ndconv._form.geometry import Geometry, Problem, Slot
from ndconv._lowerings import LOWERINGS
from ndconv._machine import matmul as _matmul
from ndconv._machine import target as _target
from ndconv._programs import products as _products
from ndconv._programs.builder import Builder
from ndconv._programs.target import Target
from ndconv._programs.values import Value
from ndconv.testing import sample
from tests.programs import recorded, run

CASES = [case for overlap in (True, False) for case in sample(12, (0, 1, 2, 3), seed=7, overlap=overlap)]
CLOCKS = ("perf_counter", "monotonic", "process_time", "thread_time", "time")
ONEDNN, BLAS = (Target("cpu", 256 * 2**20, onednn=each) for each in (True, False))
HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def integers(*shape: int) -> Tensor:
    return torch.randint(-4, 5, shape).float()


class Products(TorchDispatchMode):
    """What oneDNN multiplies: its operands."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "_linear_pointwise" in func.name():
            self.taken.append(args[:2])
        return func(*args, **kwargs or {})


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """What oneDNN multiplies, which gets every product that it can take."""
    if not HAS_ONEDNN:
        pytest.skip("this build of torch has no oneDNN product")
    monkeypatch.setattr(_products, "_LEAST_MULTIPLY_ADDS", 0)
    monkeypatch.setattr(_products, "_LEAST_SUM", 0)
    with Products() as seen:
        yield seen.taken


def matmul(first: Tensor, second: Tensor, target: Target = ONEDNN) -> Tensor:
    return recorded(lambda b, first, second: b.matmul(first, second), first, second, target=target)


def accumulate(total: Tensor, first: Tensor, second: Tensor, *, fresh: bool = False) -> None:
    """Add to what is there."""

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


def test_who_multiplies(products: list[tuple[Tensor, Tensor]], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = integers(2, 5, 7), integers(2, 7, 6)
    matmul(first.double(), second.double())
    matmul(first, second, BLAS)
    monkeypatch.setattr(_products, "_LEAST_MULTIPLY_ADDS", 5 * 7 * 6 + 1)
    matmul(first, second)
    monkeypatch.setattr(_products, "_LEAST_MULTIPLY_ADDS", 5 * 7 * 6)
    monkeypatch.setattr(_products, "_LEAST_SUM", 8)
    matmul(first, second)
    assert not products
    matmul(first[:1], second[:1])  # one product need not be put together with others
    assert len(products) == 1
    monkeypatch.setattr(_products, "_LEAST_SUM", 7)
    matmul(first, second)
    assert len(products) == 3


@pytest.mark.filterwarnings("ignore:TF32")  # the flags speak of all that they set
def test_programs_count_on_onednn_where_it_is_quicker_and_on(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for quicker in (True, False):
        monkeypatch.setattr(_target, "is_quicker", lambda quicker=quicker: quicker)
        _target._target.cache_clear()
        with torch.backends.mkldnn.flags(enabled=True):
            assert _target.target_of(cpu).onednn == quicker
        with torch.backends.mkldnn.flags(enabled=False):
            assert not _target.target_of(cpu).onednn
        assert not _target.target_of(torch.device("meta")).onednn
    _target._target.cache_clear()


def onednn(**operators: Any) -> tuple[Any, str, Any]:
    return torch.ops, "mkldnn", SimpleNamespace(**operators)


SAID: dict[str, tuple[Any, str, Any]] = {
    "an older torch, which does not name processors": (torch, "cpu", SimpleNamespace()),
    "no name": (torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64"}),
    "Intel, where MKL uses AVX-512": (torch.cpu, "get_capabilities", lambda: {"cpu_name": "Intel Xeon Platinum"}),
    "AVX2": (torch.backends.cpu, "get_cpu_capability", lambda: "AVX2"),
    "neither": (torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT"),
    "another BLAS": (torch.backends.mkl, "is_available", lambda: False),
    "no oneDNN": (torch.backends.mkldnn, "is_available", lambda: False),
    "no product of oneDNN's": onednn(_is_mkldnn_bf16_supported=lambda: True),
    "oneDNN limited to AVX2": onednn(_linear_pointwise=None, _is_mkldnn_bf16_supported=lambda: False),
    "oneDNN that cannot be asked": onednn(_linear_pointwise=None),
}


@pytest.mark.parametrize("otherwise", [None, *SAID])
def test_torch_says_who_multiplies(monkeypatch: pytest.MonkeyPatch, otherwise: str | None) -> None:
    """By oneDNN on an AMD processor with AVX-512 whose BLAS is MKL, the BLAS wherever a word of that is missing."""
    for owner, name, answer in (
        (torch.cpu, "get_capabilities", lambda: {"cpu_name": "AMD EPYC 9R14"}),
        (torch.backends.cpu, "get_cpu_capability", lambda: "AVX512"),
        (torch.backends.mkl, "is_available", lambda: True),
        (torch.backends.mkldnn, "is_available", lambda: True),
        onednn(_linear_pointwise=None, _is_mkldnn_bf16_supported=lambda: True),
        *([SAID[otherwise]] if otherwise else []),
    ):
        monkeypatch.setattr(owner, name, answer, raising=False)
    assert _matmul.is_quicker.__wrapped__() == (otherwise is None)


def test_no_clock_says_who_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes whose clocks run ever slower and ever faster choose alike, to the bits."""
    first, second = torch.randn(1, 96, 2048), torch.randn(1, 2048, 384)
    found = []
    for pace in (0.9, 1.0, 1.1):
        clock = accumulated(pace**tick for tick in count())
        for name in CLOCKS:
            monkeypatch.setattr(time, name, lambda clock=clock: next(clock))
        module = runpy.run_path(str(_matmul.__file__))
        choice = module["is_quicker"]()
        found.append((choice, matmul(first, second, BLAS._replace(onednn=choice))))
    monkeypatch.undo()
    choice = _matmul.is_quicker()
    assert {each for each, _ in found} == {choice}
    assert all(torch.equal(product, matmul(first, second, BLAS._replace(onednn=choice))) for _, product in found)


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
