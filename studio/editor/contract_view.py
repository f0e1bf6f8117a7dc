"""The fields of a contract, or the ports of a step, as a list to edit; and a contract's schema as text for the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import panel as pn
from markupsafe import Markup

from engine.domain.contracts import why_not_schema
from engine.domain.edits import Change, Configure, Edit
from engine.domain.model import FunctionModel
from engine.domain.nodes import Boundary, Node
from engine.errors import EditRefused
from studio.editor.contract import SCHEMAS, PortField, Side, contract_of, fields_of, fresh_field, replaced
from studio.editor.field_view import FORM_CSS
from studio.editor.fields import Field, NotAValue, parsed
from studio.theme import button, html

Do = Callable[[str, Sequence[Edit], str], str | None]
"""Does edits as a step of this name and key; returns why it was refused, or None."""
_ROW_CSS = """
:host{padding:8px;border:1px solid var(--line);border-radius:var(--r2);background:var(--bg)}
"""
_ANY = Field(("default",), "Default", "json")
_TEXT = Field(("default",), "Default", "text")


class ContractView:
    """The ports of one side of a node, each with name, type, default and description."""

    def __init__(self, model: FunctionModel, node: Node, side: Side, do: Do, *, disabled: bool = False) -> None:
        self._model, self._node, self._side, self._do, self._disabled = model, node, side, do, disabled
        self._rows = pn.Column(margin=0, sizing_mode="stretch_width", styles={"gap": "8px"})
        self._note = html(Markup(""), visible=False, stylesheets=[FORM_CSS], sizing_mode="stretch_width")
        self._raw: Any = None
        add = button("Add a field" if isinstance(node, Boundary) else "Add a port", "plus", "ghost", disabled=disabled)
        add.on_click(lambda _: self._put([*self._fields(), fresh_field(self._fields())], "Add a field"))
        parts = [self._rows, add, self._note]
        if isinstance(node, Boundary):
            parts.append(self._raw_view(node))
        self.view = pn.Column(*parts, margin=0, sizing_mode="stretch_width", styles={"gap": "8px"})
        self._shown: tuple[PortField, ...] | None = None
        self.refresh(model, node)

    def refresh(self, model: FunctionModel, node: Node) -> None:
        """Show the ports as they are now."""
        self._model, self._node = model, node
        now = fields_of(node, self._side)
        if now == self._shown:
            return
        self._shown = now
        self._rows.objects = [self._row(place, field) for place, field in enumerate(now)]
        self._say(None)
        if self._raw is not None and isinstance(node, Boundary):
            self._raw.value = json.dumps(contract_of(node, self._side), ensure_ascii=False, indent=2)

    def _fields(self) -> list[PortField]:
        return list(fields_of(self._node, self._side))

    def _row(self, place: int, field: PortField) -> Any:
        shared: dict[str, Any] = {"margin": 0, "sizing_mode": "stretch_width", "disabled": self._disabled}
        name = pn.widgets.TextInput(label="Name", value=field.name, **shared)
        kind = pn.widgets.Select(label="Type", options=list(SCHEMAS), value=field.type, **shared)
        needed = pn.widgets.Checkbox(
            label="Required", value=field.required, **{**shared, "sizing_mode": None, "width": 92}
        )
        default = pn.widgets.TextInput(label="Default", value=_default_text(field), placeholder="none", **shared)
        said = pn.widgets.TextInput(label="Description", value=field.description, **shared)
        gone = button("Remove this field", "trash-2", "ghost", icon_only=True, disabled=self._disabled)
        name.param.watch(lambda event: self._rename(place, event.new.strip()), "value")
        kind.param.watch(lambda event: self._set(place, field.with_type(event.new)), "value")
        needed.param.watch(lambda event: self._set(place, replace(field, required=bool(event.new))), "value")
        default.param.watch(lambda event: self._default(place, field, event.new), "value")
        said.param.watch(lambda event: self._set(place, replace(field, description=event.new)), "value")
        gone.on_click(
            lambda _: self._put([f for at, f in enumerate(self._fields()) if at != place], f"Remove {field.name}")
        )
        line = {"gap": "8px", "align-items": "end"}
        return pn.Column(
            pn.Row(name, kind, margin=0, sizing_mode="stretch_width", styles=line),
            pn.Row(default, needed, gone, margin=0, sizing_mode="stretch_width", styles=line),
            said,
            margin=0, sizing_mode="stretch_width", styles={"gap": "6px"}, stylesheets=[_ROW_CSS],
            css_classes=["contract-field"],
        )  # fmt: skip

    def _raw_view(self, node: Boundary) -> Any:
        text = json.dumps(contract_of(node, self._side), ensure_ascii=False, indent=2)
        self._raw = pn.widgets.TextAreaInput(
            label="", value=text, auto_grow=True, rows=4, max_rows=18, max_length=1_000_000, margin=0,
            sizing_mode="stretch_width", css_classes=["tr-code"], disabled=self._disabled,
        )  # fmt: skip
        self._raw.param.watch(self._raw_typed, "value")
        return pn.Card(self._raw, title="JSON Schema", collapsed=True, margin=0, sizing_mode="stretch_width")

    def _raw_typed(self, event: Any) -> None:
        try:
            schema = parsed(_ANY, event.new or "{}")
        except NotAValue as reason:
            self._say(str(reason))
            return
        reason = why_not_schema(schema) if isinstance(schema, dict) else "a contract is an object"
        if reason is not None:
            self._say(f"This can't be the contract: {reason}.")
            return
        name = "output_contract" if self._side == "inputs" else "input_contract"
        edit = Configure(id=self._node.id, changes=(Change(path=(name,), value=schema),))
        self._say(self._do(f"Change the contract of {self._node.name}", [edit], f"{self._node.id}.{name}"))

    def _rename(self, place: int, name: str) -> None:
        fields = self._fields()
        if place < len(fields) and fields[place].name != name:
            old, fields[place] = fields[place].name, replace(fields[place], name=name)
            self._put(fields, f"Rename {old} to {name}", renamed=(old, name))

    def _default(self, place: int, field: PortField, text: str) -> None:
        if not text.strip():
            self._set(place, field.without_default())
            return
        try:
            value = parsed(_TEXT if field.type == "text" else _ANY, text)
        except NotAValue as reason:
            self._say(f"{reason} A default is written as JSON, a text as it is.")
            return
        self._set(place, field.with_default(value))

    def _set(self, place: int, field: PortField) -> None:
        fields = self._fields()
        if place < len(fields):
            fields[place] = field
            self._put(fields, f"Change {field.name}", key=f"{self._node.id}.{self._side}.{place}")

    def _put(
        self, fields: Sequence[PortField], name: str, *, key: str = "", renamed: tuple[str, str] | None = None
    ) -> None:
        try:
            edits = replaced(self._model, self._node, self._side, fields, renamed=renamed)
        except EditRefused as error:
            self._say(f"{str(error.facts['reason'])[0].upper()}{str(error.facts['reason'])[1:]}.")
            return
        self._say(self._do(name, edits, key))

    def _say(self, sentence: str | None) -> None:
        self._note.object = str(Markup('<div class="field-note bad">{}</div>').format(sentence or ""))
        self._note.visible = sentence is not None


def _default_text(field: PortField) -> str:
    if not field.has_default:
        return ""
    return field.default if isinstance(field.default, str) and field.type == "text" else json.dumps(field.default)
