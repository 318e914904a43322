"""A trial's convolution sharded over processes, all simulated here: each computes its shard of every slot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from ndconv import _rules
from ndconv._form.geometry import Ints, Slot
from ndconv._form.partition import Axis, Exchange, axes_of
from ndconv._sharded.exchange import take
from ndconv._sharded.local import Share
from ndconv._tensors.dtypes import wide_dtype
from ndconv._tensors.layout import is_channels_last
from ndconv.testing._checks import large_numbers
from ndconv.testing._compare import NotApplicableError, UnmetError, same
from ndconv.testing._oracle import Array
from ndconv.testing._subject import Subject

Shares = dict[Ints, Share]


def shards(subject: Subject) -> None:
    """Every slot, computed shard by shard from owned and received rows, equals the loop's; all rows sent arrive.

    A weight gradient by outputs read leaves out outputs whose windows lie in the padding, as no process reads them. It
    is NaN where an output is infinite, as a process that reads that output has zeros for input rows of others.
    """
    _exchanges_agree(subject)
    shares = _shares(subject)
    usual = {name: subject.numbers(name) for name in "xwy"}
    _slots(subject, shares, usual)
    if subject.spoilt is None:
        with suppress(NotApplicableError):  # half types are rounded after everything is summed
            _slots(subject, shares, *large_numbers(subject, "xwy"))
    if subject.trial.transform == "per_sample":
        samples = range(subject.trial.case.batch)
        weights = np.stack([subject.numbers("w", role) for role in samples])
        # Samples share one bias.
        _slots(subject.altered(bias="unbiased"), _shares(subject, True), {**usual, "w": weights})


def _shares(subject: Subject, per_sample: bool = False) -> Shares:
    case, parts = subject.trial.case, subject.trial.parts
    rest = case.stride, case.padding, case.dilation, case.groups
    convolution = _rules.convolution("shards", case.input_shape, case.weight_shape, *rest, mode=case.mode)
    everybody = product(*map(range, parts))
    return {part: Share(convolution, parts, part, subject.trial.lowering, per_sample) for part in everybody}


def _exchanges_agree(subject: Subject) -> None:
    """Processes send rows that they own and others expect; all rows that any process reads arrive."""
    shares = _shares(subject)
    (share, *_) = shares.values()
    for number, axis in enumerate(axes_of(share.convolution, share.parts)):
        line = [tuple(each * (i == number) for i in range(len(share.parts))) for each in range(axis.parts)]
        for slot in (Slot.INPUT, Slot.OUTPUT):
            try:
                _agree(axis, slot, [shares[part].exchanges(slot)[number] for part in line])
            except UnmetError as fault:
                raise UnmetError(f"along axis {number} of the {slot.name.lower()} {fault}") from None


def _agree(axis: Axis, slot: Slot, plans: Sequence[Exchange]) -> None:
    for each, plan in enumerate(plans):
        wanted = axis.reading(each).rows if slot is Slot.INPUT else axis.ties(each).rows
        arriving = sorted([*plan.kept, *(block.rows for block in plan.received)], key=lambda run: run.start)
        if _rows(arriving) != _rows(wanted):
            raise UnmetError(f"process {each} reads {wanted}, but gets {arriving}")
        if not {*_rows([*plan.kept, *(block.rows for block in plan.sent)])} <= {*plan.owned}:
            raise UnmetError(f"process {each} keeps or sends what it does not own: {plan}")
        for blocks in (plan.sent, plan.received):
            if [*blocks] != sorted(blocks, key=lambda block: (block.peer, block.rows.start)):
                raise UnmetError(f"process {each} has {blocks} out of order")
        for peer, other in enumerate(plans):
            sent = [block.rows for block in plan.sent if block.peer == peer]
            received = [block.rows for block in other.received if block.peer == each]
            if sent != received:
                raise UnmetError(f"process {each} sends process {peer} {sent}, which awaits {received}")
        if plan.idle == any(other.sent for other in plans):
            raise UnmetError(f"process {each} is wrong about whether anything is sent")


def _rows(runs: Iterable[range]) -> list[int]:
    return [row for run in runs for row in run]


def _owned(whole: Tensor, share: Share, slot: Slot) -> Tensor:
    for axis, plan in enumerate(share.exchanges(slot), start=2):
        whole = whole.narrow(axis, plan.owned.start, len(plan.owned))
    return whole


def _fetched(whole: Tensor, shares: Shares, slot: Slot) -> dict[Ints, Tensor]:
    """The rows that every process reads, from their owners, one axis at a time."""
    held = {part: _owned(whole, share, slot) for part, share in shares.items()}
    for axis in range(whole.dim() - 2):
        plans = {part: share.exchanges(slot)[axis] for part, share in shares.items()}
        before, held = held, {}
        for part, plan in plans.items():
            rows = {run.start: take(before[part], axis + 2, [run], plan.owned.start) for run in plan.kept}
            for peer, run in plan.received:
                giver = (*part[:axis], peer, *part[axis + 1 :])
                rows[run.start] = take(before[giver], axis + 2, [run], plans[giver].owned.start)
            runs = [rows[start] for start in sorted(rows)] or [before[part].narrow(axis + 2, 0, 0)]
            held[part] = torch.cat(runs, axis + 2) if len(runs) > 1 else runs[0]
    return held


def _assembled(found: dict[Ints, Tensor], parts: Ints) -> Tensor:
    for axis in reversed(range(len(parts))):
        starts = product(*map(range, parts[:axis]))
        found = {start: torch.cat([found[(*start, i)] for i in range(parts[axis])], axis + 2) for start in starts}
    return found[()]


def _slots(subject: Subject, shares: Shares, values: Mapping[str, Array], bound: int | None = None) -> None:
    """Compare output, input gradient and weight gradient, the last by inputs read and by outputs read."""
    trial, (share, *_) = subject.trial, shares.values()
    for slot in ("output", "input", "weight"):
        one = subject.altered(slot=slot, bias=trial.bias if slot == trial.slot else "unbiased")
        tensors = one.tensors(values) if not share.per_sample else [one.tensor(values[n], "gaps") for n in one.operands]
        given = {
            name: tensor if name == "w" or trial.batch == "batched" else tensor[None]
            for name, tensor in zip(one.operands, tensors, strict=True)
        }
        if one.open == "w":
            found = [(_weight(shares, given["x"], given["y"], read), read) for read in (Slot.INPUT, Slot.OUTPUT)]
        else:
            read = Slot.INPUT if one.open == "y" else Slot.OUTPUT
            found = [(_tensor(shares, given, read, one.bias(bound)), read)]
            if one.open == "y" and any(share.settled for share in shares.values()):
                found.append((_tensor(shares, given, read, one.bias(bound), True), read))
        for got, read in found:
            seen = values
            if one.open == "w" and read is Slot.OUTPUT and one.spoilt == "y":
                seen = {**values, "y": np.where(_spanned(one), values["y"], 0)}
            want = one.grown(_expected(one, seen, share.per_sample), bound)
            if seen is not values:
                got, want = got.where(got.isfinite(), math.nan), np.where(np.isfinite(want), want, math.nan)
            got = got[0] if one.open != "w" and trial.batch == "unbatched" else got
            told = f"{one.open} by {len(shares)} processes, of {'in' if read is Slot.INPUT else 'out'}puts read,"
            same(told, got, want, one)


def _expected(subject: Subject, values: Mapping[str, Array], per_sample: bool) -> Array:
    """The loop's result; with a weight for each sample, sample by sample."""
    filled = {name: values[name] for name in subject.operands}
    if not per_sample:
        return subject.expected(subject.open, filled)
    case = subject.trial.case
    single = subject.altered(case=replace(case, batch=1))
    each = [
        single.expected(subject.open, {name: part[i] if name == "w" else part[[i]] for name, part in filled.items()})
        for i in range(case.batch)
    ]
    return np.stack(each) if subject.open == "w" else np.concatenate(each)


def _spanned(subject: Subject) -> Array:
    """Mask of outputs whose windows overlap the input or its border; no process reads the others."""
    case, found = subject.trial.case, np.ones((), bool)
    for o, s, d, k, (lo, _), n in zip(
        case.output_size, case.stride, case.dilation, case.kernel, case.padding, case.input_size, strict=True
    ):
        starts = s * np.arange(o) - lo
        axis = (starts < n) & (starts + d * (k - 1) >= 0) if case.mode == "zeros" else np.ones(o, bool)
        found = found[..., None] & axis
    return found


def _tensor(
    shares: Shares, given: Mapping[str, Tensor], read: Slot, bias: Tensor | None, meanwhile: bool = False
) -> Tensor:
    """The output or the input gradient, assembled; with ``meanwhile``, outputs without received rows come first."""
    name = "x" if read is Slot.INPUT else "y"
    w, whole = given["w"], given[name]
    last, found, (share, *_) = is_channels_last(whole), {}, shares.values()
    wide = bias is not None or (name == "y" and share.convolution.mode != "zeros")
    for part, fetched in _fetched(whole, shares, read).items():
        share = shares[part]
        if meanwhile and (settled := share.settled):
            shard = _in_turn(share, settled, _owned(whole, share, read), fetched, w, wide, last)
        else:
            shard = share.output(fetched, w, wide, last) if name == "x" else share.input(w, fetched, wide, last)
        if bias is not None:
            shard = shard + bias.view(-1, *(1,) * len(part))
        found[part] = shard.to(whole.dtype)
    return _assembled(found, share.parts)


def _in_turn(
    share: Share, settled: Sequence[range], owned: Tensor, fetched: Tensor, w: Tensor, wide: bool, last: bool
) -> Tensor:
    """A shard of the output: the part from owned rows, and the slices around it from received ones."""
    at_hand = [[plan.owned] for plan in share.exchanges(Slot.INPUT)]
    found = share.some_outputs(settled, at_hand, owned, w, wide, last)
    there, box = [reading.rows for reading in share.readings], [*settled]
    for axis, (kept, whole) in enumerate(zip(settled, share.outputs, strict=True)):
        sides = []
        for side in (range(whole.start, kept.start), range(kept.stop, whole.stop)):
            outputs = (*box[:axis], side, *box[axis + 1 :])
            sides.append(share.some_outputs(outputs, there, fetched, w, wide, last))
        found = torch.cat([sides[0], found, sides[1]], axis + 2)
        box[axis] = whole
    return found


def _weight(shares: Shares, x: Tensor, y: Tensor, read: Slot) -> Tensor:
    """The sum of all parts of the weight gradient, rounded once."""
    fetched = _fetched(x if read is Slot.INPUT else y, shares, read)
    parts = [
        share.weight(fetched[part], _owned(y, share, Slot.OUTPUT), read)
        if read is Slot.INPUT
        else share.weight(_owned(x, share, Slot.INPUT), fetched[part], read)
        for part, share in shares.items()
    ]
    if any(part.dtype != wide_dtype(x.dtype) for part in parts):
        raise UnmetError("parts of the weight's gradient are rounded before they are added up")
    return sum(parts[1:], parts[0]).to(x.dtype)
