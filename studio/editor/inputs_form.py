"""A form for the inputs of a run, built from the model's input contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import panel as pn

from engine.domain.canonical import Json
from engine.domain.contracts import input_contract
from engine.domain.model import FunctionModel
from engine.domain.schemas import short_name
from studio.editor.fields import Field, NotAValue, parsed, text_of
from studio.editor.forms import schema_field


def contract_fields(model: FunctionModel) -> tuple[tuple[str, Field], ...]:
    """Return (name, field) for each input of a model."""
    schema = input_contract(model)
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict):
        return ()
    must = required if isinstance(required, list) else []
    return tuple(
        (name, schema_field(name, _titled(name, part), path=(name,), needed=name in must))
        for name, part in properties.items()
    )


def needs_inputs(model: FunctionModel) -> bool:
    """Return whether a run can't start without something being typed: a needed input has no default."""
    schema = input_contract(model)
    properties, required = schema.get("properties"), schema.get("required")
    known = properties if isinstance(properties, dict) else {}
    must = required if isinstance(required, list) else []
    return any("default" not in (known.get(name) if isinstance(known.get(name), dict) else {}) for name in must)  # type: ignore[operator]


class InputsForm:
    """Widgets for the inputs. `values` reads them; what can't be read is said by `NotAValue`."""

    def __init__(self, model: FunctionModel, given: Mapping[str, Json] | None = None) -> None:
        self.fields = contract_fields(model)
        known = given or {}
        self.widgets = {name: _widget(name, field, known.get(name, field.default)) for name, field in self.fields}
        self.view = pn.Column(*self.widgets.values(), margin=0, sizing_mode="stretch_width", styles={"gap": "10px"})

    def values(self) -> dict[str, Json]:
        """Return what was filled in; raise `NotAValue` naming the input."""
        found: dict[str, Json] = {}
        for name, field in self.fields:
            given = self.widgets[name].value
            try:
                value = _read(field, given)
            except NotAValue as reason:
                raise NotAValue(f"{name}: {reason}") from None
            if value is not None:
                found[name] = value
        return found


def _read(field: Field, given: Any) -> Json:
    if field.kind == "switch":
        return bool(given)
    if field.kind == "select":
        return json.loads(given)
    if field.kind == "json" and given.strip() and field.hint == _FREE:
        try:
            return parsed(field, given)
        except NotAValue:
            return given  # anything may be given here: what is not JSON is a text
    return parsed(field, given or "")


_FREE = "Any value: JSON, or a text."


def _titled(name: str, schema: Any) -> Any:
    plain = schema if isinstance(schema, dict) else {}
    free = {"description": _FREE} if short_name(plain) == "any" and "enum" not in plain else {}
    return {"title": name, **free, **plain, **({"description": _FREE} if free else {})}


def _widget(name: str, field: Field, value: Json) -> Any:
    shared: dict[str, Any] = {"label": name, "margin": 0, "sizing_mode": "stretch_width"}
    if field.kind == "switch":
        return pn.widgets.Checkbox(value=bool(value), **shared)
    if field.kind == "select":
        return pn.widgets.Select(options=dict(field.options), value=json.dumps(value), **shared)
    if field.kind in ("json", "area", "code"):
        return pn.widgets.TextAreaInput(
            value=text_of(field, value), placeholder=field.hint, auto_grow=True, rows=3, max_rows=12,
            max_length=1_000_000, css_classes=["tr-code"], **shared,
        )  # fmt: skip
    hint = field.hint or field.placeholder
    return pn.widgets.TextInput(value=text_of(field, value), placeholder=hint, max_length=100_000, **shared)
