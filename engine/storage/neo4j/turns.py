"""Turns of this process at committing: one at a time, and nobody comes too late again and again.

Eight who change one model read it, and one of them comes first; the others read it anew. As a commit takes longer than
a read, one of them could go on coming too late for ever. So whoever was told that it is stale has the next turn at
this subject, if it comes back soon.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from threading import Condition, get_ident

from engine.domain.writes import PutEntity, RemoveEntity, UpdateModel, Write
from engine.errors import StaleRevision

_PROMISED_S = 0.1


class Turns:
    """Who may commit."""

    def __init__(self) -> None:
        """Begin with everybody free to."""
        self._changed = Condition()
        self._is_taken = False
        self._promised: dict[str, list[tuple[int, float]]] = {}
        """By subject: the threads that come next, and until when that holds."""

    @contextmanager
    def taken(self, writes: Sequence[Write] = ()) -> Generator[None]:
        """Have the turn; who finds a subject stale meanwhile is promised the next one at it."""
        subjects = subjects_of(writes)
        with self._changed:
            while self._is_taken or not self._may_go(subjects):
                self._changed.wait(_PROMISED_S)
            self._is_taken = True
        is_stale = False
        try:
            yield
        except StaleRevision:
            is_stale = True
            raise
        finally:
            with self._changed:
                self._is_taken = False
                for subject in subjects:
                    self._keep_promise(subject, anew=is_stale)
                self._changed.notify_all()

    def _may_go(self, subjects: frozenset[str]) -> bool:
        now = time.monotonic()
        for subject in subjects & self._promised.keys():
            waiting = [promise for promise in self._promised[subject] if promise[1] > now]
            self._promised[subject] = waiting
            if waiting and waiting[0][0] != get_ident():
                return False
        return True

    def _keep_promise(self, subject: str, *, anew: bool) -> None:
        waiting = [promise for promise in self._promised.pop(subject, ()) if promise[0] != get_ident()]
        if anew:
            waiting.append((get_ident(), time.monotonic() + _PROMISED_S * (len(waiting) + 1)))
        if waiting:
            self._promised[subject] = waiting


def subjects_of(writes: Sequence[Write]) -> frozenset[str]:
    """Return what is changed on the condition that nobody else has changed it."""
    found: set[str] = set()
    for write in writes:
        match write:
            case UpdateModel(model=model):
                found.add(f"model {model.id}")
            case PutEntity(entity=entity, expected_revision=int()):
                found.add(f"{entity.kind} {entity.key}")
            case RemoveEntity(kind=kind, key=key, expected_revision=int()):
                found.add(f"{kind} {key}")
            case _:
                pass
    return frozenset(found)
