"""How much of a model a run runs, and results that it takes instead of running the steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.domain.canonical import Json, as_object
from engine.domain.model import element_json
from engine.domain.nodes import Tether
from engine.domain.runs import Run, Step
from engine.errors import InputRefused
from engine.execution.frames import Seed
from engine.execution.plan import ACTION, SOURCE, Plan
from engine.execution.values import load, store
from engine.ports import Blobs, Tethers


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much of a model a run runs.

    until: nodes; only they and what they need are run.
    only: nodes; only they are run, with pinned values or those of the run `reuse`.
    pins: values by node and port that are taken instead of running the node.
    reuse: the id of an earlier run whose results are taken where they still hold.
    again: nodes that are run again in spite of `reuse`, with all that waits for them.
    unchanged: of the run `reuse`, or else of the model's last good one, take what pure steps gave whose inputs, node
        and function are the same.
    breakpoints: nodes or paths of steps before which the run pauses.
    steps: pause after so many steps.
    """

    until: str | Sequence[str] | None = None
    only: str | Sequence[str] | None = None
    pins: Mapping[str, Mapping[str, Any]] | None = None
    reuse: str | None = None
    again: Sequence[str] = ()
    unchanged: bool = False
    breakpoints: Sequence[str] = ()
    steps: int | None = None

    def options(self) -> dict[str, Json]:
        """Return what a run keeps of it: enough to go on after a pause."""
        return {
            "until": names_of(self.until),
            "only": names_of(self.only),
            "breakpoints": list(self.breakpoints),
            "steps": self.steps,
            "reuse": self.reuse,
        }


def names_of(given: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return one name or several as a tuple."""
    return () if given is None else (given,) if isinstance(given, str) else tuple(given)


def pinned(plan: Plan, pins: Mapping[str, Mapping[str, Any]]) -> dict[str, Seed]:
    """Return seeds of values that somebody fixed, by node; `InputRefused` names a node or port that isn't there."""
    seeds: dict[str, Seed] = {}
    for name, outputs in pins.items():
        slot = plan.slots.get(name)
        if slot is None:
            raise InputRefused(where="pins", reason=f"there is no node {name!r} to pin")
        ports = {port.name for port in plan.nodes[slot].outputs}
        strange = next((port for port in outputs if ports and port not in ports), None)
        if strange is not None:
            known = ", ".join(sorted(ports))
            raise InputRefused(where="pins", reason=f"{name!r} has no output {strange!r}; it has: {known}")
        seeds[name] = Seed(dict(outputs), "pinned")
    return seeds


def codes_of(plan: Plan, tethers: Tethers) -> dict[str, str]:
    """Return the digests of the functions that a plan calls, those of nested models included."""
    found = {node.reference for node in plan.nodes if isinstance(node, Tether)}
    codes = {reference: tethers.spec(reference).code for reference in sorted(found)}
    for inner in plan.nested.values():
        codes.update(codes_of(inner, tethers))
    return codes


def altered(plan: Plan, earlier: Run, inputs: Mapping[str, Any], blobs: Blobs, codes: Mapping[str, str]) -> set[str]:
    """Return the nodes whose results need not be what they were: effects, other functions, other inputs."""
    known = as_object(earlier.options.get("functions"))
    odd = {reference for reference, code in codes.items() if not code or known.get(reference) != code}
    found: set[str] = set()
    for slot, kind in enumerate(plan.kinds):
        node = plan.nodes[slot]
        if kind == SOURCE:
            kept = {name: value.sha256 for name, value in earlier.inputs.items()}
            now = {name: store(value, blobs, port=name).sha256 for name, value in inputs.items()}
            if any(kept.get(port.name) != now.get(port.name) for port in node.outputs):
                found.add(node.id)
        elif kind == ACTION and (plan.work(slot).effect or _calls(plan, slot) & odd or plan.nested.get(slot)):
            found.add(node.id)
    return found


def _calls(plan: Plan, slot: int) -> set[str]:
    node = plan.nodes[slot]
    return {node.reference} if isinstance(node, Tether) else set()


def reused(
    earlier: Run, before: Plan, steps: Sequence[Step], plan: Plan, blobs: Blobs, *, again: Iterable[str] = ()
) -> dict[str, Seed]:
    """Return the results of an earlier run that still hold in `plan`.

    Left out are: the nodes `again` and all that waits for them, nodes that are new or have changed since `before`
    with all that waits for those, and what didn't succeed.
    """
    changed = [node.id for node in before.nodes if node.id in plan.slots and not _same(before, plan, node.id)]
    unknown = next((name for name in again if name not in plan.slots), None)
    if unknown is not None:
        raise InputRefused(where="from", reason=f"there is no node {unknown!r} to run from")
    new = [name for name in plan.slots if name not in before.slots]
    stale = plan.descendants(*again, *changed, *new)
    fresh = {name for name, slot in plan.slots.items() if slot not in stale and name in before.slots}
    reason = f"taken from run {earlier.id}"
    return {
        step.path: Seed({port: load(value, blobs) for port, value in step.outputs.items()}, reason)
        for step in steps
        if step.status in ("succeeded", "cached") and _top(step.path) in fresh
    }


def _top(path: str) -> str:
    """Return the node of the outermost model that a step belongs to."""
    return path.partition("/")[0].partition("[")[0].partition("#")[0]


def _same(before: Plan, plan: Plan, name: str) -> bool:
    old, new = before.slots[name], plan.slots[name]
    if element_json(before.nodes[old]) != element_json(plan.nodes[new]):
        return False
    inner, found = before.nested.get(old), plan.nested.get(new)
    return (inner is None or found is None or inner.model.content_hash == found.model.content_hash) and [
        (argument.port, [(before.nodes[source].id, port) for source, port in argument.sources])
        for argument in before.arguments[old]
    ] == [
        (argument.port, [(plan.nodes[source].id, port) for source, port in argument.sources])
        for argument in plan.arguments[new]
    ]
