"""What a person did to a model since it was saved: batches of edits with their inverses, undone and done again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from engine.domain.canonical import Json
from engine.domain.edits import EDIT, Configure, Describe, Edit, Move, apply, edit_json, inverse
from engine.domain.model import FunctionModel
from engine.errors import EditRefused

COALESCE_S = 3.0
"""Edits of the same key that follow one another this closely are one step of undo."""
_KEPT_STEPS = 200


@dataclass(frozen=True)
class Batch:
    """One step: what the undo button calls it, its edits, and the edits that take it back.

    `key` says what it was about, such as one field of one node; consecutive batches of one key become one.
    """

    name: str
    edits: tuple[Edit, ...]
    inverse: tuple[Edit, ...]
    key: str = ""
    at_s: float = 0.0

    @cached_property
    def json(self) -> dict[str, Json]:
        """The batch as it is kept."""
        return {
            "name": self.name,
            "edits": [edit_json(edit) for edit in self.edits],
            "inverse": [edit_json(edit) for edit in self.inverse],
        }

    @classmethod
    def of_json(cls, plain: Any) -> Batch:
        """Read a kept batch; raise ValueError for anything else."""
        if not isinstance(plain, dict) or not isinstance(plain.get("name"), str):
            raise ValueError("not a batch")  # noqa: TRY004 - whatever it is, the draft is unreadable
        edits, back = (
            tuple(EDIT.validate_python(edit) for edit in plain.get(name) or ()) for name in ("edits", "inverse")
        )
        return cls(plain["name"], edits, back)

    def turned(self) -> Batch:
        """Return the batch that takes this one back."""
        return Batch(f"Undo {self.name}", self.inverse, self.edits)


class History:
    """A model with the steps that can be undone, those that can be done again, and those not saved yet."""

    def __init__(self, base: FunctionModel) -> None:
        self.base = self.model = base
        self.done: list[Batch] = []
        self.undone: list[Batch] = []
        self.pending: list[Batch] = []

    def do(self, name: str, edits: Sequence[Edit], *, key: str = "", at_s: float = 0.0) -> bool:
        """Apply edits as one step; False if they change nothing. Raises `EditRefused` and has then changed nothing."""
        if not edits:
            return False
        after = apply(self.model, edits)
        if _changes_nothing(self.model, after, edits):
            return False
        last = self.done[-1] if self.done else None
        grows = bool(key) and last is not None and last.key == key and at_s - last.at_s <= COALESCE_S
        if grows and last is not None and self.pending and self.pending[-1] is last and not self.undone:
            same = [_target(edit) for edit in last.edits] == [_target(edit) for edit in edits]
            back = last.inverse if same else (*inverse(self.model, edits), *last.inverse)
            step = Batch(last.name, tuple(edits) if same else (*last.edits, *edits), back, key, at_s)
            self.done[-1] = self.pending[-1] = step
        else:
            step = Batch(name, tuple(edits), inverse(self.model, edits), key, at_s)
            self.done.append(step)
            self.pending.append(step)
        self.undone.clear()
        self.model = after
        return True

    def undo(self) -> Batch | None:
        """Take back the last step and return it. Raises `EditRefused` if others' edits made that impossible."""
        if not self.done:
            return None
        step = self.done[-1]
        try:
            self.model = apply(self.model, step.inverse)
        except EditRefused:
            self.done.pop()
            raise
        self.undone.append(self.done.pop())
        self._note(step, step.turned())
        return step

    def redo(self) -> Batch | None:
        """Do the step that was undone last again and return it. Raises as `undo`."""
        if not self.undone:
            return None
        step = self.undone[-1]
        try:
            self.model = apply(self.model, step.edits)
        except EditRefused:
            self.undone.clear()
            raise
        self.done.append(self.undone.pop())
        self._note(step.turned(), step)
        return step

    def edits(self) -> tuple[Edit, ...]:
        """Return what has to be applied to the base to have the model as it is now."""
        return tuple(edit for step in self.pending for edit in step.edits)

    def saved(self, model: FunctionModel) -> None:
        """Go on from `model`, which holds every step there was."""
        self.base = self.model = model
        self.pending = []

    def discard(self, model: FunctionModel) -> None:
        """Go on from `model` and forget every step."""
        self.saved(model)
        self.done, self.undone = [], []

    def to_json(self) -> dict[str, Json]:
        """Return what `restore` needs to continue after a restart."""
        done = self.done[-_KEPT_STEPS:]
        places = {id(step): place for place, step in enumerate(done)}
        return {
            "base_revision": self.base.revision,
            "done": [step.json for step in done],
            # A place in `done`, or a batch of its own for one that takes something back.
            "pending": [places.get(id(step), step.json) for step in self.pending],
            "undone": [step.json for step in self.undone[-_KEPT_STEPS:]],
        }

    def restore(self, kept: Any) -> bool:
        """Take up what `to_json` gave, on top of the base; False (and nothing changed) if it does not fit there."""
        try:
            done, undone = ([Batch.of_json(plain) for plain in kept[name]] for name in ("done", "undone"))
            pending = [done[plain] if isinstance(plain, int) else Batch.of_json(plain) for plain in kept["pending"]]
            model = self.base
            for step in pending:
                model = apply(model, step.edits)
        except (EditRefused, ValidationError, ValueError, LookupError, TypeError):
            return False
        self.model, self.done, self.undone, self.pending = model, done, undone, pending
        return True

    def _note(self, opposite: Batch, step: Batch) -> None:
        """Keep a step that is to be saved, unless it only cancels the one before."""
        last = self.pending[-1] if self.pending else None
        if last is not None and (last.edits, last.inverse) == (opposite.edits, opposite.inverse):
            self.pending.pop()
        else:
            self.pending.append(step)


def _target(edit: Edit) -> object:
    if isinstance(edit, Configure | Describe):
        return (edit.edit, getattr(edit, "id", None), tuple(change.path for change in edit.changes))
    return (edit.edit, edit.id) if isinstance(edit, Move) else object()


def _changes_nothing(before: FunctionModel, after: FunctionModel, edits: Sequence[Edit]) -> bool:
    if all(isinstance(edit, Configure | Move) for edit in edits):
        touched = {edit.id for edit in edits if isinstance(edit, Configure | Move)}
        return all(before.nodes[key] == after.nodes[key] for key in touched)
    if all(isinstance(edit, Describe) for edit in edits):
        return (before.name, before.description, before.tags) == (after.name, after.description, after.tags)
    return False
