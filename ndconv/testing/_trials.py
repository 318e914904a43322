"""Trials: a convolution and how it is called, drawn for a row of levels, with an id that is parsed back into it."""

from __future__ import annotations

import math
import random
import zlib
from dataclasses import dataclass, fields

import torch

from ndconv._form.partition import chunks
from ndconv._planner.choice import names
from ndconv.testing._cases import EXACT, Case, Ints, Pairs
from ndconv.testing._covering import Row
from ndconv.testing._space import FLOATS, INTEGERS, MESHES, VALUES

# Words of an id by field, with the lowerings registered so far. No word belongs to two fields, as an id is a row of
# words.
_WORDS: dict[str, tuple[str, ...]] = {
    "operation": ("conv", "transposed"),
    "slot": ("output", "input", "weight"),
    "padding": ("pairs", "amount", "valid", "same", "causal"),
    "batch": ("batched", "unbatched"),
    "bias": ("unbiased", "biased"),
    "dtype": (*FLOATS, *INTEGERS),
    "format": ("contiguous", "channels_last", "mixed", "gaps", "turned", "repeated"),
    "lowering": (),
    "needs": ("both", "first", "second", "frozen"),
    "transform": ("eager", "compile", "export", "vmap", "jvp", "double_backward", "per_sample"),
    "values": VALUES,
    "mesh": tuple(MESHES),
}
_FIELD = {word: field for field, words in _WORDS.items() for word in words}


def _fields() -> dict[str, str]:
    """The field of each word."""
    lowerings = dict.fromkeys(names(), "lowering")
    if both := _FIELD.keys() & lowerings:
        raise ValueError(f"in the id of a trial {min(both)!r} means something else: give the lowering another name")
    return _FIELD | lowerings


# Largest number of products of windows and kernel elements, for the oracle's loop and the sums of half types.
_MOST_PRODUCTS = {"one": 400, "several": 400, "many": 2400}
_MANY = {1: tuple(range(256, 271)), 2: (16, 17, 18)}
_LONG = 2.5
"""Number of axes, in the mean, that are drawn freely where there are more."""
_MOST_DRAWS = 200_000
# Largest number of elements per axis of an input between large paddings, and of the span of all windows.
_FITTED, _MOST_SPANNED = 7, 50_000
_SELDOM = 0.9


@dataclass(frozen=True)
class Trial:
    """One function of two tensors, and how it is called.

    Args:
        case: The convolution.
        operation: ``"conv"``, or ``"transposed"`` for the transposed convolution whose output is the case's input.
        slot: ``"output"`` for the operation itself, ``"input"`` or ``"weight"`` for its gradient as a function.
        padding: How padding is written: as ``"pairs"``, one ``"amount"`` per axis, or by its name.
        batch: ``"unbatched"`` if the only sample comes without its axis.
        bias: Whether there is one.
        dtype: Of all operands.
        format: Memory of the operands: ``"contiguous"``, ``"channels_last"``, ``"mixed"`` (the first channels-last, the
            second contiguous), with ``"gaps"``, ``"turned"`` (the first axis innermost), or ``"repeated"`` along the
            first axis by a stride of 0.
        lowering: How to compute.
        needs: Which operands need a gradient: ``"both"``, ``"first"``, ``"second"`` or none (``"frozen"``).
        transform: What is done to the function besides calling it and taking its gradient.
        values: Whether one element of each tensor in turn is to be a ``"nan"`` or an infinity (``"inf"``) besides.
        mesh: Processes that share out the first axis: one (``"alone"``), ``"two"`` or ``"three"``; or two by two the
            first two axes (``"grid"``).

    Example:
        >>> trial = Trial.parse("n2g1c3d4-k3x2-s2x1-p1.1x0.0-d1x2-i8x5-transposed-float32-taps-jvp")
        >>> trial.operation, trial.lowering, trial.needs
        ('transposed', 'taps', 'both')
    """

    case: Case
    operation: str = "conv"
    slot: str = "output"
    padding: str = "pairs"
    batch: str = "batched"
    bias: str = "unbiased"
    dtype: str = "float64"
    format: str = "contiguous"
    lowering: str = "auto"
    needs: str = "both"
    transform: str = "eager"
    values: str = "usual"
    mesh: str = "alone"

    @classmethod
    def parse(cls, id: str) -> Trial:
        """The trial that an id names.

        Raises:
            ValueError: If it is not the id of a trial.
        """
        words = id.split("-")
        case, given = words[:6], words[6:]
        known = _fields()
        if given and given[0] not in known:
            case.append(given.pop(0))
        chosen = {}
        for word in given:
            if word not in known:
                raise ValueError(f"not the id of a trial: {id!r} says {word!r}, known are {', '.join(known)}")
            chosen[known[word]] = word
        return cls(Case.parse("-".join(case)), **chosen)

    @property
    def id(self) -> str:
        """A readable name that `parse` turns back into the trial; defaults are left out."""
        said = (getattr(self, field.name) for field in fields(self)[1:])
        usual = (field.default for field in fields(self)[1:])
        return "-".join([self.case.id, *(word for word, default in zip(said, usual, strict=True) if word != default)])

    @property
    def levels(self) -> dict[str, str]:
        """Levels of the trial by parameter, without those of sizes."""
        said = {field: getattr(self, field) for field in _WORDS}
        return {"ndim": str(self.case.ndim), **said, "mode": self.case.mode}

    @property
    def parts(self) -> Ints:
        """Number of processes that each axis is sharded over."""
        shared = MESHES[self.mesh]
        return shared + (1,) * (self.case.ndim - len(shared))

    @property
    def cut(self) -> str:
        """How windows are sharded: ``"even"``, ``"uneven"``, or ``"empty"`` if a process has no input or no output."""
        sizes = self.case.input_size, self.case.output_size
        if any(not rows for size in sizes for axis in map(chunks, size, self.parts) for rows in axis):
            return "empty"
        return "uneven" if any(o % parts for o, parts in zip(sizes[1], self.parts, strict=True)) else "even"

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype itself."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    @property
    def bound(self) -> int:
        """The largest value up to 3 for which all sums, and sums of twice the length, are exact; 0 if there is none.

        Integers wrap around, so they are always exact.
        """
        if self.dtype in INTEGERS:
            return 100
        # Real and imaginary part of a complex product are sums of two products.
        terms = 2 * self.case.longest_sum * (2 if self.dtype.startswith("complex") else 1)
        return min(3, math.isqrt(EXACT[self.torch_dtype] // terms))


def draw_trial(row: Row, seed: int = 0) -> Trial:
    """Draw a trial with the levels of a row, reproducible by row and seed.

    The number of windows is drawn and the input size derived from it, so every remainder of a stride occurs.
    """
    draw = random.Random(zlib.crc32(f"{seed} {sorted(row.items())}".encode()))
    for _ in range(_MOST_DRAWS):
        case = _case(row, draw)
        if case is not None:
            trial = Trial(
                case,
                padding={"zero": "amount", "even": "amount", "sided": "pairs", "deep": "pairs"}.get(
                    row["padding"], row["padding"]
                ),
                batch="unbatched" if row["batch"] == "unbatched" else "batched",
                **{name: row[name] for name in _WORDS if name not in ("padding", "batch")},
            )
            if trial.bound and trial.cut == row["cut"]:
                return trial
    raise AssertionError(f"no sizes were found for {row}: a constraint is missing")


def _case(row: Row, draw: random.Random) -> Case | None:
    """Sizes with the levels of a row, or None if those drawn are incompatible."""
    ndim, transposed = int(row["ndim"]), row["operation"] == "transposed"
    kernel = _drawn(
        draw, ndim, {"one": (1,), "even": (1, 2, 4), "odd": (1, 3, 5), "mixed": (1, 2, 3, 4)}, row["kernel"]
    )
    windows = _drawn(
        draw, ndim, {"one": (1,), "several": (1, 2, 3, 4, 5, 6, 9), "many": _MANY.get(ndim, ())}, row["windows"]
    )
    strides = {"one": (1,), "two": (2,), "mixed": (1, 2, 3, 4)}
    stride = (1,) * ndim if row["stride"] == "apart" else _drawn(draw, ndim, strides, row["stride"])
    if kernel is None or windows is None or stride is None:
        return None
    if math.prod(kernel + windows) > _MOST_PRODUCTS[row["windows"]]:
        return None
    named, far = row["padding"] in ("same", "causal"), row["dilation"] == "far"
    # A named padding follows from the input size; with a padding in numbers the input size follows.
    beyond = tuple(s * o if named else _FITTED for s, o in zip(stride, windows, strict=True))
    dilations = {"one": (1,), "two": (2,), "mixed": (1, 2, 3), "far": (1, 2, 3, 4, 5)}
    dilation = _drawn(draw, ndim, dilations, row["dilation"])
    if dilation is None:
        return None
    if far:
        dilation = tuple(size + d for size, d in zip(beyond, dilation, strict=True))
    extent = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    if row["stride"] == "apart":
        stride = tuple(max(2, e + draw.randint(0, 1)) for e in extent)

    if named:
        # S times as many elements as windows, or less by up to S - 1; the transposed convolution makes it S times.
        size = tuple(s * o - (0 if transposed else draw.randrange(s)) for s, o in zip(stride, windows, strict=True))
        padding = _named_padding(row["padding"], transposed, size, windows, extent, stride)
    else:
        remainder = tuple(draw.randrange(s) if row["remainder"] == "some" else 0 for s in stride)
        if any(remainder) != (row["remainder"] == "some"):
            return None
        axes = zip(stride, windows, extent, remainder, strict=True)
        span = tuple(s * (o - 1) + e + rest for s, o, e, rest in axes)
        sides = _far_sides(row["padding"], span, extent, draw) if far else _sides(row["padding"], extent, draw)
        if sides is None or math.prod(span) > _MOST_SPANNED:
            return None
        padding = sides
        size = tuple(n - lo - hi for n, (lo, hi) in zip(span, padding, strict=True))
    least = {"reflect": 1, "circular": 0}.get(row["mode"])
    fits = least is None or all(max(pair) + least <= n or not any(pair) for pair, n in zip(padding, size, strict=True))
    if min(size) < 1 or not fits:
        return None
    # Cases that read no input show little, so few of them are kept.
    if far and not _is_tied(kernel, windows, stride, padding, dilation, size) and draw.random() < _SELDOM:
        return None

    batch = {"unbatched": 1, "0": 0, "1": 1, "many": draw.randint(2, 3)}[row["batch"]]
    groups = 1 if row["groups"] == "one" else draw.randint(2, 3)
    channels = {"one": draw.randint(1, 3), "several": draw.randint(2, 3)}.get(row["groups"], 1)
    features = {"depthwise": 1, "multiplied": draw.randint(2, 3)}.get(row["groups"], draw.randint(1, 3))
    return Case(batch, groups, channels, features, kernel, stride, padding, dilation, size, row["mode"])


def _drawn(draw: random.Random, ndim: int, choices: dict[str, Ints], level: str) -> Ints | None:
    """A number per axis: more than 1 on some axis if possible, and with ``"mixed"`` not all equal."""
    # Most of many axes are left as short as can be, or their product would be too large in nearly every draw.
    numbers = tuple(
        draw.choice(choices[level] if draw.random() * ndim < _LONG else choices[level][:1]) for _ in range(ndim)
    )
    trivial = len(set(numbers)) == 1 if level == "mixed" and ndim > 1 else max(numbers) == 1
    return None if trivial and len(choices[level]) > 1 else numbers


def _sides(level: str, extent: Ints, draw: random.Random) -> Pairs | None:
    """Padding per axis for a level, from sizes."""
    if level in ("zero", "valid"):
        return ((0, 0),) * len(extent)
    if level == "even":
        padding = tuple((p, p) for p in (draw.randint(0, 2) for _ in extent))
        return padding if any(map(any, padding)) else None
    padding = tuple((draw.randint(0, 2), draw.randint(0, 2)) for _ in extent)
    if level == "sided":
        return padding if any(lo != hi for lo, hi in padding) else None
    axis = draw.randrange(len(extent))
    deep = (extent[axis], 0) if draw.random() < 0.5 else (draw.randint(0, 1), extent[axis])
    return tuple(deep if i == axis else (lo % 2, hi % 2) for i, (lo, hi) in enumerate(padding))


def _is_tied(kernel: Ints, windows: Ints, stride: Ints, padding: Pairs, dilation: Ints, size: Ints) -> bool:
    """Whether on every axis some window has an element inside the input."""
    return all(
        any(0 <= s * i + d * j - lo < n for i in range(o) for j in range(k))
        for k, o, s, (lo, _), d, n in zip(kernel, windows, stride, padding, dilation, size, strict=True)
    )


def _far_sides(level: str, span: Ints, extent: Ints, draw: random.Random) -> Pairs | None:
    """Padding per axis that leaves few input elements in the span of the windows."""
    totals = [n - draw.randint(1, min(n, _FITTED - 1)) for n in span]
    if level == "even":
        return tuple((total // 2, total // 2) for total in totals)
    padding = tuple((lo, total - lo) for lo, total in ((draw.randint(0, total), total) for total in totals))
    if level == "sided":
        return padding if any(lo != hi for lo, hi in padding) else None
    return padding if any(max(pair) >= e for pair, e in zip(padding, extent, strict=True)) else None


def _named_padding(name: str, transposed: bool, size: Ints, windows: Ints, extent: Ints, stride: Ints) -> Pairs:
    """The padding of a name: an output at every S-th input, for ``"causal"`` from earlier inputs only."""
    missing = [max(0, s * (o - 1) + e - n) for n, o, e, s in zip(size, windows, extent, stride, strict=True)]
    if name == "same":
        return tuple((total // 2, total - total // 2) for total in missing)
    # The result of a causal transposed convolution is cut off on the high side.
    return tuple((0, total) if transposed else (e - 1, 0) for total, e in zip(missing, extent, strict=True))
