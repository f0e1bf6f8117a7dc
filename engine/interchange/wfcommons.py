"""WfCommons: recorded scientific workflows (WfFormat) as models whose steps take as long as the tasks did.

One parallel stage holds a step for each task and a wire for each link. A step waits for the recorded seconds
(`wfcommons.task`); what the recording says besides stays in the metadata and in the loss report.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from engine.domain.canonical import Json, as_list, as_object, canonical_bytes, loads
from engine.domain.ids import slug
from engine.domain.model import Dependency, FunctionModel, Wire
from engine.domain.nodes import Boundary, Stage, Tether
from engine.domain.values import Port, Position
from engine.errors import ImportRefused, NotCanonical
from engine.interchange.imported import Imported
from engine.interchange.loss import LossCounter
from engine.interchange.shape import Shape, places, shape_of
from engine.interchange.wfcommons_document import Document, Task, circle_refused, read_document

REFERENCE = "wfcommons.task"
MOST_FACTOR = 1_000_000
INPUTS = (Port(name="before", required=False, many=True, description="What the tasks before this one gave."),)
OUTPUTS = (Port(name="done", schema={"type": "object"}),)
_INPUT, _TASKS, _OUTPUT = "start", "tasks", "end"
_STAGE_PX = 280.0
_LAST_PLACE = 1_000_000
_DEEPEST = 100
"""Levels of a value that is kept as it is: with those around it, a model file stays below 200."""
_SHORTEST_MODEL_NAME, _LONGEST_MODEL_NAME, _LONGEST_NAME, _LONGEST_DESCRIPTION = 3, 100, 200, 1_000_000
_ROOM_FOR_NUMBER = 10
_LONGEST_FIELD = 80
_PARTS = {"workflow", "workflow.specification", "workflow.execution"}
_SAID = {"schemaVersion"}
"""Fields whose meaning is used up by reading the document."""
_TOO_DEEP = f"It nests deeper than {_DEEPEST} levels and was left out."
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_NOT_IN_IDS = re.compile(r"[\x00-\x1f\x7f/\[\]#]+")
_SENTENCES = {
    "workflow.specification.files": "Nothing is read or written: the files and their sizes are notes of the stage.",
    "workflow.specification.tasks[].inputFiles": "Nothing is read: the files are notes of each step.",
    "workflow.specification.tasks[].outputFiles": "Nothing is written: the files are notes of each step.",
    "workflow.execution.tasks[].command": "No command is run: a step waits as long as the task took.",
    "workflow.execution.tasks[].coreCount": "Cores are not reserved: the stage runs up to 100 steps at a time.",
    "workflow.execution.tasks[].priority": "Steps have priorities from 1 to 10, so those of the source are notes.",
    "workflow.execution.tasks[].machines": "Steps run on this machine: where they ran is a note of each step.",
    "workflow.execution.tasks[].executedAt": "A step starts when its parents are done, not at the recorded moment.",
    "workflow.execution.tasks": "These executions belong to no task of the specification: they are notes of the stage.",
    "workflow.execution.machines": "Steps run on this machine: those of the source are notes of the stage.",
    "repeated link": "A task that was named twice among the parents of another gives one wire.",
    "task id": "An id that no node may have was changed; the source's own is a note of the step.",
    "task name": "A name was taken already, or could not be a node's; the source's own is a note of the step.",
    "workflow name": "The name could not be a model's and was changed; the source's own is a note of the stage.",
    "description": "The description was cut to what a model can hold.",
}
_OTHERWISE = "It changes nothing about a run and is kept as a note."


def import_wfcommons(
    text_or_dict: str | bytes | Mapping[str, Json], *, factor: float = 1.0, source: str = "The file"
) -> Imported:
    """Return a WfFormat document as a model whose steps take the recorded seconds times `factor`.

    Raises `NotJson`, `TooDeep` or, with what to mend, `ImportRefused`; all name `source`.
    """
    return model_of(_value(text_or_dict, source), factor=factor, source=source)


def model_of(value: Json, *, factor: float, source: str) -> Imported:
    """Do what `import_wfcommons` does, from a value that `loads` gave."""
    if not 0 <= factor <= MOST_FACTOR:
        reason = f"the factor {factor:g} is not a number from 0 to {MOST_FACTOR:,}"
        raise ImportRefused(source=source, reason=reason, mend="Choose another one.")
    document = read_document(value, source=source)
    parents = [task.parents for task in document.tasks]
    shape = shape_of(parents, [task.seconds for task in document.tasks])
    if shape.circle:
        raise circle_refused(source, (document.tasks[number].id for number in shape.circle))
    losses = LossCounter(_SENTENCES, otherwise=_OTHERWISE)
    model = _Builder(document, shape, factor, losses).model()
    edges = sum(map(len, parents))
    return Imported(
        model=model,
        format="wfcommons",
        tasks=len(parents),
        edges=edges,
        depth=shape.depth,
        width=shape.width,
        critical_path_s=round(shape.critical_path_s, 9),
        losses=losses.report(),
    )


def _value(given: str | bytes | Mapping[str, Json], source: str) -> Json:
    if isinstance(given, str | bytes):
        return loads(given, source=source)
    try:
        canonical_bytes(given)
    except NotCanonical as error:
        reason = str(error.facts["reason"])
        raise ImportRefused(source=source, reason=reason, mend="Give values that JSON can hold.") from None
    return dict(given)


class _Builder:
    """Makes the model of one document and counts what it does not carry out."""

    def __init__(self, document: Document, shape: Shape, factor: float, losses: LossCounter) -> None:
        self._document, self._factor, self._losses = document, factor, losses
        self._places = places(shape, [task.parents for task in document.tasks])

    def model(self) -> FunctionModel:
        document = self._document
        name, description = self._name(), document.description
        if len(description) > _LONGEST_DESCRIPTION:
            self._losses.add("description", kept="nowhere")
        self._losses.add("repeated link", document.repeated, kept="nowhere")
        keys, names = self._ids(), self._names()
        facts = zip(document.tasks, keys, names, self._places, strict=True)
        steps = [self._step(*of_one, order=number) for number, of_one in enumerate(facts)]
        containers = self._containers()
        return FunctionModel(
            id=slug(name),
            name=name,
            description=description[:_LONGEST_DESCRIPTION],
            tags=("wfcommons",),
            nodes={node.id: node for node in (*containers, *steps)},
            wires=self._wires(keys),
            dependencies={
                "begin": Dependency(id="begin", source=_INPUT, target=_TASKS),
                "end": Dependency(id="end", source=_TASKS, target=_OUTPUT),
            },
        )

    def _name(self) -> str:
        """Return the document's name as a model may have it."""
        own = self._document.name
        name = _CONTROL.sub(" ", own).strip()[:_LONGEST_MODEL_NAME].strip()
        name = name if len(name) >= _SHORTEST_MODEL_NAME else f"Workflow {name}".strip()
        self._losses.add("workflow name", int(name != own))
        return name

    def _ids(self) -> list[str]:
        taken = Taken(_LONGEST_NAME, (_INPUT, _TASKS, _OUTPUT))
        keys = [taken.free(_NOT_IN_IDS.sub("-", task.id)) for task in self._document.tasks]
        changed = sum(key != task.id for key, task in zip(keys, self._document.tasks, strict=True))
        self._losses.add("task id", changed)
        return keys

    def _names(self) -> list[str]:
        """Return a readable name for each task: its own if no other has it, else its id, which tells them apart."""
        tasks = self._document.tasks
        owners = Counter(task.name.casefold() for task in tasks)
        taken = Taken(_LONGEST_NAME, (_INPUT, _TASKS, _OUTPUT), cased=False)
        names: list[str] = []
        for task in tasks:
            alone, telling = owners[task.name.casefold()] == 1, task.name.casefold() in task.id.casefold()
            wanted = task.name if alone else task.id if telling else f"{task.name} {task.id}"
            names.append(taken.free(_CONTROL.sub(" ", wanted).strip() or "Task"))
        self._losses.add("task name", sum(name != task.name for name, task in zip(names, tasks, strict=True)))
        return names

    def _containers(self) -> tuple[Boundary, Stage, Boundary]:
        right = max(place.x for place in self._places)
        notes = self._kept(self._document.rest, "")
        if self._document.name:
            notes["name"] = self._document.name
        return (
            Boundary(id=_INPUT, name="Start", boundary="input", position=Position(x=0.0, y=80.0)),
            Stage(
                id=_TASKS,
                name="Tasks",
                parallelism=100,
                position=Position(x=_STAGE_PX, y=0.0),
                metadata={"wfcommons": notes},
            ),
            Boundary(id=_OUTPUT, name="End", boundary="output", position=Position(x=right + 2 * _STAGE_PX, y=80.0)),
        )

    def _step(self, task: Task, key: str, name: str, place: Position, *, order: int) -> Tether:
        notes = {"id": task.id, **self._kept(task.rest, "workflow.specification.tasks[].")}
        if name != task.name:
            notes["name"] = task.name
        execution = self._kept(task.execution, "workflow.execution.tasks[].")
        if execution:
            notes["execution"] = execution
        parameters: dict[str, Json] = {"task": task.name, "seconds": task.seconds}
        if self._factor != 1.0:
            parameters["factor"] = self._factor
        return Tether(
            id=key,
            name=name,
            parent=_TASKS,
            order=min(order, _LAST_PLACE),
            reference=REFERENCE,
            inputs=INPUTS,
            outputs=OUTPUTS,
            parameters=parameters,
            estimated_s=task.seconds * self._factor,
            position=place,
            metadata={"wfcommons": notes},
        )

    def _wires(self, keys: Sequence[str]) -> dict[str, Wire]:
        taken = Taken(_LONGEST_NAME)
        wires: dict[str, Wire] = {}
        for child, task in zip(keys, self._document.tasks, strict=True):
            for parent in task.parents:
                key = taken.free(f"{keys[parent]} to {child}")
                wires[key] = Wire(id=key, source=keys[parent], source_port="done", target=child, target_port="before")
        return wires

    def _kept(self, fields: Mapping[str, Json], where: str) -> dict[str, Json]:
        """Return fields as notes, and count what each holds; the workflow's parts are gone through one by one."""
        kept: dict[str, Json] = {}
        for name, value in fields.items():
            path = where + _CONTROL.sub(" ", name)[:_LONGEST_FIELD]
            if path in _PARTS:
                inner = self._kept(as_object(value), f"{path}.")
                kept.update({name: inner} if inner else {})
            elif is_deeper(value, _DEEPEST):
                self._losses.add(path, kept="nowhere", sentence=_TOO_DEEP)
            else:
                kept[name] = value
                self._losses.add(path, len(as_list(value)) if isinstance(value, list) else int(path not in _SAID))
        return kept


class Taken:
    """Gives texts that it has not given yet: the one wanted, or with a number behind it."""

    def __init__(self, longest: int, reserved: Iterable[str] = (), *, cased: bool = True) -> None:
        """`cased`: whether A and a are two texts."""
        self._longest, self._cased = longest, cased
        self._used = {self._key(text) for text in reserved}
        self._next: dict[str, int] = {}

    def free(self, wanted: str) -> str:
        """Return `wanted` or, where it is taken or too long, a text like it."""
        found = wanted[: self._longest]
        if self._key(found) in self._used:
            stem = wanted[: self._longest - _ROOM_FOR_NUMBER]
            number = self._next.get(self._key(stem), 2)
            while self._key(f"{stem}-{number}") in self._used:
                number += 1
            self._next[self._key(stem)] = number + 1
            found = f"{stem}-{number}"
        self._used.add(self._key(found))
        return found

    def _key(self, text: str) -> str:
        return text if self._cased else text.casefold()


def is_deeper(value: Json, levels: int) -> bool:
    """Return whether lists and objects nest deeper than `levels`."""
    layer: list[Json] = [value]
    for _ in range(levels + 1):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (as_object(outer).values() if isinstance(outer, dict) else as_list(outer))
        ]
        if not layer:
            return False
    return True
