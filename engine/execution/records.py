"""Journal records of a run: how they are written, and what they add up to.

Steps are never stored twice: a run page, a resume and the sealing of a run all fold the same records.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from engine.domain.runs import INLINE_LIMIT_BYTES, Attempt, Step, StepStatus, StoredValue
from engine.execution.collecting import uncollected
from engine.execution.plan import ACTION, Plan
from engine.execution.values import ARROW, BYTES, JSON, TEXT, Encoded, decode, summary
from engine.ports import Blobs, JournalRecord

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_OF_STEPS = ("intent", "done", "failed", "skipped", "waiting")
_SEGMENT = re.compile(r"([^/\[\]#]+)(?:\[(\d+)\])?(?:#[^/]+)?$")


def done_body(
    began_us: int, outputs: Mapping[str, Encoded], blobs: Blobs, *, logs: Sequence[str] = (), reason: str | None = None
) -> bytes:
    """Return the body of a `done` record: when the attempt began and what each port gave."""
    return _json([began_us, {port: kept(each, blobs) for port, each in outputs.items()}, list(logs), reason])


Note = tuple[str, float, float, dict[str, Any] | None, dict[str, list[Any]] | None, Sequence[str] | None]
"""A plain step that succeeded: path, when it began and ended, plain outputs or kept ones by port, lines of its log."""


def steps_body(notes: Sequence[Note], us: Callable[[float], int]) -> bytes:
    """Return the body of a `steps` record: [path, began_us, ended_us, plain outputs, kept outputs, logs] of each."""
    rows = [[path, us(began), us(ended), outputs, kept, lines] for path, began, ended, outputs, kept, lines in notes]
    return _json(rows)


def failed_body(began_us: int, error: str, *, final: bool, key: str = "", logs: Sequence[str] = ()) -> bytes:
    """Return the body of a `failed` record; `final` when no attempt follows."""
    return _json([began_us, error, final, key, list(logs)])


def intent_body(began_us: int, key: str) -> bytes:
    """Return the body of an `intent` record: an effect is about to begin under this idempotency key."""
    return _json([began_us, key])


def skipped_body(reason: str) -> bytes:
    """Return the body of a `skipped` record."""
    return _json([reason])


def waiting_body(began_us: int, question: str) -> bytes:
    """Return the body of a `waiting` record: since when the attempt is under way, and what it asks."""
    return _json([began_us, question])


def answered_body(answer: Sequence[Any]) -> bytes:
    """Return the body of an `answered` record: what was chosen, by whom, and what came with it."""
    return _json(list(answer))


@dataclass(slots=True)
class Recovered:
    """What a journal says has happened already, by path."""

    done: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """Kept outputs by port; `outputs_of` decodes them."""
    plain: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    """Rows of plain steps; `quick_outputs` decodes them."""
    failures: dict[str, int] = field(default_factory=dict[str, int])
    """How many attempts failed."""
    final: dict[str, str] = field(default_factory=dict[str, str])
    """Steps that failed for good, with the error."""
    skipped: set[str] = field(default_factory=set[str])
    begun: set[str] = field(default_factory=set[str])
    """Steps whose effect was begun and has neither succeeded nor failed."""
    answers: dict[str, list[list[Any]]] = field(default_factory=dict[str, list[list[Any]]])
    """What steps asked for and got, in order."""
    places: dict[str, int] = field(default_factory=dict[str, int])
    """Which step was done when, among those that are no plain ones."""

    @property
    def empty(self) -> bool:
        """True when nothing has happened yet."""
        return not (
            self.done or self.plain or self.failures or self.final or self.skipped or self.answers or self.begun
        )

    @property
    def touched(self) -> set[str] | None:
        """The steps about which more is known than that they are done; None when nothing is known of any."""
        return None if self.empty else {*self.done, *self.failures, *self.final, *self.skipped, *self.answers}

    def quick_outputs(self, path: str, blobs: Blobs) -> dict[str, Any] | None:
        """Return the values of a plain step that is done, or None."""
        row = self.plain.get(path)
        if row is None:
            return None
        return row[3] if row[4] is None else {port: _value(each, blobs) for port, each in row[4].items()}

    def is_done(self, path: str) -> bool:
        """Say whether a step is done."""
        return path in self.done or path in self.plain

    def has_ended(self, path: str) -> bool:
        """Say whether a step is done, was skipped or has failed for good."""
        return self.is_done(path) or path in self.final or path in self.skipped

    def outputs_of(self, path: str, blobs: Blobs) -> dict[str, Any]:
        """Return the values that a completed step gave."""
        quick = self.quick_outputs(path, blobs)
        return quick if quick is not None else {port: _value(each, blobs) for port, each in self.done[path].items()}


def recover(records: Iterable[JournalRecord]) -> Recovered:
    """Return what the records of an interrupted run say is done."""
    with uncollected():
        return _recover(records)


def _recover(records: Iterable[JournalRecord]) -> Recovered:
    found = Recovered()
    for record in records:
        if record.kind == "intent":
            found.begun.update(_and_around(record.path))
        elif record.kind == "done":
            found.begun.discard(record.path)
            found.done[record.path] = json.loads(record.body)[1]
            found.places[record.path] = len(found.places)
        elif record.kind == "steps":
            found.plain.update((row[0], row) for row in json.loads(record.body))
        elif record.kind == "failed":
            found.begun.discard(record.path)
            found.failures[record.path] = max(found.failures.get(record.path, 0), record.attempt)
            body = json.loads(record.body)
            if body[2]:
                found.final[record.path] = body[1]
        elif record.kind == "skipped":
            found.skipped.add(record.path)
        elif record.kind == "answered" and "?failed-" not in record.path:
            found.answers.setdefault(record.path, []).append(json.loads(record.body))
    return found


def _and_around(path: str) -> Iterable[str]:
    """Return a step's path and those of the steps around it: 'a', 'a[1]' and 'a[1]/b' for the last of them."""
    yield path
    for place, letter in enumerate(path):
        if letter in "/[#":
            yield path[:place]


def fold(run: str, records: Iterable[JournalRecord], plan: Plan, *, ended: bool = True) -> tuple[Step, ...]:
    """Return the steps that the records add up to. With `ended`, what never began counts as cancelled."""
    drafts: dict[str, _StepDraft] = {}

    def draft_of(path: str) -> _StepDraft:
        found = drafts.get(path)
        if found is None:
            found = drafts[path] = _StepDraft(path, *describe_path(plan, path))
        return found

    for record in records:
        if record.kind == "steps":
            for row in json.loads(record.body):
                draft_of(row[0]).take_row(row)
        elif record.kind in _OF_STEPS:
            draft_of(record.path).take(record)
        elif record.kind == "answered" and "?failed-" in record.path:
            draft_of(record.path.partition("?failed-")[0]).decide(json.loads(record.body)[0])
    steps = [draft.step(run, ended=ended) for draft in drafts.values()]
    rest: StepStatus = "cancelled" if ended else "pending"
    seen = set(drafts)
    for kind, node in zip(plan.kinds, plan.nodes, strict=True):
        if kind == ACTION and node.id not in seen and f"{node.id}[0]" not in seen:
            steps.append(Step(run=run, path=node.id, node=node.id, name=node.name, kind=node.kind, status=rest))
    return tuple(steps)


def describe_path(plan: Plan, path: str) -> tuple[str, str, str]:
    """Return (node id, name, kind) of the step at a path such as 'per-file[3]/clean'."""
    node: Any = None
    inside: Plan | None = plan
    for segment in path.split("/"):
        match = _SEGMENT.match(segment)
        if match is None or inside is None:
            return path, path, "tetherNode"
        node = inside.model.nodes.get(match[1])
        if node is None:
            return match[1], match[1], "tetherNode"
        slot = inside.slots.get(match[1])
        inside = inside.nested.get(slot) if slot is not None else None
    index = re.search(r"\[(\d+)\](?:#\d+)?$", path)
    return node.id, f"{node.name} · {int(index[1]) + 1}" if index else node.name, node.kind


def packed(records: Iterable[JournalRecord]) -> bytes:
    """Return the records of a run as they are kept after its end: a list of them as JSON, deflated."""
    rows = [[record.kind, record.path, record.attempt, record.ts_us, record.body.decode()] for record in records]
    return zlib.compress(_json(rows), 6)


def unpacked(data: bytes, run: str) -> list[JournalRecord]:
    """Return the records of a run that `packed` made these bytes of."""
    rows = json.loads(zlib.decompress(data))
    return [JournalRecord(run, kind, path, attempt, ts_us, body.encode()) for kind, path, attempt, ts_us, body in rows]


def merkle_leaves(records: Iterable[JournalRecord]) -> Iterable[bytes]:
    """Yield one leaf a record, in order: the bytes that the Merkle root of a run is made over."""
    for record in records:
        head = _json([record.kind, record.path, record.attempt, record.ts_us])
        yield hashlib.sha256(head + b"\0" + record.body).digest()


class _StepDraft:
    def __init__(self, path: str, node: str, name: str, kind: str) -> None:
        self.path, self.node, self.name, self.kind = path, node, name, kind
        self.attempts: dict[int, Attempt] = {}
        self.outputs: dict[str, StoredValue] = {}
        self.status: StepStatus = "pending"
        self.error: str | None = None
        self.reason: str | None = None
        self.logs: list[str] = []

    def take(self, record: JournalRecord) -> None:
        take: Callable[[JournalRecord, list[Any]], None] = getattr(self, f"_take_{record.kind}")
        take(record, json.loads(record.body))

    def take_row(self, row: list[Any]) -> None:
        """Take in a plain step that succeeded; see `steps_body`."""
        _, began_us, ended_us, plain, found, logs = row
        self.status, self.error = "succeeded", None
        if plain is not None:
            found = {port: plain_kept(value) for port, value in plain.items()}
        self.outputs = {port: _stored(item) for port, item in (found or {}).items()}
        self.attempts[1] = Attempt(
            number=1, started_at=_moment(began_us), ended_at=_moment(ended_us), status="succeeded"
        )
        self.logs.extend(logs or ())

    def decide(self, choice: str) -> None:
        """Take in what a person chose for a step that had failed."""
        self.status, self.reason = ("retrying" if choice == "retry" else "failed"), None

    def _take_intent(self, record: JournalRecord, body: list[Any]) -> None:
        self.status = "running"
        self.attempts[record.attempt] = Attempt(
            number=record.attempt, started_at=_moment(body[0]), idempotency_key=body[1]
        )

    def _take_done(self, record: JournalRecord, body: list[Any]) -> None:
        began_us, found, logs, reason = body
        self.status, self.error = ("cached" if reason else "succeeded"), None
        self.reason = reason
        self.outputs = {port: _stored(item) for port, item in found.items()}
        self._ended(record, began_us, "succeeded", None)
        self.logs.extend(logs)

    def _take_failed(self, record: JournalRecord, body: list[Any]) -> None:
        began_us, error, final, key, logs = body
        self.status, self.error = ("failed" if final else "retrying"), error
        self._ended(record, began_us, "failed", error, key)
        self.logs.extend(logs)

    def _take_waiting(self, record: JournalRecord, body: list[Any]) -> None:
        self.status, self.reason = "waiting", body[1]
        if record.attempt:
            self.attempts.setdefault(record.attempt, Attempt(number=record.attempt, started_at=_moment(body[0])))

    def _take_skipped(self, record: JournalRecord, body: list[Any]) -> None:
        del record
        self.status, self.reason = "skipped", body[0]

    def _ended(
        self, record: JournalRecord, began_us: int, status: StepStatus, error: str | None, key: str = ""
    ) -> None:
        before = self.attempts.get(record.attempt)
        self.attempts[record.attempt] = Attempt(
            number=record.attempt,
            started_at=_moment(began_us),
            ended_at=_moment(record.ts_us),
            status=status,
            error=error,
            idempotency_key=key or (before.idempotency_key if before else ""),
        )

    def step(self, run: str, *, ended: bool) -> Step:
        status = self.status
        if ended and status in ("running", "retrying", "waiting", "pending"):
            status = "cancelled"
        return Step(
            run=run,
            path=self.path,
            node=self.node,
            name=self.name,
            kind=self.kind,
            status=status,
            attempts=tuple(self.attempts[number] for number in sorted(self.attempts)),
            outputs=self.outputs,
            error=self.error,
            reason=self.reason,
            logs=tuple(self.logs),
        )


def plain_kept(value: Any) -> list[Any]:
    """Return a plain value (a short text, a number, true, false or nothing) in the form of `kept`."""
    if isinstance(value, str):
        return [TEXT, summary(value), len(value), "t", value]
    text = _encode(value)
    return [JSON, summary(value), len(text), "t", text]


def kept(encoded: Encoded, blobs: Blobs) -> list[Any]:
    """Return [media type, summary, size, form, data]; form is t(ext), b(ase64) or s(ha256 of a blob)."""
    size = len(encoded.data)
    if size > INLINE_LIMIT_BYTES:
        return [encoded.media_type, encoded.summary, size, "s", blobs.put(encoded.data)]
    if encoded.media_type in (ARROW, BYTES):
        return [encoded.media_type, encoded.summary, size, "b", base64.b64encode(encoded.data).decode()]
    return [encoded.media_type, encoded.summary, size, "t", encoded.data.decode()]


def _bytes(item: list[Any]) -> bytes:
    return base64.b64decode(item[4]) if item[3] == "b" else item[4].encode()


def _value(item: list[Any], blobs: Blobs) -> Any:
    return decode(item[0], blobs.get(item[4]) if item[3] == "s" else _bytes(item))


def _stored(item: list[Any]) -> StoredValue:
    media_type, words, size, form, data = item
    if form == "s":
        return StoredValue(media_type=media_type, sha256=data, size_bytes=size, summary=words)
    inline = _bytes(item)
    return StoredValue(
        media_type=media_type,
        sha256=hashlib.sha256(inline).hexdigest(),
        size_bytes=size,
        summary=words,
        data=inline,
    )


def _moment(ts_us: int) -> datetime:
    seconds, micros = divmod(ts_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)


def _json(value: Any) -> bytes:
    return _encode(value).encode()
