"""Steps from one schema to the next, as Alembic revisions numbered like `schema.SCHEMA_VERSION`.

A new store is made whole at the newest schema. An older one is brought there when it is opened, if every step on the
way says that it is safe (`is_safe`: quick, and nothing is lost or locked for long); else 'treadle migrate' does it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from engine.storage.sql.views import create_views

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import Script

_PLACE = "engine.storage.sql:migrations"


def are_safe(found: int) -> bool:
    """Say whether every step from schema `found` to the newest may be taken when a store is opened."""
    return all(bool(getattr(step.module, "is_safe", False)) for step in _steps(found))


def upgrade(connection: Connection, found: int) -> None:
    """Bring a store of schema `found` to the newest, inside the transaction that the connection is in."""
    from alembic import command

    if connection.dialect.name == "duckdb":
        import_module("duckdb_sqlalchemy.alembic_impl")  # it tells Alembic about DuckDB
    config = _config()
    config.attributes["connection"] = connection
    command.stamp(config, _name(found), purge=True)
    command.upgrade(config, "head")
    create_views(connection)


def _steps(found: int) -> list[Script]:
    from alembic.script import ScriptDirectory

    return list(ScriptDirectory.from_config(_config()).iterate_revisions("head", _name(found)))


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", _PLACE)
    return config


def _name(schema: int) -> str:
    return f"{schema:04}"
