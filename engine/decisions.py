"""Decisions in the store: opened by runs that wait, chosen by people, rules, signals and deadlines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from engine.domain.canonical import Json
from engine.domain.entities import Decision, Option
from engine.domain.events import Action, Draft
from engine.domain.queries import EntityQuery
from engine.domain.writes import PutEntity, Record
from engine.errors import DecisionClosed, DecisionNotFound, NotAChooser, OptionUnknown, StaleRevision
from engine.execution.waits import signal_path
from engine.ledger.chain import patch
from engine.ports import Catalog, Clock

_PAGE = 500


class StoredDecisions:
    """The decisions of a store. Safe to use from any thread and any program."""

    def __init__(self, catalog: Catalog, clock: Clock, *, actor: str) -> None:
        """Keep decisions in `catalog`; `actor` is who this program acts for."""
        self._catalog, self._clock, self._actor = catalog, clock, actor

    def open(self, decision: Decision) -> Decision:
        """Keep a decision, unless there is one of its key; return the one that is kept."""
        kept = self._get(decision.key)
        if kept is not None:
            return kept
        with suppress(StaleRevision):  # another thread or program opened it meanwhile
            self._put(decision.model_copy(update={"revision": 1}), None, "decision.opened", expected=0)
        return self._get(decision.key) or decision

    def settle(self, decision: Decision) -> Decision:
        """Choose the default of a decision whose deadline has passed, if nothing is chosen; return it as it is kept."""
        kept = self._get(decision.key) or decision
        if kept.chosen is not None or kept.default is None:
            return kept
        try:
            return self._choose(kept, kept.default, by=None, reason="nobody chose in time")
        except StaleRevision:
            return self._get(decision.key) or kept

    def choose(
        self, run: str, path: str, option: str, *, value: Json = None, by: str | None = None, reason: str = ""
    ) -> Decision:
        """Choose an option; `by`: who does, else whom this program acts for.

        Raises `DecisionNotFound`, `OptionUnknown`, `NotAChooser`, or `DecisionClosed` when somebody was faster.
        """
        kept = self._get(f"{run} {path}")
        if kept is None:
            raise DecisionNotFound(run=run, path=path)
        who = by or self._actor
        if kept.chosen is not None:
            raise DecisionClosed(path=path, chosen=kept.chosen, by=kept.chosen_by or "its deadline")
        if option not in {each.id for each in kept.options}:
            raise OptionUnknown(option=option, known=", ".join(each.id for each in kept.options))
        if kept.choosers and who not in kept.choosers:
            raise NotAChooser(who=who, choosers=", ".join(kept.choosers))
        try:
            return self._choose(kept, option, by=who, reason=reason, value=value)
        except StaleRevision:
            now = self._get(kept.key) or kept
            raise DecisionClosed(path=path, chosen=now.chosen or option, by=now.chosen_by or "its deadline") from None

    def send(self, run: str, name: str, value: Json) -> Decision:
        """Send a signal to a run: to the steps that wait for it, or that will. The first one counts.

        Raises `DecisionClosed` when it was sent before or was not waited for any more.
        """
        path = signal_path(name)
        options = (Option(id="received", name="It came"), Option(id="missed", name="It did not come"))
        now = self._clock.now()
        self.open(Decision(run=run, path=path, awaits="signal", signal=name, options=options, opened_at=now))
        return self.choose(run, path, "received", value=value)

    def of(self, run: str) -> list[Decision]:
        """Return the decisions of a run, those that are made included."""
        return list(self._all(EntityQuery(kind="decision", about=run, limit=_PAGE)))

    def due(self) -> list[Decision]:
        """Return open decisions whose deadline has passed, the first due first."""
        return list(self._all(EntityQuery(kind="decision", due_before=self._clock.now(), limit=_PAGE)))

    def _all(self, query: EntityQuery) -> Iterator[Decision]:
        return (found for found in self._catalog.entities(query) if isinstance(found, Decision))

    def _get(self, key: str) -> Decision | None:
        found = self._catalog.entity("decision", key)
        return found if isinstance(found, Decision) else None

    def _choose(self, kept: Decision, option: str, *, by: str | None, reason: str, value: Json = None) -> Decision:
        made = kept.model_copy(
            update={
                "revision": kept.revision + 1,
                "chosen": option,
                "chosen_by": by,
                "chosen_at": self._clock.now(),
                "reason": reason,
                "value": value,
            }
        )
        self._put(made, kept, "decision.made", expected=kept.revision)
        return made

    def _put(self, decision: Decision, before: Decision | None, action: Action, *, expected: int) -> None:
        told = None if before is None else {"chosen": before.chosen}
        after = {"question": decision.question, "chosen": decision.chosen, "reason": decision.reason}
        draft = Draft(
            ts=self._clock.now(),
            actor=decision.chosen_by or self._actor,
            action=action,
            entity_kind="decision",
            entity=decision.key,
            run=decision.run,
            patch=patch(told, after),
        )
        self._catalog.commit(PutEntity(entity=decision, expected_revision=expected), Record(draft=draft))
