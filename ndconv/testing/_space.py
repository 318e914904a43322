"""The space of all convolutions as named parameters, and the constraints on their levels."""

from __future__ import annotations

from collections.abc import Sequence

from ndconv._lowerings import LOWERINGS
from ndconv.testing._covering import Constraint

FLOATS = ("float64", "float32", "float16", "bfloat16", "complex128", "complex64")
INTEGERS = ("int64", "int8")
VALUES = ("usual", "nan", "inf")
# Processes by axis; later axes are not sharded.
MESHES = {"alone": (), "two": (2,), "three": (3,), "grid": (2, 2)}


def parameters(dtypes: Sequence[str] = (), lowerings: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """Every parameter with its levels; ``dtypes`` and ``lowerings`` limit theirs if given.

    ============  ====================================================================================================
    parameter     meaning of its levels
    ============  ====================================================================================================
    ndim          number of spatial axes
    operation     the convolution or the transposed one
    slot          which of the operation's tensors the function computes: its output, or a gradient
    kernel        elements per axis: one; some 2 or 4; some 3 or 5; axes that differ
    windows       positions per axis: one on every axis; several on some; together some hundreds
    stride        1; 2; past the window, so that none overlap; axes that differ
    dilation      1; 2; axes that differ; further than the input is long
    padding       0; "valid"; the same on both sides; sides that differ; so much that windows see nothing else; "same";
                  "causal"
    mode          how padding is filled
    groups        one; several; one channel each and one feature; one channel each and several features
    remainder     whether elements are left after the last window (where a padding has a name it decides that itself)
    batch         no batch axis; 0, 1 or many samples
    bias          whether there is one
    dtype         of all operands
    format        memory of the operands: contiguous; channels-last; the first channels-last, the second contiguous;
                  with gaps; the first axis innermost; repeated by a stride of 0
    lowering      how to compute
    needs         which operands need a gradient
    transform     what is done to the function besides calling it and taking its gradient
    values        small integers; those, and the same with one NaN, or one infinity, in each tensor in turn
    mesh          processes that share out the first axis: one, two or three; or two by two for the first two axes
    cut           how their windows are shared out: equally; not so; or so that somebody has no input or no output
    ============  ====================================================================================================
    """
    return {
        "ndim": ("1", "2", "3", "4", "5"),
        "operation": ("conv", "transposed"),
        "slot": ("output", "input", "weight"),
        "kernel": ("one", "even", "odd", "mixed"),
        "windows": ("one", "several", "many"),
        "stride": ("one", "two", "apart", "mixed"),
        "dilation": ("one", "two", "mixed", "far"),
        "padding": ("zero", "valid", "even", "sided", "deep", "same", "causal"),
        "mode": ("zeros", "reflect", "replicate", "circular"),
        "groups": ("one", "several", "depthwise", "multiplied"),
        "remainder": ("none", "some"),
        "batch": ("unbatched", "0", "1", "many"),
        "bias": ("unbiased", "biased"),
        "dtype": tuple(dtypes) or (*FLOATS, *INTEGERS),
        "format": ("contiguous", "channels_last", "mixed", "gaps", "turned", "repeated"),
        "lowering": tuple(lowerings) or ("auto", *LOWERINGS),
        "needs": ("frozen", "first", "second", "both"),
        "transform": ("eager", "compile", "export", "vmap", "jvp", "double_backward", "per_sample"),
        "values": VALUES,
        "mesh": tuple(MESHES),
        "cut": ("even", "uneven", "empty"),
    }


CONSTRAINTS = (
    Constraint("a gradient has no bias", ("bias", "slot"), lambda bias, slot: bias == "unbiased" or slot == "output"),
    Constraint(
        "torch has a channels-last format for batches with two or three axes",
        ("format", "ndim", "batch"),
        lambda format, ndim, batch: (
            format not in ("channels_last", "mixed") or (ndim in ("2", "3") and batch != "unbatched")
        ),
    ),
    Constraint(
        "hundreds of windows on every one of many axes would take minutes, and a bfloat16 counts to 256",
        ("windows", "ndim", "dtype"),
        lambda windows, ndim, dtype: windows != "many" or (ndim in ("1", "2") and dtype != "bfloat16"),
    ),
    Constraint(
        "integers have no derivatives",
        ("dtype", "needs"),
        lambda dtype, needs: dtype not in INTEGERS or needs == "frozen",
    ),
    Constraint(
        "without operands to differentiate by there is no derivative",
        ("needs", "transform"),
        lambda needs, transform: needs != "frozen" or transform in ("eager", "compile", "export", "vmap"),
    ),
    Constraint(
        "only a weight has per-sample gradients, and it must need one",
        ("transform", "slot", "needs"),
        lambda transform, slot, needs: (
            transform != "per_sample" or slot == "weight" or (slot == "output" and needs in ("second", "both"))
        ),
    ),
    Constraint(
        "per-sample gradients need samples",
        ("transform", "batch"),
        lambda transform, batch: transform != "per_sample" or batch in ("1", "many"),
    ),
    Constraint(
        "reshape is for windows that do not overlap",
        ("lowering", "windows", "stride", "kernel"),
        lambda lowering, windows, stride, kernel: (
            lowering != "reshape" or windows == "one" or stride == "apart" or kernel == "one"
        ),
    ),
    Constraint(
        "torch has kernels for up to three axes",
        ("lowering", "ndim"),
        lambda lowering, ndim: lowering != "native" or ndim in ("1", "2", "3"),
    ),
    Constraint(
        "a remainder is less than the stride, and padding with a name decides it",
        ("remainder", "stride", "padding"),
        lambda remainder, stride, padding: (
            remainder == "none" or (stride != "one" and padding not in ("same", "causal"))
        ),
    ),
    Constraint(
        "padding as large as a window makes more windows than one",
        ("padding", "windows"),
        lambda padding, windows: padding != "deep" or windows != "one",
    ),
    Constraint(
        "one window of one element sees the input or the padding",
        ("padding", "windows", "kernel"),
        lambda padding, windows, kernel: padding not in ("even", "sided") or windows != "one" or kernel != "one",
    ),
    Constraint(
        "where one window shows an input no larger than the stride there is little to reflect or to repeat",
        ("padding", "windows", "mode"),
        lambda padding, windows, mode: padding != "same" or windows != "one" or mode in ("zeros", "replicate"),
    ),
    Constraint(
        "a dilation reaches past the input only if the kernel has several elements, and padding enough to hold it",
        ("dilation", "kernel", "padding", "mode"),
        lambda dilation, kernel, padding, mode: (
            dilation != "far" or (kernel != "one" and padding not in ("zero", "valid") and mode == "zeros")
        ),
    ),
    Constraint(
        "a stride past a window that is itself past the input leaves no room for further windows",
        ("dilation", "stride", "padding"),
        lambda dilation, stride, padding: dilation != "far" or stride != "apart" or padding not in ("same", "causal"),
    ),
    Constraint(
        "integers are finite",
        ("values", "dtype"),
        lambda values, dtype: values == "usual" or dtype not in INTEGERS,
    ),
    Constraint(
        "an empty batch has no elements",
        ("values", "batch"),
        lambda values, batch: values == "usual" or batch != "0",
    ),
    Constraint(
        "a transform spreads what is not finite, and what torch's kernels make of it is for torch to say",
        ("values", "lowering"),
        lambda values, lowering: values == "usual" or (is_exact(lowering) and lowering != "native"),
    ),
    Constraint(
        "taps computes again what is not finite, and an exporter cannot look",
        ("values", "lowering", "transform"),
        lambda values, lowering, transform: (
            values == "usual" or transform != "export" or lowering not in ("auto", "taps")
        ),
    ),
    Constraint(
        "causal outputs see no later input, and a transposed convolution cuts causal padding off",
        ("padding", "mode", "operation"),
        lambda padding, mode, operation: (
            padding != "causal" or mode == "zeros" or (mode == "replicate" and operation == "conv")
        ),
    ),
    Constraint("a grid has two axes", ("mesh", "ndim"), lambda mesh, ndim: mesh != "grid" or ndim != "1"),
    Constraint(
        "one process has everything",
        ("mesh", "cut"),
        lambda mesh, cut: mesh != "alone" or cut == "even",
    ),
    Constraint(
        "of one window several processes do not all have some",
        ("windows", "mesh", "cut"),
        lambda windows, mesh, cut: windows != "one" or mesh == "alone" or cut == "empty",
    ),
    Constraint(
        "two who share several windows both have some, and of a single input there is little to see",
        ("ndim", "windows", "mesh", "cut"),
        lambda ndim, windows, mesh, cut: ndim != "1" or windows == "one" or mesh != "two" or cut != "empty",
    ),
    Constraint(
        "of hundreds of windows everybody has some, and of the input unless it is short between far paddings",
        ("windows", "cut", "dilation", "padding"),
        lambda windows, cut, dilation, padding: (
            windows != "many" or cut != "empty" or (dilation == "far" and padding not in ("same", "causal"))
        ),
    ),
)


def is_exact(lowering: str) -> bool:
    """Whether a lowering is exact: "auto" is, and so is "fastest" here, under `set_exact`."""
    return lowering not in LOWERINGS or LOWERINGS[lowering].exact
