"""The ledger's entries: looked for, paged by their number, told in words, verified and exported."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import quote

import param

from engine.domain.events import Action, Entry
from engine.errors import TreadleError
from studio.theme import duration, number, short_id
from studio.values.texts import harmless

if TYPE_CHECKING:
    from engine.engine import Engine

PAGE_ROWS = 60
MOST_CHANGES = 100
ACTIONS: tuple[str, ...] = get_args(Action)
_CHUNK = 1_000
_LONGEST_VALUE = 400
_EMPTY: tuple[Any, ...] = ("", None, [], {})
_WORDS = {
    "model.created": "created the model",
    "model.edited": "edited the model",
    "model.published": "published the model",
    "model.archived": "archived the model",
    "model.deleted": "deleted the model",
    "model.recovered": "recovered the model",
    "run.started": "started a run",
    "run.resumed": "resumed a run",
    "run.ended": "ended a run",
    "setting.changed": "changed a setting",
}


@dataclass(frozen=True)
class Change:
    """One operation of an entry's patch: where, and the values before and after as text; None for no value."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Verdict:
    """What a verification found, as a sentence."""

    ok: bool
    sentence: str
    first_bad: int | None = None


@dataclass(frozen=True)
class Found:
    """A page of entries, newest first; whether older ones follow; names of the models they are about."""

    entries: tuple[Entry, ...]
    more: bool
    names: Mapping[str, str]


class LedgerState(param.Parameterized):
    """What is looked for, the page of it and the entry that is looked at. Changing a filter goes to the newest."""

    action: str = param.Selector(default="", objects=["", *ACTIONS])  # type: ignore[assignment]
    actor: str = param.String()  # type: ignore[assignment]
    text: str = param.String()  # type: ignore[assignment]
    entity: str = param.String()  # type: ignore[assignment]
    selected: int = param.Integer(default=0, bounds=(0, None))  # type: ignore[assignment]
    cursors: tuple[int, ...] = param.Parameter(default=(), doc="The `before` of each page turned so far.")  # type: ignore[assignment]

    def __init__(self, engine: Engine, *, entity: str = "", selected: int = 0) -> None:
        """Look at the newest entries; with `selected`, at the page that begins with that entry."""
        start = (selected + 1,) if selected else ()
        super().__init__(entity=entity, selected=selected, cursors=start)
        self._engine = engine
        self._names: dict[str, str] = {}
        self.param.watch(lambda _event: self.param.update(cursors=()), ["action", "actor", "text", "entity"])

    # ---- looking ----------------------------------------------------------------------------------------------

    @property
    def filtered(self) -> bool:
        """True when something is looked for."""
        return bool(self.action or self.actor.strip() or self.text.strip() or self.entity)

    @property
    def total(self) -> int:
        """How many entries the ledger has."""
        return self._engine.ledger.head().sequence

    def load(self) -> Found:
        """Read the page: as quick for the first of many as of few."""
        before = self.cursors[-1] if self.cursors else None
        entries = self._read(before, PAGE_ROWS + 1)
        page = tuple(entries[:PAGE_ROWS])
        return Found(page, len(entries) > PAGE_ROWS, self._named(page))

    def entry(self) -> Entry | None:
        """The entry that is looked at."""
        if not self.selected:
            return None
        found = self._engine.ledger.entries(after=self.selected - 1, before=self.selected + 1, limit=1)
        return found[0] if found else None

    def older(self, found: Found) -> None:
        """Turn to the entries before the last one of `found`."""
        if found.more:
            self.cursors = (*self.cursors, found.entries[-1].sequence)

    def newer(self) -> None:
        """Turn back."""
        self.cursors = self.cursors[:-1]

    # ---- proving ----------------------------------------------------------------------------------------------

    def verify(self) -> Verdict:
        """Walk the whole chain; takes about 10 us an entry."""
        began = time.perf_counter()
        result = self._engine.ledger.verify()
        took = duration(time.perf_counter() - began)
        count = f"{number(result.entries)} {'entry' if result.entries == 1 else 'entries'}"
        if result.ok:
            return Verdict(ok=True, sentence=f"{count} verified in {took}")
        reason = result.reason[:1].upper() + result.reason[1:]
        return Verdict(
            ok=False, sentence=f"{reason}. The {count} before it are as they were written.", first_bad=result.first_bad
        )

    # ---- handing over -----------------------------------------------------------------------------------------

    def every(self) -> Iterator[Entry]:
        """Yield every entry that matches, newest first, in constant memory."""
        before: int | None = None
        while True:
            chunk = self._read(before, _CHUNK)
            yield from chunk
            if len(chunk) < _CHUNK:
                return
            before = chunk[-1].sequence

    def as_csv(self) -> bytes:
        """The entries that match as CSV; texts that a spreadsheet would run get a quote in front."""
        out = io.StringIO()
        writer = csv.writer(out)
        fields = list(Entry.model_fields)
        writer.writerow(fields)
        for entry in self.every():
            plain = entry.model_dump(mode="json")
            writer.writerow([harmless(plain[name]) for name in fields])
        return out.getvalue().encode()

    def as_json(self) -> bytes:
        """The entries that match as a JSON list."""
        return json.dumps(
            [entry.model_dump(mode="json") for entry in self.every()], ensure_ascii=False, indent=1
        ).encode()

    def _read(self, before: int | None, limit: int) -> list[Entry]:
        return self._engine.ledger.entries(
            before=before,
            action=self.action or None,
            entity=self.entity or None,
            actor=self.actor.strip() or None,
            text=self.text.strip(),
            newest_first=True,
            limit=limit,
        )

    def _named(self, entries: tuple[Entry, ...]) -> dict[str, str]:
        """The names of the models on the page; each is asked for once."""
        for entry in entries:
            if entry.entity_kind == "model" and entry.entity not in self._names:
                try:
                    self._names[entry.entity] = self._engine.models.get(entry.entity).name
                except TreadleError:
                    self._names[entry.entity] = f"model {short_id(entry.entity)}"
        return dict(self._names)


def words_of(entry: Entry) -> str:
    """Return what was done: 'published the model'."""
    return _WORDS.get(entry.action, entry.action)


def label_of(entry: Entry, names: Mapping[str, str]) -> str:
    """Return what it was done to, by a name if it has one."""
    if entry.entity_kind == "model":
        return names.get(entry.entity, f"model {short_id(entry.entity)}")
    return f"run {short_id(entry.entity)}" if entry.entity_kind == "run" else entry.entity


def href_of(entry: Entry) -> str | None:
    """Return the page of what it was done to, if it has one."""
    if entry.entity_kind == "model":
        return f"/editor?model={quote(entry.entity)}"
    return f"/run?id={quote(entry.entity)}" if entry.entity_kind == "run" else None


def changes_of(entry: Entry) -> tuple[list[Change], int]:
    """Return the first hundred operations of the entry's patch, and how many there are."""
    try:
        operations = json.loads(entry.patch)
    except ValueError:
        return [Change("(the patch can't be read)", None, entry.patch[:_LONGEST_VALUE])], 1
    if not isinstance(operations, list):
        return [], 0
    plain = [part for one in operations if isinstance(one, dict) for part in _parts(one)]
    return [_change(one) for one in plain[:MOST_CHANGES]], len(plain)


def _parts(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an operation on the whole as one for each field that holds something: a person reads that."""
    value = operation.get("value")
    if operation.get("path") or not isinstance(value, dict) or operation.get("was") is not None:
        return [operation]
    return [{"op": "add", "path": f"/{name}", "value": part} for name, part in value.items() if part not in _EMPTY]


def _change(operation: Mapping[str, Any]) -> Change:
    path = str(operation.get("path") or "/")
    before = _value(operation["was"]) if operation.get("was") is not None else None
    after = _value(operation.get("value")) if operation.get("op") in ("add", "replace") else None
    return Change("everything" if path == "/" else path.removeprefix("/").replace("/", " › "), before, after)


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"
