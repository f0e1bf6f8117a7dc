"""Provenance as W3C PROV-JSON: entities, activities, agents and how they belong together.

Source: https://www.w3.org/submissions/prov-json/ (2013).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from engine.history.provenance import MadeBy, ValueId

if TYPE_CHECKING:
    from engine.history.provenance import Provenance

NAMESPACE = "urn:treadle:"
_PREFIX = {"treadle": NAMESPACE}


def prov_json(found: Provenance) -> dict[str, Any]:
    """Return the provenance of a value as a PROV-JSON document."""
    return _Document(found).document()


def value_name(run: str, value: ValueId) -> str:
    """Return the name of a value in the document."""
    return _name("value", run, value.path, value.port)


def _name(kind: str, *parts: str) -> str:
    return f"treadle:{kind}/" + "/".join(quote(part, safe="") for part in parts)


class _Document:
    def __init__(self, found: Provenance) -> None:
        self.found, self.run = found, found.run
        self.parts: dict[str, dict[str, dict[str, Any]]] = {"entity": {}, "activity": {}, "agent": {}}

    def document(self) -> dict[str, Any]:
        self._models()
        self._the_run()
        for value in self.found.values:
            self._value(value)
        for step in self.found.steps.values():
            self._step(step)
        for link in self.found.links:
            self._link(*link)
        return {"prefix": _PREFIX, **{kind: part for kind, part in self.parts.items() if part}}

    def _put(self, kind: str, name: str, **facts: Any) -> str:
        known = self.parts.setdefault(kind, {}).setdefault(name, {})
        known.update({key.replace("__", ":"): value for key, value in facts.items() if value is not None})
        return name

    def _relate(self, kind: str, **facts: Any) -> None:
        relations = self.parts.setdefault(kind, {})
        row = {key.replace("__", ":"): value for key, value in facts.items() if value is not None}
        if row not in relations.values():
            relations[f"_:{kind}{len(relations) + 1}"] = row

    def _models(self) -> None:
        for content_hash in self.found.models.values():
            outermost = content_hash == self.run.content_hash
            self._put(
                "entity",
                _model(content_hash),
                prov__type={"$": "prov:Plan", "type": "prov:QUALIFIED_NAME"},
                prov__label=self.run.model_name if outermost else None,
                treadle__sha256=content_hash,
                treadle__version=str(self.run.version) if outermost and self.run.version is not None else None,
                treadle__revision=self.run.revision if outermost else None,
            )

    def _the_run(self) -> None:
        run, name = self.run, _name("run", self.run.id)
        self._put("activity", name, prov__label=f"run of {run.model_name}", **_times(run.started_at, run.ended_at))
        self._relate(
            "wasAssociatedWith",
            prov__activity=name,
            prov__agent=self._person(run.actor),
            prov__plan=_model(run.content_hash),
        )

    def _value(self, value: ValueId) -> None:
        stored = self.found.values[value]
        self._put(
            "entity",
            value_name(self.run.id, value),
            prov__label=f"{value.path}.{value.port}",
            treadle__path=value.path,
            treadle__port=value.port,
            treadle__sha256=stored.sha256 if stored is not None else None,
            treadle__mediaType=stored.media_type if stored is not None else None,
            treadle__sizeBytes=stored.size_bytes if stored is not None else None,
            treadle__summary=stored.summary if stored is not None else None,
        )
        made = self.found.steps.get(self.found.made.get(value, ""))
        if made is None:
            return
        if made.pinned:
            who = self._person(self.run.actor)
            self._relate("wasAttributedTo", prov__entity=value_name(self.run.id, value), prov__agent=who)
        elif made.earlier_run is not None:
            self._taken_over(value, made.earlier_run)
        else:
            activity = _name("step", self.run.id, made.path)
            self._relate("wasGeneratedBy", prov__entity=value_name(self.run.id, value), prov__activity=activity)

    def _taken_over(self, value: ValueId, run: str) -> None:
        """Say that a value is that of an earlier run."""
        before = self._put(
            "entity", value_name(run, value), treadle__path=value.path, treadle__port=value.port, treadle__run=run
        )
        earlier = self._put("activity", _name("run", run), prov__label=f"earlier run {run}")
        self._relate("wasGeneratedBy", prov__entity=before, prov__activity=earlier)
        name = value_name(self.run.id, value)
        self._relate("wasDerivedFrom", prov__generatedEntity=name, prov__usedEntity=before)

    def _step(self, step: MadeBy) -> None:
        if step.pinned or step.earlier_run is not None:
            return
        name = _name("step", self.run.id, step.path)
        self._put(
            "activity",
            name,
            prov__label=step.name,
            treadle__path=step.path,
            treadle__node=step.node,
            treadle__kind=step.kind,
            treadle__attempts=step.attempts,
            **_times(step.started_at, step.ended_at),
        )
        self._relate("wasInformedBy", prov__informed=name, prov__informant=_name("run", self.run.id))
        plan = _model(self.found.models.get(step.path.rpartition("/")[0], self.run.content_hash))
        if step.function is not None:
            self._relate(
                "wasAssociatedWith",
                prov__activity=name,
                prov__agent=self._software(step.function, step.code),
                prov__plan=plan,
            )
        if step.agent is not None:
            self._relate(
                "wasAssociatedWith", prov__activity=name, prov__agent=self._software(step.agent, None), prov__plan=plan
            )
        for number, asked in enumerate(step.decisions):
            decision = self._put(
                "entity",
                _name("decision", self.run.id, asked.path, str(number)),
                prov__label=asked.question or asked.path,
                treadle__chosen=asked.chosen,
            )
            self._relate("used", prov__activity=name, prov__entity=decision)
            if asked.by is not None:
                person = self._person(asked.by)
                self._relate("wasAttributedTo", prov__entity=decision, prov__agent=person)
                self._relate("wasAssociatedWith", prov__activity=name, prov__agent=person)

    def _link(self, value: ValueId, source: ValueId, by: str | None) -> None:
        activity = _name("step", self.run.id, by) if by is not None else None
        self._relate(
            "wasDerivedFrom",
            prov__generatedEntity=value_name(self.run.id, value),
            prov__usedEntity=value_name(self.run.id, source),
            prov__activity=activity,
        )
        if activity is not None:
            self._relate("used", prov__activity=activity, prov__entity=value_name(self.run.id, source))

    def _person(self, who: str) -> str:
        kind = {"$": "prov:Person", "type": "prov:QUALIFIED_NAME"}
        return self._put("agent", _name("person", who), prov__type=kind, prov__label=who)

    def _software(self, reference: str, code: str | None) -> str:
        """Name the agent that a function or an AI agent is."""
        kind = {"$": "prov:SoftwareAgent", "type": "prov:QUALIFIED_NAME"}
        name = _name("function", reference)
        return self._put("agent", name, prov__type=kind, prov__label=reference, treadle__sha256=code)


def _model(content_hash: str) -> str:
    return _name("model", content_hash)


def _times(started: Any, ended: Any) -> dict[str, str]:
    found = {"prov__startTime": started, "prov__endTime": ended}
    return {name: moment.isoformat() for name, moment in found.items() if moment is not None}
