"""Under autocast a convolution computes in the autocast dtype, and gradients come back in the parameters' own."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import ndconv


@pytest.mark.parametrize("inside", [False, True], ids=["backward outside", "backward inside"])
@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
@pytest.mark.parametrize("lowering", ["window", "columns", "taps", "reshape"])
def test_dtypes_are_those_of_torch(lowering: str, name: str, inside: bool, device: str) -> None:
    x = torch.randint(-2, 3, (2, 3, 9, 9), device=device).float().requires_grad_()
    shape = (4, 3, 3, 3) if name == "conv2d" else (3, 4, 3, 3)
    w = torch.randint(-1, 2, shape, device=device).float().requires_grad_()
    bias = torch.arange(4.0, device=device, requires_grad=True)
    results = []
    for lib in (ndconv.functional, F):
        convolution: Any = getattr(lib, name)
        keywords: dict[str, Any] = {"lowering": lowering} if lib is ndconv.functional else {}
        with torch.autocast(device, dtype=torch.bfloat16):
            y = convolution(x, w, bias, stride=3, **keywords)
            with torch.autocast(device, dtype=torch.bfloat16, enabled=inside):
                results.append((y, *torch.autograd.grad(y.sum(), (x, w, bias))))
    for got, want in zip(*results, strict=True):
        assert got.dtype == want.dtype
        assert torch.equal(got, want)
    assert results[0][0].dtype == torch.bfloat16


def test_operands_of_two_dtypes_meet_in_the_autocast_dtype(device: str) -> None:
    layer = ndconv.Conv2d(3, 4, 3, device=device)
    with torch.autocast(device, dtype=torch.bfloat16):
        assert layer(torch.ones(1, 3, 5, 5, dtype=torch.bfloat16, device=device)).dtype == torch.bfloat16
        assert layer.double()(torch.ones(1, 3, 5, 5, dtype=torch.float64, device=device)).dtype == torch.float64


@pytest.mark.compiler
def test_it_compiles(device: str) -> None:
    torch._dynamo.reset()
    layer = ndconv.Conv2d(3, 4, 3, device=device)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.ones(2, 3, 5, 5, device=device, requires_grad=True)
    with torch.autocast(device, dtype=torch.bfloat16):
        got, want = compiled(x), layer(x)
    assert torch.equal(got, want)
    assert torch.autograd.grad(got.sum(), layer.weight)[0].dtype == torch.float32


class Copies(TorchDispatchMode):
    """Counts casts of tensors of one shape, and remembers the last copy."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape, self.count, self.last = shape, 0, weakref.ref(self)

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operator(*args, **(kwargs or {}))
        if operator is torch.ops.aten._to_copy.default and args[0].shape == self.shape:
            self.count, self.last = self.count + 1, weakref.ref(result)
        return result


FUNCTIONS = [(f"conv{kind}", ndim) for kind in ("", "_transpose") for ndim in (1, 2, 3, 5)]
USES = 6


def six_times(lib: Any, name: str, ndim: int, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """A sum of convolutions that share a weight, by ours or torch."""
    convolution = getattr(lib, f"{name}{ndim}d", None) or getattr(lib, f"{name}nd")
    return torch.stack([convolution(x * (1 + use % 2), w, bias, padding=1) for use in range(USES)]).sum(0)


def operands(ndim: int, device: str) -> list[Tensor]:
    """Zeros and so few ones that every sum is exact in the autocast dtype."""
    torch.manual_seed(0)
    shapes = (1, 3, *(2,) * ndim), (3, 3, *(3,) * ndim), (3,)
    rare = [(torch.rand(shape) < 0.2 / ndim).float() for shape in shapes]
    return [operand.to(device).requires_grad_() for operand in rare]


def libraries(ndim: int) -> tuple[Any, ...]:
    """Ours, and torch for the numbers of axes that it supports."""
    return (ndconv.functional, F) if ndim <= 3 else (ndconv.functional,)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize(("name", "ndim"), FUNCTIONS)
def test_a_weight_is_cast_and_kept_once(name: str, ndim: int, cache: bool, device: str) -> None:
    for lib in libraries(ndim):
        x, w, bias = operands(ndim, device)
        kept: dict[int, int] = {}

        def pack(tensor: Tensor, kept: dict[int, int] = kept, shape: torch.Size = w.shape) -> Tensor:
            if tensor.shape == shape:
                kept[tensor.data_ptr()] = tensor.nbytes
            return tensor

        hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
        with Copies(w.shape) as copies, hooks, torch.autocast(device, dtype=torch.bfloat16, cache_enabled=cache):
            y = six_times(lib, name, ndim, x, w, bias)
        assert y.requires_grad
        assert copies.count == (1 if cache else USES)
        assert sum(kept.values()) == copies.count * w.numel() * 2


@pytest.mark.parametrize(("name", "ndim"), FUNCTIONS)
def test_gradients_of_a_shared_copy(name: str, ndim: int, device: str) -> None:
    results = []
    for lib, cache in [(ndconv.functional, False), *((lib, True) for lib in libraries(ndim))]:
        given = operands(ndim, device)
        with torch.autocast(device, dtype=torch.bfloat16, cache_enabled=cache):
            y = six_times(lib, name, ndim, *given)
        once = torch.autograd.grad(y.sum(), given, retain_graph=True)
        assert all(map(torch.equal, once, torch.autograd.grad(y.sum(), given)))
        results.append((y, *once))
    for got in results[1:]:
        assert all(map(torch.equal, got, results[0]))
    assert all(gradient.dtype == torch.float32 and gradient.any() for gradient in results[0][1:])


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_double_backward_and_checkpoints_through_a_shared_copy(name: str, device: str) -> None:
    results = []
    for lib, checkpointed in ((F, False), (ndconv.functional, False), (F, True), (ndconv.functional, True)):
        x, w, bias = operands(2, device)
        convolution: Any = getattr(lib, name)

        def block(x: Tensor, w: Tensor, bias: Tensor, convolution: Any = convolution) -> Tensor:
            y: Tensor = convolution(convolution(x, w, bias, padding=1), w, bias, padding=1)
            return y

        with torch.autocast(device, dtype=torch.bfloat16):
            y = checkpoint(block, x, w, bias, use_reentrant=False) if checkpointed else block(x, w, bias)
            (first,) = torch.autograd.grad(y.sum(), w, create_graph=True)
        results.append((y, first, *torch.autograd.grad(first.square().sum(), (x, w))))
    for got in results[1:]:
        assert all(map(torch.equal, got, results[0]))


def test_nothing_is_kept_after_the_region(device: str) -> None:
    x, w, _ = operands(2, device)
    with Copies(w.shape) as copies, torch.no_grad():
        with torch.autocast(device, dtype=torch.bfloat16):
            with torch.autocast(device, dtype=torch.bfloat16):
                ndconv.functional.conv2d(x, w, padding=1)
            assert copies.last() is not None
            with torch.autocast(device, enabled=False):
                ndconv.functional.conv2d(x, w, padding=1)
            ndconv.functional.conv2d(x, w, padding=1)
            assert copies.last() is not None
            assert copies.count == 1
        assert copies.last() is None
        with torch.autocast(device, dtype=torch.bfloat16):
            ndconv.functional.conv2d(x, w, padding=1)
            assert copies.count == 2
            torch.clear_autocast_cache()
            assert copies.last() is None
    parameter = weakref.ref(w)
    del w
    assert parameter() is None


def test_a_copy_serves_only_what_it_was_made_for(device: str) -> None:
    x, w, _ = operands(2, device)

    def convolved() -> Tensor:
        return ndconv.functional.conv2d(x, w, padding=1)

    with Copies(w.shape) as copies, torch.autocast(device, dtype=torch.bfloat16):
        with torch.inference_mode():
            assert convolved().any()
        with torch.no_grad():
            before = copies.count
            assert torch.equal(convolved(), convolved())
            assert copies.count - before <= 1
        y, before = convolved(), copies.count
        assert y.requires_grad
        with torch.no_grad():
            assert not convolved().requires_grad
        assert copies.count == before
        with torch.autocast(device, dtype=torch.float16):
            assert convolved().dtype == torch.float16
        assert torch.equal(convolved(), y)
        assert copies.count == before + 1
        with torch.no_grad():
            w.zero_()  # torch's cache would go on with the old values
        assert not convolved().any()
    assert torch.autograd.grad(y.sum(), w)[0].any()


def test_parameters_made_in_inference_mode(device: str) -> None:
    with torch.inference_mode():
        layer = ndconv.Conv2d(3, 3, 3, device=device)
        x = torch.ones(1, 3, 5, 5, device=device)
        with torch.autocast(device, dtype=torch.bfloat16):
            assert torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("kind", ["a view", "no leaf", "frozen", "in a transform"])
def test_only_parameters_are_kept(kind: str, device: str) -> None:
    x, w, _ = operands(2, device)
    if kind == "a view":
        with torch.no_grad():
            w = w.view(w.shape)
        w.requires_grad_()
    elif kind == "no leaf":
        w = w * 1
    elif kind == "frozen":
        w.requires_grad_(False)

    def twice(w: Tensor) -> Tensor:
        return sum(ndconv.functional.conv2d(x, w, padding=1).sum() for _ in range(2))  # type: ignore[return-value]

    with Copies(w.shape) as copies, torch.autocast(device, dtype=torch.bfloat16):
        if kind == "in a transform":
            got, want = (torch.func.grad(function)(w) for function in (twice, lambda w: twice(w * 1)))
            assert torch.equal(got, want)
            assert copies.count >= 2
        else:
            twice(w)
            assert copies.count == 2


def test_fake_tensors_are_kept_as_real_ones(device: str) -> None:
    with FakeTensorMode(), torch.autocast(device, dtype=torch.bfloat16):
        layer = ndconv.Conv2d(3, 3, 3, device=device)
        with Copies(layer.weight.shape) as copies:
            assert layer(layer(torch.ones(2, 3, 9, 9, device=device))).dtype == torch.bfloat16
    assert copies.count == 1
