"""What a run does to the nodes on the canvas: events folded into one status for each top-level node.

Steps inside a nested model and items of a per-item step count towards their node: "3 of 12".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.domain.model import FunctionModel
from engine.domain.nodes import ActionFields, Boundary
from engine.domain.runs import Run, Step
from engine.execution.frames import RunEvent
from engine.execution.values import summary

Status = dict[str, Any]

_TOP = re.compile(r"[/\[#]")
_FINAL = frozenset({"succeeded", "cached", "failed", "skipped", "cancelled"})
_DETAIL_CHARS = 60


@dataclass
class Overlay:
    """Statuses of one run. `take` folds events in and returns the statuses that changed; not thread-safe by itself."""

    model: FunctionModel
    totals: Mapping[str, int] = field(default_factory=dict)
    """Node of a nested model -> how many steps it has inside."""
    status: dict[str, Status] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._waits: dict[str, set[str]] = {}
        self._inside: dict[str, set[str]] = {}

    def begin(self, until: str | None = None) -> dict[str, Status]:
        """Return the statuses at the start: everything that may run is queued."""
        wanted = _needed(self.model, until)
        for key, node in self.model.nodes.items():
            runs = isinstance(node, ActionFields) and node.status not in ("inactive", "archived")
            if key in wanted and (runs or isinstance(node, Boundary)):
                self._waits[key] = {wire.source for wire in self.model.wires_into(key)} & wanted
                self.status[key] = {"state": "queued", "detail": _waiting(len(self._waits[key]))}
        return dict(self.status)

    def take(self, events: Iterable[RunEvent]) -> dict[str, Status]:
        """Fold events in and return the statuses that changed."""
        changed: set[str] = set()
        for event in events:
            top = _TOP.split(event.path, maxsplit=1)[0]
            if top not in self.model.nodes:
                continue
            if top == event.path:
                self._own(top, event)
                changed.add(top)
                if event.state in _FINAL:
                    changed |= self._release(top)
            elif self._part(top, event):
                changed.add(top)
        return {key: dict(self.status[key]) for key in changed}

    def end(self, run: Run) -> dict[str, Status]:
        """Return what changes when the run has ended: nothing stays queued or running. One that rests goes on later."""
        changed: dict[str, Status] = {}
        if run.status in ("waiting", "paused"):
            return changed
        for key, status in self.status.items():
            if status["state"] in _FINAL:
                continue
            state = "cancelled" if run.status == "cancelled" else "skipped"
            changed[key] = self.status[key] = {"state": state, "detail": "not reached"}
        return changed

    def _own(self, key: str, event: RunEvent) -> None:
        """Fold in an event of a top-level node itself."""
        facts = event.facts
        before = self.status.get(key, {})
        match event.state:
            case "running":
                self.status[key] = {"state": "running", **_attempts(facts)}
            case "progress":
                share = {"progress": facts.get("progress"), "detail": str(facts.get("text") or "")[:_DETAIL_CHARS]}
                self.status[key] = {**before, "state": "running", **share}
            case "retrying":
                self.status[key] = {**before, "state": "retrying", "message": facts.get("error", "")}
            case "succeeded":
                began_us = facts.get("began_us") or 0
                timed = {"ms": max(0.0, (event.ts_us - began_us) / 1000)} if began_us else {}
                self.status[key] = {"state": "succeeded", **timed, "detail": detail_of(facts.get("outputs") or {})}
            case "failed":
                kept = {name: before[name] for name in ("attempt", "attempts") if name in before}
                self.status[key] = {"state": "failed", **kept, "message": str(facts.get("error", ""))}
            case "skipped" | "cancelled" | "cached" | "waiting":
                words = str(facts.get("reason") or facts.get("question") or "")
                self.status[key] = {"state": event.state, "detail": words[:_DETAIL_CHARS]}

    def _part(self, key: str, event: RunEvent) -> bool:
        """Fold in an event of something inside a node."""
        total = self.totals.get(key, 0)
        ended = self._inside.setdefault(key, set())
        if event.state not in _FINAL or not total or self.status.get(key, {}).get("state") in _FINAL:
            return False
        ended.add(event.path)
        done = min(len(ended), total)
        self.status[key] = {
            **self.status.get(key, {}),
            "state": "running",
            "progress": done / total,
            "detail": f"{done} of {total}",
        }
        return True

    def _release(self, key: str) -> set[str]:
        """Count a node that has ended for those that wait for it."""
        changed: set[str] = set()
        for wire in self.model.wires_out_of(key):
            waits = self._waits.get(wire.target, set())
            if key in waits:
                waits.discard(key)
                if self.status.get(wire.target, {}).get("state") == "queued":
                    self.status[wire.target]["detail"] = _waiting(len(waits))
                    changed.add(wire.target)
        return changed


def of_steps(model: FunctionModel, run: Run, steps: Sequence[Step]) -> dict[str, Status]:
    """Return the statuses of a run that is kept: what its nodes showed at its end."""
    found: dict[str, Status] = {}
    for step in steps:
        if step.path != step.node or step.node not in model.nodes:
            continue
        status: Status = {"state": step.status, "detail": ", ".join(v.summary for v in step.outputs.values())}
        if step.duration_s is not None:
            status["ms"] = step.duration_s * 1000
        if step.status == "failed":
            status |= {"message": step.error or "", "attempt": len(step.attempts), "attempts": len(step.attempts)}
        if step.status == "skipped":
            status["detail"] = step.reason or ""
        found[step.node] = {**status, "detail": str(status["detail"])[:_DETAIL_CHARS]}
    for node in model.input_boundaries():
        values = [run.inputs[port.name].summary for port in node.outputs if port.name in run.inputs]
        found[node.id] = {"state": "succeeded", "detail": ", ".join(values)[:_DETAIL_CHARS]}
    for node in model.output_boundaries():
        values = [run.outputs[port.name].summary for port in node.inputs if port.name in run.outputs]
        state = "succeeded" if values else "skipped"
        found[node.id] = {"state": state, "detail": ", ".join(values)[:_DETAIL_CHARS]}
    return found


def detail_of(outputs: Mapping[str, Any]) -> str:
    """Return what a node says of its outputs: the first one's size, and its name if there are more."""
    return ", ".join(summary(value) for value in outputs.values())[:_DETAIL_CHARS]


def _attempts(facts: Mapping[str, Any]) -> Status:
    attempt, attempts = facts.get("attempt", 1), facts.get("attempts", 1)
    return {"attempt": attempt, "attempts": attempts} if attempts > 1 else {}


def _waiting(count: int) -> str:
    return f"waits for {count}" if count else ""


def _needed(model: FunctionModel, until: str | None) -> set[str]:
    """Return the nodes that a run to `until` may run: all, or it and everything before it."""
    if until is None:
        return set(model.nodes)
    found, open_ends = {until}, [until]
    while open_ends:
        for wire in model.wires_into(open_ends.pop()):
            if wire.source not in found:
                found.add(wire.source)
                open_ends.append(wire.source)
    return found
