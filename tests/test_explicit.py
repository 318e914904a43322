"""A convolution written out: sparse matrices, index patterns and the columns of a transposed convolution."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.autograd import gradcheck

from ndconv import functional
from ndconv.testing import Case, sample

MODES = ("zeros", "reflect", "replicate", "circular")
CASES = sample(40, (1, 2, 3), seed=5, modes=MODES)


def arguments(case: Case) -> dict[str, Any]:
    axes = {"stride": case.stride, "padding": case.padding, "dilation": case.dilation}
    return {**axes, "groups": case.groups, "padding_mode": case.mode}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_matrix_computes_what_the_convolution_does(case: Case) -> None:
    x, w, y = case.operands(torch.float64)
    for source, matrix, result in (
        (x, functional.convnd_matrix(w, x.shape[1:], **arguments(case)), functional.convnd(x, w, **arguments(case))),
        (
            y,
            functional.conv_transposend_matrix(w, y.shape[1:], output_padding=case.remainder, **arguments(case)),
            functional.conv_transposend(y, w, output_padding=case.remainder, **arguments(case)),
        ),
    ):
        assert matrix.layout is torch.sparse_csr
        assert torch.equal(source.flatten(1) @ matrix.to_dense().T, result.flatten(1))


@pytest.mark.parametrize("case", [case for case in CASES if case.groups == 1], ids=lambda case: case.id)
def test_a_transposed_convolution_is_a_product_with_its_columns(case: Case) -> None:
    _, w, y = case.operands(torch.float64)
    axes = case.kernel, case.dilation, case.padding, case.stride, case.remainder
    columns = functional.unfold_transposend(y, *axes)
    rest = case.stride, case.padding, case.remainder, 1, case.dilation
    want = functional.conv_transposend(y, w, None, *rest)
    assert torch.equal(w.transpose(0, 1).flatten(1) @ columns, want.flatten(2))
    if case.batch:
        assert torch.equal(functional.unfold_transposend(y[0], *axes), columns[0])
        leaf = y[:1, :1].clone().requires_grad_()
        gradcheck(lambda leaf: functional.unfold_transposend(leaf, *axes), leaf, eps=1.0, atol=0, rtol=0)


@pytest.mark.parametrize("case", sample(12, (1,), seed=6, modes=MODES), ids=lambda case: case.id)
def test_a_pattern_is_the_convolution_of_an_axis(case: Case) -> None:
    x, w, _ = case.operands(torch.float64)
    (size, kernel, stride, dilation) = (
        values[0] for values in (case.input_size, case.kernel, case.stride, case.dilation)
    )
    pattern = functional.index_pattern(size, kernel, stride, case.padding, dilation, padding_mode=case.mode)
    assert pattern.shape == (kernel, case.output_size[0], size)
    apart, kernels = (tensor.unflatten(axis, (case.groups, -1)) for tensor, axis in ((x, 1), (w, 0)))
    if case.batch:
        got = torch.einsum("ngci,gdck,koi->ngdo", apart, kernels, pattern.double())
        assert torch.equal(got.flatten(1, 2), functional.convnd(x, w, **arguments(case)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: functional.convnd_matrix(torch.ones(1, 2, 3), (3, 8)), "convnd_matrix: input_size has 3 channels"),
        (lambda: functional.convnd_matrix(torch.ones(1, 2, 3), (1, 2, 8)), "convnd_matrix: input_size must have no ba"),
        (lambda: functional.index_pattern(2, 5), "index_pattern: kernel must fit into the padded input"),
        (
            lambda: functional.unfold_transposend(torch.ones(1, 1, 2), (2, 2), 1, ((0, 0),)),
            "tuples must have one entry",
        ),
    ],
    ids=["channels", "batch", "kernel", "tuples"],
)
def test_what_cannot_be(call: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        call()
