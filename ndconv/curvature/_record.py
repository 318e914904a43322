"""Statistics of whole models, collected while the user runs forward and backward."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Module
from torch.nn.modules.conv import _ConvNd

from ndconv import _rules
from ndconv._form.geometry import Convolution, Geometry
from ndconv._rules import Asked
from ndconv._statistics import norms
from ndconv._statistics.operands import Operands, parts, position_sums, squares, wide
from ndconv._statistics.squares import square
from ndconv.curvature._covariance import KINDS, Kind, outputs, windows

_OF_WEIGHT, _OF_BIAS = ("weight_sqnorm", "weight_square"), ("bias_sqnorm", "bias_square")
PER_SAMPLE = "weight_sqnorm", "bias_sqnorm"
NAMES = (*_OF_WEIGHT, *_OF_BIAS, "input_covariance", "output_covariance")


@contextmanager
def record(model: Module, *names: str, kind: Kind = "expand", bias: bool = False) -> Iterator[Statistics]:
    """Collect statistics of a model's convolutions and linear layers during your own forward and backward.

    All convolutions of torch and ndconv and all `torch.nn.Linear` modules take part, also subclasses that inherit their
    ``forward``. A linear layer on ``(N, *T, C)`` has positions ``T``. Hooks are removed at the end of the block.

    - Per-sample norms are those of the last batch. Sums and covariances accumulate until ``statistics.reset()``.
    - If a weight is used several times before its gradient is complete, in one module or in several that share it, its
      norms and squares are those of the summed gradient, under the module whose name ``named_parameters`` gives it.
    - A frozen weight has no statistics of its gradient, but its module has an input covariance. Modules that did not
      run are absent, and so are calls of `torch.nn.functional`.
    - A sample's gradient is its part of the gradient of your loss: with a mean over the batch, it is divided by the
      batch size.

    Args:
        model: The model.
        *names: Statistics to collect: ``"weight_sqnorm"``, ``"bias_sqnorm"``, ``"weight_square"``,
            ``"bias_square"``, ``"input_covariance"``, ``"output_covariance"``.
        kind: Kind of the covariances: see `convnd_input_covariance`.
        bias: Whether input covariances of modules with a bias have a column for it.

    Returns:
        A context manager that gives a `Statistics`: a mapping from names of modules (the model's own is ``""``) to
        `Statistic` objects.

    Raises:
        TypeError: If ``model`` is no module.
        ValueError: If no statistic is named, or there is no such statistic or kind.
        RuntimeError: In the backward pass, if a module's input was changed in place, or if a weight is used several
            times with different batch sizes.

    Example:
        >>> import torch
        >>> from ndconv.curvature import record
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 6 * 6, 10))
        >>> with record(model, "weight_sqnorm", "bias_sqnorm") as statistics:
        ...     model(torch.rand(8, 1, 8, 8)).square().sum().backward()
        >>> statistics["0"].weight_sqnorm.shape, statistics.sqnorm().shape  # of all layers together
        (torch.Size([8]), torch.Size([8]))
    """
    if not isinstance(model, Module):
        raise TypeError(f"record: model must be a Module, but is {type(model).__name__}")
    for name in names or ("",):
        _rules.choice("record", "a statistic", name, NAMES)
    _rules.choice("record", "kind", kind, KINDS)
    statistics = Statistics(names, kind, bias)
    first: dict[int, str] = {}
    with ExitStack() as hooks:
        hooks.callback(statistics._close)
        for name, module in model.named_modules():
            if _takes_part(module):
                titles = {which: first.setdefault(_key(module, which), name) for which in ("weight", "bias")}
                hook = _Hook(statistics, name, titles)
                hooks.callback(module.register_forward_hook(hook).remove)
        yield statistics


class Statistic:
    """Statistics of one module: an attribute for each one that was asked for and is available.

    Attributes:
        weight_sqnorm (Tensor): ``(batch,)``, squared norm of each sample's weight gradient, of the last batch.
        bias_sqnorm (Tensor): ``(batch,)``, likewise of the bias gradient.
        weight_square (Tensor): Shaped as the weight, sum over all samples of the squared weight gradients.
        bias_square (Tensor): Shaped as the bias, likewise.
        input_covariance (Tensor): As by `convnd_input_covariance`, summed over all samples.
        output_covariance (Tensor): As by `convnd_output_covariance`, likewise.
    """

    weight_sqnorm: Tensor
    bias_sqnorm: Tensor
    weight_square: Tensor
    bias_square: Tensor
    input_covariance: Tensor
    output_covariance: Tensor

    def __getattr__(self, name: str) -> Tensor:
        # Called for missing attributes only.
        known = ", ".join(vars(self)) or "nothing"
        raise AttributeError(f"record: there is no {name}; recorded was {known}")

    def __repr__(self) -> str:
        shapes = (f"{name}={tuple(value.shape)}" for name, value in vars(self).items())
        return f"Statistic({', '.join(shapes)})"


class Statistics(Mapping[str, Statistic]):
    """Statistics of a model, as `record` gives them: a mapping from names of modules to `Statistic`."""

    def __init__(self, names: Sequence[str], kind: Kind, bias: bool) -> None:
        self._names, self._kind, self._bias = names, kind, bias
        self._found: dict[str, Statistic] = {}
        self._pending: dict[int, _Pending] = {}

    def __getitem__(self, name: str) -> Statistic:
        self._settle()
        if name not in self._found:
            known = ", ".join(map(repr, self._found)) or "nothing"
            raise KeyError(f"record: nothing was recorded of {name!r}; recorded was {known}")
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        self._settle()
        return iter(self._found)

    def __len__(self) -> int:
        self._settle()
        return len(self._found)

    def __repr__(self) -> str:
        return f"Statistics({dict(self)})"

    def sqnorm(self) -> Tensor:
        """Squared norm of each sample's gradient, ``(batch,)``, over all weights and biases with recorded norms.

        Raises:
            RuntimeError: If none was recorded.
        """
        found = [vars(each)[name] for each in self.values() for name in PER_SAMPLE if name in vars(each)]
        if not found:
            raise RuntimeError(f"record: sqnorm needs one of {', '.join(PER_SAMPLE)}, but recorded was {dict(self)}")
        return torch.stack(found).sum(0)

    def reset(self) -> None:
        """Forget everything: sums start anew."""
        self._found.clear()
        self._pending.clear()

    def _settle(self) -> None:
        """Compute pending statistics from the gradients that have arrived, though some uses have none yet."""
        for pending in [*self._pending.values()]:
            if pending.arrived:
                self._finish(pending)

    def _close(self) -> None:
        self._settle()
        self._pending.clear()
        self._names = ()

    def _finish(self, pending: _Pending) -> None:
        uses = [*pending.arrived]
        pending.arrived.clear()
        pending.coming.clear()
        for name in pending.names:
            value = _COMPUTED[name](uses)
            self._put(pending.title, name, value.view(pending.shape) if name == "weight_square" else value)

    def _put(self, title: str, name: str, value: Tensor) -> None:
        known = vars(self._found.setdefault(title, Statistic()))
        known[name] = known[name] + value if name in known and not name.endswith("_sqnorm") else value


@dataclass(eq=False)
class _Use:
    """One run of one module; it lives as long as the graph of its output."""

    operands: Operands
    input: Tensor
    version: int
    grad: Tensor | None = None

    @property
    def pair(self) -> tuple[Tensor, Tensor]:
        """``x`` and ``y``, in one dtype."""
        if self.input._version != self.version:
            raise RuntimeError("record: a module's input must stay as it is until backward, but was changed in place")
        assert self.grad is not None
        dtype = torch.promote_types(self.input.dtype, self.grad.dtype)
        return self.operands.ordered(self.input.to(dtype), self.grad.to(dtype))

    @property
    def bias_gradients(self) -> Tensor:
        """``(n, features)``."""
        assert self.grad is not None
        return position_sums(self.operands.batched(self.grad))


@dataclass(eq=False)
class _Pending:
    """A parameter's statistics that wait for gradients, with its uses by whether their gradient has arrived."""

    title: str
    names: Sequence[str]
    shape: torch.Size
    coming: list[weakref.ref[_Use]] = field(default_factory=list)
    arrived: list[_Use] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether all live uses have their gradient."""
        return all((use := each()) is None or use.grad is not None for each in self.coming)


class _Hook:
    """Forward hook of a module."""

    def __init__(self, statistics: Statistics, name: str, titles: Mapping[str, str]) -> None:
        self.statistics, self.name, self.titles = statistics, name, titles

    @torch.no_grad()
    def __call__(self, module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        statistics, wanted = self.statistics, self.statistics._names
        with_bias = statistics._bias and module.bias is not None
        operands, source = _bound(module, inputs[0].detach(), output)
        # A forward inside a backward pass is a checkpoint's recomputation, and was seen before.
        again = torch._C._current_graph_task_id() != -1
        if "input_covariance" in wanted and not again:
            covariance = windows(operands, operands.batched(source), statistics._kind, with_bias)
            statistics._put(self.name, "input_covariance", covariance)
        if not output.requires_grad:
            return
        waiting = []
        for which, names in (("weight", _OF_WEIGHT), ("bias", _OF_BIAS)):
            parameter = getattr(module, which)
            asked = [name for name in wanted if name in names]
            if asked and parameter is not None and parameter.requires_grad:
                empty = _Pending(self.titles[which], asked, parameter.shape)
                waiting.append(statistics._pending.setdefault(_key(module, which), empty))
        if again and any(not pending.is_complete for pending in waiting):
            return
        use = _Use(operands, source, source._version)
        for pending in waiting:
            if pending.arrived and not again:
                statistics._finish(pending)  # the last backward pass did not reach all uses
            pending.coming.append(weakref.ref(use))
        if waiting or "output_covariance" in wanted:
            output.register_hook(_Arrival(self, module, use, waiting))


class _Arrival:
    """Hook on the gradient of a module's output."""

    def __init__(self, hook: _Hook, module: Any, use: _Use, waiting: Sequence[_Pending]) -> None:
        self.hook, self.module, self.use, self.waiting = hook, module, use, waiting

    @torch.no_grad()
    def __call__(self, grad: Tensor) -> None:
        statistics, use, module = self.hook.statistics, self.use, self.module
        if not statistics._names:
            return  # the block is left
        grad = grad.detach()
        use.grad = _as_channels(grad) if isinstance(module, nn.Linear) else grad
        if "output_covariance" in statistics._names:
            batched = use.operands.batched(use.grad)
            covariance = outputs(batched, use.operands.geometry.groups, statistics._kind)
            statistics._put(self.hook.name, "output_covariance", covariance)
        for pending in self.waiting:
            if any(each() is use for each in pending.coming):
                pending.arrived.append(use)
                if pending.is_complete:
                    statistics._finish(pending)
        if not any(use in pending.arrived for pending in self.waiting):
            use.grad = None  # the graph may live on


def _weight_sqnorm(uses: Sequence[_Use]) -> Tensor:
    if len(uses) == 1:
        return norms.sqnorm(uses[0].operands, *uses[0].pair)
    return torch.cat([squares(grads).flatten(1).sum(1) for grads in _summed(uses)])


def _weight_square(uses: Sequence[_Use]) -> Tensor:
    if len(uses) == 1:
        return square(uses[0].operands, *uses[0].pair, 1)
    return torch.stack([squares(grads).sum(0) for grads in _summed(uses)]).sum(0)


def _summed(uses: Sequence[_Use]) -> Iterator[Tensor]:
    """The weight's gradients of some samples at a time, each summed over uses."""
    pairs = [use.pair for use in uses]
    x, y = pairs[0]
    batch = _batch([len(first) for first, _ in pairs])
    first = uses[0].operands
    elements = first.gradient_elements(x.shape[1], y.shape[1])
    for some in parts(batch, elements * wide(x[:0]).element_size()):
        grads = [
            use.operands.gradients(use.operands.framed(x[some]), wide(y[some]))
            for use, (x, y) in zip(uses, pairs, strict=True)
        ]
        yield torch.stack(grads).sum(0)


def _bias_gradients(uses: Sequence[_Use]) -> Tensor:
    grads = [use.bias_gradients for use in uses]
    _batch([len(each) for each in grads])
    return torch.stack(grads).sum(0)


def _batch(sizes: Sequence[int]) -> int:
    """The batch size that all uses of a parameter must have for its gradient to be one per sample."""
    if len(set(sizes)) > 1:
        raise RuntimeError(
            f"record: a weight that is used several times must see the same samples each time, but its batches have "
            f"sizes {sorted(set(sizes))}"
        )
    return sizes[0]


_COMPUTED: dict[str, Callable[[Sequence[_Use]], Tensor]] = {
    "weight_sqnorm": _weight_sqnorm,
    "weight_square": _weight_square,
    "bias_sqnorm": lambda uses: squares(_bias_gradients(uses)).sum(1),
    "bias_square": lambda uses: squares(_bias_gradients(uses)).sum(0),
}

# Modules with a ``forward`` that convolves or multiplies with the weight as it is, and does nothing else.
_HOMES = "torch.nn.modules.conv", "torch.nn.modules.linear", "ndconv.nn."


def _takes_part(module: Module) -> bool:
    """Whether a module is a convolution or a linear layer, of a class that computes as torch's or ndconv's do."""
    homes = [cls.__module__ for name in ("forward", "_conv_forward") if (cls := _defining(type(module), name))]
    return isinstance(module, _ConvNd | nn.Linear) and all(home.startswith(_HOMES) for home in homes)


def _defining(kind: type, name: str) -> type | None:
    """The class that a method is inherited from."""
    return next((cls for cls in kind.__mro__ if name in vars(cls)), None)


def _key(module: Module, which: str) -> int:
    """Identity of a parameter; that of the module for a parameter that is computed anew at every call."""
    parameter = module._parameters.get(which)
    return id(module) if parameter is None else id(parameter)


def _as_channels(tensor: Tensor) -> Tensor:
    """Input or output of a linear layer, ``(N, *T, C)``, in the layout of a convolution, ``(N, C, prod(T))``."""
    batched = tensor if tensor.dim() > 1 else tensor.unsqueeze(0)
    batch, *positions, channels = batched.shape
    return batched.reshape(batch, math.prod(positions), channels).mT


def _bound(module: Any, input: Tensor, output: Tensor) -> tuple[Operands, Tensor]:
    """A module's call as a convolution, and the input of that."""
    if isinstance(module, nn.Linear):
        source = _as_channels(input)
        pointwise = Convolution(Geometry((1,), (1,), ((0, 0),), (1,)), (source.shape[2],), ((0, 0),), "zeros")
        return Operands(pointwise, False), source
    ndim = len(module.kernel_size)
    asked = Asked(
        "record", ndim, module.transposed, module.stride, module.padding, module.dilation, module.groups,
        padding_mode=module.padding_mode, output_size=tuple(output.shape[output.dim() - ndim :]),
    )  # fmt: skip
    return Operands(asked.convolution(input.shape, module.weight.shape, ("input", "weight")), module.transposed), input
