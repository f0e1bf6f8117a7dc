"""The views that people query, in the schema `history`: described in docs/sql.md, the same on DuckDB and Postgres.

They are made with the store and made anew whenever a program that knows other ones opens it for writing its schema.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

SCHEMA = "history"

_SECONDS = "CAST(extract(epoch FROM {end}) - extract(epoch FROM {start}) AS double precision)"


def create_views(connection: Connection) -> None:
    """Make the schema and all views, replacing those there are."""
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    is_postgres = connection.dialect.name == "postgresql"
    as_asker = " WITH (security_invoker = true)" if is_postgres else ""
    for name, query in (_POSTGRES if is_postgres else _DUCKDB).items():
        connection.exec_driver_sql(f"CREATE OR REPLACE VIEW {SCHEMA}.{name}{as_asker} AS {query}")


def _seconds(start: str, end: str) -> str:
    return _SECONDS.format(start=start, end=end)


def _views(field: dict[str, str]) -> dict[str, str]:
    """Return the queries by view. `field` says how a dialect takes a JSON field's text and a list's elements."""
    place, value, each = field["place"], field["value"], field["each"]

    def of(column: str, *names: str, kind: str = "text") -> str:
        return ", ".join(f"CAST({value.format(json=column, name=name)} AS {kind}) AS {name}" for name in names)

    return {
        "models": f"""SELECT id, name, description, status, revision, version, owner, nodes, tags,
            updated_at, deleted_at FROM {place}.models""",
        "nodes": f"SELECT model, node, kind, name, tags FROM {place}.model_nodes",
        "edges": f"SELECT model, edge, kind, source, source_port, target, target_port FROM {place}.model_edges",
        "edits": f"SELECT model, revision, id, name, actor, ts FROM {place}.edit_batches",
        "versions": f"""SELECT model, major || '.' || minor || '.' || patch AS number, major, minor, patch, author, ts,
            content_hash FROM {place}.versions""",
        "runs": f"""SELECT id, model, model_name, version, trial, status, actor, created_at, started_at, ended_at,
            {_seconds("started_at", "ended_at")} AS duration_s, steps_total, steps_done FROM {place}.runs""",
        "steps": f"""SELECT run, path, node, name, kind, status, attempts, error, started_at, ended_at,
            {_seconds("started_at", "ended_at")} AS duration_s FROM {place}.steps""",
        "attempts": f"""SELECT run, path, CAST({value.format(json="attempt", name="number")} AS integer) AS number,
            coalesce({value.format(json="attempt", name="status")}, 'running') AS status,
            {of("attempt", "error", "idempotency_key")},
            {of("attempt", "started_at", "ended_at", kind="timestamp with time zone")}
            FROM ({each.format(table=f"{place}.steps", columns="run, path", name="attempts", element="attempt")})""",
        "ledger": f"""SELECT sequence, CAST(ts AS timestamp with time zone) AS ts, actor, action, entity_kind, entity,
            run, request, patch, previous_hash, hash FROM {place}.ledger""",
        "decisions": f"""SELECT {of("body", "run", "path", "question", "chosen", "chosen_by", "reason")},
            {of("body", "opened_at", "chosen_at", kind="timestamp with time zone")}, due_at
            FROM {place}.entities WHERE kind = 'decision'""",
        "links": f"""SELECT key AS id, {of("body", "type")},
            {of("body", "base", "similarity", "relevance", kind="double precision")},
            {of("body", "interactions", kind="bigint")},
            {value.format(json=field["inner"].format(name="source"), name="entity")} AS source,
            {value.format(json=field["inner"].format(name="target"), name="entity")} AS target
            FROM {place}.entities WHERE kind = 'link'""",
        "agents": f"""SELECT key AS id, title AS name, {of("body", "feature", "entity")},
            {of("body", "enabled", kind="boolean")}
            FROM {place}.entities WHERE kind = 'agent'""",
        "schedules": f"""SELECT key AS id, title AS name,
            {of("body", "model", "trigger", "spec")}, {of("body", "enabled", kind="boolean")}, due_at
            FROM {place}.entities WHERE kind = 'schedule'""",
    }


_DUCKDB = _views(
    {
        "place": "main",
        "value": "({json} ->> '{name}')",
        "inner": "(body -> '{name}')",
        "each": "SELECT {columns}, unnest(CAST(json_extract(body, '$.{name}') AS JSON[])) AS {element} FROM {table}",
    }
)
_POSTGRES = _views(
    {
        "place": "treadle",
        "value": "(CAST({json} AS json) ->> '{name}')",
        "inner": "(CAST(body AS json) -> '{name}')",
        "each": "SELECT {columns}, {element} FROM {table}, json_array_elements(CAST(body AS json) -> '{name}') "
        "AS {element}",
    }
)
NAMES = tuple(_DUCKDB)
"""The views there are."""
