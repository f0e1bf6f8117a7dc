"""The verbs of a catalog as JSON: arguments, results, writes and errors, in the forms in which stores keep them.

One table names every verb that crosses from program to program; what is not in it can't be asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, NoReturn, TypeAlias, cast

from pydantic_core import PydanticSerializationError

from engine import errors
from engine.domain.canonical import Json, as_list, as_object
from engine.domain.events import Draft, Head
from engine.domain.queries import EdgeQuery, EntityQuery, EntryQuery, ModelQuery, NodeQuery, RunQuery
from engine.domain.values import Semver
from engine.domain.writes import (
    Answer,
    EdgeRow,
    InsertBatch,
    InsertModel,
    InsertVersion,
    ModelRow,
    NodeRow,
    PutEntity,
    PutRun,
    PutSetting,
    PutSteps,
    Record,
    RemoveEntity,
    UpdateModel,
    Write,
)
from engine.errors import NotCanonical, TreadleError
from engine.ledger.chain import Row, entry_of, row_of, ts_text
from engine.storage import documents
from engine.storage.shared.values import value_from, value_json

_To: TypeAlias = Callable[[Any], Json]
_From: TypeAlias = Callable[[Any], Any]
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is written as JSON and read back."""

    to: _To
    back: _From


class Verb(NamedTuple):
    """A method of the catalog: its result, and its arguments by name."""

    result: Form
    arguments: Mapping[str, Form]


def _same(value: Any) -> Any:
    return value


def _checked(*kinds: type) -> Form:
    """Return the form of a plain value, whose type is looked at when it comes in."""

    def back(plain: Json) -> Any:
        if type(plain) not in kinds:
            message = f"a value is a {type(plain).__name__}"
            raise TypeError(message)
        return plain

    return Form(_same, back)


def _optional(form: Form) -> Form:
    return Form(
        lambda value: None if value is None else form.to(value),
        lambda plain: None if plain is None else form.back(plain),
    )


def _many(form: Form) -> Form:
    return Form(lambda values: [form.to(one) for one in values], lambda plain: [form.back(one) for one in plain])


_PLAIN = Form(_same, _same)
_TEXT, _NUMBER, _FLAG = _checked(str), _checked(int), _checked(bool)
_MAYBE_TEXT, _MAYBE_NUMBER = _optional(_TEXT), _optional(_NUMBER)
_SECONDS = _checked(int, float)
_MOMENT = Form(datetime.isoformat, datetime.fromisoformat)
_SEMVER = Form(str, Semver.parse)
_MODEL = Form(documents.model_json, documents.model_from)
_VERSION = Form(documents.version_json, documents.version_from)
_STEP = Form(documents.step_json, documents.step_from)
_ENTITY = Form(documents.entity_json, documents.entity_from)
_ENTRY = Form(lambda entry: list(row_of(entry)), lambda plain: entry_of(Row(*plain)))
HEAD = Form(lambda head: [head.sequence, head.hash], lambda plain: Head(sequence=plain[0], hash=plain[1]))
_RUN = Form(lambda run: [documents.run_json(run), run.model_file], lambda plain: documents.run_from(plain[0], plain[1]))
_BATCH = Form(
    lambda pair: [pair[0], documents.batch_json(pair[1])], lambda plain: (plain[0], documents.batch_from(plain[1]))
)


def _model_row(plain: Json) -> ModelRow:
    row = ModelRow(*plain)
    gone = None if row.deleted_at is None else datetime.fromisoformat(cast("str", row.deleted_at))
    updated_at = datetime.fromisoformat(cast("str", row.updated_at))
    return row._replace(tags=tuple(row.tags), updated_at=updated_at, deleted_at=gone)


def _node_row(plain: Json) -> NodeRow:
    row = NodeRow(*plain)
    return row._replace(tags=tuple(row.tags))


def _model_row_json(row: ModelRow) -> Json:
    gone = None if row.deleted_at is None else row.deleted_at.isoformat()
    return list(row._replace(updated_at=cast("Any", row.updated_at.isoformat()), deleted_at=cast("Any", gone)))


_ANSWER = Form(
    lambda answer: [list(answer.columns), [[value_json(value) for value in row] for row in answer.rows]],
    lambda plain: Answer(tuple(plain[0]), [tuple(map(value_from, row)) for row in plain[1]]),
)


def _draft_json(draft: Draft) -> Json:
    return {name: getattr(draft, name) for name in Draft.model_fields} | {"ts": ts_text(draft.ts)}


def _insert_model(plain: Json) -> Write:
    return InsertModel(model=_MODEL.back(plain[0]), updated_at=_optional(_MOMENT).back(plain[1]))


_WRITES: dict[str, tuple[type, _To, Callable[[Any], Write]]] = {
    "insert-model": (
        InsertModel,
        lambda write: [_MODEL.to(write.model), _optional(_MOMENT).to(write.updated_at)],
        _insert_model,
    ),
    "update-model": (
        UpdateModel,
        lambda write: [_MODEL.to(write.model), write.expected_revision],
        lambda plain: UpdateModel(model=_MODEL.back(plain[0]), expected_revision=plain[1]),
    ),
    "insert-batch": (
        InsertBatch,
        lambda write: [write.revision, documents.batch_json(write.batch)],
        lambda plain: InsertBatch(revision=plain[0], batch=documents.batch_from(plain[1])),
    ),
    "insert-version": (
        InsertVersion,
        lambda write: _VERSION.to(write.version),
        lambda plain: InsertVersion(version=_VERSION.back(plain)),
    ),
    "put-run": (PutRun, lambda write: _RUN.to(write.run), lambda plain: PutRun(run=_RUN.back(plain))),
    "put-steps": (
        PutSteps,
        lambda write: _many(_STEP).to(write.steps),
        lambda plain: PutSteps(steps=tuple(_many(_STEP).back(plain))),
    ),
    "put-setting": (
        PutSetting,
        lambda write: [write.key, write.value],
        lambda plain: PutSetting(key=plain[0], value=plain[1]),
    ),
    "put-entity": (
        PutEntity,
        lambda write: [_ENTITY.to(write.entity), write.expected_revision],
        lambda plain: PutEntity(entity=_ENTITY.back(plain[0]), expected_revision=plain[1]),
    ),
    "remove-entity": (
        RemoveEntity,
        lambda write: [write.kind, write.key, write.expected_revision],
        lambda plain: RemoveEntity(kind=plain[0], key=plain[1], expected_revision=plain[2]),
    ),
    "record": (
        Record,
        lambda write: _draft_json(write.draft),
        lambda plain: Record(draft=Draft.model_validate(plain)),
    ),
}
_NAMES = {kind: name for name, (kind, _, _) in _WRITES.items()}
_WRITE = Form(
    lambda write: [_NAMES[type(write)], _WRITES[_NAMES[type(write)]][1](write)],
    lambda plain: _WRITES[plain[0]][2](plain[1]),
)


def _question(kind: type, forms: Mapping[str, Form]) -> Mapping[str, Form]:
    """Return the one argument of a list: a query by its fields."""
    to = {name: form.to for name, form in forms.items()}
    back = {name: form.back for name, form in forms.items()}
    whole = Form(
        lambda query: {name: write(getattr(query, name)) for name, write in to.items()},
        lambda plain: kind(**{name: back[name](value) for name, value in plain.items()}),
    )
    return {"query": whole}


_PAGE = {"limit": _NUMBER, "offset": _NUMBER}
_SEARCH = {"text": _TEXT, "tag": _MAYBE_TEXT, **_PAGE}
_ELEMENTS = {"model": _MAYBE_TEXT, "kind": _MAYBE_TEXT, **_SEARCH}
_RUNS = {"model": _MAYBE_TEXT, "status": _MAYBE_TEXT, "text": _TEXT, **_PAGE}
_LEDGER = {
    "after": _NUMBER,
    "before": _MAYBE_NUMBER,
    "action": _MAYBE_TEXT,
    "entity": _MAYBE_TEXT,
    "actor": _MAYBE_TEXT,
    "text": _TEXT,
    "newest_first": _FLAG,
    "limit": _NUMBER,
}
_DUE = {"kind": _TEXT, "about": _MAYBE_TEXT, "text": _TEXT, "due_before": _optional(_MOMENT), **_PAGE}
VERBS: dict[str, Verb] = {
    "commit_once": Verb(_many(_ENTRY), {"commit": _TEXT, "writes": _many(_WRITE)}),
    "model": Verb(_optional(_MODEL), {"model": _TEXT}),
    "model_named": Verb(_optional(_MODEL), {"name": _TEXT}),
    "models": Verb(_many(Form(_model_row_json, _model_row)), _question(ModelQuery, {"deleted": _FLAG, **_SEARCH})),
    "nodes": Verb(_many(Form(list, _node_row)), _question(NodeQuery, _ELEMENTS)),
    "edges": Verb(_many(Form(list, lambda plain: EdgeRow(*plain))), _question(EdgeQuery, _ELEMENTS)),
    "batches": Verb(_many(_BATCH), {"model": _TEXT, "after_revision": _NUMBER}),
    "version": Verb(_optional(_VERSION), {"model": _TEXT, "number": _SEMVER}),
    "versions": Verb(_many(_VERSION), {"model": _TEXT}),
    "run": Verb(_optional(_RUN), {"run": _TEXT}),
    "runs": Verb(_many(_RUN), _question(RunQuery, _RUNS)),
    "steps": Verb(_many(_STEP), {"run": _TEXT}),
    "entries": Verb(_many(_ENTRY), _question(EntryQuery, _LEDGER)),
    "head": Verb(HEAD, {}),
    "news": Verb(_many(_ENTRY), {"after": _NUMBER, "timeout_s": _SECONDS}),
    "setting": Verb(_PLAIN, {"key": _TEXT}),
    "settings": Verb(_PLAIN, {}),
    "entity": Verb(_optional(_ENTITY), {"kind": _TEXT, "key": _TEXT}),
    "entities": Verb(_many(_ENTITY), _question(EntityQuery, _DUE)),
    "query": Verb(_ANSWER, {"sql": _TEXT, "limit": _MAYBE_NUMBER}),
    "describe": Verb(_PLAIN, {}),
}
"""Every verb but `ledger`, which is a stream, and `close`, which is each program's own."""


def arguments_json(verb: str, arguments: Mapping[str, Any]) -> Json:
    """Return the arguments of a call as JSON; `NotCanonical` for a value that has no such form."""
    forms = VERBS[verb].arguments
    try:
        return {name: forms[name].to(value) for name, value in arguments.items()}
    except (UnicodeEncodeError, PydanticSerializationError):
        raise NotCanonical(reason="a text holds half of a surrogate pair") from None


def arguments_from(verb: str, plain: Json) -> dict[str, Any]:
    """Read arguments; raise ValueError, KeyError or TypeError for what no client of ours sends."""
    forms = VERBS[verb].arguments
    return {name: forms[name].back(value) for name, value in plain.items()}


def bytes_of(value: Json) -> bytes:
    """Return JSON as ASCII, halves of surrogate pairs escaped: the owner says what it thinks of them, as for its own.

    Raises `NotCanonical` for what JSON can't hold.
    """
    try:
        return _encode(value).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise NotCanonical(reason=str(error)) from None


def value_of(data: bytes) -> Json:
    """Read JSON; raise ValueError for anything else, NaN and what nests too deep among it."""
    try:
        return json.loads(data, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError from None


def error_json(error: TreadleError) -> Json:
    """Return an error as its class's name and its facts."""
    return {"error": type(error).__name__, "facts": {name: _fact(value) for name, value in error.facts.items()}}


def error_from(plain: Json) -> TreadleError | None:
    """Return the error that `error_json` wrote, or None if it is not one of `engine.errors`."""
    known = as_object(plain)
    kind: object = vars(errors).get(str(known.get("error")))
    if not (isinstance(kind, type) and issubclass(kind, TreadleError)):
        return None
    try:
        return kind(**as_object(known.get("facts")))
    except (KeyError, IndexError, ValueError):
        return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _fact(value: object) -> Json:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_fact(item) for item in as_list(list(cast("list[object]", value)))]
    return str(value)
