"""The ledger of a store: read, verified, signed from time to time."""

from __future__ import annotations

from engine.domain.events import Entry, Head
from engine.domain.queries import EntryQuery
from engine.errors import LedgerTampered
from engine.ledger.checkpoints import Checkpoint, CheckpointFile
from engine.ledger.verification import Verification, verify
from engine.ports import Catalog, Clock


class Ledger:
    """Who changed what, when; and the proof that nobody changed it afterwards."""

    def __init__(self, catalog: Catalog, clock: Clock, checkpoints: CheckpointFile | None) -> None:
        self._catalog, self._clock, self._checkpoints = catalog, clock, checkpoints

    def entries(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        action: str | None = None,
        entity: str | None = None,
        actor: str | None = None,
        text: str = "",
        newest_first: bool = False,
        limit: int = 1_000,
    ) -> list[Entry]:
        """Return entries; see `Catalog.entries`."""
        return self._catalog.entries(
            EntryQuery(
                after=after,
                before=before,
                action=action,
                entity=entity,
                actor=actor,
                text=text,
                newest_first=newest_first,
                limit=limit,
            )
        )

    def head(self) -> Head:
        """Return how many entries there are and the hash of the last."""
        return self._catalog.head()

    def verify(self) -> Verification:
        """Walk the whole chain and name the first entry that was altered, removed, inserted or moved."""
        try:
            signed = self._checkpoints.read() if self._checkpoints is not None else []
        except LedgerTampered as error:
            return Verification(ok=False, entries=0, first_bad=None, reason=str(error.facts["reason"]))
        with self._catalog.ledger() as (head, rows):
            return verify(rows, head, signed)

    def sign(self) -> Checkpoint | None:
        """Sign the head with the key kept outside the store; None for a store without a file of checkpoints."""
        return self._checkpoints.append(self.head(), self._clock.now()) if self._checkpoints is not None else None
