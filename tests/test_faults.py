"""The matrix finds faults: planted ones, one at a time, and devices and lowerings that fail."""

from __future__ import annotations

import cmath
import functools
import gc
import inspect
import json
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
import torch._dynamo  # the first derivative would; imported here, a process forked for a mutant need not
from torch import Tensor

import ndconv
from ndconv._autograd import convolution as _convolution
from ndconv._autograd import function as _function
from ndconv._form import cache
from ndconv._form import lags as _lags
from ndconv._form import partition as _partition
from ndconv._form.geometry import Convolution, Form, Geometry
from ndconv._form.partition import Axis
from ndconv._lowerings import LOWERINGS, Lowering, _runs, _windowed, columns, fourier, reshape, taps, window
from ndconv._machine import target as _target
from ndconv._planner import choice as _choice
from ndconv._planner import computed as _computed
from ndconv._planner import recorded as _recorded
from ndconv._planner import ties as _ties
from ndconv._programs import copies as _copies
from ndconv._programs import lifetimes as _lifetimes
from ndconv._programs import values as _values
from ndconv._programs import windows as _windows
from ndconv._programs.builder import Builder
from ndconv._programs.chunks import Chunks
from ndconv._programs.source import _Writer
from ndconv._programs.values import Value
from ndconv._rules import _arguments, _calls
from ndconv._sharded import local as _local
from ndconv._sharded.local import Share
from ndconv._statistics import covariances as _covariances
from ndconv._statistics import norms as _norms
from ndconv._statistics import spectrum as _spectrum
from ndconv._statistics import squares as _squares
from ndconv._tensors import borders as _borders
from ndconv._tensors import execute as _execute
from ndconv.functional import _conv
from ndconv.grad import _conv as grad_conv
from ndconv.testing import Trial, examine, matrix, read_json, write_json
from ndconv.testing.__main__ import main
from tests.programs import recorded

# The compiler cannot trace the wrappers of mutants, and the oldest torch's exporter refuses some of what is right.
TRIALS = [trial for trial, _ in matrix("quick").trials if trial.transform != "compile"]
EAGER = [trial for trial in TRIALS if trial.transform != "export"]


def forget() -> None:
    """Empty the library's caches."""
    cache.clear()
    for found in gc.get_objects():
        if type(found) is functools._lru_cache_wrapper:
            module = found.__wrapped__.__module__
            if module.startswith("ndconv.") and not module.startswith("ndconv.testing."):
                found.cache_clear()


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Cached answers must neither outlive a fault nor hide it."""
    forget()
    yield
    forget()


def first_failure(device: str, trials: Sequence[Trial] = EAGER) -> str | None:
    """The first failure of the quick level; everything in it is supported."""
    for trial in trials:
        for outcome in examine(trial, device):
            if outcome.status in ("failed", "unsupported"):
                return f"{trial.id} {outcome.check}: {outcome.detail}"
    return None


def plant(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, old: str, new: str) -> None:
    """Replace a function by itself with one place of its text changed."""
    found = inspect.getattr_static(owner, name)
    function = found.__func__ if isinstance(found, staticmethod) else found
    function = inspect.unwrap(function)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{name} has changed: {old!r} is no longer there once"
    namespace = dict(function.__globals__) | {"owner": owner}
    exec(source.replace(old, new).replace("@staticmethod\n", "").replace("super()", "super(owner, self)"), namespace)
    exchanged = namespace[name]
    monkeypatch.setattr(owner, name, staticmethod(exchanged) if isinstance(found, staticmethod) else exchanged)


# What is wrong, where, and how it reads then.
FAULTS: dict[str, tuple[Any, str, str, str]] = {
    "lo is one less": (Geometry, "fit", "(lo, span - size - lo)", "(lo - 1, span - size - lo + 1)"),
    "lo is one more": (Geometry, "fit", "(lo, span - size - lo)", "(lo + 1, span - size - lo - 1)"),
    "hi lacks what 'same' has over": (
        _calls, "_sides", "(total // 2, total - total // 2)", "(total - total // 2, total // 2)",
    ),
    "hi is one less": (Geometry, "output_size", "(size + lo + hi - extent)", "(size + lo + hi - 1 - extent)"),
    "stride and dilation swapped in INPUT": (
        _windows, "_fold_axis", "positions, shape[axis] = shape[axis], reach",
        "stride, dilation = dilation, stride; positions, shape[axis] = shape[axis], reach",
    ),
    "stride and dilation swapped in the phases": (
        _runs, "_by_shift", "divmod(dilation * k - lo, stride)", "divmod(stride * k - lo, dilation)",
    ),
    "padding that is not zero": (
        Builder, "pad", "constant_pad_nd({{0}}, {listed(flat)})", "constant_pad_nd({{0}}, {listed(flat)}, 1)",
    ),
    "remainder rows not zero": (
        Builder, "unpad", "return self.pad(value, tuple((-lo, -hi) for lo, hi in amounts))",
        "made = self.pad(value, tuple((-lo, -hi) for lo, hi in amounts))\n"
        "    for step in self._open[-1][-1:]:\n"
        "        if made is not value and getattr(step, 'line', '').startswith('torch.constant_pad_nd'):\n"
        "            step.line = step.line[:-1] + ', 1)'\n"
        "    return made",
    ),
    "groups interleaved with channels": (
        _computed, "ungroup", "(groups, tensor.shape[axis] // groups))",
        "(tensor.shape[axis] // groups, groups)).transpose(axis, axis + 1)",
    ),
    "groups mixed up by vmap": (_function, "_fold", "apart.movedim(0, position)", "apart.movedim(0, position + 1)"),
    "kernel not flipped in INPUT": (
        taps.Taps, "input", "_pack_weight(b, w, problem)", "_pack_weight(b, w.flip([w.dim() - 1]), problem)",
    ),
    "conj forgotten": (_function, "_gradient", "other.conj()", "other"),
    "half types summed as they are": (
        _computed, "widened", "if keeps and not lowering.accumulates(b, problem):", "if True:",
    ),
    "rounded before the bias": (_conv, "compute_output", "bias is not None, _layout", "False, _layout"),
    "rounded before the bias of what was asked for before": (
        _convolution, "_checked_form", "bias is not None, None", "False, None",
    ),
    "integers summed in float32": (
        _computed, "exact_float", "if largest <= _EXACT[each]", "if each == 'float32'",
    ),
    "a saved tensor written to": (
        _function, "_gradient", "form, grad_first = derivative",
        "form, grad_first = derivative; other.detach().add_(1)",
    ),
    "an operand written to": (
        _execute.Program, "compute", "result = self.run(", "first.detach().mul_(1); result = self.run(",
    ),
    "a tangent left out": (
        _function.ForwardTrilinear, "jvp", "(first_tangent, second), (first, second_tangent)",
        "(first_tangent, second)",
    ),
    "channels-last forgotten": (_recorded, "computed", "first, second), last)", "first, second), False)"),
    "sums that start at one": (
        taps.Taps, "weight", "x.new_zeros(problem.geometry.groups, problem.features, number * problem.channels)",
        "b.allocated(x, (problem.geometry.groups, problem.features, number * problem.channels), x.dtype, 'ones')",
    ),
    "no gap between rows": (taps, "layout", "size + zeros for", "size for"),
    "a border reflected with its outermost element": (
        _borders, "_sides", "(1, lo), (size - 1 - hi, hi)", "(0, lo), (size - hi, hi)",
    ),
    "a border not added back": (_borders, "retract_axis", "core.narrow(axis, start, length).add_(side)", "pass"),
    "unbatched taken for one channel": (grad_conv, "compute_weight", "geometry.ndim + 1", "geometry.ndim"),
    "columns in another order": (
        columns.Columns, "product_weight", "y.movedim(0, 2)", "y.flip([y.dim() - 1]).movedim(0, 2)",
    ),
    "an operand saved that nobody needs": (
        _function, "_save", "first if need_second else None", "first",
    ),
    "the weight's gradient laid out as the result": (
        Form, "derivatives", "own if slot is Slot.WEIGHT else result", "result",
    ),
    "chunks added in the wrong place": (
        _windowed.Windowed, "input", "b.span(cut.start, size, factor=stride)", "b.span(cut.start, size)",
    ),
    "reshape refused where it applies": (reshape.Reshape, "refusal", "extent > stride", "extent >= stride"),
    "derivatives by another lowering": (Form, "derivatives", "self.lowering", "'auto'"),
    "another lowering than the one named": (_recorded, "pick", "if wanted in LOWERINGS and", "if False and"),
    "auto takes what is not exact": (
        _choice, "automatic", "LOWERINGS[name].exact and LOWERINGS[name].automatic", "LOWERINGS[name].automatic",
    ),
    "torch's operator where a layer is frozen": (
        _convolution, "torchs_own", "if first.requires_grad and second.requires_grad:", "if True:",
    ),
    "frequencies of the wrong sign": (fourier.Fourier, "_image", "reverse=forward", "reverse=False"),
    "spectra of fewer digits": (
        fourier, "_spectrum", "return spectrum.flatten(",
        "return b.cast(b.cast(spectrum, 'complex64'), b.dtype(spectrum)).flatten(",
    ),
    "a grid too short": (fourier, "_smooth", "length: int) -> int:", "length: int) -> int:\n    length -= length > 3"),
    "integers rounded": (_execute, "wants_exact", "get_exact() or not", "get_exact() and not"),
    "a result that is a view": (
        _execute.Program, "compute", "return result.detach() if result._is_view() else result", "return result",
    ),
    "gradients that nobody asked for": (
        _function, "_gradients", "named = first is not None and", "named = False and",
    ),
    "arrays taken for what holds nothing": (_arguments, "tupled", "value, Iterable", "value, Sequence"),
    "zeros in gaps multiplied by what is not finite": (
        taps.Taps, "weight", "return b.unless_finite((taps, x), w, partial(COLUMNS.weight, b, problem), x, y)",
        "return w",
    ),
    "zeros around the output multiplied by it": (
        columns.Columns, "input", "return b.unless_finite((w, x), x, partial(self.added, b, problem), w, y)",
        "return x",
    ),
    "zeros in gaps multiplied by such weights": (
        taps.Taps, "input",
        "return b.unless_finite((w, x), b.unpad(x, frame), partial(COLUMNS.added, b, problem), w, y)",
        "return b.unpad(x, frame)",
    ),
    "zeros of the padding taken for nothing": (
        _computed, "assembled", "b.times_zero(b.wide(second))", "b.wide_zeros(second.shape, second)",
    ),
    "outputs beside a part forgotten": (
        _computed, "assembled", "part.of(others, other).zero_()", "others.zero_()",
    ),
    "the last tied output left out": (_ties, "_axis", "last // stride + 1", "last // stride"),
    "a part shifted": (_ties, "_geometry", "lo - s * axis.outputs.start", "lo"),
    "einsum over the wrong equation": (window.Window, "product_weight", "Slot.WEIGHT", "Slot.OUTPUT"),
    # Of the programs themselves.
    "an offset that is off by one": (
        Value, "__getitem__", "offset.plus(first * stride)", "offset.plus((first + (first > 0)) * stride)",
    ),
    "an index that is off by one": (
        _values, "_start", "return index if", "return index.plus(len(index.factors)) if",
    ),
    "an axis that ends early": (Value, "narrow", "start + length)", "start + max(1, length - 1))"),
    "wrong strides of a view": (_values, "view_strides", "found.append(cut * step)", "found.append(cut + step)"),
    "axes moved the other way": (
        Value, "movedim", "order.insert(destination % self.dim(), order.pop(source % self.dim()))",
        "order.insert(source % self.dim(), order.pop(destination % self.dim()))",
    ),
    "a name given to another while it is needed": (
        _Writer, "_named", "while name in self.owners and", "while False and",
    ),
    "what was there before a loop forgotten in it": (
        _lifetimes, "_last_uses", "place if each in made else position for each", "place for each",
    ),
    "a copy that takes the variable for the view": (
        _Writer, "_copied", "if sorted(axes)", "if len(axes) == len(places) or sorted(axes)",
    ),
    "chunks that overlap": (Chunks, "chunks", "yield Span(place, step)", "yield Span(place, min(step + 1, length))"),
    "the last turn of a loop forgotten": (
        Builder, "ranged", "numbers = range(start, stop, step)",
        "stop -= step * (stop - start > step); numbers = range(start, stop, step)",
    ),
    "a product written where it does not fit": (
        Builder, "_is_product_in_place", "if not whole or place != contiguous_strides(made.shape):", "if not whole:",
    ),
    "axes merged that lie apart": (
        _copies, "merged", "if found and outer == size * step and beyond == size * other:", "if found:",
    ),
    **{
        f"programs looked up without {what}": (_execute, "_key", old, new)
        for what, old, new in (
            ("the first operand's strides", "first.shape, first.stride(),", "first.shape,"),
            ("the second operand's strides", "second.shape, second.stride(),", "second.shape,"),
            ("the first operand's sizes", "first.shape, first.stride(),", "first.stride(),"),
            ("the dtype", "first.dtype, first.device,", "first.device,"),
        )
    },
    "a forgotten conjugate in Gram matrices": (
        _norms, "_norms_by_gram", "columns[..., some].mH", "columns[..., some].mT",
    ),
    "a Gram matrix of all groups together": (
        _norms, "_norms_by_gram", "(inner * outer).sum((1, 2, 3))", "(inner.sum(1) * outer.sum(1)).sum((1, 2))",
    ),
    "inner products of what is conjugated twice": (_norms, "_products_by_gradient", "grads.conj() @", "grads @"),
    "vectors that are samples": (_squares, "square", "(vectors, -1)", "(-1, vectors)"),
    "sides of a projection exchanged": (_squares, "project", "rows @ responses.mT", "(rows @ responses.mT).flip(-1)"),
    "lags that count strides": (_lags, "_lags", "dilation * (j - k)", "stride * (j - k)"),
    "lag 0 left out": (_covariances, "_combinations", "distances >=", "distances >"),
    "a covariance that is not mirrored": (_covariances, "_place", "if mirrored:", "if False:"),
    "ends that a window does not reach": (_lags, "tied", "max(0, -(-start // stride))", "max(0, start // stride)"),
    # Of shards.
    "a shard that is padded as the whole": (
        Axis, "_padding", "self.lo + inputs.start - self.stride * outputs.start", "self.lo",
    ),
    "a shard shifted": (Axis, "_padding", "lo = self.lo +", "lo = self.lo + 1 +"),
    "a halo that lacks a row": (
        Axis, "read_for", "self._extent - self.lo)\n", "self._extent - self.lo - 1)\n",
    ),
    "the last tied output not read": (Axis, "_tied", "self.lo) // self.stride + 1)", "self.lo) // self.stride)"),
    "the first tied output not read": (Axis, "_tied", "self._extent - 1 - positions", "self._extent - 2 - positions"),
    "a border shown by all": (Axis, "_showing", "[side] in rows else", "[side] + 1 else"),
    "a border mirrored beside its axis": (Axis, "_mirror", "low + 2 * self.inputs - 2)", "low + 2 * self.inputs - 1)"),
    "rows of a border looked for at the start": (_partition, "place", "before += len(run)", "before += 0"),
    "rows kept that nobody asked for": (_local, "exchange", "tuple(given(part, part))", "(owned[part],)"),
    "rows sent that others own": (_local, "exchange", "for rows in given(part, peer)", "for rows in given(peer, part)"),
    "a part of a weight rounded before the sum, by inputs read": (
        Share, "weight", "x, y, True, False)\n    ties", "x, y, False, False)\n    ties",
    ),
    "a part of a weight rounded before the sum, by outputs read": (
        Share, "weight", "_inputs(x, pieces), y, True", "_inputs(x, pieces), y, False",
    ),
    "pieces of a weight skipped": (Share, "weight", "return sum(parts[1:], parts[0])", "return parts[0]"),
    "pieces of an input skipped": (Share, "input", "in combined:", "in combined[:1]:"),
    "samples of their own that are groups of one": (
        Share, "_solved", "geometry.grouped(samples * geometry.groups)", "geometry.grouped(geometry.groups)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    plant(monkeypatch, *FAULTS[fault])
    assert first_failure(device) is not None


def _left_over() -> bool:
    """Whether the last of seven samples is computed, in chunks of three."""
    # Other numbers in each call: memory that was never written to may hold those of the call before.
    x, w, limit = torch.randint(1000, (7, 1, 8)).float(), torch.ones(1, 1, 3), ndconv.get_workspace_limit()
    ndconv.set_workspace_limit(3 * 3 * 6 * 4)
    try:
        return torch.equal(ndconv.functional.conv1d(x, w, lowering="columns"), x.unfold(2, 3, 1).sum(3))
    finally:
        ndconv.set_workspace_limit(limit)


def _rounded_once() -> bool:
    """Whether half types are rounded once by torch's kernel, too, where oneDNN does not multiply them."""
    sizes = "n3g3c2d1-k1x4x2-s2x2x2-p0.0x0.0x1.1-d1x2x2-i1x7x2"
    trial = Trial.parse(f"{sizes}-circular-transposed-weight-bfloat16-repeated-native-second")
    return all(outcome.status != "failed" for outcome in examine(trial, "cpu"))


def _one_position() -> bool:
    """Whether it makes no difference that torch calls one position of several channels channels-last."""
    w, y = torch.randn(3, 3, 5, 3), torch.randn(3, 3, 1, 1)
    one, other = (
        ndconv.grad.conv2d_input((3, 9, 7, 4), w, grad, (3, 4), (14, 12), (8, 12), 3, lowering="columns")
        for grad in (y, torch.empty_strided((3, 3, 1, 1), (3, 1, 3, 3)).copy_(y))
    )
    return torch.equal(one, other)


def _two_constants() -> bool:
    """Whether a program with two matrices of one name uses both."""

    def steps(b: Builder, x: Value) -> Value:
        one, other = (b.kronecker("matrix", [[[Fraction(number)]]], x).unsqueeze(0) for number in (2, 3))
        return b.matmul(b.matmul(x, one), other)

    return recorded(steps, torch.ones(1, 1, 1)).item() == 6


def _settings_count() -> bool:
    """Whether a call that may round is not reused once rounding is forbidden."""
    x, w = torch.rand(1, 4, 12, 12), torch.rand(4, 4, 3, 3)
    rounded = ndconv.functional.conv2d(x, w, lowering="winograd")
    ndconv.set_exact(True)
    try:
        return not torch.equal(rounded, ndconv.functional.conv2d(x, w, lowering="winograd"))
    finally:
        ndconv.set_exact(False)


def _stretched_border() -> bool:
    """Whether a bound accounts for a border that shows an element three times."""
    norm = ndconv.curvature.conv1d_operator_norm(torch.ones(1, 1, 1), (1, 4), padding=2, padding_mode="replicate")
    return norm.upper.item() >= 1.73


def _between_frequencies() -> bool:
    """Whether a bound is above the largest response, which lies between the frequencies of the grid."""
    weight = torch.tensor([[[1, cmath.exp(1j * math.pi / 32)]]], dtype=torch.complex128)
    return ndconv.curvature.conv1d_operator_norm(weight, (1, 400)).upper.item() > 1.999


def _large_covariance() -> bool:
    """Whether a covariance computed in parts is its own adjoint."""
    x = torch.arange(3 * 300.0).sin().view(3, 300, 1)
    covariance = ndconv.curvature.conv1d_input_covariance(x, 1)[0]
    return torch.allclose(covariance, x[..., 0].T @ x[..., 0], atol=1e-5)


def _nothing_but_padding() -> bool:
    """Whether a process whose windows see zeros alone multiplies them, as a single process does."""
    geometry = Geometry((1,), (1,), ((4, 0),), (1,))
    share = Share(Convolution.of(geometry, (4,), ((0, 0),), "zeros"), (2,), (0,), "columns")
    infinite = torch.full((1, 1, 1), torch.inf)
    return bool(share.output(torch.ones(1, 1, 0), infinite, False, False).isnan().all())


# What takes a problem that is not in the matrix, or another processor, and whether it is solved.
RARE: dict[str, tuple[tuple[Any, str, str, str], Callable[[], bool]]] = {
    "a covariance of several parts that is not mirrored": (
        (_covariances, "_mirrored", "upper[:, some, some.stop :].mH", "0"), _large_covariance,
    ),
    "a border that stretches nothing": (
        (_spectrum, "bound", "_border(operands) / ", "1.0 / "), _stretched_border,
    ),
    "a gap between frequencies forgotten": ((_spectrum, "bound", "math.prod(gaps)", "1.0"), _between_frequencies),
    "half types multiplied by what rounds partial sums": (
        (_target, "_target", "tuple(sorted(slow | lacking))", "()"), _rounded_once,
    ),
    "one position padded into channels-last order": (
        (Builder, "pad", "plain(bare(value, lead + first))", "bare(value, lead + first)"), _one_position,
    ),
    "the last chunk left out": ((Chunks, "chunks", "if whole < length:", "if False:"), _left_over),
    "constants of one name taken for one": (
        (Builder, "constant", 'name + "_" * sum(each.rstrip("_") == name for each in self.constants)', "name"),
        _two_constants,
    ),
    "zeros that one process alone sees taken for nothing": (
        (Share, "_of_inputs_read", "if own and not x.shape[axis + 2]:", "if False:"), _nothing_but_padding,
    ),
    "programs looked up without the settings": (
        (_execute, "_key", "get_exact(), get_workspace_limit(), torch._C._get_mkldnn_enabled(),", ""), _settings_count,
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", RARE)
def test_rare_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted, solved = RARE[fault]
    assert solved()
    forget()
    plant(monkeypatch, *planted)
    assert not solved()


def _stale(compute: Callable[..., Tensor], attribute: Callable[[Tensor], Any], key: Callable[..., Any]) -> Any:
    """A cache of plans with an incomplete key: a result gets an attribute of an earlier one."""
    remembered: dict[Any, Any] = {}

    def stale(program: _execute.Program, first: Tensor, second: Tensor) -> Tensor:
        result = compute(program, first, second)
        kept = remembered.setdefault(key(program.form, first, second), attribute(result))
        if isinstance(kept, bool):
            return result.contiguous(memory_format=torch.channels_last) if kept else result.contiguous()
        return result.to(kept)

    return stale


STALE: dict[str, tuple[Callable[[Tensor], Any], Callable[..., Any]]] = {
    "dtype": (lambda y: y.dtype, lambda form, a, b: (form, a.shape, b.shape, a.device)),
    "device": (lambda y: y.device, lambda form, a, b: (form, a.shape, b.shape, a.dtype)),
    "memory format": (
        lambda y: y.dim() == 4 and y.is_contiguous(memory_format=torch.channels_last),
        lambda form, a, b: (form, a.shape, b.shape, a.dtype, a.device),
    ),
}


@pytest.mark.parametrize("missing", STALE)
def test_stale_plan_is_found(missing: str, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(_execute.Program, "compute", _stale(_execute.Program.compute, *STALE[missing]))
    assert first_failure(device) is not None


def test_stale_layout_is_found(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """A cache key without the stride."""
    remembered, original = dict[Any, taps.Layout](), taps.layout

    def layout(geometry: Geometry, input_size: tuple[int, ...]) -> taps.Layout:
        key = geometry.kernel, geometry.dilation, geometry.padding, input_size
        return remembered.setdefault(key, original(geometry, input_size))

    monkeypatch.setattr(taps, "layout", layout)
    assert first_failure(device) is not None


def test_without_a_fault_nothing_is_found(device: str) -> None:
    assert first_failure(device) is None


class Raising(Lowering):
    """An unfinished lowering."""

    name = "taps"

    def __init__(self, message: str) -> None:
        self.message = message

    def build(self, b: Any, problem: Any, first: Any, second: Any) -> Any:
        if b.prices:
            return LOWERINGS["window"].build(b, problem, first, second)
        raise RuntimeError(self.message)

    def output(self, b: Any, problem: Any, x: Any, w: Any) -> Any:
        return self.build(b, problem, x, w)

    def input(self, b: Any, problem: Any, w: Any, y: Any) -> Any:
        return self.build(b, problem, w, y)

    def weight(self, b: Any, problem: Any, x: Any, y: Any) -> Any:
        return self.build(b, problem, x, y)


ONE = "n2g1c2d1-k3-s2-p1.1-d1-i8-float32-taps"


def test_a_lowering_that_raises_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(LOWERINGS, "taps", Raising("the hamster is tired\nand so on"))
    assert main(["--case", ONE, "--workers", "1"]) == 1
    told = capsys.readouterr().out
    assert "forward: RuntimeError: the hamster is tired" in told
    assert ONE in told
    assert "and so on" not in told


def test_what_a_device_lacks_is_named_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "\"bmm\" not implemented for 'Float'"
    monkeypatch.setitem(LOWERINGS, "taps", Raising(message))
    outcomes = {outcome.check: outcome for outcome in examine(Trial.parse(ONE))}
    assert (outcomes["forward"].status, outcomes["forward"].detail) == ("unsupported", message)
    assert outcomes["named lowering"].status == "unsupported"


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Path, Path]:
    return tmp_path / "out.html", tmp_path / "out.json", tmp_path / "out.xml"


def test_meta_has_shapes_and_says_so(capsys: pytest.CaptureFixture[str], written: tuple[Path, Path, Path]) -> None:
    page, data, junit = written
    files = ["--report", str(page), "--json", str(data), "--junit", str(junit)]
    assert main(["--device", "meta", "--dtype", "float32", "int8", "--lowering", "auto", "taps", *files]) == 0
    told = capsys.readouterr().out
    assert "meta tensors have shapes and no numbers" in told
    assert ", 0 failed, 0 unsupported" in told
    report = json.loads(data.read_text())
    assert report["covered"] == report["valid"] > 0
    assert report["environment"]["device"] == "meta"
    outcomes = [text for one in report["examined"] for text in one["outcomes"].values()]
    assert f"{outcomes.count('passed')} passed" in told
    assert all(text == "passed" or text.startswith("not applicable: ") for text in outcomes)
    suite = ElementTree.parse(junit).getroot()[0]
    assert suite.get("tests") == str(len(report["examined"]))
    assert suite.get("failures") == "0"
    html = page.read_text()
    assert "http" not in html.replace("http-equiv", "")
    assert json.loads(html.split('id="report">')[1].split("</script>")[0])["examined"] == report["examined"]
    packed = data.with_suffix(".json.gz")
    write_json(read_json(data), packed)
    assert read_json(packed) == read_json(data)
    assert packed.stat().st_size < data.stat().st_size / 4


def test_one_trial_again_with_files(capsys: pytest.CaptureFixture[str], written: tuple[Path, Path, Path]) -> None:
    page, data, junit = written
    assert main(["--case", ONE, "--report", str(page), "--json", str(data), "--junit", str(junit)]) == 0
    assert "1 trials, " in capsys.readouterr().out
    assert ElementTree.parse(junit).getroot().find(".//testcase").get("name") == ONE  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "nonsense"], "device 'nonsense' cannot be used"),
        (["--case", "n1g1c1d1-k1-s1-p0.0-d1-i1-nonsense"], "nonsense"),
        (["--lowering", "nonsense"], "invalid choice"),
        (["--json", "/nowhere/at/all.json"], "there is no folder /nowhere/at"),
    ],
    ids=["device", "case", "lowering", "folder"],
)
def test_arguments_that_cannot_be(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err
