"""Stages by `with`, their order, and the options of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias, cast

from engine.authoring.body import Body, Order, current
from engine.authoring.calls import cel
from engine.authoring.drafts import Draft
from engine.authoring.handles import Handle, draft_of
from engine.authoring.refusals import BodyRefused
from engine.domain.values import Expression, Fallback, RetryPolicy

Edge: TypeAlias = "Stage | Literal['inputs', 'outputs']"


class Stage:
    """A stage in a body; `with` it, steps go into it. It can be entered again."""

    def __init__(self, body: Body, draft: Draft) -> None:
        self.draft = draft
        self._body = body

    def __enter__(self) -> Self:
        if self._body.open_stage is not None:
            what = f"The stage {self.draft.name!r} is opened inside {self._body.open_stage.name!r}"
            raise BodyRefused(what=what, mend="Open one after the other; a nested model may stand in a stage")
        self._body.open_stage = self.draft
        return self

    def __exit__(self, *_: object) -> None:
        self._body.open_stage = None


def stage(name: str, /, *, id: str | None = None, after: Edge | Sequence[Edge] = (), **fields: Any) -> Stage:  # noqa: A002 - a node's id
    """Add a stage, to be used by `with`.

    Args:
        name: what people call it.
        id: made from the name unless given.
        after: stages (or "inputs") all of which end before this one starts.
        **fields: any other field of a stage: mode, stage, match, parallelism, on_failure, goals, completion, …
    """
    body = current("engine.stage")
    draft = Draft("stageNode", name, name, {"name": name}, id=id)
    draft.configure(_plain(fields))
    body.add_stage(draft)
    made = Stage(body, draft)
    several: Sequence[Any] = [after] if isinstance(after, str | Stage) else after
    for earlier in several:
        depends(made, earlier)
    return made


def depends(later: Edge, earlier: Edge, **fields: Any) -> None:
    """Make a stage (or "outputs") wait for another (or "inputs"). Fields: id, necessity, condition."""
    body = current("engine.authoring.depends")
    body.orders.append(Order(_container(body, earlier), _container(body, later), _plain(fields)))


def _container(body: Body, edge: object) -> Draft:
    if isinstance(edge, Stage):
        body.require_own(edge.draft)
        return edge.draft
    if edge in ("inputs", "outputs"):
        return body.entry if edge == "inputs" else body.exit
    raise BodyRefused(what=f"Only stages wait for one another, not {edge!r}", mend="Give what engine.stage returned")


def options(
    step: Any,
    /,
    *,
    id: str | None = None,  # noqa: A002 - a node's id
    retry: int | Mapping[str, Any] | RetryPolicy | None = None,
    fallback: Any = None,
    compensation: Any = None,
    wires: Mapping[str, str | Sequence[str]] | None = None,
    **fields: Any,
) -> Any:
    """Say more of a step than its arguments do, and return it.

    Args:
        step: what the call returned.
        id: the node's id, made from the function's name unless given.
        retry: attempts in all, or fields of a retry policy.
        fallback: what stands in when it failed for good: another step, "cached", or `constant(…)`.
        compensation: the step that undoes this one.
        wires: ids of the wires into a port, by port.
        **fields: any other field of the node: name, description, timeout_s, condition, priority, position, …
    """
    body = current("engine.options")
    draft = draft_of(step, "engine.options")
    body.require_own(draft)
    if draft is body.entry:
        raise BodyRefused(what="An input has no options", mend="Give them to @engine.model(inputs=…)")
    more = _plain(fields)
    if retry is not None:
        more["retry"] = {"max_attempts": retry} if isinstance(retry, int) else retry
    if fallback is not None:
        more["fallback"] = _fallback(body, fallback)
    if compensation is not None:
        more["compensation"] = draft_of(compensation, "compensation")
        body.require_own(more["compensation"])
    draft.configure(more)
    if id is not None:
        draft.id = id
    for port, ids in (wires or {}).items():
        draft.wire_ids[port] = [ids] if isinstance(ids, str) else list(ids)
    return step


def constant(value: Any) -> Fallback:
    """Return a fallback that gives this value on every output, or an object of outputs."""
    return Fallback(use="constant", constant=value)


def given(name: str) -> Handle:
    """Return the model's input of this name, if no parameter can bear it."""
    return Handle(current("engine.authoring.given").entry, name)


def _fallback(body: Body, value: Any) -> Any:
    if isinstance(value, Handle):
        draft = draft_of(value, "fallback")
        body.require_own(draft)
        return draft
    if value == "cached":
        return Fallback(use="cached")
    if isinstance(value, Fallback):
        return value
    mend = "Give it another step, 'cached' or engine.authoring.constant(…)"
    raise BodyRefused(what=f"A fallback is no {type(value).__name__}", mend=mend)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields as nodes take them: places as pairs and expressions as text are allowed for."""
    found = dict(fields)
    position = found.get("position")
    if isinstance(position, tuple):
        x, y = cast("tuple[float, float]", position)
        found["position"] = {"x": x, "y": y}
    for name in ("condition", "completion"):
        if isinstance(found.get(name), str):
            found[name] = cel(found[name])
    if isinstance(found.get("output_mapping"), Mapping):
        mapping = cast("Mapping[str, Any]", found["output_mapping"])
        found["output_mapping"] = {key: cel(text) if isinstance(text, str) else text for key, text in mapping.items()}
    return {name: {"$cel": value.cel} if isinstance(value, Expression) else value for name, value in found.items()}
