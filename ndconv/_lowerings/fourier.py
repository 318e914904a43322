"""The convolution theorem: Fourier transforms of both operands, a product at every frequency, and one transform back.

On a cyclic grid of ``L`` points per axis let ``x`` stand at ``i + lo``, ``y`` at ``S*o`` and ``w`` at ``D*k``. The tie
``i + lo = S*o + D*k`` is then one of places, as in a convolution of ``w`` with ``y``, and transforms make products:

    OUTPUT    Y[f] = sum over c of X[f] * W[-f]
    INPUT     X[f] = sum over d of Y[f] * W[f]
    WEIGHT    W[f] = sum over n of X[f] * Y[-f]

The grid may be shorter than the padded input: zeros of the padding on one side serve for the other as well, as long as
no two positions are tied by going round that are not tied as they stand. With ``I`` elements of the input that windows
see between ``a`` and ``b`` of padding, ``L >= I + max(a, b)`` is enough.

M. Mathieu, M. Henaff, Y. LeCun, "Fast Training of Convolutional Networks through FFTs", 2014,
https://arxiv.org/abs/1312.5851.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ndconv._cache import cached
from ndconv._geometry import Ints, Problem, Slot
from ndconv._lowerings._base import Cost, Lowering
from ndconv._workspace import aim, chunks, per_chunk

Slices = tuple[slice, ...]

# Spectra of about this size stay in a cache until they are multiplied.
_CACHE_BYTES = 16 * 2**20
# Up to so many rows, columns or terms the matrices of all frequencies are multiplied element by element, ...
_THIN = 16
# ... as many terms at a time as make about so many products.
_PRODUCTS = 2**15
# What a transform takes, in elements moved: for each point to be put in place, then on each axis for every point, for
# every pass of radix two over it and for every line to be started on; and for every point on axes but the last, whose
# lines have gaps.
_PLACING, _AXIS, _PASS, _LINE, _GAPS = 1.0, 1.25, 0.25, 26.0, 5.0
# How much longer that takes where not even one sample fits the cache.
_AFAR = 2
# How many axes one transform takes at most: MKL does not know how to do more.
_AXES = 7
# How often, in effect, a spectrum is moved to be multiplied frequency by frequency.
_TRANSPOSING = 5
# Tensor operations of a chunk, beside those of its products.
_CALLS = 20


@dataclass(frozen=True)
class Grid:
    """Where the tensors stand.

    Args:
        axes: Spatial axes that have a grid.
        plain: The others, on which input and output are tied one to one: further samples.
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
        """Frequencies of real numbers, per axis: half of the last axis' are the others' conjugates."""
        return (*self.length[:-1], self.length[-1] // 2 + 1)


@cached
def grid(problem: Problem) -> Grid:
    """The grid of a problem.

    Example:
        >>> from ndconv._geometry import Geometry
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
        # A compiler had better not ask which sizes are smooth.
        longest = reach[axis] if is_compiling() else _smooth(max(around, geometry.extent[axis], last + 1))
        length.append(longest)
        seen.append(slice(first, first + count))
        x.append(slice(start, start + count))
        w.append(slice(0, geometry.extent[axis], geometry.dilation[axis]))
        y.append(slice(0, geometry.stride[axis] * (outputs - 1) + 1, geometry.stride[axis]))
    places = {Slot.INPUT: tuple(x), Slot.WEIGHT: tuple(w), Slot.OUTPUT: tuple(y)}
    return Grid(axes, plain, tuple(length), tuple(seen), places)


def _smooth(length: int) -> int:
    """The least length from this one on whose prime factors are 2, 3, 5 and 7: transforms of others are slow."""
    numbers = _smooth_numbers(length.bit_length())
    return numbers[bisect_left(numbers, length)]


@cached
def _smooth_numbers(bits: int) -> Ints:
    """All such lengths up to ``2**bits``, in order."""
    numbers = [1]
    for factor in (2, 3, 5, 7):
        for number in numbers:  # those appended as well
            if number * factor <= 2**bits:
                numbers.append(number * factor)
    return tuple(sorted(numbers))


class Fourier(Lowering):
    """The form as a product of spectra, on those axes where windows overlap or padding is seen.

    Its sums are rounded, those of integers too, and relative to the largest of them. An element's error is at most
    ``2 * eps * log2(2 * points) * norm(a) * norm(b)``, with ``points`` of the `Grid` and the norms of all that the sum
    at a frequency runs over: both operands' elements of that sample (OUTPUT, INPUT), or of those two channels in all
    samples (WEIGHT), and of the group. Normal numbers reach a third of it on a grid of one point, and a sixtieth on the
    grids of layers. A NaN or an infinity reaches all results of such a sum.
    """

    name = "fourier"
    exact = False

    def refusal(self, problem: Problem) -> str | None:
        return None if grid(problem).axes else "no axis has a window of several elements, a stride or padding"

    def rounding(self, problem: Problem) -> float:
        return 2 * math.log2(2 * grid(problem).points)

    def cost(self, problem: Problem) -> Cost:
        found, groups = grid(problem), problem.geometry.groups
        samples, frequencies = problem.batch * _positions(problem, found), math.prod(found.frequencies)
        rows, terms, columns = {
            Slot.OUTPUT: (samples, problem.channels, problem.features),
            Slot.INPUT: (samples, problem.features, problem.channels),
            Slot.WEIGHT: (problem.features, samples, problem.channels),
        }[problem.slot]
        kernel, sample = _bytes(problem, found)
        together = per_chunk(groups, kernel + sample, _CACHE_BYTES)
        at_once = per_chunk(problem.batch, together * sample, _beside(together * kernel))
        parts = -(-groups // together) * max(1, -(-problem.batch // at_once))
        tensors = groups * (rows * terms + terms * columns + rows * columns)
        each = _PLACING + sum(_AXIS + _PASS * math.log2(length) + _LINE / length for length in found.length)
        each += _GAPS * (len(found.length) - 1)
        transforms = tensors * found.points * each * (1 if sample <= _CACHE_BYTES else _AFAR)
        products, thin = groups * frequencies * rows * terms * columns, min(rows, terms, columns) <= _THIN
        sums = 2 * groups * frequencies * rows * columns
        moved = 2 * frequencies * tensors * (1 if thin else _TRANSPOSING)
        if thin and sums * problem.itemsize > groups * _CACHE_BYTES:
            moved += 3 * sums * terms
        return Cost(
            multiply_adds=4 * products,
            elements_moved=sum(math.prod(problem.shape(slot)) for slot in Slot) + round(transforms) + moved,
            elements_cached=6 * products if thin else 0,
            workspace=together * (kernel + at_once * sample) // problem.itemsize,
            matmuls=f"{groups * frequencies} x ({rows}, {terms}) @ ({terms}, {columns})",
            calls=parts * (_CALLS + (min(terms, 1 + products // _PRODUCTS) if thin else 4)),
            dense=False,
        )

    def output(self, problem: Problem, x: Tensor, w: Tensor) -> Tensor:
        return self._image(problem, x, w)

    def input(self, problem: Problem, w: Tensor, y: Tensor) -> Tensor:
        return self._image(problem, y, w)

    def _image(self, problem: Problem, source: Tensor, w: Tensor) -> Tensor:
        """The open slot that has samples, from the other that has."""
        found, forward = grid(problem), problem.slot is Slot.OUTPUT
        result = (source.new_empty if forward else source.new_zeros)(problem.shape(problem.slot))
        given = Slot.INPUT if forward else Slot.OUTPUT
        for groups, parts in _parts(problem, found):
            kernel = _spectrum(w[groups], Slot.WEIGHT, found, reverse=forward)
            kernel = kernel.transpose(1, 2) if forward else kernel
            for samples in parts:
                spectrum = _spectrum(source[samples, groups], given, found)
                product = _product(spectrum.transpose(0, 1), kernel).transpose(0, 1)
                _invert(product, result[samples, groups], problem.slot, found)
        return result

    def weight(self, problem: Problem, x: Tensor, y: Tensor) -> Tensor:
        found, w = grid(problem), x.new_zeros(problem.shape(Slot.WEIGHT))
        for groups, parts in _parts(problem, found):
            total: Tensor | None = None
            for samples in parts:
                first = _spectrum(y[samples, groups], Slot.OUTPUT, found, reverse=True).permute(1, 2, 0, 3)
                second = _spectrum(x[samples, groups], Slot.INPUT, found).transpose(0, 1)
                product = _product(first, second)
                total = product if total is None else total.add_(product)
            if total is not None:
                _invert(total, w[groups], Slot.WEIGHT, found)
        return w


def _parts(problem: Problem, found: Grid) -> Iterator[tuple[slice, list[slice]]]:
    """Groups of which a sample fits a chunk with their kernels, and the samples of each chunk."""
    kernel, sample = _bytes(problem, found)
    count = problem.geometry.groups
    for groups in chunks(count, kernel + sample, _CACHE_BYTES):
        some = len(range(*groups.indices(count)))
        yield groups, chunks(problem.batch, some * sample, _beside(some * kernel))


def _beside(kernels: int) -> int:
    """Bytes to aim at for samples: no less than those of the kernels, whose spectra every chunk of them reads again."""
    return max(1, aim(max(_CACHE_BYTES, 2 * kernels)) - kernels)


def _bytes(problem: Problem, found: Grid) -> tuple[int, int]:
    """Bytes of the buffers for one group's kernels, and for one sample's group: grids and spectra."""
    each = problem.itemsize * (found.points + 2 * math.prod(found.frequencies))
    channels, features = problem.channels, problem.features
    return each * channels * features, each * _positions(problem, found) * (channels + features)


def _positions(problem: Problem, found: Grid) -> int:
    """Positions on the axes without a grid, of one sample."""
    return math.prod([problem.output_size[axis] for axis in found.plain])


def _view(tensor: Tensor, slot: Slot, found: Grid) -> Tensor:
    """View of what stands on the grid: ``[n, *plain, g, c, *axes]``, or ``[g, d, c, *axes]`` of the weight."""
    plain, axes = ([3 + axis for axis in some] for some in (found.plain, found.axes))
    if slot is Slot.WEIGHT:
        return tensor.permute(0, 1, 2, *plain, *axes).flatten(2, 2 + len(plain))
    view = tensor.permute(0, *plain, 1, 2, *axes)
    return _at(view, found.seen) if slot is Slot.INPUT else view


def _at(tensor: Tensor, places: Slices) -> Tensor:
    """View of some places on the last axes."""
    index: tuple[Any, ...] = (..., *places)
    return tensor[index]


def _spectrum(tensor: Tensor, slot: Slot, found: Grid, *, reverse: bool = False) -> Tensor:
    """The transform of a slot's tensor, ``[n, g, c or d, f]`` or ``[g, d, c, f]``; reversed, at ``-f``."""
    view, ndim = _view(tensor, slot, found), len(found.axes)
    points = view.new_zeros((*view.shape[:-ndim], *found.length))
    _at(points, found.places[slot]).copy_(view)
    dims = tuple(range(-ndim, 0))
    if points.is_complex():
        spectrum = _transform(partial(torch.fft.ifftn, norm="forward") if reverse else torch.fft.fftn, points, dims)
    else:
        spectrum = torch.fft.rfftn(points, dim=dims[-_AXES:])
        spectrum = _transform(torch.fft.fftn, spectrum, dims[:-_AXES])
        spectrum = spectrum.conj_physical_() if reverse else spectrum
    return spectrum.flatten(-ndim).flatten(0, view.dim() - ndim - 3)


def _invert(spectrum: Tensor, result: Tensor, slot: Slot, found: Grid) -> None:
    """Write a slot's tensor, of which this is the transform, to where it stands on the grid."""
    view, ndim = _view(result, slot, found), len(found.axes)
    dims, real = tuple(range(-ndim, 0)), not result.is_complex()
    spectrum = spectrum.reshape(*view.shape[:-ndim], *(found.frequencies if real else found.length))
    spectrum = _transform(torch.fft.ifftn, spectrum, dims[:-_AXES] if real else dims)
    points = torch.fft.irfftn(spectrum, s=found.length[-_AXES:], dim=dims[-_AXES:]) if real else spectrum
    view.copy_(_at(points, found.places[slot]))


def _transform(transform: Callable[..., Tensor], tensor: Tensor, dims: Ints) -> Tensor:
    """Transform all axes, as many at a time as can be."""
    for start in range(0, len(dims), _AXES):
        tensor = transform(tensor, dim=dims[start : start + _AXES])
    return tensor


def _product(first: Tensor, second: Tensor) -> Tensor:
    """``sum over t of first[g,r,t,f] * second[g,t,s,f]``, as ``[g,r,s,f]``."""
    rows, terms, columns = *first.shape[1:3], second.shape[2]
    if is_compiling() or min(rows, terms, columns) > _THIN:
        left, right = (tensor.permute(3, 0, 1, 2).flatten(0, 1) for tensor in (first, second))
        product = torch.bmm(left, right)
        return product.view(first.shape[3], first.shape[0], rows, columns).permute(1, 2, 3, 0)
    total = first[:, :, 0, None] * second[:, None, 0]
    some = max(1, _PRODUCTS // total.numel())
    for start in range(1, terms, some):
        part = slice(start, start + some)
        a, b = first[:, :, part, None], second[:, None, part]
        if some == 1:
            total.addcmul_(a.squeeze(2), b.squeeze(2))
        else:
            total += (a * b).sum(2)
    return total
