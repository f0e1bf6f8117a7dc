"""What happened in a run, one thing after the other: its records, proven and made a flat, numbered sequence."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from engine.domain.runs import Run
from engine.execution.records import merkle_leaves, plain_kept, unpacked
from engine.history.refusals import RecordsMissing, RecordsTampered
from engine.ledger.chain import merkle_root
from engine.ports import Blobs, Journal, JournalRecord, RecordKind
from engine.run_keeping import ENDED

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Live = Callable[[str], Sequence[JournalRecord] | None]
"""Returns the records of a run that is under way in this process, None for any other."""


class Moment(NamedTuple):
    """One thing that happened. `done` stands for every step that succeeded, however it was written down."""

    number: int
    """From 0, in the order of the records."""
    ts_us: int
    """Unix time in microseconds."""
    kind: RecordKind
    path: str
    """The step's path; empty for the run itself."""
    attempt: int
    body: Any
    """What the record says; see `engine.execution.records`."""
    record: JournalRecord
    """The record, of this moment alone."""

    @property
    def ts(self) -> datetime:
        """When it happened."""
        return _EPOCH + timedelta(microseconds=self.ts_us)

    @property
    def step(self) -> str:
        """The path of the step, without the name of a decision about it."""
        return self.path.partition("?")[0]

    @property
    def node(self) -> str:
        """The id of the node in its own model; empty for the run itself."""
        return self.step.rpartition("/")[2].partition("[")[0].partition("#")[0]

    @property
    def kept(self) -> Mapping[str, list[Any]]:
        """What each port gave, as `engine.execution.records.kept` says."""
        return self.body[1] if self.kind == "done" else {}

    @property
    def reason(self) -> str | None:
        """Why a result was there already or a step was skipped."""
        return self.body[3] if self.kind == "done" else self.body[0] if self.kind == "skipped" else None

    @property
    def outputs(self) -> dict[str, str]:
        """What a person sees of the value of each port: '344 rows', '4.2'."""
        return {port: item[1] for port, item in self.kept.items()}

    @property
    def text(self) -> str:
        """What happened, in a sentence."""
        return _SENTENCES[self.kind](self)


@dataclass(frozen=True, slots=True)
class Recording:
    """A run and its records, in order."""

    run: Run
    records: tuple[JournalRecord, ...]

    @property
    def is_whole(self) -> bool:
        """True once the run has ended: nothing will be added."""
        return self.run.status in ENDED

    def moments(self) -> tuple[Moment, ...]:
        """Return what happened; of steps that were written together, the one that ended first comes first."""
        return tuple(Moment(number, *facts) for number, facts in enumerate(_facts(self.records)))


class Recordings:
    """Finds the records of any run, wherever they are by now. Safe to use from any thread."""

    def __init__(self, journal: Journal, blobs: Blobs, live: Live = lambda _: None) -> None:
        """Look into `live` for runs under way here, the journal for unfinished ones, the blobs for the rest."""
        self._journal, self._blobs, self._live = journal, blobs, live

    def of(self, run: Run) -> Recording:
        """Return the records of a run.

        Raises `RecordsMissing`; `RecordsTampered` when they don't have the Merkle root that was sealed; and
        `StoreCorrupted` when the blob itself is damaged.
        """
        if run.status in ENDED:
            return Recording(run, tuple(self._sealed(run)))
        found = self._live(run.id)
        records = tuple(found if found is not None else self._journal.read(run.id))
        if not records:
            reason = "it is under way elsewhere and writes none" if run.durability == "off" else "its journal is gone"
            raise RecordsMissing(run=run.id, reason=reason)
        return Recording(run, records)

    def _sealed(self, run: Run) -> list[JournalRecord]:
        if run.journal is None or run.merkle_root is None:
            raise RecordsMissing(run=run.id, reason="it was sealed without them")
        data = self._blobs.get(run.journal)
        try:
            records = unpacked(data, run.id)
            root = merkle_root(merkle_leaves(records))
        except (ValueError, TypeError, AttributeError, zlib.error) as error:
            raise RecordsTampered(run=run.id, reason=f"they can't be read ({error})") from None
        if root != run.merkle_root:
            reason = f"their Merkle root is {root[:16]}…, the sealed one is {run.merkle_root[:16]}…"
            raise RecordsTampered(run=run.id, reason=reason)
        return records


def _facts(records: Iterable[JournalRecord]) -> Iterator[tuple[int, RecordKind, str, int, Any, JournalRecord]]:
    for record in records:
        body = json.loads(record.body)
        if record.kind != "steps":
            yield record.ts_us, record.kind, record.path, record.attempt, body, record
            continue
        for row in sorted(body, key=_ended_us):
            path, began_us, ended_us, plain, kept, logs = row
            if plain is not None:
                kept = {port: plain_kept(value) for port, value in plain.items()}
            alone = JournalRecord(record.run, "steps", "", 0, ended_us, _encode([row]).encode())
            yield ended_us, "done", path, 1, [began_us, kept or {}, logs or [], None], alone


def _ended_us(row: list[Any]) -> int:
    return row[2]


def _done(moment: Moment) -> str:
    given = ", ".join(f"{port}: {words}" for port, words in moment.outputs.items())
    told = f"{moment.path} succeeded" + (f" and gave {given}" if given else "")
    return f"{told} ({moment.reason})." if moment.reason else f"{told}."


def _failed(moment: Moment) -> str:
    ending = "for good" if moment.body[2] else f"in attempt {moment.attempt}"
    return f"{moment.path} failed {ending}: {moment.body[1]}"


def _answered(moment: Moment) -> str:
    chosen, by, _ = moment.body
    return f"{moment.path} got {chosen!r}, " + (f"from {by}." if by else "because its time had come.")


def _ended(moment: Moment) -> str:
    error = moment.body.get("error")
    return f"The run ended: {moment.body.get('status')}" + (f". {error}" if error else ".")


_SENTENCES: dict[str, Callable[[Moment], str]] = {
    "started": lambda moment: f"The run of {moment.body.get('model_name', 'a model')!r} began.",
    "intent": lambda moment: f"{moment.path} is about to leave an effect (attempt {moment.attempt}).",
    "done": _done,
    "failed": _failed,
    "skipped": lambda moment: f"{moment.path} was skipped: {moment.body[0]}.",
    "waiting": lambda moment: f"{moment.path} waits: {moment.body[1]}",
    "answered": _answered,
    "ended": _ended,
}
