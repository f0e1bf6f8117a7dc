"""Values: giving, choosing and putting them together."""
# A value narrowed to a list or a table is one of unknown things to strict checking, and only its kind is asked for:
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from engine.tethers.conversion import table_kind, to_rows
from engine.tethers.describe import tether
from engine.tethers.library.columns import shown

CATEGORY = "Values"


@tether(
    reference="values.constant",
    name="Constant",
    category=CATEGORY,
    icon="pin",
    outputs=("value",),
    keywords=("fixed", "literal", "number", "parameter"),
    example={"value": 42},
)
def constant(*, value: Any = None) -> Any:
    """Give a value that is written down in the model.

    Args:
        value: The value, as JSON.
    """
    return value


@tether(
    reference="values.first_given",
    name="First given",
    category=CATEGORY,
    icon="git-merge",
    outputs=("value",),
    keywords=("coalesce", "join branches", "either", "default", "gateway"),
    example={"b": "from the second branch"},
)
def first_given(a: Any = None, b: Any = None, c: Any = None, d: Any = None) -> Any:
    """Give the first input that is there: this joins the branches of a gateway, of which one was taken.

    Args:
        a: Is given if it is there.
        b: Is given if a is not there.
        c: Is given if a and b are not there.
        d: Is given if none of the others is there.
    """
    return next((value for value in (a, b, c, d) if value is not None), None)


@tether(
    reference="values.pick",
    name="Pick a field",
    category=CATEGORY,
    icon="pipette",
    outputs=("value",),
    keywords=("get", "path", "field", "item", "json"),
    example={"value": {"a": {"b": [1, 2]}}, "path": "a.b.0"},
)
def pick(value: Any, *, path: str, default: Any = None, must_exist: bool = True) -> Any:
    """Take one part out of an object, a list or a table.

    Args:
        value: What to look into.
        path: The names and numbers on the way, with dots between: a.b.0 is the first item of b in a; -1 is the last.
        default: What to give if it is not there and need not be.
        must_exist: Whether the step fails if it is not there.
    """
    found = value
    for depth, part in enumerate(path.split(".") if path else []):
        if table_kind(type(found)):
            found = to_rows(found)
        try:
            found = _part(found, part)
        except (LookupError, ValueError, TypeError):
            if not must_exist:
                return default
            where = f" in {'.'.join(path.split('.')[:depth])}" if depth else ""
            raise ValueError(f"There is no {part!r}{where}; there is {_there(found)}. Check the path.") from None
    return found


def _part(value: Any, part: str) -> Any:
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)[part]
    if isinstance(value, list | tuple):
        return cast("list[Any]", value)[int(part)]
    raise TypeError


def _there(value: Any) -> str:
    if isinstance(value, Mapping):
        return shown(str(name) for name in cast("Mapping[Any, Any]", value))
    if isinstance(value, list | tuple):
        return f"a list of {len(cast('list[Any]', value))}"
    return "nothing" if value is None else f"a {type(value).__name__}, which has no parts"


@tether(
    reference="values.merge_objects",
    name="Merge objects",
    category=CATEGORY,
    icon="combine",
    outputs=("value",),
    keywords=("combine", "dict", "update", "fields"),
    example={"objects": [{"a": 1}, {"b": 2}]},
)
def merge_objects(*objects: dict[str, Any]) -> dict[str, Any]:
    """Put the fields of several objects into one; of fields with the same name the last one wins.

    Args:
        objects: The objects.
    """
    merged: dict[str, Any] = {}
    for one in objects:
        merged.update(one)
    return merged


@tether(
    reference="values.to_list",
    name="To list",
    category=CATEGORY,
    icon="list",
    outputs=("items",),
    keywords=("collect", "gather", "array", "combine"),
    example={"items": [1, "two"]},
)
def to_list(*items: Any) -> list[Any]:
    """Gather several values in a list, in the order of the wires.

    Args:
        items: The values.
    """
    return list(items)
