"""The statements behind lists: built from what is asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, ColumnElement, Select, Table, cast, exists, extract, func, literal, or_, select

from engine.domain.queries import EdgeQuery, EntityQuery, EntryQuery, ModelQuery, NodeQuery, Page, RunQuery
from engine.storage.folding import fold
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


def list_models(query: ModelQuery) -> _Rows:
    """Return the statement for a list of models."""
    gone = models.c.deleted_at.is_not(None) if query.deleted else models.c.deleted_at.is_(None)
    newest = (models.c.updated_at.desc(), models.c.id.desc())
    return _paged(select(*_SHOWN).where(gone, *_named(models, query)).order_by(*newest), query)


def list_runs(query: RunQuery) -> _Rows:
    """Return the statement for a list of runs."""
    wanted = _equal((runs.c.model, query.model), (runs.c.status, query.status))
    if text := fold(query.text):
        wanted.append(_holds(runs.c.search, text))
    newest = (runs.c.created_at.desc(), runs.c.id.desc())
    return _paged(select(runs.c.body).where(*wanted).order_by(*newest), query)


def list_entries(query: EntryQuery) -> _Rows:
    """Return the statement for ledger entries."""
    c = ledger.c
    wanted: list[ColumnElement[bool]] = [
        c.sequence > query.after,
        *_equal((c.action, query.action), (c.entity, query.entity), (c.actor, query.actor)),
    ]
    if query.before is not None:
        wanted.append(c.sequence < query.before)
    if query.text:
        words = (c.actor, c.action, c.entity_kind, c.entity, func.coalesce(c.run, ""), func.coalesce(c.request, ""))
        everything: ColumnElement[str] = c.patch
        for word in reversed(words):
            everything = word + literal("\n") + everything
        wanted.append(_holds(func.lower(everything), query.text.lower()))
    order = c.sequence.desc() if query.newest_first else c.sequence
    return select(*ledger.columns).where(*wanted).order_by(order).limit(query.limit)


def list_nodes(query: NodeQuery) -> _Rows:
    """Return the statement for a list of nodes of models that are not deleted."""
    c = model_nodes.c
    wanted = [_is_alive(c.model), *_equal((c.model, query.model), (c.kind, query.kind)), *_named(model_nodes, query)]
    shown = select(c.model, c.node, c.kind, c.name, c.tags).where(*wanted)
    return _paged(shown.order_by(c.model, c.node), query)


def list_edges(query: EdgeQuery) -> _Rows:
    """Return the statement for a list of edges of models that are not deleted."""
    c = model_edges.c
    wanted: list[ColumnElement[bool]] = [_is_alive(c.model), *_equal((c.model, query.model), (c.kind, query.kind))]
    ends = model_nodes.alias("ends")
    is_end = (ends.c.model == c.model) & or_(ends.c.node == c.source, ends.c.node == c.target)
    if named := _named(ends, query):
        wanted.append(exists(select(literal(1)).where(is_end, *named)))
    return _paged(select(*c).where(*wanted).order_by(c.model, c.edge, c.kind), query)


def list_entities(query: EntityQuery) -> _Rows:
    """Return the statement for a list of entities."""
    c = entities.c
    wanted: list[ColumnElement[bool]] = [c.kind == query.kind]
    order: tuple[ColumnElement[Any], ...] = (c.key,)
    if query.about is not None:
        wanted.append(_holds(c.subjects, f"\n{query.about}\n"))
    if text := fold(query.text):
        wanted.append(_holds(c.search, text))
    if query.due_before is not None:
        wanted.append(c.due_at < query.due_before)
        order = (c.due_at, c.key)
    return _paged(select(c.body).where(*wanted).order_by(*order), query)


def _is_alive(model: ColumnElement[str]) -> ColumnElement[bool]:
    return model.in_(select(models.c.id).where(models.c.deleted_at.is_(None)))


def _named(table: Any, query: ModelQuery | NodeQuery) -> list[ColumnElement[bool]]:
    """Say that a model or node has the text and the tag that are looked for."""
    wanted: list[ColumnElement[bool]] = []
    if text := fold(query.text):
        wanted.append(_holds(table.c.search, text))
    if query.tag is not None:
        wanted.append(_holds(table.c.tag_search, f"\n{fold(query.tag)}\n"))
    return wanted


def _paged(statement: _Rows, page: Page) -> _Rows:
    return statement.limit(page.limit).offset(page.offset)


def count(table: Table[Any]) -> _Rows:
    """Return the query for the number of a table's rows."""
    return select(func.count()).select_from(table)


def _holds(column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    """Tell whether a column holds `text`: by position, since a LIKE would have to escape it."""
    return func.strpos(column, text) > 0


def _equal(*pairs: tuple[ColumnElement[Any], str | None]) -> list[ColumnElement[bool]]:
    return [column == value for column, value in pairs if value is not None]
