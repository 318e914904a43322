"""The cases in torch's own descriptions of its operators: equal on integers, close on floats, the same exceptions."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
import torch
from torch import Tensor

import ndconv
from tests.samples import DTYPES, ERRORS, EXTENSIONS, FUNCTIONS, LATE_ERRORS, MODULES, ErrorSample, ModuleSample, Sample

pytestmark = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths:UserWarning",
    "ignore:ComplexHalf support is experimental:UserWarning",
)


def integers(sample: Sample, dtype: torch.dtype, device: str) -> list[Tensor | None]:
    generator = torch.Generator().manual_seed(zlib.crc32(sample.id.encode()))
    shapes = (sample.input, sample.weight, sample.bias)
    return [
        None if shape is None else torch.randint(-2, 3, shape, generator=generator).to(device, dtype)
        for shape in shapes
    ]


def results(nn: Any, sample: Sample, operands: list[Tensor | None]) -> list[Tensor]:
    """Output, and gradients if the dtype has any."""
    leaves: Any = [operand if operand is None else operand.clone() for operand in operands]
    differentiable = [leaf.requires_grad_() for leaf in leaves if leaf is not None and leaf.dtype in DTYPES["backward"]]
    output = sample.call(nn, *leaves)
    grads = torch.autograd.grad(output, differentiable, torch.ones_like(output)) if differentiable else ()
    return [output.detach(), *grads]


@pytest.mark.parametrize("sample", FUNCTIONS, ids=[sample.id for sample in FUNCTIONS])
def test_functions_are_equal_on_integers(sample: Sample, device: str) -> None:
    for dtype in DTYPES["forward" if device == "cpu" else "backward"]:
        operands = integers(sample, dtype, device)
        for got, want in zip(results(ndconv, sample, operands), results(torch.nn, sample, operands), strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=0)


@pytest.mark.parametrize("sample", FUNCTIONS, ids=[sample.id for sample in FUNCTIONS])
def test_functions_are_close_on_floats(sample: Sample, device: str) -> None:
    shapes = (sample.input, sample.weight, sample.bias)
    for dtype in DTYPES["backward"]:
        operands = [None if s is None else torch.randn(s, dtype=dtype, device=device) for s in shapes]
        double = torch.complex128 if dtype.is_complex else torch.float64
        exact = results(torch.nn, sample, [None if operand is None else operand.to(double) for operand in operands])
        for got, theirs, want in zip(
            results(ndconv, sample, operands), results(torch.nn, sample, operands), exact, strict=True
        ):
            assert got.dtype == theirs.dtype
            if dtype in (torch.float16, torch.bfloat16):
                # No larger than torch's own error, but for that of a sum in float32.
                assert largest(got - want) <= largest(theirs - want) + 1e-6 * largest(want)
            else:
                torch.testing.assert_close(got, want.to(dtype))


def largest(tensor: Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0


@pytest.mark.parametrize("sample", MODULES, ids=[sample.id for sample in MODULES])
def test_modules_are_close(sample: ModuleSample, device: str) -> None:
    for dtype in (torch.float64, torch.complex128):
        x = torch.randn(sample.input, dtype=dtype, device=device)
        results: list[Any] = []
        for nn in (ndconv, torch.nn):
            torch.manual_seed(5)
            module, leaf = sample.build(nn, dtype=dtype, device=device), x.clone().requires_grad_()
            output = module(leaf, **sample.forward)
            grads = torch.autograd.grad(output, (leaf, *module.parameters()), torch.ones_like(output))
            results.append((output, *grads, *module.state_dict().values()))
            assert type(module) is getattr(nn, sample.module.removeprefix("Lazy"))
        for got, want in zip(*results, strict=True):
            torch.testing.assert_close(got, want)


@pytest.mark.parametrize("sample", ERRORS, ids=[sample.id for sample in ERRORS])
def test_errors_are_of_the_same_type(sample: ErrorSample) -> None:
    for nn in (torch.nn, ndconv):
        with pytest.raises(sample.exception):
            sample.call(nn)


@pytest.mark.parametrize("sample", LATE_ERRORS, ids=[sample.id for sample in LATE_ERRORS])
def test_constructors_refuse_what_torch_refuses_when_called(sample: ErrorSample) -> None:
    with pytest.raises(sample.exception):
        sample.call(torch.nn)
    with pytest.raises((sample.exception, ValueError)):
        sample.call(ndconv)


@pytest.mark.parametrize("sample", EXTENSIONS, ids=[sample.id for sample in EXTENSIONS])
def test_what_torch_refuses_and_ndconv_does(sample: ErrorSample) -> None:
    with pytest.raises(sample.exception):
        sample.call(torch.nn)
    sample.call(ndconv)
