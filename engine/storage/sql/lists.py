"""The queries behind lists: built from what is asked for. Texts that are looked for are folded already."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, ColumnElement, Select, Table, cast, exists, extract, func, literal, or_, select

from engine.storage.sql.schema import entities, ledger, model_edges, model_nodes, models, runs

_Rows: TypeAlias = Select[*tuple[Any, ...]]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(us: int) -> datetime:
    """Return the moment that `_epoch_us` read."""
    return _EPOCH + timedelta(microseconds=us)


def _epoch_us(column: ColumnElement[Any]) -> ColumnElement[int]:
    """Read a moment as Unix time in microseconds: DuckDB needs pytz to return one, and we don't."""
    return cast(extract("epoch", column) * 1_000_000, BigInteger)


_SHOWN = (
    models.c.id,
    models.c.name,
    models.c.description,
    models.c.status,
    models.c.revision,
    models.c.version,
    models.c.tags,
    models.c.nodes,
    _epoch_us(models.c.updated_at).label("updated_us"),
    _epoch_us(models.c.deleted_at).label("deleted_us"),
)


def list_models(*, text: str, tag: str | None, deleted: bool, limit: int, offset: int) -> _Rows:
    """Return the query for a list of models; `text` and `tag` are folded."""
    gone = models.c.deleted_at.is_not(None) if deleted else models.c.deleted_at.is_(None)
    wanted: list[ColumnElement[bool]] = [gone]
    if text:
        wanted.append(_holds(models.c.search, text))
    if tag is not None:
        wanted.append(_holds(models.c.tag_search, f"\n{tag}\n"))
    newest = (models.c.updated_at.desc(), models.c.id.desc())
    return select(*_SHOWN).where(*wanted).order_by(*newest).limit(limit).offset(offset)


def list_runs(*, model: str | None, status: str | None, text: str, limit: int, offset: int) -> _Rows:
    """Return the query for a list of runs; `text` is folded."""
    wanted = _equal((runs.c.model, model), (runs.c.status, status))
    if text:
        wanted.append(_holds(runs.c.search, text))
    newest = (runs.c.created_at.desc(), runs.c.id.desc())
    return select(runs.c.body).where(*wanted).order_by(*newest).limit(limit).offset(offset)


def list_entries(
    *,
    after: int,
    before: int | None,
    action: str | None,
    entity: str | None,
    actor: str | None,
    text: str,
    newest_first: bool,
    limit: int,
) -> _Rows:
    """Return the query for ledger entries; `text` is in lower case."""
    c = ledger.c
    wanted: list[ColumnElement[bool]] = [
        c.sequence > after,
        *_equal((c.action, action), (c.entity, entity), (c.actor, actor)),
    ]
    if before is not None:
        wanted.append(c.sequence < before)
    if text:
        words = (c.actor, c.action, c.entity_kind, c.entity, func.coalesce(c.run, ""), func.coalesce(c.request, ""))
        everything: ColumnElement[str] = c.patch
        for word in reversed(words):
            everything = word + literal("\n") + everything
        wanted.append(_holds(func.lower(everything), text))
    order = c.sequence.desc() if newest_first else c.sequence
    return select(*ledger.columns).where(*wanted).order_by(order).limit(limit)


def list_nodes(*, model: str | None, kind: str | None, text: str, tag: str | None, limit: int, offset: int) -> _Rows:
    """Return the query for a list of nodes of models that are not deleted."""
    c = model_nodes.c
    wanted = [_is_alive(c.model), *_equal((c.model, model), (c.kind, kind)), *_named(model_nodes, text, tag)]
    shown = select(c.model, c.node, c.kind, c.name, c.tags).where(*wanted)
    return shown.order_by(c.model, c.node).limit(limit).offset(offset)


def list_edges(*, model: str | None, kind: str | None, text: str, tag: str | None, limit: int, offset: int) -> _Rows:
    """Return the query for a list of edges of models that are not deleted."""
    c = model_edges.c
    wanted: list[ColumnElement[bool]] = [_is_alive(c.model), *_equal((c.model, model), (c.kind, kind))]
    ends = model_nodes.alias("ends")
    is_end = (ends.c.model == c.model) & or_(ends.c.node == c.source, ends.c.node == c.target)
    if text or tag is not None:
        wanted.append(exists(select(literal(1)).where(is_end, *_named(ends, text, tag))))
    return select(*c).where(*wanted).order_by(c.model, c.edge, c.kind).limit(limit).offset(offset)


def list_entities(
    *, kind: str, about: str | None, text: str, due_before: datetime | None, limit: int, offset: int
) -> _Rows:
    """Return the query for a list of entities."""
    c = entities.c
    wanted: list[ColumnElement[bool]] = [c.kind == kind]
    order: tuple[ColumnElement[Any], ...] = (c.key,)
    if about is not None:
        wanted.append(_holds(c.subjects, f"\n{about}\n"))
    if text:
        wanted.append(_holds(c.search, text))
    if due_before is not None:
        wanted.append(c.due_at < due_before)
        order = (c.due_at, c.key)
    return select(c.body).where(*wanted).order_by(*order).limit(limit).offset(offset)


def _is_alive(model: ColumnElement[str]) -> ColumnElement[bool]:
    return model.in_(select(models.c.id).where(models.c.deleted_at.is_(None)))


def _named(nodes: Any, text: str, tag: str | None) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if text:
        wanted.append(_holds(nodes.c.search, text))
    if tag is not None:
        wanted.append(_holds(nodes.c.tag_search, f"\n{tag}\n"))
    return wanted


def count(table: Table[Any]) -> _Rows:
    """Return the query for the number of a table's rows."""
    return select(func.count()).select_from(table)


def _holds(column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    """Tell whether a column holds `text`: by position, since a LIKE would have to escape it."""
    return func.strpos(column, text) > 0


def _equal(*pairs: tuple[ColumnElement[Any], str | None]) -> list[ColumnElement[bool]]:
    return [column == value for column, value in pairs if value is not None]
