"""The convolution that was typed in, as the library has it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ndconv import _rules
from ndconv._form.geometry import Convolution, Ints
from ndconv._form.written import written
from ndconv._machine.rates import usual_target
from ndconv._planner.choice import Setting, choose
from ndconv._planner.plans import SlotPlan, slot_plan, slots
from ndconv._planner.workspace import get_workspace_limit

_ASKED = "stride", "padding", "dilation", "groups", "output_padding", "padding_mode"
_MOST = 2**63 - 1
"""Elements that a tensor can have."""


@dataclass(frozen=True)
class Layer:
    """A convolution and what its three operations run.

    Args:
        typed: What was typed in.
        convolution: Its integers.
        input_shape: ``(n, channels, *space)``.
        weight_shape: As torch lays it out.
        output_shape: Shape of the result.
        plans: What runs, by ``"output"``, ``"grad input"`` and ``"grad weight"``.
    """

    typed: Mapping[str, Any]
    convolution: Convolution
    input_shape: Ints
    weight_shape: Ints
    output_shape: Ints
    plans: Mapping[str, SlotPlan]

    @classmethod
    def of(cls, typed: Mapping[str, Any]) -> Layer:
        """The layer of some values of `docs.answers.state`.

        Raises:
            RuntimeError: If the library refuses them, with what it says.
            TypeError: Likewise.
        """
        given, transposed = typed["input"], typed["transposed"]
        ndim = len(given) - 2 if isinstance(given, tuple) else 0
        function = name_of("conv", ndim, transposed)
        shape = _rules.sizes(function, "input", given)
        if ndim < 1:
            _rules.refuse(function, "input must have a batch, channels and at least one axis", f"is {shape}")
        out_channels = _rules.positive(function, "out_channels", typed["out_channels"])
        given_kernel = 1 if typed["kernel_size"] == () else typed["kernel_size"]
        kernel = _rules.per_axis(function, "kernel_size", given_kernel, ndim)
        _, _, groups = _rules.channels(function, shape[1], out_channels, typed["groups"])
        first, second = (shape[1], out_channels) if transposed else (out_channels, shape[1])
        weight = first, second // groups, *kernel
        if not transposed and typed["output_padding"] != 0:
            rule = "output_padding must be 0, for it is of transposed convolutions"
            _rules.refuse(function, rule, f"is {typed['output_padding']}")
        asked = _rules.Asked(function, ndim, transposed, **{name: typed[name] for name in _ASKED})
        found = asked.convolution(shape, weight, ("input", "weight"))
        result = asked.result_shape(found, shape, weight)
        for name, each in (("input", shape), ("weight", weight), ("output", result)):
            if math.prod(each) > _MOST:
                _rules.refuse(function, f"{name} must have fewer than 2**63 elements", f"has shape {each}")
        return cls(typed, found, shape, weight, result, _plans(typed, found, shape[0], weight))

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return self.convolution.geometry.ndim

    @property
    def transposed(self) -> bool:
        """Whether it is a transposed convolution."""
        return bool(self.typed["transposed"])

    @property
    def arguments(self) -> dict[str, Any]:
        """Its arguments, with padding in numbers."""
        return written(self.convolution, self.transposed, self.input_shape, self.weight_shape)


def name_of(base: str, ndim: int, transposed: bool) -> str:
    """The library's name of a function, ``conv2d``, or of a class, ``Conv2d``.

    Example:
        >>> name_of("conv", 2, True), name_of("Conv", 4, False)
        ('conv_transpose2d', 'ConvNd')
    """
    upper = base[0].isupper()
    kind = ("Transpose" if upper else "_transpose") if transposed else ""
    return f"{base}{kind}{ndim if 1 <= ndim <= 3 else 'N' if upper else 'n'}d"


def _plans(typed: Mapping[str, Any], found: Convolution, samples: int, weight: Ints) -> dict[str, SlotPlan]:
    setting, wanted = Setting(typed["dtype"], False, False, _target(typed["profile"])), typed["lowering"]
    counts = samples, weight[1], weight[0] // found.geometry.groups
    return {
        title: slot_plan(
            title, typed["transposed"], found.geometry, found.framed_size, counts, setting,
            lambda _, seen: choose(seen, wanted, setting),
        )
        for title in slots(typed["transposed"])
    }  # fmt: skip


_target = lru_cache(maxsize=None)(lambda kind: usual_target(kind, get_workspace_limit()))
