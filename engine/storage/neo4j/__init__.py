"""Neo4j: catalog, journal and blobs of an organization as a graph. docs/neo4j.md draws it."""

from engine.storage.neo4j.blobs import Neo4jBlobs
from engine.storage.neo4j.catalog import Neo4jCatalog, open_neo4j
from engine.storage.neo4j.graph import Graph
from engine.storage.neo4j.journal import Neo4jJournal

__all__ = ["Graph", "Neo4jBlobs", "Neo4jCatalog", "Neo4jJournal", "open_neo4j"]
