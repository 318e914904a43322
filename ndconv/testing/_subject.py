"""A trial on a device: its operands, its call, and the result by the NumPy loop."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ndconv
from ndconv import functional, grad
from ndconv._lowerings import LOWERINGS
from ndconv._planner.plans import SlotPlan
from ndconv.testing._cases import Ints
from ndconv.testing._oracle import Array, form
from ndconv.testing._space import INTEGERS
from ndconv.testing._trials import Trial

# The open slot of each function, and its operands in the order of its arguments: x the convolution's input, y its
# output. A transposed convolution is the convolution's input gradient, so its own input is y.
_SLOTS = {
    ("conv", "output"): ("y", "x", "w"),
    ("conv", "input"): ("x", "w", "y"),
    ("conv", "weight"): ("w", "x", "y"),
    ("transposed", "output"): ("x", "y", "w"),
    ("transposed", "input"): ("y", "w", "x"),
    ("transposed", "weight"): ("w", "y", "x"),
}


class Subject:
    """One trial on one device.

    Args:
        trial: The trial.
        device: Device to compute on.
        spoilt: The one of x, w and y that has a NaN or an infinity, if the trial's values include one.
    """

    def __init__(self, trial: Trial, device: str, spoilt: str | None = None) -> None:
        self.trial, self.device, self.spoilt = trial, device, spoilt
        self.open, self.first, self.second = _SLOTS[trial.operation, trial.slot]
        case = trial.case
        shapes = {"x": case.input_shape, "w": case.weight_shape, "y": case.output_shape}
        # Shapes as a call takes and returns them.
        self.shapes = {
            name: shape[1:] if trial.batch == "unbatched" and name != "w" else shape for name, shape in shapes.items()
        }

    @property
    def operands(self) -> tuple[str, str]:
        """Names of the two tensors that the function takes."""
        return self.first, self.second

    @property
    def needed(self) -> tuple[str, ...]:
        """Names of the operands that need a gradient."""
        chosen = {"both": self.operands, "first": (self.first,), "second": (self.second,), "frozen": ()}
        return chosen[self.trial.needs]

    @property
    def result_channels(self) -> int:
        """Length of a bias."""
        return self.shapes[self.open][1 if self.trial.batch == "batched" else 0]

    def numbers(self, name: str, role: int = 0, bound: int | None = None) -> Array:
        """Small integers for a tensor, different for every role, and repeated if the trial's format says so.

        In role 0 the first sample or feature of the spoilt tensor has the element that is not finite.
        """
        generator = self._generator(name, role)
        shape, bound = self._shape(name), self.trial.bound if bound is None else bound
        values = generator.integers(-bound, bound + 1, shape)
        if self.trial.dtype.startswith("complex"):
            values = values + 1j * generator.integers(-bound, bound + 1, shape)
        elif self.trial.dtype not in INTEGERS:
            values = values.astype(np.float64)
        if role == 0 and name == self.spoilt:
            values[0].flat[generator.integers(values[0].size)] = float(self.trial.values)
        return self._repeat(name, values)

    def fractions(self, name: str) -> Array:
        """Normal numbers rounded to the trial's dtype."""
        generator, shape = self._generator(name, 0), self._shape(name)
        values = generator.standard_normal(shape)
        if self.trial.dtype.startswith("complex"):
            values = values + 1j * generator.standard_normal(shape)
        rounded = torch.from_numpy(values).to(self.trial.torch_dtype)
        wide: Array = rounded.to(torch.complex128 if rounded.is_complex() else torch.float64).numpy()
        return self._repeat(name, wide)

    def _generator(self, name: str, role: int) -> np.random.Generator:
        return np.random.default_rng([zlib.crc32(self.trial.case.id.encode()), ord(name), role])

    def _shape(self, name: str) -> Ints:
        return (self.result_channels,) if name == "b" else self.shapes[name]

    def _repeat(self, name: str, values: Array) -> Array:
        if self.trial.format != "repeated" or name == "b":
            return values
        return np.broadcast_to(values[:1], values.shape) if len(values) else values

    def tensor(self, values: Array, format: str | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """Values as a tensor on the device, in the memory format of the trial or of the caller."""
        format = format or self.trial.format
        tensor = torch.from_numpy(np.array(values)).to(self.device, dtype or self.trial.torch_dtype)
        if tensor.dim() < 2:
            return tensor
        if format in ("channels_last", "mixed"):
            return tensor.contiguous(memory_format=torch.channels_last if tensor.dim() == 4 else torch.channels_last_3d)
        if format == "repeated" and len(tensor):
            return tensor[:1].clone().expand(tensor.shape)
        if format == "turned":
            return tensor.permute(*reversed(range(tensor.dim()))).contiguous().permute(*reversed(range(tensor.dim())))
        if format == "gaps":
            sparse = tensor.new_zeros((*tensor.shape[:-1], 2 * tensor.shape[-1] + 3))
            sparse[..., 3::2] = tensor
            return sparse[..., 3::2]
        return tensor

    def filled(self, role: int = 0) -> dict[str, Array]:
        """The operands' numbers by name."""
        return {name: self.numbers(name, role) for name in self.operands}

    def tensors(
        self,
        values: Mapping[str, Array] | None = None,
        *,
        role: int = 0,
        format: str | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The two operands, from values given by name or their own numbers."""
        values = self.filled(role) if values is None else values
        format = format or self.trial.format
        formats = ("channels_last", "contiguous") if format == "mixed" else (format, format)
        first, second = (
            self.tensor(values[name], each, dtype) for name, each in zip(self.operands, formats, strict=True)
        )
        return first, second

    def bias(self, bound: int | None = None) -> Tensor | None:
        """The bias, if there is one."""
        return self.tensor(self.numbers("b", bound=bound)) if self.trial.bias == "biased" else None

    def grown(self, values: Array, bound: int | None = None) -> Array:
        """A result with the bias added, if there is one."""
        if self.trial.bias == "unbiased":
            return values
        added: Array = values + self.numbers("b", bound=bound).reshape(-1, *(1,) * self.trial.case.ndim)
        return added

    def call(
        self,
        first: Tensor,
        second: Tensor,
        bias: Tensor | None = None,
        *,
        lowering: str | None = None,
        write: Callable[[Any], Any] = lambda value: value,
        **keywords: Any,
    ) -> Tensor:
        """The function on two operands, in the order of `operands`; ``write`` writes its integers and tuples."""
        trial, case = self.trial, self.trial.case
        how: Any = {"padding_mode": case.mode, "lowering": lowering or trial.lowering, **keywords}
        numbers = {"pairs": case.padding, "amount": _short([lo for lo, _ in case.padding])}
        padding = write(numbers[trial.padding]) if trial.padding in numbers else trial.padding
        stride, dilation = write(_short(case.stride)), write(_short(case.dilation))
        sizes = {name: write(shape) for name, shape in self.shapes.items()}
        if trial.operation == "conv":
            rest: tuple[Any, ...] = stride, padding, dilation, case.groups
            if trial.slot == "output":
                return functional.convnd(first, second, bias, *rest, **how)
            if trial.slot == "input":
                return grad.convnd_input(sizes["x"], first, second, *rest, **how)
            return grad.convnd_weight(first, sizes["w"], second, *rest, **how)
        left = write(0 if trial.padding in ("same", "causal") else _short(case.remainder))
        rest = stride, padding, left, case.groups, dilation
        if trial.slot == "output":
            return functional.conv_transposend(first, second, bias, *rest, **how)
        if trial.slot == "input":
            return grad.conv_transposend_input(sizes["y"], first, second, *rest, **how)
        return grad.conv_transposend_weight(first, sizes["w"], second, *rest, **how)

    def expected(self, open: str, filled: Mapping[str, Array]) -> Array:
        """The tensor of an open slot by the NumPy loop, with a batch axis if the call has one."""
        if self.trial.batch == "batched":
            return form(self.trial.case, open, filled)
        batched = {name: values if name == "w" else values[None] for name, values in filled.items()}
        result = form(self.trial.case, open, batched)
        return result if open == "w" else result[0]

    def result(self, role: int = 0) -> Array:
        """The expected result of `call` without a bias."""
        return self.expected(self.open, self.filled(role))

    def gradient(self, wanted: str, filled: Mapping[str, Array], outer: Array) -> Array:
        """The gradient of an operand, from the other operand in ``filled`` and the result's gradient ``outer``."""
        (other,) = set(self.operands) - {wanted}
        return self.expected(wanted, {self.open: outer, other: filled[other].conj()})

    def refusals(self) -> dict[str, str | None]:
        """Why each lowering does not apply, None for those that do."""
        refusals = self.steps()[self.open].choice.refusals
        return {name: refusals.get(name) for name in LOWERINGS}

    def steps(self) -> dict[str, SlotPlan]:
        """Plans of the convolution and its gradients, by open slot."""
        trial, case = self.trial, self.trial.case
        plan = ndconv.plan(
            case.input_shape,
            case.weight_shape,
            case.stride,
            case.padding,
            case.dilation,
            case.groups,
            padding_mode=case.mode,
            lowering=trial.lowering,
            dtype=trial.torch_dtype,
        )
        return {"y": plan.output, "x": plan.grad_input, "w": plan.grad_weight}

    def altered(self, **changes: Any) -> Subject:
        """The same trial with some fields changed."""
        return Subject(replace(self.trial, **changes), self.device, self.spoilt)


def _short(values: Sequence[int]) -> int | Ints:
    """One number if all axes agree, as users write it."""
    return values[0] if len(set(values)) == 1 else tuple(values)
