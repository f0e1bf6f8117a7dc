"""A WfFormat document (schema 1.5 and 1.6), checked: its tasks, their links and runtimes, and what else it holds.

Schema: https://github.com/wfcommons/WfFormat. Whatever the model has no place for stays as it is in `rest`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from engine.domain.canonical import Json, as_list, as_object
from engine.errors import ImportRefused

OLDEST = (1, 5)
LONGEST_RUNTIME_S = 1_000_000_000
_LONGEST_TEXT = 1_000
_SHOWN = 60
_VERSION = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})(\.[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Task:
    """A task and its recorded execution. `rest` and `execution` are their fields that are not here."""

    id: str
    name: str
    parents: tuple[int, ...]
    """Numbers of the tasks before it, in the order of the file."""
    seconds: float
    rest: dict[str, Json]
    execution: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Document:
    """A workflow instance. `rest` is the document without its name, description and tasks."""

    name: str
    description: str
    tasks: tuple[Task, ...]
    rest: dict[str, Json]
    repeated: int
    """Links that were named twice in one list."""
    strays: int
    """Recorded executions of tasks that the specification does not have; they stay in `rest`."""


def read_document(value: Json, *, source: str) -> Document:
    """Return a document that holds together; raise `ImportRefused` with what to mend."""
    return _Reader(source).document(value)


class _Reader:
    """Checks one document, naming its source in what it refuses."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._repeated = 0

    def document(self, value: Json) -> Document:
        workflow = self._workflow(value)
        specification, execution = as_object(workflow["specification"]), as_object(workflow.get("execution"))
        specified = self._by_id(specification.get("tasks"), "workflow.specification.tasks")
        executed = self._by_id(execution.get("tasks", []), "workflow.execution.tasks")
        parents = self._parents(specified)
        tasks = tuple(
            Task(
                id=key,
                name=self._text(fields.get("name", key), f"the name of task {shown(key)}"),
                parents=before,
                seconds=self._seconds(key, executed.get(key)),
                rest=_without(fields, "id", "name", "parents", "children"),
                execution=_without(executed[key], "id", "runtimeInSeconds"),
            )
            for (key, fields), before in zip(specified.items(), parents, strict=True)
        )
        strays = [fields for key, fields in executed.items() if key not in specified]
        rest_of_execution = {**_without(execution, "tasks"), **({"tasks": strays} if strays else {})}
        rest_of_workflow = {
            **_without(workflow, "specification", "execution"),
            "specification": _without(specification, "tasks"),
            "execution": rest_of_execution,
        }
        rest = {**_without(as_object(value), "name", "description", "workflow"), "workflow": rest_of_workflow}
        name, description = (self._own(as_object(value), field) for field in ("name", "description"))
        return Document(name, description, tasks, rest, self._repeated, len(strays))

    def _workflow(self, value: Json) -> dict[str, Json]:
        mend = "Give a WfFormat file, as in github.com/wfcommons/WfInstances."
        if not isinstance(value, dict):
            self._refuse("it is not a JSON object", mend)
        workflow = as_object(as_object(value).get("workflow"))
        version = as_object(value).get("schemaVersion")
        match = _VERSION.fullmatch(version) if isinstance(version, str) else None
        if match is None:
            found = "has no schemaVersion" if version is None else f"has the schemaVersion {shown(version)}"
            self._refuse(f"it {found}, so it is not WfCommons", mend)
        if (int(match[1]), int(match[2])) < OLDEST or match[1] != "1":
            reason = f"it follows schema {match[0]}, and only those from 1.5 to before 2 are read"
            self._refuse(reason, "Convert it with the scripts of github.com/wfcommons/WfFormat.")
        if not isinstance(workflow.get("specification"), dict):
            self._refuse("it has no workflow.specification, so it is not WfCommons", mend)
        return workflow

    def _by_id(self, tasks: Json, where: str) -> dict[str, dict[str, Json]]:
        if not isinstance(tasks, list):
            self._refuse(f"{where} is not a list", "List the tasks there.")
        found: dict[str, dict[str, Json]] = {}
        for place, fields in enumerate(as_list(tasks)):
            key = as_object(fields).get("id")
            if not isinstance(key, str) or not key:
                self._refuse(f"{where}[{place}] has no id", "Give each task an id of its own.")
            self._text(key, f"the id of {where}[{place}]")
            if key in found:
                self._refuse(f"the id {shown(key)} stands twice in {where}", "Give each task an id of its own.")
            found[key] = as_object(fields)
        if not found and "specification" in where:
            self._refuse("it has no tasks", "Give it at least one.")
        return found

    def _parents(self, tasks: dict[str, dict[str, Json]]) -> list[tuple[int, ...]]:
        """Return the parents of each task by number; both ends of every link must name it."""
        numbers = {key: number for number, key in enumerate(tasks)}
        parents = [self._links(fields, "parents", key, numbers) for key, fields in tasks.items()]
        children = [self._links(fields, "children", key, numbers) for key, fields in tasks.items()]
        down = {(task, child) for task, found in enumerate(children) for child in found}
        up = {(parent, task) for task, found in enumerate(parents) for parent in found}
        keys = list(tasks)
        if up != down:
            self._one_sided(min(up ^ down), up, keys)
        return parents

    def _one_sided(self, link: tuple[int, int], up: set[tuple[int, int]], keys: list[str]) -> NoReturn:
        parent, child = (shown(keys[number]) for number in link)
        if link in up:
            reason = f"the task {child} names {parent} as its parent, but is not among the children of that"
        else:
            reason = f"the task {parent} names {child} as its child, but is not among the parents of that"
        self._refuse(reason, "Name each link at both of its ends.")

    def _links(self, fields: dict[str, Json], side: str, key: str, numbers: dict[str, int]) -> tuple[int, ...]:
        named = fields.get(side, [])
        if not isinstance(named, list):
            self._refuse(f"the {side} of the task {shown(key)} are not a list", "List their ids there.")
        found: dict[int, None] = {}
        for other in as_list(named):
            number = numbers.get(other) if isinstance(other, str) else None
            if number is None:
                reason = f"the task {shown(key)} names {shown(other)} among its {side}, but there is no such task"
                self._refuse(reason, "Add the task, or take the name out.")
            found[number] = None
        self._repeated += len(as_list(named)) - len(found) if side == "parents" else 0
        return tuple(found)

    def _seconds(self, key: str, execution: dict[str, Json] | None) -> float:
        mend = "Give it the runtimeInSeconds of its execution: a number that is 0 or more."
        if execution is None:
            self._refuse(f"the task {shown(key)} has no recorded execution", mend)
        found = execution.get("runtimeInSeconds")
        if found is None:
            self._refuse(f"the task {shown(key)} has no recorded runtime", mend)
        if isinstance(found, bool) or not isinstance(found, int | float):
            self._refuse(f"the runtime of the task {shown(key)} is not a number", mend)
        if not 0 <= found <= LONGEST_RUNTIME_S:
            trouble = "negative" if found < 0 else f"longer than {LONGEST_RUNTIME_S:,} s"
            self._refuse(f"the runtime of the task {shown(key)} is {trouble}", mend)
        return float(found)

    def _own(self, value: dict[str, Json], field: str) -> str:
        found = value.get(field, "")
        if not isinstance(found, str):
            self._refuse(f"its {field} is not a text", "Write it as a text.")
        return found if field == "description" else self._text(found, "its name")

    def _text(self, found: Json, what: str) -> str:
        if not isinstance(found, str):
            self._refuse(f"{what} is not a text", "Write it as a text.")
        if len(found) > _LONGEST_TEXT:
            reason = f"{what} has {len(found):,} characters, more than {_LONGEST_TEXT:,}"
            self._refuse(reason, "Shorten it, everywhere it is named.")
        return found

    def _refuse(self, reason: str, mend: str) -> NoReturn:
        raise ImportRefused(source=self._source, reason=reason, mend=mend)


def shown(value: Json) -> str:
    """Return an id or another value of the source as a sentence can hold it."""
    text = value if isinstance(value, str) else type(value).__name__
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def circle_refused(source: str, ids: Iterable[str]) -> ImportRefused:
    """Return the error for tasks that wait for one another."""
    named = list(ids)
    around = [*named, named[0]]
    if len(around) > 10:
        around = [*around[:4], "…", *around[-4:]]
    reason = f"these tasks wait for one another in a circle: {' → '.join(map(shown, around))}"
    return ImportRefused(source=source, reason=reason, mend="Take out one of the links between them.")


def _without(fields: dict[str, Json], *names: str) -> dict[str, Json]:
    return {name: value for name, value in fields.items() if name not in names}
