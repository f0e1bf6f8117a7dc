"""What the steps below a stage, a nested model or a per-item step come to together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from engine.domain.runs import Step, StepStatus
from engine.execution.plan import END, Plan

_ITEM = re.compile(r"\[\d+\]$")
_AGAIN = re.compile(r"#\d+$")


@dataclass(frozen=True, slots=True)
class Container:
    """A stage, a call of a nested model, or a step that works through a list, and how far it is."""

    path: str
    name: str
    kind: Literal["stage", "nested", "items"]
    status: StepStatus
    counts: Mapping[StepStatus, int]
    """How many of its steps have each status."""


def whole_of(path: str) -> str:
    """Return the path of the step that an item, or an attempt of a nested call, belongs to."""
    return _ITEM.sub("", _AGAIN.sub("", path))


def summed(plan: Plan, steps: Mapping[str, Step], *, ended: bool) -> dict[str, Container]:
    """Return every container that is known of, by path; a stage inside a nested call has its path before its id."""
    return _Sums(plan, steps, ended=ended).containers()


def plan_at(plan: Plan, call: str) -> Plan | None:
    """Return the plan that is run below a path such as 'per-file[3]'; None if none is."""
    inside: Plan | None = plan
    for segment in call.split("/") if call else ():
        slot = inside.slots.get(segment.partition("[")[0].partition("#")[0]) if inside is not None else None
        inside = inside.nested.get(slot) if inside is not None and slot is not None else None
    return inside


class _Sums:
    def __init__(self, plan: Plan, steps: Mapping[str, Step], *, ended: bool) -> None:
        self.plan, self.steps = plan, steps
        self.rest: StepStatus = "cancelled" if ended else "pending"
        self.below: dict[str, list[str]] = {}
        """Item or inner step by what it belongs to: the whole of a per-item step, the call of a nested one."""
        self.frames: dict[str, Plan] = {"": plan}
        self.placed = set[str]()

    def containers(self) -> dict[str, Container]:
        for path in list(self.steps):
            self._place(path)
        found: dict[str, Container] = {}
        for call, members in self.below.items():
            items = any(_ITEM.search(member) and whole_of(member) == call for member in members)
            found[call] = self._container(call, call, "items" if items else "nested", members)
        for call, plan in self.frames.items():
            prefix = f"{call}/" if call else ""
            for slot, kind in enumerate(plan.kinds):
                if kind == END:
                    stage = plan.nodes[slot]
                    members = [f"{prefix}{plan.nodes[member].id}" for member in plan.members[slot]]
                    found[prefix + stage.id] = self._container(prefix + stage.id, stage.name, "stage", members)
        return found

    def _place(self, path: str) -> None:
        """Note what a step belongs to, and what that belongs to."""
        while path and path not in self.placed:
            self.placed.add(path)
            call, whole = path.rpartition("/")[0], whole_of(path)
            above = whole if whole != path else call
            if above:
                self.below.setdefault(above, []).append(path)
            if call and call not in self.frames:
                inside = plan_at(self.plan, call)
                if inside is not None:
                    self.frames[call] = inside
            path = above

    def _container(
        self, path: str, name: str, kind: Literal["stage", "nested", "items"], members: Iterable[str]
    ) -> Container:
        counts: dict[StepStatus, int] = {}
        for member in members:
            found = self.status(member)
            counts[found] = counts.get(found, 0) + 1
        status = self.status(path) if kind != "stage" else _together(counts)
        return Container(path, name, kind, status, counts)

    def status(self, path: str) -> StepStatus:
        """Return the status of a step: its own, or what those below it say while it has none."""
        step = self.steps.get(path)
        if step is not None and step.status != "pending":
            return step.status
        below = self.below.get(path)
        if not below:
            return self.rest
        return self.rest if self.rest == "cancelled" else _under_way({self.status(each) for each in below})


def _under_way(statuses: set[StepStatus]) -> StepStatus:
    return "waiting" if "waiting" in statuses and not statuses & {"running", "retrying"} else "running"


def _together(counts: Mapping[StepStatus, int]) -> StepStatus:
    present = set(counts)
    for status in ("failed", "cancelled"):
        if status in present:
            return status
    if present & {"running", "retrying", "waiting"}:
        return _under_way(present)
    if "pending" in present:
        return "pending" if present == {"pending"} else "running"
    return "skipped" if present == {"skipped"} else "succeeded"
