"""Exact checks of one case: every slot against the NumPy loop, autograd, the adjoint identity and a second call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ndconv import functional, grad
from ndconv.testing import _oracle
from ndconv.testing._cases import Case


def reference(case: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Output, input gradient and weight gradient of a case by the NumPy loop, in int64 and so exact."""
    x, w, y = (operand.to(torch.int64).numpy() for operand in case.operands(dtype))
    size, padding, indices = case.input_size, case.padding, None
    if case.mode != "zeros":
        indices = _oracle.shown(size, padding, case.mode)
        x, size, padding = _oracle.extend(x, indices), indices.shape, ((0, 0),) * case.ndim
    rest = case.stride, padding, case.dilation, case.groups
    output = _oracle.output(x, w, case.output_size, *rest)
    grad_input = _oracle.grad_input(w, y, size, *rest)
    grad_weight = _oracle.grad_weight(x, y, case.kernel, *rest)
    if indices is not None:
        grad_input = _oracle.retract(grad_input, indices, case.input_size)
    return torch.from_numpy(output), torch.from_numpy(grad_input), torch.from_numpy(grad_weight)


def results(
    case: Case, dtype: torch.dtype, lowering: str, device: str = "cpu"
) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Output and both gradients of a case, each in four ways.

    By the functions that compute one slot; by autograd; and by the same two from the transposed convolution, whose
    output is the input gradient and whose input gradient is the output.
    """
    x, w, y = case.operands(dtype, device)
    rest = case.stride, case.padding, case.dilation, case.groups
    back = case.stride, case.padding, case.remainder, case.groups, case.dilation
    how: Any = {"padding_mode": case.mode, "lowering": lowering}
    output = functional.convnd(x, w, None, *rest, **how)
    grad_input = grad.convnd_input(case.input_shape, w, y, *rest, **how)
    grad_weight = grad.convnd_weight(x, case.weight_shape, y, *rest, **how)
    transposed = functional.conv_transposend(y, w, None, *back, **how)
    transposed_input = grad.conv_transposend_input(case.output_shape, w, x, *back, **how)
    transposed_weight = grad.conv_transposend_weight(y, case.weight_shape, x, *back, **how)

    x, w, y = x.requires_grad_(), w.requires_grad_(), y.requires_grad_()
    traced = functional.convnd(x, w, None, *rest, **how)
    by_input, by_weight = torch.autograd.grad(traced, (x, w), y.detach())
    traced_back = functional.conv_transposend(y, w, None, *back, **how)
    back_input, back_weight = torch.autograd.grad(traced_back, (y, w), x.detach())
    return {
        "slot": (output, grad_input, grad_weight),
        "autograd": (traced.detach(), by_input, by_weight),
        "the transposed slot": (transposed_input, transposed, transposed_weight),
        "autograd of the transposed": (back_input, traced_back.detach(), back_weight),
    }


def failures(case: Case, dtype: torch.dtype, lowering: str, device: str = "cpu") -> list[str]:
    """What does not hold for a case; nothing if all is well.

    Args:
        case: The case.
        dtype: Element type.
        lowering: Name of a lowering or ``"auto"``.
        device: Where to compute.

    Returns:
        One sentence per fault.

    Example:
        >>> import torch
        >>> from ndconv.testing import Case, failures
        >>> failures(Case.parse("n2g1c3d4-k3x2-s2x1-p1.1x0.0-d1x2-i8x5"), torch.float32, "taps")
        []
    """
    found, expected = [], reference(case, dtype)
    first, second = results(case, dtype, lowering, device), results(case, dtype, lowering, device)
    for source, tensors in first.items():
        for name, got, again, want in zip(
            ("output", "grad input", "grad weight"), tensors, second[source], expected, strict=True
        ):
            if got.shape != want.shape or got.dtype != dtype:
                found.append(f"{name} by {source} is {tuple(got.shape)} {got.dtype}, not {tuple(want.shape)} {dtype}")
            elif not torch.equal(got.cpu().to(torch.int64), want):
                found.append(
                    f"{name} by {source} differs from the NumPy loop in {int((got.cpu() != want).sum())} elements"
                )
            elif not torch.equal(got, again):
                found.append(f"{name} by {source} differs between two calls")
    x, w, y = (operand.double().cpu() for operand in case.operands(dtype))
    output, grad_input, grad_weight = (tensor.double().cpu() for tensor in first["slot"])
    products = [float((a * b).sum()) for a, b in ((output, y), (grad_input, x), (grad_weight, w))]
    if len(set(products)) > 1:
        found.append(f"<conv(x, w), y>, <x, grad input>, <w, grad weight> are {products}, not one number")
    return found
