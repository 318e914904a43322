"""Convolution functions with torch's names and argument order, for any number of axes.

Shapes are written with ``*I``, ``*K`` and ``*O``, the spatial sizes of input, kernel and output. Formulas hold along
every axis, with stride ``S``, dilation ``D`` and padding ``(lo, hi)``.

Arguments that all functions share:

- ``stride``, ``dilation``: one positive integer, or one per spatial axis.
- ``padding``: one non-negative integer or one per axis; one ``(lo, hi)`` pair per axis; ``"valid"`` (none); ``"same"``
  (the output has ``ceil(input / stride)`` elements, an odd total puts the extra element on the high side); ``"causal"``
  (all on the low side, so that no output sees a later input).
- ``groups``: positive, divides the channels of input and output.
- ``padding_mode``: keyword-only; ``"zeros"``, ``"reflect"`` (less padding than elements), ``"replicate"`` or
  ``"circular"`` (at most as much padding as elements), as in torch's modules.
- ``lowering``: keyword-only; the algorithm, ``"auto"`` or a name, see `ndconv.set_lowering`. Where it does not apply to
  an operation (the output or a gradient), the cheapest exact one runs instead, as `ndconv.plan` shows.

All tensors have one floating, complex or integer dtype, and so has the result. Half types are summed in float32 and
rounded once. Sums of integers are exact and wrap around, so convert int8 to int32 first if they are large. DTensors may
be sharded along batch and space: see `ndconv.distributed`.

Errors are torch's: `RuntimeError` for shapes, sizes and dtypes that do not fit, `TypeError` for values of a wrong type,
`NotImplementedError` for dtypes that cannot be convolved.
"""

import torch.fx

from ndconv.functional._conv import conv1d, conv2d, conv3d, convnd
from ndconv.functional._conv_transpose import (
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    conv_transposend,
)
from ndconv.functional._explicit import conv_transposend_matrix, convnd_matrix, index_pattern
from ndconv.functional._unfold import foldnd, unfold_transposend, unfoldnd

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "conv_transposend",
    "conv_transposend_matrix",
    "convnd",
    "convnd_matrix",
    "foldnd",
    "index_pattern",
    "unfold_transposend",
    "unfoldnd",
]

# torch.fx records a call instead of looking inside, as it does for torch's own functions.
for _name in __all__:
    torch.fx.wrap(_name)
