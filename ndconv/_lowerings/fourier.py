"""The convolution theorem: Fourier transforms of both operands, a product at every frequency, and one transform back.

On a cyclic grid of ``L`` points per axis let ``x`` stand at ``i + lo``, ``y`` at ``S*o`` and ``w`` at ``D*k``. The tie
``i + lo = S*o + D*k`` then holds between grid points, as in a convolution of ``w`` with ``y``, and transforms turn it
into products:

    OUTPUT    Y[f] = sum over c of X[f] * W[-f]
    INPUT     X[f] = sum over d of Y[f] * W[f]
    WEIGHT    W[f] = sum over n of X[f] * Y[-f]

The grid may be shorter than the padded input: padding on one side can serve for the other side too, as long as wrapping
around ties no positions that are not tied anyway. With ``I`` input elements seen by windows, between ``a`` and ``b``
elements of padding, ``L >= I + max(a, b)`` is enough.

M. Mathieu, M. Henaff, Y. LeCun, "Fast Training of Convolutional Networks through FFTs", 2014,
https://arxiv.org/abs/1312.5851.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

from ndconv._form.cache import cached
from ndconv._form.geometry import Ints, Problem, Slot
from ndconv._lowerings._base import Lowering
from ndconv._programs.steps import Copied, Product, Work
from ndconv._programs.values import COMPLEX, REAL, Array, Steps

Slices = tuple[slice, ...]

# Spectra of about this size stay in a cache until they are multiplied.
_CACHE_BYTES = 16 * 2**20
# Up to so many rows, columns or terms the matrices of all frequencies are multiplied element by element, ...
_THIN = 16
# ... with as many terms at a time as give about so many products.
_PRODUCTS = 2**15
# Cost of a transform along an axis, in elements moved: per point, per point and radix-2 pass, per line; and per point
# on all axes but the last, whose lines have gaps.
_AXIS, _PASS, _LINE, _GAPS = 1.25, 0.25, 26.0, 5.0
# The most axes of one transform: MKL has no more.
_AXES = 7


@dataclass(frozen=True)
class Grid:
    """The grid, and the tensors' places on it.

    Args:
        axes: Spatial axes that have a grid.
        plain: The other axes, on which input and output are tied one to one; they act as samples.
        length: Points, per axis of the grid.
        seen: Elements of the input that a window sees, per axis of the grid; all others have gradient 0.
        places: The points of the three tensors' elements, per axis of the grid.
    """

    axes: Ints
    plain: Ints
    length: Ints
    seen: Slices
    places: dict[Slot, Slices]

    @property
    def points(self) -> int:
        """Points of the whole grid."""
        return math.prod(self.length)

    @property
    def frequencies(self) -> Ints:
        """Frequencies of real numbers, per axis: half of those on the last axis are conjugates of the others."""
        return (*self.length[:-1], self.length[-1] // 2 + 1)


@cached
def grid(problem: Problem) -> Grid:
    """The grid of a problem.

    Example:
        >>> from ndconv._form.geometry import Geometry
        >>> geometry = Geometry(kernel=(7, 1), stride=(1, 1), padding=((3, 3), (0, 0)), dilation=(1, 1))
        >>> found = grid(Problem(Slot.OUTPUT, geometry, 1, 1, 1, (14, 5), (14, 5), 4))
        >>> found.axes, found.plain, found.length, found.places[Slot.INPUT]  # not 20, the padded input's length
        ((0,), (1,), (18,), (slice(3, 17, None),))
    """
    geometry = problem.geometry
    axes = tuple(
        axis
        for axis, (kernel, stride, padding) in enumerate(
            zip(geometry.kernel, geometry.stride, geometry.padding, strict=True)
        )
        if (kernel, stride, *padding) != (1, 1, 0, 0)
    )
    plain = tuple(axis for axis in range(geometry.ndim) if axis not in axes)
    reach = geometry.reach(problem.output_size)
    length, seen, x, w, y = [], [], [], [], []
    for axis in axes:
        before, outputs = geometry.padding[axis][0], problem.output_size[axis]
        first, start = max(0, -before), max(0, before)
        count = max(0, min(problem.input_size[axis], reach[axis] - before) - first)
        around = count + max(start, reach[axis] - start - count) if count else 0
        last = reach[axis] - geometry.extent[axis]
        length.append(_smooth(max(around, geometry.extent[axis], last + 1)))
        seen.append(slice(first, first + count))
        x.append(slice(start, start + count))
        w.append(slice(0, geometry.extent[axis], geometry.dilation[axis]))
        y.append(slice(0, geometry.stride[axis] * (outputs - 1) + 1, geometry.stride[axis]))
    places = {Slot.INPUT: tuple(x), Slot.WEIGHT: tuple(w), Slot.OUTPUT: tuple(y)}
    return Grid(axes, plain, tuple(length), tuple(seen), places)


def _smooth(length: int) -> int:
    """The least length, this one or more, whose prime factors are 2, 3, 5 and 7: transforms of others are slow."""
    numbers = _smooth_numbers(length.bit_length())
    return numbers[bisect_left(numbers, length)]


@cached
def _smooth_numbers(bits: int) -> Ints:
    """All such lengths up to ``2**bits``, in order."""
    numbers = [1]
    for factor in (2, 3, 5, 7):
        for number in numbers:  # appended ones too
            if number * factor <= 2**bits:
                numbers.append(number * factor)
    return tuple(sorted(numbers))


class Fourier(Lowering):
    """The form as a product of spectra, on the axes where windows have several elements, a stride or padding.

    Its sums are rounded, with integers too, relative to the largest of them. An element's error is at most
    ``2 * eps * log2(2 * points) * norm(a) * norm(b)``, with ``points`` of the `Grid`. The norms are those of all
    elements in the sum at a frequency: both operands' elements of the group, in that sample (OUTPUT, INPUT), or of the
    two channels, in all samples (WEIGHT). Normal random numbers reach a third of the bound on a grid of one point, and
    a sixtieth on the grids of layers. A NaN or an infinity reaches all results of such a sum.
    """

    name = "fourier"
    exact = symbolic = False

    def refusal(self, problem: Problem) -> str | None:
        return None if grid(problem).axes else "no axis has a window of several elements, a stride or padding"

    def rounding(self, problem: Problem) -> float:
        return 2 * math.log2(2 * grid(problem).points)

    def output(self, b: Steps, problem: Problem, x: Array, w: Array) -> Array:
        return self._image(b, problem, x, w)

    def input(self, b: Steps, problem: Problem, w: Array, y: Array) -> Array:
        return self._image(b, problem, y, w)

    def _image(self, b: Steps, problem: Problem, source: Array, w: Array) -> Array:
        """OUTPUT from the input, or INPUT from the output."""
        found, forward = grid(problem), problem.slot is Slot.OUTPUT
        result = (source.new_empty if forward else source.new_zeros)(problem.shape(problem.slot))
        given, name = (Slot.INPUT, "y") if forward else (Slot.OUTPUT, "x")
        b.named(name, result)
        for groups in _groups(b, problem, found):
            kernel = _spectrum(b, w[groups], Slot.WEIGHT, found, reverse=forward)
            kernel = kernel.transpose(1, 2) if forward else kernel
            for samples in _samples(b, problem, found, kernel.shape[0]):
                spectrum = _spectrum(b, source[samples, groups], given, found)
                product = _product(b, spectrum.transpose(0, 1), kernel).transpose(0, 1)
                _invert(b, product, result[samples, groups], problem.slot, found)
        return result

    def weight(self, b: Steps, problem: Problem, x: Array, y: Array) -> Array:
        found, w = grid(problem), b.named("w", x.new_zeros(problem.shape(Slot.WEIGHT)))
        for groups in _groups(b, problem, found):
            total: Array = None
            for samples in _samples(b, problem, found, y[:, groups].shape[1], apart=True):
                first = _spectrum(b, y[samples, groups], Slot.OUTPUT, found, reverse=True).permute(1, 2, 0, 3)
                second = _spectrum(b, x[samples, groups], Slot.INPUT, found).transpose(0, 1)
                product = _product(b, first, second)
                if total is None:
                    total = product
                else:
                    total += product
            if total is not None:
                _invert(b, total, w[groups], Slot.WEIGHT, found)
        return w


def _groups(b: Steps, problem: Problem, found: Grid) -> Any:
    """Chunks of groups: one sample's part of them fits the cache together with their kernels."""
    yield from b.chunks(problem.geometry.groups, sum(_bytes(problem, found)), _CACHE_BYTES, "g")


def _samples(b: Steps, problem: Problem, found: Grid, groups: int, *, apart: bool = False) -> Any:
    """Chunks of samples, for a number of groups; ``apart`` keeps the first out of the loop over the others."""
    kernel, sample = _bytes(problem, found)
    # No less than the bytes of the kernels, whose spectra every chunk of samples reads again.
    beside = max(1, b.aim(max(_CACHE_BYTES, 2 * groups * kernel)) - groups * kernel)
    yield from b.chunks(problem.batch, groups * sample, beside, "n", apart=apart)


def _bytes(problem: Problem, found: Grid) -> tuple[int, int]:
    """Bytes of the buffers for one group's kernels, and for one sample's group: grids and spectra."""
    each = problem.itemsize * (found.points + 2 * math.prod(found.frequencies))
    channels, features = problem.channels, problem.features
    return each * channels * features, each * _positions(problem, found) * (channels + features)


def _positions(problem: Problem, found: Grid) -> int:
    """Positions on the axes without a grid, of one sample."""
    return math.prod([problem.output_size[axis] for axis in found.plain])


def _view(tensor: Array, slot: Slot, found: Grid) -> Array:
    """View of the elements on the grid: ``[n, *plain, g, c, *axes]``, or ``[g, d, c, *axes]`` of the weight."""
    plain, axes = ([3 + axis for axis in some] for some in (found.plain, found.axes))
    if slot is Slot.WEIGHT:
        return tensor.permute(0, 1, 2, *plain, *axes).flatten(2, 2 + len(plain))
    view = tensor.permute(0, *plain, 1, 2, *axes)
    return _at(view, found.seen) if slot is Slot.INPUT else view


def _at(tensor: Array, places: Slices) -> Array:
    """View of some places on the last axes."""
    index: tuple[Any, ...] = (..., *places)
    return tensor[index]


def _spectrum(b: Steps, tensor: Array, slot: Slot, found: Grid, *, reverse: bool = False) -> Array:
    """The transform of a slot's tensor, ``[n, g, c or d, f]`` or ``[g, d, c, f]``; reversed, at ``-f``."""
    view, ndim = _view(tensor, slot, found), len(found.axes)
    points = b.named("points", view.new_zeros((*view.shape[:-ndim], *found.length)))
    _at(points, found.places[slot]).copy_(view)
    dims = tuple(range(-ndim, 0))
    if points.is_complex():
        how = {"norm": "forward"} if reverse else {}
        spectrum = _transform(b, "ifftn" if reverse else "fftn", points, dims, **how)
    else:
        shape, work = (*view.shape[:-ndim], *found.frequencies), _work(points.numel(), found)
        dtype = COMPLEX.get(b.dtype(points), "")
        some = dims[-_AXES:]
        spectrum = b.call("fft.rfftn", shape, points, dim=some, name="spectrum", dtype=dtype, work=work, plain=True)
        spectrum = _transform(b, "fftn", spectrum, dims[:-_AXES])
        if reverse:
            spectrum.conj_physical_()
    return spectrum.flatten(-ndim).flatten(0, view.dim() - ndim - 3)


def _invert(b: Steps, spectrum: Array, result: Array, slot: Slot, found: Grid) -> None:
    """Transform a spectrum back, and copy its points on the grid into the slot's tensor."""
    view, ndim = _view(result, slot, found), len(found.axes)
    dims, real = tuple(range(-ndim, 0)), not result.is_complex()
    spectrum = spectrum.reshape(*view.shape[:-ndim], *(found.frequencies if real else found.length))
    spectrum = _transform(b, "ifftn", spectrum, dims[:-_AXES] if real else dims)
    if real:
        shape, some = (*view.shape[:-ndim], *found.length), dims[-_AXES:]
        # irfftn copies for several axes, and makes a strided result contiguous at the end.
        inside = 2 * math.prod(spectrum.shape) if ndim > 1 else math.prod(shape)
        work = _work(math.prod(shape), found)._replace(inside=inside * spectrum.itemsize)
        spectrum = b.call(
            "fft.irfftn", shape, spectrum, s=found.length[-_AXES:], dim=some,
            name="points", dtype=REAL.get(b.dtype(spectrum), ""), work=work, plain=True,
        )  # fmt: skip
    view.copy_(_at(spectrum, found.places[slot]))


def _transform(b: Steps, name: str, tensor: Array, dims: Ints, **how: Any) -> Array:
    """Transform all axes, as many at a time as possible."""
    for start in range(0, len(dims), _AXES):
        some = dims[start : start + _AXES]
        work = Work(Copied.plain(4 * tensor.numel()))
        tensor = b.call(f"fft.{name}", tensor.shape, tensor, dim=some, name="spectrum", work=work, plain=True, **how)
    return tensor


def _work(points: int, found: Grid) -> Work:
    """The work of a transform of ``points`` points, in elements moved."""
    each = sum(_AXIS + _PASS * math.log2(length) + _LINE / length for length in found.length)
    each += _GAPS * (len(found.length) - 1)
    return Work(Copied.plain(round(points * each)), calls=2)


def _product(b: Steps, first: Array, second: Array) -> Array:
    """``sum over t of first[g,r,t,f] * second[g,t,s,f]``, as ``[g,r,s,f]``."""
    (groups, rows, terms, frequencies), columns = first.shape, second.shape[2]
    if b.symbolic or min(rows, terms, columns) > _THIN:
        left, right = (tensor.permute(3, 0, 1, 2).flatten(0, 1) for tensor in (first, second))
        product = b.matmul(left, right)
        return product.view(frequencies, groups, rows, columns).permute(1, 2, 3, 0)
    shape = groups, rows, columns, frequencies
    elements = math.prod(shape)
    # A complex product is four real ones.
    work = Work(Copied.plain(3 * elements), Product(1, 4 * groups * rows, 1, columns * frequencies, None))
    total = b.call("mul", shape, first[:, :, 0, None], second[:, None, 0], name="product", work=work)
    some = max(1, _PRODUCTS // elements)
    for part in b.chunks(terms - 1, 1, some, "term", start=1):
        a, c = first[:, :, part, None], second[:, None, part]
        if a.shape[2] == 1:
            b.change("{0}.addcmul_({1}, {2})", total, a.squeeze(2), c.squeeze(2), work=work)
        else:
            terms = a.shape[2]
            inside = (terms + 1) * elements * total.itemsize
            b.change("{0} += ({1} * {2}).sum(2)", total, a, c, work=_times(work, terms)._replace(inside=inside))
    return total


def _times(work: Work, number: int) -> Work:
    """``number`` times the work in one operation."""
    assert work.product
    assert work.copied
    product = work.product._replace(number=number * work.product.number)
    return Work(Copied.plain(number * work.copied.elements), product, work.calls)
