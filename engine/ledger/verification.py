"""Verification: walk the chain once, in constant memory, and name the first entry that is not as it was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from engine.domain.events import Entry, Head
from engine.ledger.chain import Row, entry_hash, row_of
from engine.ledger.checkpoints import Checkpoint

_START = Head()


class Verification(NamedTuple):
    """What a walk along the chain found."""

    ok: bool
    entries: int
    """How many entries, from the first on, are as they were written."""
    first_bad: int | None
    """The sequence of the first entry that was altered, removed, inserted or moved."""
    reason: str
    """A sentence for people; empty when all is well."""


class _Fault(NamedTuple):
    sequence: int
    reason: str


def verify(
    entries: Iterable[Entry | Row], head: Head, checkpoints: Sequence[Checkpoint] = (), *, base: Head = _START
) -> Verification:
    """Check `entries`, oldest first, against each other, the `head` beside them and signed `checkpoints`.

    Give rows as they are stored: an `Entry` has lost how its time was spelled. `base` is a head that is trusted
    already, from which the walk starts: a checkpoint, when older entries were exported and pruned.
    """
    signed = {checkpoint.sequence: checkpoint.hash for checkpoint in checkpoints}
    rows = (item if isinstance(item, tuple) else row_of(item) for item in entries)
    sequence, previous = base.sequence, base.hash
    for row in rows:
        as_written = (
            row[0] == sequence + 1
            and row[9] == previous
            and entry_hash(row[:10]) == row[10]
            and signed.get(row[0], row[10]) == row[10]
            and row[0] <= head.sequence
        )
        if not as_written:
            fault = _diagnosis(row, Head(sequence=sequence, hash=previous), rows, head, signed)
            return _failed(fault, base)
        sequence, previous = row[0], row[10]
    ending = _ending(Head(sequence=sequence, hash=previous), head, signed)
    if ending is not None:
        return _failed(ending, base)
    return Verification(ok=True, entries=sequence - base.sequence, first_bad=None, reason="")


def _failed(fault: _Fault, base: Head) -> Verification:
    good = max(0, fault.sequence - 1 - base.sequence)
    return Verification(ok=False, entries=good, first_bad=fault.sequence, reason=fault.reason)


def _diagnosis(row: Row, good: Head, later: Iterator[Row], head: Head, signed: dict[int, str]) -> _Fault:
    """Tell what is wrong with `row`, which does not follow `good` as it was written."""
    expected = good.sequence + 1
    if row.sequence > expected:
        return _Fault(expected, f"entry {expected} was removed: the next one there is {row.sequence}")
    if row.sequence < expected:
        return _Fault(row.sequence, f"entry {row.sequence} was inserted or moved: it stands after {good.sequence}")
    if entry_hash(row[:10]) != row.hash:
        return _altered(row)
    if row.previous_hash != good.hash:
        return _broken_link(row, good, later, head)
    if expected > head.sequence:
        return _Fault(expected, f"entry {expected} was inserted: the head knows {head.sequence} entries")
    return _forked(expected, signed)


def _altered(row: Row) -> _Fault:
    """Tell a changed entry from one that was only given another number, to hide that its neighbour came or went."""
    place = row.sequence
    if entry_hash((place + 1, *row[1:10])) == row.hash:
        return _Fault(place, f"entry {place} was removed or moved: in its place stands what was entry {place + 1}")
    if entry_hash((place - 1, *row[1:10])) == row.hash:
        return _Fault(place - 1, f"entry {place - 1} was inserted or moved: the one that was there is now {place}")
    return _Fault(place, f"entry {place} was altered: its hash is not that of its fields")


def _broken_link(row: Row, good: Head, later: Iterator[Row], head: Head) -> _Fault:
    """Tell which side of a broken link was rewritten with a new hash: the one its other neighbour disowns."""
    following = next(later, None)
    wanted = head.hash if following is None else following.previous_hash
    if wanted != row.hash or good.sequence == 0:
        return _Fault(row.sequence, f"entry {row.sequence} was rewritten: its neighbours were linked to another one")
    return _Fault(good.sequence, f"entry {good.sequence} was rewritten: entry {row.sequence} was linked to another one")


def _forked(sequence: int, signed: dict[int, str]) -> _Fault:
    """Name the first entry after the last checkpoint that agrees: from there on, nothing is proven."""
    first = max((other for other in signed if other < sequence), default=0) + 1
    return _Fault(first, f"the ledger was rewritten between entry {first} and the signed checkpoint at {sequence}")


def _ending(last: Head, head: Head, signed: dict[int, str]) -> _Fault | None:
    """Compare the end of the chain with what the head and the checkpoints know."""
    missing = last.sequence + 1
    if last.sequence < head.sequence:
        return _Fault(missing, f"entry {missing} was removed: the head knows {head.sequence} entries")
    if last.hash != head.hash:
        return _Fault(last.sequence, f"entry {last.sequence} was rewritten: the head knows another one")
    furthest = max(signed, default=0)
    if furthest > last.sequence:
        return _Fault(missing, f"entry {missing} was removed: a signed checkpoint knows {furthest} entries")
    return None
