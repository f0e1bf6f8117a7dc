"""Models in a store: made, edited, published, archived, deleted and recovered; each change with its ledger entry."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from engine.domain import versions as versions_of
from engine.domain.canonical import Json
from engine.domain.edits import Edit, EditBatch, apply, blank
from engine.domain.events import Action, Draft
from engine.domain.merge import merge
from engine.domain.model import FunctionModel, element_json
from engine.domain.queries import ModelQuery
from engine.domain.rules import Finding, validate
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Semver
from engine.domain.versions import Comparison, Proposal, Version
from engine.domain.writes import InsertBatch, InsertModel, InsertVersion, ModelRow, Record, UpdateModel, Write
from engine.errors import (
    EditRefused,
    ExpressionError,
    ModelArchived,
    ModelInvalid,
    ModelNotFound,
    StaleRevision,
    TetherError,
    VersionNotFound,
)
from engine.ledger.chain import patch
from engine.ports import Catalog, Clock, Expressions, Tethers
from engine.turns import Turns

if TYPE_CHECKING:
    from engine.ports import ModelSource

RECOVERABLE_FOR = timedelta(days=30)
_SEEN = 64
"""How many states of models are kept for those who will save on top of them."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.001, 0.05
_SAVING = Turns()
"""Those of this process who save one model take turns: each would only have to merge what the others did."""
_SAVE_TRIES = 100
"""Each time somebody else came first, whose edits are merged: only a hundred of them in a row make one give up."""


class Models:
    """The models of one store, for one actor."""

    def __init__(
        self, catalog: Catalog, clock: Clock, tethers: Tethers, expressions: Expressions, *, actor: str = "you"
    ) -> None:
        self._catalog, self._clock, self._tethers, self._expressions = catalog, clock, tethers, expressions
        self._actor = actor
        self._seen: dict[tuple[str, int], FunctionModel] = {}

    # ---- finding ----------------------------------------------------------------------------------------------

    def get(self, reference: str) -> FunctionModel:
        """Return a model by id or name; raise `ModelNotFound`."""
        found = self._catalog.model(reference) or self._catalog.model_named(reference)
        if found is None:
            raise ModelNotFound(name=repr(reference))
        return self._remember(found)

    def list(
        self, *, text: str = "", tag: str | None = None, deleted: bool = False, limit: int = 100, offset: int = 0
    ) -> list[ModelRow]:
        """List models, the last changed first; see `Catalog.models`."""
        return self._catalog.models(ModelQuery(text=text, tag=tag, deleted=deleted, limit=limit, offset=offset))

    def nested(self, reference: str, version: Semver | None) -> FunctionModel | None:
        """Return the model that a nested step names: a version's snapshot, or what is there now."""
        found = self._catalog.model(reference) or self._catalog.model_named(reference)
        if found is None or found.deleted_at is not None:
            return None
        if version is None:
            return found
        kept = self._catalog.version(found.id, version)
        return kept.snapshot if kept is not None else None

    def history(self, reference: str) -> list[tuple[int, EditBatch]]:
        """Return (revision, batch) of every save, oldest first."""
        return self._catalog.batches(self.get(reference).id)

    def at_revision(self, reference: str, revision: int) -> FunctionModel:
        """Return a model as it was at a revision: the fold of its edits."""
        now = self.get(reference)
        model = blank(now.id, now.name, owner=now.owner, organization=now.organization)
        for number, batch in self._catalog.batches(now.id):
            if number <= revision:
                model = apply(model, batch.edits).changed(revision=number)
        return model

    # ---- changing ---------------------------------------------------------------------------------------------

    def create(self, name: str, *, description: str = "") -> FunctionModel:
        """Make an empty draft; raise `ModelExists` for a name that is taken."""
        model = self._fresh(name).changed(description=description)
        self._catalog.commit(InsertModel(model=model), self._record("model.created", model.id, None, _keyed(model)))
        return model

    def add(self, model: FunctionModel, *, name: str | None = None) -> FunctionModel:
        """Take in a model, such as one from a file, as a new draft at revision 1 with an id of its own."""
        from engine.domain.gestures import edits_for

        fresh = self._fresh(name or model.name)
        edits = edits_for(model.changed(id=fresh.id, name=fresh.name))
        added = apply(fresh, edits).changed(revision=1 if edits else 0)
        writes: list[Write] = [InsertModel(model=added)]
        if edits:
            writes.append(InsertBatch(batch=self._batch(added, edits, 0, f"Import {model.name}"[:200]), revision=1))
        self._catalog.commit(*writes, self._record("model.created", added.id, None, _keyed(added)))
        return added

    def save(self, reference: str, edits: Sequence[Edit], *, base_revision: int, name: str = "Edit") -> FunctionModel:
        """Apply edits made on top of `base_revision` and return the new state.

        Edits that others saved meanwhile are merged when they touch other fields; else `EditConflict` names both.
        """
        with _SAVING.at(reference):
            return self._save(reference, edits, base_revision, name)

    def _save(self, reference: str, edits: Sequence[Edit], base_revision: int, name: str) -> FunctionModel:
        """Save, again and again while other programs come first."""
        asked = base_revision
        for tried in range(_SAVE_TRIES):
            current = self._editable(reference)
            merged = self._on_top(current, edits, base_revision)
            if not merged:
                return current
            changed = apply(current, merged).changed(revision=current.revision + 1, status="draft")
            batch = self._batch(current, merged, current.revision, name)
            try:
                self._catalog.commit(
                    UpdateModel(model=changed, expected_revision=current.revision),
                    InsertBatch(batch=batch, revision=changed.revision),
                    self._record("model.edited", current.id, _keyed(current), _keyed(changed)),
                )
            except StaleRevision:  # somebody came first: only what they did since has to be merged now
                edits, base_revision = merged, current.revision
                time.sleep(abs(self._clock.noise()) * min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**tried))
                continue
            return self._remember(changed)
        raise StaleRevision(current=self.get(reference).revision, based_on=asked)

    def publish(self, reference: str, *, number: Semver | str | None = None, message: str = "") -> Version:
        """Make an immutable version of the draft; raise `ModelInvalid` unless it has no errors.

        The number proposed by the nature of the change can be raised, not lowered (`VersionTooLow`).
        """
        current = self._editable(reference)
        require_valid(self.validate(current), "published")
        proposal = self.proposal(current.id)
        wanted = Semver.parse(number) if isinstance(number, str) else number
        if wanted is not None:
            versions_of.check_number(proposal, wanted, name=current.name)
        elif proposal.nature is None:
            raise EditRefused(edit="Publish", reason="nothing has changed since the last version")
        chosen = wanted or proposal.number
        published = current.changed(status="published", version=chosen, revision=current.revision + 1)
        version = Version(
            model=current.id,
            number=chosen,
            snapshot=published,
            author=self._actor,
            message=message,
            ts=self._clock.now(),
            content_hash=published.content_hash,
        )
        before = {"status": current.status, "version": str(current.version) if current.version else None}
        after = {"status": "published", "version": str(chosen), "content_hash": version.content_hash}
        self._catalog.commit(
            UpdateModel(model=published, expected_revision=current.revision),
            InsertVersion(version=version),
            self._record("model.published", current.id, before, after),
        )
        return version

    def proposal(self, reference: str) -> Proposal:
        """Return the version number that publishing now would take, with the reasons."""
        current = self.get(reference)
        last = self._catalog.version(current.id, current.version) if current.version else None
        return versions_of.propose(last.snapshot if last else None, current)

    def archive(self, reference: str) -> FunctionModel:
        """Archive a published model: nothing can be changed or run any more."""
        current = self._editable(reference)
        return self._put("model.archived", current, current.changed(status="archived"))

    def delete(self, reference: str) -> FunctionModel:
        """Hide a model. It can be recovered for 30 days."""
        current = self.get(reference)
        gone = current.changed(deleted_at=self._clock.now(), deleted_by=self._actor)
        return self._put("model.deleted", current, gone)

    def recover(self, model: str) -> FunctionModel:
        """Bring a deleted model back by its id; its name must still be free."""
        current = self._catalog.model(model)
        if current is None or current.deleted_at is None:
            raise ModelNotFound(name=repr(model))
        if self._clock.now() - current.deleted_at > RECOVERABLE_FOR:
            raise EditRefused(edit="Recover", reason=f"it was deleted more than {RECOVERABLE_FOR.days} days ago")
        return self._put("model.recovered", current, current.changed(deleted_at=None, deleted_by=None))

    # ---- judging ----------------------------------------------------------------------------------------------

    def validate(self, model: FunctionModel, *, source: ModelSource | None = None) -> tuple[Finding, ...]:
        """Return the findings of a model against this store's models and functions."""
        lookup = source.nested if source is not None else self.nested
        return validate(model, tethers=self._facts, nested=lookup, check_expression=self._why_not_compile)

    def versions(self, reference: str) -> list[Version]:
        """Return a model's versions, newest first."""
        return self._catalog.versions(self.get(reference).id)

    def version(self, reference: str, number: Semver | str) -> Version:
        """Return one version; raise `VersionNotFound` naming those there are."""
        model = self.get(reference)
        wanted = Semver.parse(number) if isinstance(number, str) else number
        found = self._catalog.version(model.id, wanted)
        if found is None:
            known = ", ".join(str(version.number) for version in self._catalog.versions(model.id)) or "none yet"
            raise VersionNotFound(name=repr(model.name), number=wanted, known=known)
        return found

    def compare(self, before: FunctionModel, after: FunctionModel) -> Comparison:
        """Return what differs, field by field."""
        return versions_of.compare(before, after)

    # ---- inside -----------------------------------------------------------------------------------------------

    def _fresh(self, name: str) -> FunctionModel:
        organization = self._catalog.organization
        return FunctionModel(id=self._clock.new_id(), name=name, owner=self._actor, organization=organization)

    def _editable(self, reference: str) -> FunctionModel:
        current = self.get(reference)
        if current.status == "archived":
            raise ModelArchived(name=repr(current.name))
        if current.deleted_at is not None:
            raise ModelNotFound(name=repr(current.name))
        return current

    def _on_top(self, current: FunctionModel, edits: Sequence[Edit], base_revision: int) -> tuple[Edit, ...]:
        if current.revision == base_revision:
            return tuple(edits)
        if current.revision < base_revision:
            raise StaleRevision(current=current.revision, based_on=base_revision)
        theirs = [
            edit for _, batch in self._catalog.batches(current.id, after_revision=base_revision) for edit in batch.edits
        ]
        base = self._seen.get((current.id, base_revision)) or self.at_revision(current.id, base_revision)
        return merge(base, edits, theirs).edits

    def _remember(self, model: FunctionModel) -> FunctionModel:
        """Keep a state that somebody has before them: what they save will be based on it."""
        self._seen[model.id, model.revision] = model
        while len(self._seen) > _SEEN:
            self._seen.pop(next(iter(self._seen)), None)
        return model

    def _put(self, action: Action, before: FunctionModel, after: FunctionModel) -> FunctionModel:
        changed = after.changed(revision=before.revision + 1)
        self._catalog.commit(
            UpdateModel(model=changed, expected_revision=before.revision),
            self._record(action, before.id, _state(before), _state(changed)),
        )
        return changed

    def _batch(self, model: FunctionModel, edits: Iterable[Edit], base_revision: int, name: str) -> EditBatch:
        return EditBatch(
            id=self._clock.new_id(),
            model=model.id,
            name=name,
            actor=self._actor,
            ts=self._clock.now(),
            base_revision=base_revision,
            edits=tuple(edits),
        )

    def _record(self, action: Action, model: str, before: Json, after: Json) -> Record:
        draft = Draft(
            ts=self._clock.now(),
            actor=self._actor,
            action=action,
            entity_kind="model",
            entity=model,
            patch=patch(before, after),
        )
        return Record(draft=draft)

    def _facts(self, reference: str) -> TetherSpec | str:
        """Return a tether's facts, or the sentence that says why it can't be found."""
        try:
            return self._tethers.spec(reference)
        except TetherError as error:
            return str(error)

    def _why_not_compile(self, text: str, names: Sequence[str]) -> str | None:
        try:
            self._expressions.check(text, names)
        except ExpressionError as error:
            return str(error.facts.get("reason", error))
        return None


def require_valid(findings: Iterable[Finding], verb: str) -> None:
    """Raise `ModelInvalid` with the first error and how many others there are (its fact `others`)."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        others = len(errors) - 1
        more = f" And {others} more {'problem' if others == 1 else 'problems'}." if others else ""
        raise ModelInvalid(verb=verb, first=f"{errors[0].message} {errors[0].mend}", more=more, others=others)


def _keyed(model: FunctionModel) -> Json:
    """Return a model's content with its elements by id, so that a patch names what changed and nothing else."""
    return {
        "name": model.name,
        "description": model.description,
        "tags": list(model.tags),
        "nodes": {key: element_json(node) for key, node in model.nodes.items()},
        "wires": {key: element_json(wire) for key, wire in model.wires.items()},
        "dependencies": {key: element_json(edge) for key, edge in model.dependencies.items()},
    }


def _state(model: FunctionModel) -> Json:
    deleted = model.deleted_at.isoformat() if model.deleted_at else None
    return {"status": model.status, "deleted_at": deleted, "deleted_by": model.deleted_by}
