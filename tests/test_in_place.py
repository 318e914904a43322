"""Writes into results: no result of any public function is a view that forbids them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ndconv
from ndconv import functional, grad

x1, w1 = (2, 4, 12), (6, 2, 3)
x2, w2 = (2, 4, 8, 9), (6, 2, 3, 2)


def _network(library: Any) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        library.Conv2d(3, 8, 3, bias=False),
        nn.ReLU(inplace=True),
        library.Conv2d(8, 8, 1, bias=False),
        nn.LeakyReLU(0.1, inplace=True),
        library.Conv2d(8, 8, 3, padding=1, padding_mode="circular", bias=False, groups=8),
        nn.Dropout(0.0, inplace=True),
        library.ConvTranspose2d(8, 4, 2, stride=2, bias=False),
        nn.SiLU(inplace=True),
        library.Conv2d(4, 2, 4, stride=4),
        nn.Hardswish(inplace=True),
    )


@pytest.mark.parametrize("lowering", ["auto", "fastest", "native", "window", "columns", "taps", "winograd", "fourier"])
def test_networks_that_work_in_place(lowering: str) -> None:
    found = []
    for library in (torch.nn, ndconv):
        network, x = _network(library), torch.randn(2, 3, 16, 16, requires_grad=True)
        with ndconv.lowering(lowering):
            y = network(x)
            y += 1
            y.mul_(2)[:, 0].zero_()
            found.append((y.clone(), *torch.autograd.grad(y.square().sum(), (x, *network.parameters()))))
    for ours, theirs in zip(*reversed(found), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


# Every public function of tensors, for operands of these shapes.
CALLS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "conv1d": (functional.conv1d, (x1, (6, 4, 3))),
    "conv2d": (lambda x, w: functional.conv2d(x, w, groups=2, stride=2), (x2, w2)),
    "unbatched": (lambda x, w: functional.conv2d(x, w, groups=2), (x2[1:], w2)),
    "no axes": (functional.convnd, ((2, 4), (6, 4))),
    "all that there is": (functional.convnd, ((2, 4, 3, 2), (6, 4, 3, 2))),
    "pointwise": (functional.conv1d, (x1, (6, 4, 1))),
    "border": (lambda x, w: functional.conv2d(x, w, groups=2, padding=1, padding_mode="reflect"), (x2, w2)),
    "border of nothing": (lambda x, w: functional.conv2d(x, w, groups=2, padding_mode="reflect"), (x2, w2)),
    "transposed": (lambda y, w: functional.conv_transpose2d(y, w, groups=2, stride=2), ((2, 6, 4, 5), w2)),
    "transposed border": (
        lambda y, w: functional.conv_transpose2d(y, w, groups=2, padding=1, padding_mode="circular"),
        ((2, 6, 4, 5), w2),
    ),
    "unfold": (lambda x: functional.unfoldnd(x, (3, 2)), (x2,)),
    "unfold of single elements": (lambda x: functional.unfoldnd(x, (1, 1)), (x2,)),
    "unfold of no axes": (lambda x: functional.unfoldnd(x, 1), ((2, 4),)),
    "unbatched unfold": (lambda x: functional.unfoldnd(x, (1, 1)), (x2[1:],)),
    "fold": (lambda x: functional.foldnd(x, (8, 9), (3, 2)), ((2, 24, 48),)),
    "fold of single elements": (lambda x: functional.foldnd(x, (8, 9), (1, 1)), ((2, 4, 72),)),
    "gradient of the input": (lambda w, y: grad.conv2d_input(x2, w, y, groups=2), (w2, (2, 6, 6, 8))),
    "gradient of the weight": (lambda x, y: grad.conv2d_weight(x, w2, y, groups=2), (x2, (2, 6, 6, 8))),
    "per sample": (
        lambda x, y: grad.conv2d_weight(x, w2, y, groups=2, per_sample=True),
        (x2, (2, 6, 6, 8)),
    ),
    "transposed weight": (
        lambda y, x: grad.conv_transpose2d_weight(y, w2, x, groups=2),
        ((2, 6, 6, 8), (2, 4, 8, 9)),
    ),
    "bias": (grad.convnd_bias, (x2,)),
    "bias of no axes": (lambda y: grad.convnd_bias(y, per_sample=True), ((2, 4),)),
    "unbatched bias": (grad.conv1d_bias, ((4, 1),)),
    "backward": (lambda x, w, y: grad.convnd_backward(x, w, y, groups=2), (x2, w2, (2, 6, 6, 8))),
}


@pytest.mark.parametrize("grown", [True, False], ids=["of what was computed", "of leaves"])
@pytest.mark.parametrize("name", CALLS)
def test_every_result_can_be_written_to(name: str, grown: bool) -> None:
    """With and without a gradient; operands stay as they are, and the graph includes the write."""
    call, shapes = CALLS[name]
    leaves = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    for needed in (False, True):
        operands = [leaf * 1 if grown else leaf for leaf in leaves] if needed else [leaf.detach() for leaf in leaves]
        before = [operand.detach().clone() for operand in operands]
        results = call(*operands)
        results = [results] if isinstance(results, Tensor) else [*results]
        wanted = [2 * result.detach() for result in results]
        for result in results:
            result.mul_(2)
        assert all(map(torch.equal, before, operands))
        assert all(map(torch.equal, results, wanted))
    again = call(*leaves)
    plain = [2 * result for result in ([again] if isinstance(again, Tensor) else again)]
    found, want = (torch.autograd.grad([result.pow(2).sum() for result in some], leaves) for some in (results, plain))
    torch.testing.assert_close(found, want)


def test_gradients_under_a_graph_can_be_written_to() -> None:
    x, w = torch.randn(x2, requires_grad=True), torch.randn(w2, requires_grad=True)
    found = []
    for library in (functional, torch.nn.functional):
        y = library.conv2d(x, w, groups=2).pow(2).sum()
        grads = torch.autograd.grad(y, (x, w), create_graph=True)
        for each in grads:
            each.mul_(3)
        found.append(torch.autograd.grad([each.sum() for each in grads], (x, w)))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)
