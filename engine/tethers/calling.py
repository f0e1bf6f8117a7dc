"""Calling a described function as the engine calls tethers: ports and settings in, values by port out."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping
from typing import Any, cast

from engine.errors import TetherFailed
from engine.ports import Invoke, StepContext
from engine.tethers.describe import REQUIRED, Described, Parameter
from engine.tethers.folders import Folders


def invoke_for(described: Described, folders: Folders) -> Invoke:
    """Return how a function is called; a value that does not fit raises `TetherFailed` naming the port."""
    function = described.function
    node_defined = any(found.role == "rest" for found in described.parameters)

    def invoke(inputs: Mapping[str, Any], settings: Mapping[str, Any], context: StepContext) -> Any:
        given = {**settings, **inputs}
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for parameter in described.parameters:
            _place(parameter, given, context, folders, positional, named)
        if node_defined:
            known = {parameter.name for parameter in described.parameters}
            named.update({name: value for name, value in inputs.items() if name not in known})
        result = function(*positional, **named)
        if inspect.isawaitable(result):
            return _awaited(described, result)
        return _by_port(described, result)

    return invoke


def _place(  # noqa: PLR0917 - one parameter of a call, with everything it may come from
    parameter: Parameter,
    given: Mapping[str, Any],
    context: StepContext,
    folders: Folders,
    positional: list[Any],
    named: dict[str, Any],
) -> None:
    if parameter.role == "rest":
        return
    if parameter.role == "many":
        values = given.get(parameter.name)
        items: list[Any] = (
            cast("list[Any]", values) if isinstance(values, list | tuple) else [] if values is None else [values]
        )
        positional.extend(_converted(parameter, item, folders) for item in items)
        return
    if parameter.role == "context":
        value: Any = context
    elif parameter.name in given:
        value = _converted(parameter, given[parameter.name], folders)
    elif parameter.default is not REQUIRED:
        value = parameter.default
    else:
        raise TetherFailed(kind="Missing", reason=f"it needs a value for {parameter.name!r}", permanent=True)
    if parameter.role == "setting" or (parameter.role == "context" and not parameter.positional_only):
        named[parameter.name] = value
    else:
        positional.append(value)


def _converted(parameter: Parameter, value: Any, folders: Folders) -> Any:
    kind = parameter.kind
    try:
        if kind.exact is not None and type(value) is kind.exact:
            found = value
        else:
            found = value if kind.convert is None else kind.convert(value)
        if kind.path == "read":
            return folders.existing(found)
        return folders.target(found) if kind.path == "write" else found
    except ValueError as error:
        raise TetherFailed(kind="Wrong value", reason=f"{parameter.name!r} {error}", permanent=True) from None


async def _awaited(described: Described, result: Awaitable[Any]) -> dict[str, Any]:
    return _by_port(described, await result)


def _by_port(described: Described, result: Any) -> dict[str, Any]:
    names = described.returns
    if not names:
        return {}
    if described.spec.binding == "code" and isinstance(result, Mapping):
        return dict(cast("Mapping[str, Any]", result))
    if described.returns_fields:
        if isinstance(result, Mapping):
            return dict(cast("Mapping[str, Any]", result))
        return dict(zip(names, result, strict=True))
    return {names[0]: result}
