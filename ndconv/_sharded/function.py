"""The trilinear form over DTensors with a given open slot: each process computes its shard.

Input and output are sharded alike and the weight is replicated. So every slot is a local problem on the rows that a
process owns and those that it has received. The backward is this Function again, as on one process, which gives
derivatives of every order. A bias goes with the weight, so that one all-reduce serves both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.autograd.function import Function
from torch.compiler import is_compiling

from ndconv._form.geometry import Ints, Slot
from ndconv._sharded.exchange import begin, total
from ndconv._sharded.layout import Layout, local_of
from ndconv._sharded.local import Share
from ndconv._tensors.dtypes import wide_dtype
from ndconv._tensors.layout import lay_out


@dataclass(frozen=True)
class Spread:
    """A slot of the trilinear form over DTensors.

    Args:
        slot: The open slot.
        share: The part of this process.
        layout: Layout of input and output.
        shapes: Shapes of the whole input, weight and output.
        placed: Whether the weight and the bias are DTensors.
        biased: The slot that a bias is added to: OUTPUT, or INPUT of a transposed convolution.
        asked: Whether the weight takes part, and the bias.
        read: The slot whose tensor the processes exchange for WEIGHT.
        last: Whether input and output are channels-last, and whether the weight is.
    """

    slot: Slot
    share: Share
    layout: Layout
    shapes: tuple[Ints, Ints, Ints]
    placed: tuple[bool, bool]
    biased: Slot
    asked: tuple[bool, bool]
    read: Slot
    last: tuple[bool, bool]

    def shape(self, slot: Slot) -> Ints:
        """Shape of a slot's whole tensor."""
        return self.shapes[(Slot.INPUT, Slot.WEIGHT, Slot.OUTPUT).index(slot)]

    def opened(self, slot: Slot, weight: bool, bias: bool) -> Spread:
        """The same with another slot open; the processes exchange the tensor of the slot that was open."""
        return replace(self, slot=slot, asked=(weight, bias), read=self.slot)

    def _meanwhile(self, x: Tensor, w: Tensor, wide: bool, settled: tuple[range, ...]) -> Tensor:
        """The outputs that it owns; those that need no received rows are computed during the exchange."""
        share, last = self.share, self.last[0]
        plans, read, middle = share.exchanges(Slot.INPUT), x, None
        for axis, plan in enumerate(plans, start=2):
            finish = begin(read, self.layout, axis, plan)
            if middle is None and not plan.idle:
                middle = share.some_outputs(settled, [[plan.owned] for plan in plans], x, w, wide, last)
            read = finish()
        assert middle is not None
        there = [reading.rows for reading in share.readings]
        found = lay_out(middle.new_empty((*middle.shape[:2], *map(len, share.outputs))), last)
        for outputs in (settled, *_around(share.outputs, settled)):
            part = middle if outputs is settled else share.some_outputs(outputs, there, read, w, wide, last)
            place = found
            for axis, (run, whole) in enumerate(zip(outputs, share.outputs, strict=True), start=2):
                place = place.narrow(axis, run.start - whole.start, len(run))
            place.copy_(part)
        return found

    def fetch(self, tensor: Tensor, slot: Slot) -> Tensor:
        """The rows of a slot's tensor that this process reads (halo exchange)."""
        local = local_of(tensor).detach()
        if not self.layout.is_outside:
            for axis, plan in enumerate(self.share.exchanges(slot), start=2):
                local = begin(local, self.layout, axis, plan)()
        return local

    def output(self, x: Tensor | None, w: Tensor | None, bias: Tensor | None, read: Tensor | None) -> Tensor:
        """The convolution of an input, whose exchanged rows may be given."""
        found = None
        if x is not None and w is not None and not self.layout.is_outside:
            settled = self.share.settled if read is None and get_overlap() and not is_compiling() else None
            if settled is None:
                read = self.fetch(x, Slot.INPUT) if read is None else read
                found = self.share.output(read, local_of(w), bias is not None, self.last[0])
            else:
                found = self._meanwhile(local_of(x).detach(), local_of(w), bias is not None, settled)
        return self._placed(found, w, bias)

    def input(self, w: Tensor | None, y: Tensor | None, bias: Tensor | None, read: Tensor | None) -> Tensor:
        """The gradient of the input from an output, whose exchanged rows may be given."""
        found = None
        if w is not None and y is not None and not self.layout.is_outside:
            read = self.fetch(y, Slot.OUTPUT) if read is None else read
            wide = bias is not None or self.share.convolution.mode != "zeros"
            found = self.share.input(local_of(w), read, wide, self.last[0])
        return self._placed(found, w, bias)

    def _placed(self, found: Tensor | None, w: Tensor | None, bias: Tensor | None) -> Tensor:
        """A result plus bias, rounded, as a DTensor; the bias alone if an operand is missing."""
        shape, (given, *_) = self.shape(self.slot), [each for each in (w, bias) if each is not None]
        if self.layout.is_outside:
            return self.layout.place(local_of(given).new_empty(0), shape, self.last[0])
        if found is None:
            found = local_of(given).new_zeros(self.layout.local_shape(shape))
        if bias is not None:
            channels = local_of(bias)
            found = found + channels.view(*channels.shape, *(1,) * (found.dim() - 2))
        return self.layout.place(found.to(given.dtype), shape, self.last[0])

    def parameters(self, x: Tensor | None, y: Tensor | None, read: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients of weight and bias, summed over all processes, None where not asked for."""
        parts: list[Tensor | None] = [None, None]
        if self.asked[0] and x is not None and y is not None:
            read = self.fetch(x if self.read is Slot.INPUT else y, self.read) if read is None else read
            pair = (read, local_of(y)) if self.read is Slot.INPUT else (local_of(x), read)
            parts[0] = self.share.weight(*pair, self.read)
        (given, *_) = [each for each in (y, x) if each is not None]
        one = y if self.biased is Slot.OUTPUT else x
        if self.asked[1] and one is not None:
            local, kept = local_of(one), (0, 1) if self.share.per_sample else (1,)
            axes, wide = [axis for axis in range(local.dim()) if axis not in kept], wide_dtype(local.dtype)
            parts[1] = local.sum(axes, dtype=wide) if axes else local.to(wide)
        wanted = [part for part in parts if part is not None]
        sums = iter(total(wanted, self.layout.mesh, self.layout.sharing(2 if self.share.per_sample else 0)))
        channels = self.shape(self.biased)[0 if self.share.per_sample else 1 : 2]
        shapes, lasts = (self.shape(Slot.WEIGHT), channels), (self.last[1], False)
        results: list[Tensor | None] = []
        for part, placed, shape, last in zip(parts, self.placed, shapes, lasts, strict=True):
            whole = None if part is None else next(sums).to(given.dtype)
            if whole is not None and placed:
                whole = self.layout.place_weight(whole, shape, self.share.per_sample, last)
            results.append(whole)
        return tuple(results)


def _around(whole: Sequence[range], inner: Sequence[range]) -> Iterator[tuple[range, ...]]:
    """Disjoint boxes that fill a box outside an inner one."""
    box = [*whole]
    for axis, (outer, kept) in enumerate(zip(whole, inner, strict=True)):
        for side in (range(outer.start, kept.start), range(kept.stop, outer.stop)):
            if side:
                yield (*box[:axis], side, *box[axis + 1 :])
        box[axis] = kept


_overlap = False


def set_overlap(enabled: bool) -> None:
    """Choose whether convolutions of DTensors overlap the halo exchange with computation, in all threads.

    Outputs whose windows lie within a process's own shard are then computed during the exchange, and the others
    afterwards, in up to two pieces per axis. This pays where the exchange takes longer than the extra pieces: on
    devices that communicate asynchronously. Exact sums do not change. Others may differ in the last place, as the
    pieces are other matrix products.

    Args:
        enabled: Whether to overlap, from now on; False at the start.

    Raises:
        TypeError: If ``enabled`` is no bool.

    Example:
        >>> from ndconv.distributed import get_overlap, set_overlap
        >>> set_overlap(True)
        >>> get_overlap()
        True
        >>> set_overlap(False)
    """
    global _overlap
    if not isinstance(enabled, bool):
        raise TypeError(f"set_overlap: enabled must be a truth value, but is {enabled!r}")
    _overlap = enabled


def get_overlap() -> bool:
    """Whether convolutions of DTensors overlap the halo exchange with computation: see `set_overlap`.

    Returns:
        False unless it was set.

    Example:
        >>> from ndconv.distributed import get_overlap
        >>> get_overlap()
        False
    """
    return _overlap


def spread(
    form: Spread, first: Tensor | None, second: Tensor | None, bias: Tensor | None = None, read: Tensor | None = None
) -> Any:
    """Compute the open slot, differentiably.

    Args:
        form: The form and its open slot.
        first: Operand ``form.slot.operands[0]``; None where only the bias takes part.
        second: Operand ``form.slot.operands[1]``, likewise.
        bias: The bias, if any.
        read: The exchanged operand's rows that this process reads, if it has them already.

    Returns:
        The tensor of the open slot; for WEIGHT, those of weight and bias, None where not asked for.
    """
    apply: Any = SpreadTrilinear.apply
    return apply(form, first, second, bias, read)


class SpreadTrilinear(Function):
    """`ndconv._autograd.function.Trilinear` over DTensors, which have no forward-mode derivatives."""

    @staticmethod
    def forward(form: Spread, first: Any, second: Any, bias: Any, read: Tensor | None) -> Any:
        if form.slot is Slot.OUTPUT:
            return form.output(first, second, bias, read)
        if form.slot is Slot.INPUT:
            return form.input(first, second, bias, read)
        return form.parameters(first, second, read)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        form, first, second, *_ = inputs
        _, need_first, need_second, *_ = ctx.needs_input_grad
        ctx.form = form
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(first if need_second else None, second if need_first else None)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        derive = _of_parameters if ctx.form.slot is Slot.WEIGHT else _of_tensor
        return None, *derive(ctx.form, ctx.saved_tensors, ctx.needs_input_grad[1:4], *grads), None


def _conjugate(tensor: Any) -> Any:
    return tensor.conj() if tensor is not None and tensor.is_complex() else tensor


def _of_tensor(form: Spread, saved: Any, needs: Any, grad: Any) -> tuple[Any, Any, Any]:
    """Gradients of both operands and the bias of OUTPUT or INPUT, with one exchange for all."""
    if grad is None or not any(needs):
        return None, None, None
    first, second = map(_conjugate, saved)
    grad = form.layout.aligned(grad)
    given = next((each for each in (first, second) if each is not None), grad)
    grad = grad if grad.dtype == given.dtype else grad.to(given.dtype)
    read = form.fetch(grad, form.slot) if any(needs[:2]) else None
    found: list[Any] = []
    of_bias = None
    for slot, other, need in zip(form.slot.operands, (second, first), needs[:2], strict=True):
        of_weight = slot is Slot.WEIGHT
        opened = form.opened(slot, need, of_weight and needs[2])
        if not any(opened.asked):
            found.append(None)
            continue
        operands = (grad, other) if slot.operands[0] is form.slot else (other, grad)
        result = spread(opened, *operands, read=read)
        if of_weight:
            result, of_bias = result
        found.append(result)
    return found[0], found[1], of_bias


def _of_parameters(form: Spread, saved: Any, needs: Any, of_weight: Any, of_bias: Any) -> tuple[Any, Any, Any]:
    """Gradients of the input and the output that the gradients of weight and bias were computed from."""
    x, y = map(_conjugate, saved)
    found: list[Any] = []
    for slot, other, need in ((Slot.INPUT, y, needs[0]), (Slot.OUTPUT, x, needs[1])):
        bias = of_bias if slot is form.biased else None
        opened = form.opened(slot, of_weight is not None, bias is not None)
        if not need or not any(opened.asked):
            found.append(None)
            continue
        operands = (of_weight, other) if slot is Slot.INPUT else (other, of_weight)
        found.append(spread(opened, *operands, bias))
    return found[0], found[1], None
