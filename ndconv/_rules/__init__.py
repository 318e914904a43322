"""What every call must satisfy: the one place that refuses bad input, before any work is done.

A message names the function, the rule and both values. Types are torch's for the same mistake: `TypeError` for a value
of the wrong type, `RuntimeError` for everything else. Modules turn the latter into the `ValueError` of torch's
constructors.

Knows torch's signatures and the geometry of a convolution. It computes nothing.
"""

from ndconv._rules._arguments import (
    IntOrInts,
    Padding,
    channels,
    choice,
    divided,
    mask,
    padding_argument,
    padding_mode,
    per_axis,
    positive,
    refuse,
    sizes,
)
from ndconv._rules._asked import Asked
from ndconv._rules._calls import (
    bias,
    biased,
    convolution,
    grad_output,
    kernel,
    per_sample,
    projected,
    sample,
    transposed,
    unfolding,
)

__all__ = [
    "Asked",
    "IntOrInts",
    "Padding",
    "bias",
    "biased",
    "channels",
    "choice",
    "convolution",
    "divided",
    "grad_output",
    "kernel",
    "mask",
    "padding_argument",
    "padding_mode",
    "per_axis",
    "per_sample",
    "positive",
    "projected",
    "refuse",
    "sample",
    "sizes",
    "transposed",
    "unfolding",
]
