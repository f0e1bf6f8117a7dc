"""Large values in Neo4j: a node each, by the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib

from engine.errors import StoreCorrupted
from engine.storage.neo4j.database import Database

_PUT = "MERGE (b:Blob {organization: $organization, sha256: $sha256}) SET b.data = $data, b.size_bytes = $size_bytes"
_GET = "MATCH (b:Blob {organization: $organization, sha256: $sha256}) RETURN b.data AS data"
_NAMES = "MATCH (b:Blob {organization: $organization}) WHERE b.sha256 > '' RETURN b.sha256 AS name ORDER BY name"


class Neo4jBlobs:
    """Values beside the catalog, in the database of their organization."""

    def __init__(self, database: Database) -> None:
        """Use the catalog's database; who opened it closes it."""
        self._database = database

    def put(self, data: bytes) -> str:
        """Keep `data` durably and return its SHA-256 in hex; `StoreUnreachable` says why it can't be kept."""
        name = hashlib.sha256(data).hexdigest()
        facts = {"sha256": name, "data": bytes(data), "size_bytes": len(data)}
        self._database.write(lambda cypher: cypher.do(_PUT, **facts))
        return name

    def get(self, sha256: str) -> bytes:
        """Return the bytes, checked against their name; `StoreCorrupted` if they are damaged or missing."""
        found = self._database.read(lambda cypher: cypher.first(_GET, sha256=sha256))
        place = f"{self._database.place}, value {sha256}"
        if found is None:
            raise StoreCorrupted(path=place, reason="the value is missing")
        data = found["data"]
        if not isinstance(data, bytes) or hashlib.sha256(data).hexdigest() != sha256:
            raise StoreCorrupted(path=place, reason="its bytes are not those it is named after")
        return data

    def names(self) -> list[str]:
        """Return the names of all values, in order."""
        return [row["name"] for row in self._database.read(lambda cypher: cypher.rows(_NAMES))]
