"""The operators that lowerings may use, and operands with unusual layouts in memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import ndconv
from ndconv.testing import Case, sample

LOWERINGS = ("window", "columns", "taps", "reshape")
FORBIDDEN = re.compile(r"conv|im2col|col2im|unfold_backward|max_pool|avg_pool|fft")


class Recorder(TorchDispatchMode):
    """Keeps the names of all aten operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **kwargs or {})


def _step(case: Case, lowering: str, device: str, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    x, w, y = case.operands(dtype, device)
    x, w = x.requires_grad_(), w.requires_grad_()
    output = ndconv.functional.convnd(
        x, w, None, case.stride, case.padding, case.dilation, case.groups, lowering=lowering
    )
    return output, *torch.autograd.grad(output, (x, w), y)


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize("lowering", LOWERINGS)
def test_no_convolution_operator_runs(lowering: str, device: str) -> None:
    with Recorder() as recorder:
        for case in sample(60, (1, 2, 3, 4), seed=20, overlap=lowering != "reshape"):
            _step(case, lowering, device)
    assert {name for name in recorder.names if FORBIDDEN.search(name)} == set()
    assert recorder.names & {"bmm", "mm", "addmm_", "baddbmm_"}


def test_the_recorder_would_see_one(device: str) -> None:
    x, w = torch.randn(1, 1, 4, 4, device=device), torch.randn(1, 1, 2, 2, device=device)
    with Recorder() as recorder:
        F.conv2d(x, w)
        F.unfold(x, 2)
    assert {name for name in recorder.names if FORBIDDEN.search(name)} == {"convolution", "im2col"}


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.transpose(0, -1).contiguous().transpose(0, -1)


def _strided(tensor: Tensor) -> Tensor:
    wide = tensor.new_zeros((*tensor.shape[:-1], 2 * tensor.shape[-1] + 3))
    wide[..., 3::2] = tensor
    return wide[..., 3::2]


def _offset(tensor: Tensor) -> Tensor:
    return torch.cat([tensor.new_ones(7), tensor.flatten()])[7:].view(tensor.shape)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {"transposed": _transposed, "strided": _strided, "offset": _offset}
FIXED = [
    "n2g2c2d3-k3x2-s2x1-p1.0x0.1-d1x2-i6x5",
    "n2g1c3d2-k2x3-s3x3-p0.0x1.1-d1x1-i7x8",
    "n3g1c4d5-k1x1-s1x1-p0.0x0.0-d1x1-i4x3",
    "n3g2c2d2-k4x3-s1x1-p0.0x0.0-d1x1-i4x3",
]
APPLICABLE = [(Case.parse(id), name) for id in FIXED for name in LOWERINGS if id != FIXED[0] or name != "reshape"]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(("case", "lowering"), APPLICABLE, ids=[f"{case.id}-{name}" for case, name in APPLICABLE])
def test_memory_layout_does_not_matter(
    case: Case, lowering: str, layout: Callable[[Tensor], Tensor], device: str
) -> None:
    operands = case.operands(torch.float64, device)
    laid_out = tuple(map(layout, operands))
    rest: Any = case.stride, case.padding, case.dilation, case.groups
    for x, w, y in (laid_out, (laid_out[0], operands[1], operands[2]), (operands[0], laid_out[1], laid_out[2])):
        for got, want in (
            (ndconv.functional.convnd(x, w, None, *rest, lowering=lowering), _step(case, lowering, device)[0]),
            (
                ndconv.grad.convnd_input(case.input_shape, w, y, *rest, lowering=lowering),
                _step(case, lowering, device)[1],
            ),
            (
                ndconv.grad.convnd_weight(x, case.weight_shape, y, *rest, lowering=lowering),
                _step(case, lowering, device)[2],
            ),
        ):
            assert torch.equal(got, want)
            assert got.is_contiguous()


@pytest.mark.parametrize(("case", "lowering"), APPLICABLE, ids=[f"{case.id}-{name}" for case, name in APPLICABLE])
def test_expanded_output_gradient(case: Case, lowering: str, device: str) -> None:
    x, w, _ = case.operands(torch.float64, device)
    x, w = x.requires_grad_(), w.requires_grad_()
    output = ndconv.functional.convnd(
        x, w, None, case.stride, case.padding, case.dilation, case.groups, lowering=lowering
    )
    expanded = torch.ones((), dtype=torch.float64, device=device).expand(output.shape)
    for got, want in zip(
        torch.autograd.grad(output, (x, w), expanded, retain_graph=True),
        torch.autograd.grad(output, (x, w), expanded.contiguous()),
        strict=True,
    ):
        assert torch.equal(got, want)


def test_overlapping_input_memory(device: str) -> None:
    signal = torch.arange(12.0, dtype=torch.float64, device=device)
    frames = signal.as_strided((3, 1, 6), (3, 1, 1))
    w = torch.tensor([[[1.0, -2.0, 3.0]]], dtype=torch.float64, device=device)
    for lowering in LOWERINGS:
        stride = 3
        expected = ndconv.functional.conv1d(frames.clone(), w, stride=stride)
        assert torch.equal(ndconv.functional.conv1d(frames, w, stride=stride, lowering=lowering), expected)
    assert torch.equal(signal, torch.arange(12.0, dtype=torch.float64, device=device))


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_lazily_conjugated_operands(lowering: str, device: str) -> None:
    x, w = (
        torch.randn(2, 2, 7, dtype=torch.complex128, device=device),
        torch.randn(3, 2, 3, dtype=torch.complex128, device=device),
    )
    got = ndconv.functional.conv1d(x.conj(), w.conj(), stride=3, lowering=lowering)
    want = ndconv.functional.conv1d(x.conj().resolve_conj(), w.conj().resolve_conj(), stride=3, lowering=lowering)
    assert torch.equal(got, want)
    torch.testing.assert_close(got, F.conv1d(x.conj(), w.conj(), stride=3))


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
def test_half_types_round_once(lowering: str, dtype: torch.dtype, device: str) -> None:
    x, w = torch.randn(2, 32, 12, 12, device=device).to(dtype), torch.randn(8, 32, 3, 3, device=device).to(dtype)
    exact = F.conv2d(x.double(), w.double(), stride=3)
    got = ndconv.functional.conv2d(x, w, stride=3, lowering=lowering)
    # Half a unit in the last place of the result, and the sum's own error in float32.
    bound = exact.abs() * torch.finfo(dtype).eps / 2 + 1e-4
    assert bool(((got.double() - exact).abs() <= bound).all())


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_operands_are_left_alone(lowering: str, device: str) -> None:
    case = Case.parse("n2g1c3d2-k2x3-s3x3-p0.0x1.1-d1x1-i7x8")
    x, w, y = case.operands(torch.float64, device)
    before = x.clone(), w.clone(), y.clone()
    rest: Any = case.stride, case.padding, case.dilation, case.groups
    results = (
        ndconv.functional.convnd(x, w, None, *rest, lowering=lowering),
        ndconv.grad.convnd_input(case.input_shape, w, y, *rest, lowering=lowering),
        ndconv.grad.convnd_weight(x, case.weight_shape, y, *rest, lowering=lowering),
    )
    for result in results:
        result.add_(1)  # a result that shares memory with an operand would change it
    assert all(torch.equal(a, b) for a, b in zip((x, w, y), before, strict=True))


@pytest.mark.parametrize("lowering", ["window", "columns", "reshape", "taps"])
def test_no_axes_is_a_matrix_product(lowering: str, device: str) -> None:
    x, w = torch.randint(-3, 4, (5, 4), device=device).double(), torch.randint(-3, 4, (6, 2), device=device).double()
    x, w = x.requires_grad_(), w.requires_grad_()
    y = ndconv.functional.convnd(x, w, groups=2, lowering=lowering)
    want = torch.cat([x[:, :2] @ w[:3].T, x[:, 2:] @ w[3:].T], 1)
    assert torch.equal(y, want)
    for a, b in zip(torch.autograd.grad(y.sum(), (x, w)), torch.autograd.grad(want.sum(), (x, w)), strict=True):
        assert torch.equal(a, b)
