"""torch.func, torch.compile, torch.export, and tensors that autograd keeps alive."""

from __future__ import annotations

import gc
import io
import weakref
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch
import torch.fx
import torch.nn.functional as F
import torch.nn.grad as nn_grad
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

import ndconv

LOWERINGS = ("window", "columns", "taps", "reshape")
# Stride 3 keeps windows apart, so that every lowering applies.
ARGUMENTS: dict[str, Any] = {"stride": (3, 4), "padding": (1, 0), "dilation": (1, 2), "groups": 2}


def integers(*shape: int, device: str) -> Tensor:
    return torch.randint(-3, 4, shape, device=device).double()


@pytest.fixture
def x(device: str) -> Tensor:
    return integers(2, 4, 7, 9, device=device)


@pytest.fixture
def w(device: str) -> Tensor:
    return integers(6, 2, 3, 2, device=device)


def ours(lowering: str) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, w: ndconv.functional.conv2d(x, w, **ARGUMENTS, lowering=lowering)


def theirs(x: Tensor, w: Tensor) -> Tensor:
    return F.conv2d(x, w, **ARGUMENTS)


def assert_equal(got: Any, want: Any) -> None:
    if isinstance(got, tuple):
        assert isinstance(want, tuple)
        for a, b in zip(got, want, strict=True):
            assert_equal(a, b)
    else:
        assert torch.equal(got, want)


@pytest.mark.parametrize("lowering", LOWERINGS)
class TestFunc:
    def test_jvp(self, lowering: str, x: Tensor, w: Tensor) -> None:
        assert_equal(jvp(ours(lowering), (x, w), (x + 1, w - 2)), jvp(theirs, (x, w), (x + 1, w - 2)))

    def test_jvp_in_one_operand(self, lowering: str, x: Tensor, w: Tensor) -> None:
        assert_equal(jvp(lambda x: ours(lowering)(x, w), (x,), (x + 1,)), jvp(lambda x: theirs(x, w), (x,), (x + 1,)))

    def test_vjp(self, lowering: str, x: Tensor, w: Tensor) -> None:
        output, pull, *_ = vjp(ours(lowering), x, w)
        expected, push, *_ = vjp(theirs, x, w)
        assert_equal(output, expected)
        assert_equal(pull(output), push(output))

    def test_pulled_back_to_what_requires_grad_itself(self, lowering: str, x: Tensor, w: Tensor) -> None:
        x.requires_grad_()
        w.requires_grad_()

        def pulled(convolution: Callable[[Tensor, Tensor], Tensor]) -> tuple[Any, ...]:
            y, pull, *_ = vjp(convolution, x, w)
            found = pull(y.detach())
            (square,) = vmap(lambda grad: (sum(part.square().sum() for part in pull(grad)),))(torch.stack([y, y - 1]))
            # The wrappers of the transform are dead by now, and a graph must not be built upon them.
            return *found, *torch.autograd.grad(square.sum(), (x, w)), jacrev(convolution, (0, 1))(x, w)

        assert_equal(pulled(ours(lowering)), pulled(theirs))

    @pytest.mark.parametrize("dims", [d for d in product((None, 0, 1, -1), repeat=2) if d != (None, None)], ids=str)
    def test_vmap(self, lowering: str, dims: tuple[int | None, int | None], x: Tensor, w: Tensor) -> None:
        operands = tuple(
            tensor if dim is None else torch.stack([tensor, tensor + 1, tensor - 2], dim)
            for tensor, dim in zip((x, w), dims, strict=True)
        )
        assert_equal(vmap(ours(lowering), dims)(*operands), vmap(theirs, dims)(*operands))

    def test_nested_vmap(self, lowering: str, x: Tensor, w: Tensor) -> None:
        xs, ws = torch.stack([x, x + 1]), torch.stack([w, w - 1, 2 * w])
        assert_equal(
            vmap(vmap(ours(lowering), (None, 0)), (0, None))(xs, ws), vmap(vmap(theirs, (None, 0)), (0, None))(xs, ws)
        )

    def test_per_sample_gradients(self, lowering: str, x: Tensor, w: Tensor) -> None:
        def loss(convolution: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
            return lambda w, x: (convolution(x[None], w) ** 2).sum()

        assert_equal(vmap(grad(loss(ours(lowering))), (None, 0))(w, x), vmap(grad(loss(theirs)), (None, 0))(w, x))

    def test_transforms_see_into_a_backward_that_builds_no_graph(self, lowering: str, x: Tensor, w: Tensor) -> None:
        def seen(convolution: Callable[[Tensor, Tensor], Tensor]) -> tuple[Any, ...]:
            y, pull, *_ = vjp(convolution, x, w)
            with torch.no_grad():
                pulled = vmap(pull)(torch.stack([y, y - 1]))
            with forward_ad.dual_level():
                leaf = w.detach().requires_grad_()
                y = convolution(forward_ad.make_dual(x, x + 1), leaf)
                (found,) = torch.autograd.grad((y * y).sum(), leaf)
                return pulled, forward_ad.unpack_dual(found).tangent

        assert_equal(seen(ours(lowering)), seen(theirs))

    def test_vmap_of_gradient_functions(self, lowering: str, x: Tensor, w: Tensor) -> None:
        y = theirs(x, w)
        xs, ys, ws = torch.stack([x, x + 1]), torch.stack([y, y - 1]), torch.stack([w, w + 1])
        keywords = dict(ARGUMENTS, lowering=lowering)
        for dims in ((0, 0), (0, None), (None, 0)):
            a, b, c = (two if dim == 0 else two[0] for two, dim in ((xs, dims[0]), (ws, dims[0]), (ys, dims[1])))
            by_weight = vmap(lambda x, y: ndconv.grad.conv2d_weight(x, w.shape, y, **keywords), dims)(a, c)
            by_input = vmap(lambda w, y: ndconv.grad.conv2d_input(x.shape, w, y, **keywords), dims)(b, c)
            pick = [(i if dims[0] == 0 else 0, i if dims[1] == 0 else 0) for i in range(2)]
            for i, (p, q) in enumerate(pick):
                assert_equal(by_weight[i], nn_grad.conv2d_weight(xs[p], w.shape, ys[q], **ARGUMENTS))
                assert_equal(by_input[i], nn_grad.conv2d_input(x.shape, ws[p], ys[q], **ARGUMENTS))

    def test_jacrev_and_jacfwd(self, lowering: str, x: Tensor, w: Tensor) -> None:
        x = x[:1]
        expected = jacrev(theirs, (0, 1))(x, w)
        assert_equal(jacrev(ours(lowering), (0, 1))(x, w), expected)
        assert_equal(jacfwd(ours(lowering), (0, 1))(x, w), expected)

    def test_hessian(self, lowering: str, x: Tensor, w: Tensor) -> None:
        x, w = x[:1, :, :5, :5], w[:2]

        def loss(convolution: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
            return lambda x, w: (convolution(x, w) ** 3).sum()

        assert_equal(hessian(loss(ours(lowering)), (0, 1))(x[:, :4], w), hessian(loss(theirs), (0, 1))(x[:, :4], w))

    def test_ensemble_of_modules(self, lowering: str, x: Tensor) -> None:
        layers = [ndconv.Conv2d(4, 6, 3, 3, lowering=lowering).to(x) for _ in range(3)]
        parameters, _ = torch.func.stack_module_state(layers)
        together = vmap(lambda state: functional_call(layers[0], state, (x,)))(parameters)
        for output, layer in zip(together, layers, strict=True):
            torch.testing.assert_close(output, layer(x), rtol=1e-12, atol=1e-12)


@pytest.fixture
def graphs() -> Iterator[list[int]]:
    """Counts the graphs that are compiled."""
    torch._dynamo.reset()
    yield []
    torch._dynamo.reset()


def _compiled(layer: torch.nn.Module, graphs: list[int], *, dynamic: bool | None = None) -> Callable[[Tensor], Tensor]:
    from torch._dynamo.backends.debugging import aot_eager

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(len(graph.graph.nodes))
        return aot_eager(graph, inputs)

    return torch.compile(layer, fullgraph=True, backend=backend, dynamic=dynamic)


@pytest.mark.compiler
@pytest.mark.parametrize("lowering", LOWERINGS)
def test_compile_forward_and_backward_for_every_batch_size(lowering: str, graphs: list[int], device: str) -> None:
    layer = ndconv.Conv2d(4, 6, 3, stride=3, padding=1, groups=2, lowering=lowering, device=device, dtype=torch.double)
    compiled = _compiled(layer, graphs)
    for batch in (2, 3, 4, 5, 7):
        x = integers(batch, 4, 8, 9, device=device).requires_grad_()
        got, want = compiled(x), layer(x)
        torch.testing.assert_close(got, want)
        for a, b in zip(
            torch.autograd.grad(got.square().sum(), (x, *layer.parameters())),
            torch.autograd.grad(want.square().sum(), (x, *layer.parameters())),
            strict=True,
        ):
            torch.testing.assert_close(a, b)
    assert len(graphs) == 2  # one for the first size, one for all others


@pytest.mark.compiler
@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("lowering", ["window", "columns", "taps"])
def test_compile_any_number_of_axes(ndim: int, lowering: str, graphs: list[int], device: str) -> None:
    layer = ndconv.ConvNd(ndim, 2, 3, 2, stride=2, dilation=2, padding="causal", lowering=lowering, device=device)
    x = torch.randn(2, 2, *(5,) * ndim, device=device, requires_grad=True)
    got, want = _compiled(layer, graphs)(x), layer(x)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(torch.autograd.grad(got.sum(), x), torch.autograd.grad(want.sum(), x))


@pytest.mark.compiler
def test_compile_with_inductor(graphs: list[int], device: str) -> None:
    layer = ndconv.Conv2d(3, 4, 3, padding=1, device=device)
    x = torch.randn(2, 3, 6, 7, device=device, requires_grad=True)
    got, want = torch.compile(layer, fullgraph=True)(x), layer(x)
    torch.testing.assert_close(got, want)
    for a, b in zip(
        torch.autograd.grad(got.sum(), (x, layer.weight)),
        torch.autograd.grad(want.sum(), (x, layer.weight)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.compiler
@pytest.mark.parametrize("lowering", LOWERINGS)
def test_export_with_a_dynamic_batch(lowering: str, graphs: list[int], device: str) -> None:
    layer = ndconv.Conv2d(4, 6, 3, stride=3, padding=1, groups=2, lowering=lowering, device=device)
    sizes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(layer, (torch.randn(2, 4, 8, 9, device=device),), dynamic_shapes=sizes)
    x = torch.randn(5, 4, 8, 9, device=device)
    torch.testing.assert_close(program.module()(x), layer(x))


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_meta_tensors(lowering: str) -> None:
    x = torch.empty(2, 4, 8, 9, device="meta", requires_grad=True)
    w = torch.empty(6, 2, 3, 3, device="meta", requires_grad=True)
    y = ndconv.functional.conv2d(x, w, stride=3, groups=2, lowering=lowering)
    assert y.shape == (2, 6, 2, 3)
    assert [g.shape for g in torch.autograd.grad(y.sum(), (x, w))] == [x.shape, w.shape]


@pytest.mark.parametrize("frozen", ["weight", "input"])
def test_a_frozen_operand_keeps_the_other_one_free(frozen: str, device: str) -> None:
    x, w = torch.randn(2, 3, 8, 8, device=device), torch.randn(4, 3, 3, 3, device=device)
    (w if frozen == "input" else x).requires_grad_()
    # Not leaves, so that nothing but the convolution could keep them.
    x, w = x * 1, w * 1
    kept, freed = (weakref.ref(w), weakref.ref(x)) if frozen == "weight" else (weakref.ref(x), weakref.ref(w))
    y = ndconv.functional.conv2d(x, w)
    del x, w
    gc.collect()
    assert freed() is None
    assert kept() is not None
    y.sum().backward()


def test_both_operands_are_kept_if_both_need_gradients(device: str) -> None:
    x = torch.randn(2, 3, 8, 8, device=device, requires_grad=True) * 1
    reference = weakref.ref(x)
    y = ndconv.functional.conv2d(x, torch.randn(4, 3, 3, 3, device=device, requires_grad=True))
    del x
    gc.collect()
    assert reference() is not None
    y.sum().backward()


# What has further arguments, under the compiler and the exporter.
KINDS: dict[str, Callable[..., torch.nn.Module]] = {
    "strided": lambda **how: ndconv.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, **how),
    "causal": lambda **how: ndconv.Conv2d(4, 6, 3, padding="causal", dilation=2, **how),
    "reflect": lambda **how: ndconv.Conv2d(4, 6, 3, padding=1, padding_mode="reflect", **how),
    "transposed": lambda **how: ndconv.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, **how),
    "transposed circular": lambda **how: ndconv.ConvTranspose2d(
        4, 6, 3, stride=2, padding="same", padding_mode="circular", **how
    ),
}
TRACED = [(make, "auto") for make in KINDS.values()]
TRACED += [(KINDS["transposed"], name) for name in ("window", "columns", "taps")] + [(KINDS["strided"], "columns")]
TRACED_IDS = [*KINDS, "transposed-window", "transposed-columns", "transposed-taps", "strided-columns"]
COMPILED = [*TRACED, *((KINDS[kind], "taps") for kind in ("strided", "causal"))]
COMPILED_IDS = [*TRACED_IDS, "strided-taps", "causal-taps"]


def _assert_same_step(one: Callable[[Tensor], Tensor], layer: torch.nn.Module, x: Tensor) -> None:
    results = []
    for function in (one, layer):
        y = function(x)
        results.append((y, *torch.autograd.grad(y.square().sum(), (x, *layer.parameters()))))
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.compiler
@pytest.mark.parametrize(("make", "lowering"), COMPILED, ids=COMPILED_IDS)
def test_compile_for_every_spatial_size(
    make: Callable[..., torch.nn.Module], lowering: str, graphs: list[int], device: str
) -> None:
    layer = make(lowering=lowering, device=device, dtype=torch.float64)
    compiled = _compiled(layer, graphs, dynamic=True)
    for shape in ((2, 9, 8), (3, 10, 11), (5, 12, 13), (2, 15, 9), (4, 16, 16)):
        batch, *size = shape
        x = torch.randn(batch, 4, *size, device=device, dtype=torch.float64, requires_grad=True)
        _assert_same_step(compiled, layer, x)
    assert len(graphs) == 1


@pytest.mark.compiler
def test_compiled_layers_are_differentiated_twice_without_the_compiler(graphs: list[int], device: str) -> None:
    """The compiler refuses; the same layer, called eagerly, works."""
    layer = ndconv.ConvTranspose2d(2, 3, 3, device=device)
    x = torch.randn(1, 2, 4, 4, device=device, requires_grad=True)
    (first,) = torch.autograd.grad(_compiled(layer, graphs)(x).pow(3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward"):
        first.sum().backward()
    (first,) = torch.autograd.grad(layer(x).pow(3).sum(), x, create_graph=True)
    first.sum().backward()
    assert x.grad is not None


@pytest.mark.compiler
@pytest.mark.parametrize(("make", "lowering"), TRACED, ids=TRACED_IDS)
def test_export_with_dynamic_sizes_and_reload(
    make: Callable[..., torch.nn.Module], lowering: str, graphs: list[int], device: str
) -> None:
    layer, auto = make(lowering=lowering, device=device), torch.export.Dim.AUTO
    program = torch.export.export(
        layer, (torch.randn(2, 4, 9, 8, device=device),), dynamic_shapes=({0: auto, 2: auto, 3: auto},)
    )
    memory = io.BytesIO()
    torch.export.save(program, memory)
    memory.seek(0)
    module = torch.export.load(memory).module()
    for shape in ((2, 9, 8), (5, 12, 15), (3, 16, 7)):
        batch, *size = shape
        x = torch.randn(batch, 4, *size, device=device)
        torch.testing.assert_close(module(x), layer(x))


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_fake_tensors(make: Callable[..., torch.nn.Module]) -> None:
    with FakeTensorMode():
        layer = make()
        x = torch.empty(2, 4, 9, 8, requires_grad=True)
        y = layer(x)
        grads = torch.autograd.grad(y.sum(), (x, *layer.parameters()))
    shape = make()(torch.zeros(2, 4, 9, 8)).shape
    assert y.shape == shape
    assert [grad.shape for grad in grads] == [x.shape, *(parameter.shape for parameter in layer.parameters())]


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_functions_of_whole_layers(make: Callable[..., torch.nn.Module], device: str) -> None:
    """Mapped with and without chunks, Jacobians both ways, a Hessian, an ensemble."""
    layer = make(device=device, dtype=torch.float64)
    x = torch.randn(5, 4, 5, 4, device=device, dtype=torch.float64)
    close: Any = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(vmap(layer)(x), layer(x), **close)
    torch.testing.assert_close(vmap(layer, chunk_size=2)(x), layer(x), **close)
    backward = jacrev(layer, chunk_size=7)(x[0])
    torch.testing.assert_close(backward, jacrev(layer)(x[0]), **close)
    torch.testing.assert_close(backward, jacfwd(layer)(x[0]), **close)

    def loss(weight: Tensor) -> Tensor:
        output: Tensor = functional_call(layer, {"weight": weight}, (x[:1],))
        return (output**3).sum()

    weight = layer.weight.detach()[:, :1, :1, :1].expand_as(layer.weight).clone()  # type: ignore[operator, arg-type]
    torch.testing.assert_close(jacrev(grad(loss))(weight), hessian(loss)(weight), **close)
    layers = [make(device=device, dtype=torch.float64) for _ in range(3)]
    states, _ = torch.func.stack_module_state(layers)
    together = vmap(lambda state: functional_call(layers[0], state, (x,)))(states)
    for output, each in zip(together, layers, strict=True):
        torch.testing.assert_close(output, each(x), **close)


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_fx_sees_parameters_and_one_call(make: Callable[..., torch.nn.Module], device: str) -> None:
    layer: Any = make(device=device)
    model = torch.nn.Sequential(layer, torch.nn.ReLU())
    traced = torch.fx.symbolic_trace(model)
    nodes = [*traced.graph.nodes]
    assert [node.op for node in nodes] == [
        "placeholder",
        "get_attr",
        "get_attr",
        "call_function",
        "call_module",
        "output",
    ]
    assert [node.target for node in nodes[1:3]] == ["0.weight", "0.bias"]
    assert nodes[3].target.__name__ == ("convolve_transposed" if layer.transposed else "convolve")
    x = torch.randn(2, 4, 7, 6, device=device)
    assert torch.equal(traced(x), model(x))
    function = torch.fx.symbolic_trace(lambda x, w: ndconv.functional.conv2d(x, w, stride=2).relu())
    w = torch.randn(3, 4, 3, 3, device=device)
    assert torch.equal(function(x, w), ndconv.functional.conv2d(x, w, stride=2).relu())


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_torchs_older_vmap_maps_gradients(make: Callable[..., torch.nn.Module], device: str) -> None:
    """`is_grads_batched`, and with it ``vectorize=True`` and the batched checks of `gradcheck`."""
    from torch.autograd.functional import hessian as old_hessian
    from torch.autograd.functional import jacobian as old_jacobian

    layer = make(device=device, dtype=torch.float64)
    x = torch.randn(1, 4, 4, 4, device=device, dtype=torch.float64)
    weight: Any = layer.weight
    weight = weight.detach()
    close: Any = {"rtol": 1e-9, "atol": 1e-9}

    def output(x: Tensor, weight: Tensor) -> Tensor:
        result: Tensor = functional_call(layer, {"weight": weight}, (x,))
        return result

    for strategy in ("reverse-mode", "forward-mode"):
        mapped = old_jacobian(output, (x, weight), vectorize=True, strategy=strategy)
        torch.testing.assert_close(mapped, old_jacobian(output, (x, weight)), **close)

    def loss(x: Tensor) -> Tensor:
        return output(x, weight).pow(3).sum()

    for strategy in ("reverse-mode", "forward-mode"):
        mapped = old_hessian(loss, x, vectorize=True, outer_jacobian_strategy=strategy)
        torch.testing.assert_close(mapped, old_hessian(loss, x), **close)
    leaf = x.requires_grad_()
    y = layer(leaf)
    several = torch.stack([y.detach(), 2 * y.detach()])
    (mapped,) = torch.autograd.grad(y, leaf, several, is_grads_batched=True, retain_graph=True)
    one_by_one = [torch.autograd.grad(y, leaf, each, retain_graph=True)[0] for each in several]
    torch.testing.assert_close(mapped, torch.stack(one_by_one), **close)
    batched: Any = {"check_batched_grad": True, "check_forward_ad": True, "check_batched_forward_grad": True}
    assert torch.autograd.gradcheck(layer, (leaf,), **batched)
    assert torch.autograd.gradgradcheck(layer, (leaf,), check_batched_grad=True)


@pytest.mark.parametrize("dims", [(0, None), (None, 1), (0, 0), (1, 0)])
@pytest.mark.parametrize("entries", [0, 3])
def test_a_recorded_graph_is_mapped(dims: tuple[int | None, int | None], entries: int, device: str) -> None:
    """A graph has the operator, not the Function, and the operator has its own rule for torch.func.vmap."""

    def both(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = ndconv.functional.conv2d(x, w, **ARGUMENTS)
        arguments = ARGUMENTS["stride"], ARGUMENTS["padding"], ARGUMENTS["dilation"], ARGUMENTS["groups"]
        gx = ndconv.grad.conv2d_input(x.shape, w, y, *arguments)
        return y, gx, ndconv.grad.conv2d_weight(x, w.shape, y, *arguments)

    shapes = (2, 4, 7, 9), (6, 2, 3, 2)
    graph = make_fx(both)(*(integers(*shape, device=device) for shape in shapes))
    assert any("trilinear" in str(node.target) for node in graph.graph.nodes)
    given = [
        integers(*shape, device=device)
        if dim is None
        else torch.stack([integers(*shape, device=device) for _ in range(3)], dim).narrow(dim, 0, entries)
        for shape, dim in zip(shapes, dims, strict=True)
    ]
    found = vmap(graph, dims)(*given)
    chosen = [
        both(*(one if dim is None else one.select(dim, i) for one, dim in zip(given, dims, strict=True)))
        for i in range(entries)
    ]
    for got, want in zip(found, zip(*chosen, strict=True) if chosen else [None] * 3, strict=True):
        assert torch.equal(got, torch.stack(want) if want else got.new_empty(got.shape))
        assert len(got) == entries


def test_a_recorded_graph_is_differentiated(x: Tensor, w: Tensor) -> None:
    """By the operator's own derivative: a graph recorded without gradients has no other."""
    graph = make_fx(ours("auto"))(x, w)
    for needs in ((True, True), (True, False), (False, True)):
        leaves = [each.clone().requires_grad_(need) for each, need in zip((x, w), needs, strict=True)]
        chosen = [leaf for leaf in leaves if leaf.requires_grad]
        found, want = graph(*leaves), ours("auto")(*leaves)
        outer = torch.randint_like(want, -3, 4)
        for got, right in zip(
            torch.autograd.grad(found, chosen, outer), torch.autograd.grad(want, chosen, outer), strict=True
        ):
            assert torch.equal(got, right)
