"""Forks: a new run that goes on from any event of an earlier one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from engine.domain.canonical import as_object
from engine.domain.model import FunctionModel
from engine.domain.runs import Durability, Run, Step
from engine.execution.frames import Seed, Watch
from engine.execution.invocation import constant_outputs
from engine.execution.plan import ACTION, Plan
from engine.execution.values import load
from engine.history.containers import plan_at, whole_of
from engine.history.timeline import State
from engine.models import Models
from engine.ports import Blobs, ModelSource
from engine.run_handle import RunHandle
from engine.run_models import as_it_ran
from engine.run_reuse import Extent

_DONE = ("succeeded", "cached")


class Starter(Protocol):
    """Starts runs: `engine.runs.Runs`."""

    def start(
        self,
        model: FunctionModel,
        inputs: Mapping[str, Any] | None = None,
        *,
        durability: Durability = "pipelined",
        extent: Extent = ...,
        watch: Watch | None = None,
        source: ModelSource | None = None,
        workers: int | None = None,
        seeds: Mapping[str, Seed] | None = None,
    ) -> RunHandle:
        """Start a run; `seeds`: results by path that are taken instead of running the step."""
        ...


@dataclass(frozen=True, slots=True)
class Fork:
    """What a run needs that goes on from event `number` of `run`."""

    run: Run
    number: int
    model: FunctionModel
    source: ModelSource
    inputs: Mapping[str, Any]
    seeds: Mapping[str, Seed]
    """Results of the steps that were done by then, by path. What failed or was asked by then is tried again."""

    @property
    def extent(self) -> Extent:
        """How much of the model the earlier run ran."""
        options = as_object(self.run.options)
        return Extent(until=tuple(options.get("until") or ()) or None, only=tuple(options.get("only") or ()) or None)


class Forks:
    """Makes and starts forks."""

    def __init__(self, models: Models, blobs: Blobs, starter: Starter) -> None:
        """Start runs with `starter`."""
        self._models, self._blobs, self._starter = models, blobs, starter

    def fork(self, run: Run, state: State) -> Fork:
        """Return what a run needs that goes on from a state of `run`."""
        model, source = as_it_ran(run, self._models)
        inputs = {name: load(value, self._blobs) for name, value in run.inputs.items()}
        seeds = seeds_of(run, state, self._blobs)
        return Fork(run, state.number, model, source, inputs, seeds)

    def start(self, fork: Fork, *, watch: Watch | None = None, durability: Durability | None = None) -> RunHandle:
        """Start a run that goes on from there; raises what `Runs.start` raises."""
        return self._starter.start(
            fork.model,
            fork.inputs,
            durability=durability or fork.run.durability,
            extent=fork.extent,
            watch=watch,
            source=fork.source,
            workers=fork.run.options.get("workers"),
            seeds=fork.seeds,
        )


def seeds_of(run: Run, state: State, blobs: Blobs) -> dict[str, Seed]:
    """Return the results that a fork takes over: those of steps that were done and not undone by then.

    A step that failed for good has the result of what stood in for it. Where nothing did, it is tried again, and so is
    everything that got values from it directly or by others, because they may be different now.
    """
    reason = f"forked from run {run.id} at event {state.number}"
    undone = _undone(state)
    found: dict[str, Seed] = {}
    stale = set[str]()
    for path, step in state.steps.items():
        if step.status in _DONE and path not in undone:
            found[path] = Seed({port: load(value, blobs) for port, value in step.outputs.items()}, reason)
            continue
        stand_in = _stood_in(state, step, blobs) if step.status == "failed" else None
        if stand_in is not None:
            found[path] = Seed(stand_in, reason)
        elif path in undone or (step.status == "failed" and not _is_past(state, path)):
            stale.update(_fed_by(state.plan, path))
    return {path: seed for path, seed in found.items() if stale.isdisjoint(_lineage(path))}


def _is_past(state: State, path: str) -> bool:
    """Say whether something around a step is done in spite of its failure."""
    around = (state.steps.get(each) for each in (whole_of(path), *_lineage(path.rpartition("/")[0])))
    return any(step is not None and step.status in _DONE for step in around)


def _lineage(path: str) -> Iterable[str]:
    """Yield the step that a path belongs to and those around it, without items and attempts."""
    while path:
        yield whole_of(path)
        path = path.rpartition("/")[0]


def _undone(state: State) -> set[str]:
    """Return the compensations that were made and the steps that they undid."""
    found = set[str]()
    for path, step in state.steps.items():
        call, slash, last = path.rpartition("/")
        compensation, mark, undone = last.partition("#")
        inside = plan_at(state.plan, call)
        if mark and step.status in _DONE and inside is not None and undone in inside.slots and compensation:
            found.update((path, f"{call}{slash}{undone}"))
    return found


def _stood_in(state: State, step: Step, blobs: Blobs) -> dict[str, Any] | None:
    """Return what stood in for a step that failed for good, if that is known."""
    call, slash, last = step.path.rpartition("/")
    inside = plan_at(state.plan, call)
    slot = inside.slots.get(step.node) if inside is not None else None
    if inside is None or slot is None or inside.kinds[slot] != ACTION:
        return None
    fallback = inside.nodes[slot].fallback
    if fallback is None or fallback.use == "cached":
        return None
    if fallback.use == "constant":
        return constant_outputs(inside.work(slot), fallback.constant)
    item = last[last.find("[") :] if "[" in last else ""
    other = state.steps.get(f"{call}{slash}{fallback.action}{item}")
    if other is None or other.status not in _DONE:
        return None
    return {port: load(value, blobs) for port, value in other.outputs.items()}


def _fed_by(plan: Plan, path: str) -> Iterable[str]:
    """Yield the steps that got values from a step or from those around it, by others too."""
    while path:
        call, slash, node = whole_of(path).rpartition("/")
        inside = plan_at(plan, call)
        slot = inside.slots.get(node) if inside is not None else None
        if inside is not None and slot is not None:
            for each in _readers(inside, slot):
                yield f"{call}{slash}{inside.nodes[each].id}"
        path = call


def _readers(plan: Plan, slot: int) -> set[int]:
    readers: dict[int, list[int]] = {}
    for target, arguments in enumerate(plan.arguments):
        for argument in arguments:
            for source, _ in argument.sources:
                readers.setdefault(source, []).append(target)
    found, stack = set[int](), list(readers.get(slot, ()))
    while stack:
        each = stack.pop()
        if each not in found:
            found.add(each)
            stack.extend(readers.get(each, ()))
    return found
