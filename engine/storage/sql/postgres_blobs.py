"""Large values in a Postgres database, beside the catalog that names them."""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection, bindparam, select, text

from engine.errors import StoreCorrupted
from engine.storage.sql.catalog import Database
from engine.storage.sql.postgres_schema import blobs

_IS_KEPT = text("SELECT 1 FROM blobs WHERE sha256 = :sha256 AND encode(sha256(data), 'hex') = :sha256")
_PUT = text(
    "INSERT INTO blobs (sha256, data) VALUES (:sha256, :data) "
    "ON CONFLICT ON CONSTRAINT blobs_pkey DO UPDATE SET data = excluded.data"
).bindparams(bindparam("data", type_=blobs.c.data.type))
_GET = text("SELECT data FROM blobs WHERE sha256 = :sha256")
_NAMES = select(text("sha256")).select_from(text("blobs")).order_by(text("sha256"))


class PostgresBlobs:
    """Blobs of the organization that a database was opened for. Any thread."""

    def __init__(self, database: Database) -> None:
        """Use a database that stays open as long as this is used."""
        self._database = database

    def put(self, data: bytes) -> str:
        """Keep `data` durably and return its SHA-256 in hex; one that is there undamaged is not sent again."""
        name = hashlib.sha256(data).hexdigest()
        if not self._database.read(lambda connection: connection.execute(_IS_KEPT, {"sha256": name}).first()):
            self._database.writing(lambda connection: _put(connection, name, data))
        return name

    def get(self, sha256: str) -> bytes:
        """Return the bytes, checked against their name; `StoreCorrupted` if they are damaged or missing."""
        row = self._database.read(lambda connection: connection.execute(_GET, {"sha256": sha256}).first())
        if row is None:
            raise StoreCorrupted(path=self._database.place, reason=f"the value {sha256[:64]!r} is missing")
        data = bytes(row.data)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StoreCorrupted(path=self._database.place, reason=f"the bytes of {sha256} are not those it names")
        return data

    def names(self) -> list[str]:
        """Return the names of all values, in order."""
        return list(self._database.read(lambda connection: connection.execute(_NAMES).scalars().all()))


def _put(connection: Connection, name: str, data: bytes) -> None:
    connection.execute(_PUT, {"sha256": name, "data": data})
