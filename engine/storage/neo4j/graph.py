"""Questions about the graph, answered step by step: however deep or wide it is, nothing recurses.

Each question reads what it needs once, in one query that follows no path; the walk along it is done here, the heavy
ones by networkx.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from engine.storage.neo4j.database import Database, Found

if TYPE_CHECKING:
    import networkx as nx

_STEPS = """
    MATCH (:Run {organization: $organization, id: $run})-[:HAS_STEP]->(s:Step)
    OPTIONAL MATCH (s)-[:PART_OF]->(p:Step)
    RETURN s.path AS path, p.path AS part_of, s.name AS name, s.status AS status ORDER BY s.started_at, s.path
"""
_NESTED = """
    MATCH (n:Node {organization: $organization})-[:NESTS]->(m:Model) WHERE n.nests IS NOT NULL
    MATCH (p:Model {organization: $organization, id: n.model}) WHERE p.deleted_at IS NULL
    RETURN DISTINCT m.id AS inner, p.id AS outer ORDER BY inner, outer
"""
_FLOW = """
    MATCH (:Model {organization: $organization, id: $model})-[:HAS_NODE]->(s:Node)-[:WIRE|PRECEDES]->(t:Node)
    RETURN DISTINCT s.id AS source, t.id AS target
"""
_LINKED = """
    MATCH (a:End {organization: $organization})-[e:LINKED]->(b:End) WHERE a.uid IS NOT NULL
    RETURN a.uid AS source, b.uid AS target, max(e.strength) AS strength
"""
_DECISIONS = """
    MATCH (d:Decision {organization: $organization, run: $run})-[:OFFERED]->(o:Option)
    OPTIONAL MATCH (d)-[:CHOSE]->(c:Option)
    RETURN d.path AS path, d.question AS question, collect(DISTINCT o.id) AS offered, c.id AS chosen,
        d.chosen_by AS chosen_by
    ORDER BY path
"""
_MONITORS = """
    MATCH (w:Monitor {organization: $organization, run: $run})
    RETURN w.path AS path, w.watched AS watched ORDER BY path, watched
"""
_VERSIONS = """
    MATCH (v:Version {organization: $organization, model: $model}) WHERE v.number IS NOT NULL
    OPTIONAL MATCH (v)-[:NEXT]->(n:Version)
    RETURN v.number AS number, n.number AS following
"""


class Branch(NamedTuple):
    """A step in the tree of its run."""

    depth: int
    path: str
    name: str
    status: str


class Choice(NamedTuple):
    """A decision of a run: what was offered and what was chosen."""

    path: str
    question: str
    offered: tuple[str, ...]
    chosen: str | None
    chosen_by: str | None


class Watch(NamedTuple):
    """That a step watched another branch."""

    path: str
    watched: str


class Graph:
    """The graph of an organization. Use the database of a catalog: `Graph(catalog.database)`."""

    def __init__(self, database: Database) -> None:
        """Ask this database."""
        self._database = database

    def tree(self, run: str) -> list[Branch]:
        """Return the steps of a run, each before the steps within it, in the order they began."""
        rows = self._rows(_STEPS, run=run)
        within: dict[str | None, list[Found]] = {}
        for row in rows:
            within.setdefault(row["part_of"], []).append(row)
        found: list[Branch] = []
        left = [(0, row) for row in reversed(within.get(None, []))]
        while left:
            depth, row = left.pop()
            found.append(Branch(depth, row["path"], row["name"], row["status"]))
            left.extend((depth + 1, inner) for inner in reversed(within.get(row["path"], [])))
        return found

    def path_to_root(self, model: str) -> list[str]:
        """Return the models from this one to one that no other nests: a shortest way, and of those the first by id."""
        around: dict[str, list[str]] = {}
        for row in self._rows(_NESTED):
            around.setdefault(row["inner"], []).append(row["outer"])
        came_from: dict[str, str | None] = {model: None}
        level = [model]
        while level:
            root = min((one for one in level if one not in around), default=None)
            if root is not None:
                return list(_way_back(root, came_from))[::-1]
            following: list[str] = []
            for one in level:
                for outer in around[one]:
                    if outer not in came_from:
                        came_from[outer] = one
                        following.append(outer)
            level = following
        return [model]

    def impact(self, model: str, node: str) -> dict[str, int]:
        """Return what follows from a node over wires and dependencies, with the fewest steps to it."""
        import networkx as nx

        flow = self._flow(model)
        if node not in flow:
            return {}
        reached: dict[str, int] = dict(nx.single_source_shortest_path_length(flow, node))
        return {each: steps for each, steps in sorted(reached.items(), key=lambda item: (item[1], item[0])) if steps}

    def cycles(self, model: str | None = None, *, limit: int = 1_000) -> list[list[str]]:
        """Return the elementary cycles of a model's wires and dependencies, or of all links; `limit` at most."""
        import networkx as nx

        graph = self._links() if model is None else self._flow(model)
        tangled = [part for part in nx.strongly_connected_components(graph) if _is_tangled(graph, part)]
        found: list[list[str]] = []
        for part in sorted(map(sorted, tangled)):
            for cycle in islice(nx.simple_cycles(graph.subgraph(part)), limit - len(found)):
                first = cycle.index(min(cycle))
                found.append(cycle[first:] + cycle[:first])
        return sorted(found)

    def strongest(self, feature: str, entity: str, node: str | None = None) -> dict[str, float]:
        """Return what links lead to from an end, strongest first: the product of the strengths along the best way."""
        import networkx as nx

        graph, start = self._links(), "\n".join((feature, entity, node or ""))
        if start not in graph:
            return {}
        far: dict[str, float] = dict(nx.single_source_dijkstra_path_length(graph, start, weight="weakness"))
        reached = {each: math.exp(-length) for each, length in far.items() if each != start}
        return dict(sorted(reached.items(), key=lambda item: (-item[1], item[0])))

    def decisions(self, run: str) -> list[Choice]:
        """Return the decisions of a run by step."""
        rows = self._rows(_DECISIONS, run=run)
        return [
            Choice(row["path"], row["question"], tuple(sorted(row["offered"])), row["chosen"], row["chosen_by"])
            for row in rows
        ]

    def monitors(self, run: str) -> list[Watch]:
        """Return which step of a run watched which other one."""
        return [Watch(**row) for row in self._rows(_MONITORS, run=run)]

    def version_chain(self, model: str) -> list[str]:
        """Return a model's versions from the first to the last, as they are chained."""
        following = {row["number"]: row["following"] for row in self._rows(_VERSIONS, model=model)}
        first = following.keys() - set(following.values())
        found: list[str] = []
        number = min(first, default=None)
        while number is not None and number not in found:
            found.append(number)
            number = following.get(number)
        return found

    def _flow(self, model: str) -> nx.DiGraph[str]:
        import networkx as nx

        rows = self._rows(_FLOW, model=model)
        return nx.DiGraph((row["source"], row["target"]) for row in rows)

    def _links(self) -> nx.DiGraph[str]:
        """Return all links; `weakness` grows as strength goes down, so that the shortest way is the strongest."""
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        for row in self._rows(_LINKED):
            weakness = -math.log(max(row["strength"], 1e-9))
            graph.add_edge(row["source"], row["target"], weakness=weakness)
        return graph

    def _rows(self, query: str, **parameters: object) -> list[Found]:
        return self._database.read(lambda cypher: cypher.rows(query, **parameters))


def _way_back(start: str, came_from: dict[str, str | None]) -> Iterator[str]:
    place: str | None = start
    while place is not None:
        yield place
        place = came_from[place]


def _is_tangled(graph: nx.DiGraph[str], part: Iterable[str]) -> bool:
    members = list(part)
    return len(members) > 1 or graph.has_edge(members[0], members[0])
