"""Entities, and the edges and tags of models as rows that can be searched."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any
from unicodedata import normalize

from alembic import op
from sqlalchemy import BigInteger, Column, Connection, DateTime, Text, text

revision = "0002"
down_revision = "0001"
is_safe = True
_UPDATE = "UPDATE models SET nodes_key = :nodes, edges_key = :edges, search = search || :names WHERE id = :id"
_AT_ONCE = 200
"""Models read at a time."""


def upgrade() -> None:
    """Add what is new and fill it from the models."""
    op.create_table(
        "entities",
        Column("kind", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("revision", BigInteger, nullable=False),
        Column("title", Text, nullable=False),
        Column("subjects", Text, nullable=False),
        Column("search", Text, nullable=False),
        Column("due_at", DateTime(timezone=True)),
        Column("body", Text, nullable=False),
    )
    op.create_table(
        "model_edges",
        *(Column(name, Text, nullable=False) for name in ("model", "edge", "kind", "source")),
        Column("source_port", Text),
        Column("target", Text, nullable=False),
        Column("target_port", Text),
    )
    op.create_table(
        "remote_commits",
        Column("id", Text, primary_key=True),
        Column("ts", DateTime(timezone=True), nullable=False),
        *(Column(name, BigInteger, nullable=False) for name in ("first", "last")),
    )
    op.drop_index("model_nodes_by_model")
    op.drop_table("model_nodes")
    nodes = ("model", "node", "kind", "name", "search", "tags", "tag_search")
    op.create_table("model_nodes", *(Column(name, Text, nullable=False) for name in nodes))
    op.execute("ALTER TABLE models ADD COLUMN edges_key VARCHAR DEFAULT ''")
    op.execute("ALTER TABLE models ALTER COLUMN edges_key SET NOT NULL")
    op.execute("ALTER TABLE models ALTER COLUMN edges_key DROP DEFAULT")
    op.create_index("model_nodes_by_model", "model_nodes", ["model"])
    op.create_index("model_edges_by_model", "model_edges", ["model"])
    _fill(op.get_bind())  # last: DuckDB alters no table that has updates in the same transaction
    op.execute("UPDATE schema_version SET version = 2")


def _fill(connection: Connection) -> None:
    ids = [row.id for row in connection.execute(text("SELECT id FROM models ORDER BY id"))]
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        found = connection.execute(text("SELECT id, body FROM models WHERE id = ANY(:some)"), {"some": some}).all()
        models = {row.id: json.loads(zlib.decompress(row.body)) for row in found}
        nodes = [row for key, model in models.items() for row in _nodes(key, model)]
        edges = {key: _edges(key, model) for key, model in models.items()}
        _insert(connection, "model_nodes", nodes)
        _insert(connection, "model_edges", [row for rows in edges.values() for row in rows])
        for key, model in models.items():
            names = "".join("\n" + _fold(node["name"]) for node in model["nodes"])
            keys = {"id": key, "nodes": _nodes_key(model), "edges": _edges_key(edges[key]), "names": names}
            connection.execute(text(_UPDATE), keys)


def _nodes(key: str, model: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "model": key,
            "node": node["id"],
            "kind": node["kind"],
            "name": node["name"],
            "search": _fold(node["name"]),
            "tags": _compact(node.get("tags", [])),
            "tag_search": "\n" + "".join(f"{_fold(tag)}\n" for tag in node.get("tags", [])),
        }
        for node in model["nodes"]
    ]


def _edges(key: str, model: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = (("wire", model.get("wires", [])), ("dependency", model.get("dependencies", [])))
    return [
        {
            "model": key,
            "edge": edge["id"],
            "kind": kind,
            "source": edge["source"],
            "source_port": edge.get("source_port"),
            "target": edge["target"],
            "target_port": edge.get("target_port"),
        }
        for kind, edges in kinds
        for edge in edges
    ]


def _nodes_key(model: dict[str, Any]) -> str:
    return _digest(sorted([node["id"], node["kind"], node["name"], node.get("tags", [])] for node in model["nodes"]))


def _edges_key(edges: list[dict[str, Any]]) -> str:
    return _digest(sorted((list(edge.values()) for edge in edges), key=lambda row: (row[1], row[2])))


def _insert(connection: Connection, table: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        names = list(rows[0])
        columns = ", ".join(f"unnest(CAST(:{name} AS VARCHAR[]))" for name in names)
        values = {name: [row[name] for row in rows] for name in names}
        connection.execute(text(f"INSERT INTO {table} ({', '.join(names)}) SELECT {columns}"), values)


def _digest(value: Any) -> str:
    return hashlib.sha256(_compact(value).encode()).hexdigest()


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _fold(name: str) -> str:
    return normalize("NFC", normalize("NFD", name).casefold()).replace("\x00", "")
