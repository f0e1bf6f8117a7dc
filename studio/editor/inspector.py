"""The inspector: everything that can be set on the selected node, or on the model when none is selected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import panel as pn
from markupsafe import Markup

from engine.domain import gestures
from engine.domain.canonical import Json
from engine.domain.edits import Edit
from engine.domain.nodes import ActionFields, Boundary, NestedModel, Node, Tether
from engine.domain.schemas import short_name
from engine.domain.values import Port
from engine.errors import ExpressionError, TreadleError
from studio.editor import canvas
from studio.editor.contract_view import ContractView
from studio.editor.field_view import FORM_CSS, FormView
from studio.editor.fields import Field, Section, edit_of
from studio.editor.forms import notes_form, policy_form, settings_form
from studio.editor.parts import TabBar
from studio.editor.sentences import sentence
from studio.editor.state import EditorState
from studio.editor.templates import has_free_ports
from studio.theme import button, html, icon, icon_names, pill

WIDTH = 308
_NAME = Field(("name",), "Name", "text", needed=True)
_DESCRIPTION = Field(("description",), "Description", "area", default="", placeholder="What it is for")
_HEAD_CSS = """
.who{display:flex;align-items:center;gap:8px;height:36px;min-width:0}
.who b{font-weight:600;font-size:var(--t3);overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.chip{display:grid;place-items:center;flex:none;width:22px;height:22px;border-radius:6px;
  color:var(--kind);background:color-mix(in srgb,var(--kind) 15%,transparent)}
.ports{display:grid;gap:6px;margin:0;padding:0;list-style:none;font-size:var(--t2)}
.ports li{display:grid;grid-template-columns:1fr auto;gap:2px 8px;padding:7px 9px;
  border:1px solid var(--line);border-radius:6px}
.ports small{grid-column:1/-1;font-size:var(--t1);color:var(--ink-3)}
.none{margin:0;font-size:var(--t2);line-height:1.5;color:var(--ink-3)}
"""
_OWN_PORTS = ("code", "http", "mcp", "spindle")


class Inspector:
    """Forms for one selection. `run_to` is called with the node to run to."""

    def __init__(self, state: EditorState, run_to: Callable[[str], None] | None = None) -> None:
        self._state = state
        self._run_to = run_to
        self._keys: tuple[str, ...] = ()
        self._tab = "settings"
        self._form: FormView | None = None
        self._basics: FormView | None = None
        self._contracts: list[ContractView] = []
        self._shape: Any = None
        self._head = html(Markup(""), stylesheets=[_HEAD_CSS], sizing_mode="stretch_width", styles={"min-width": "0"})
        self._bar = TabBar(items=[], value="settings", label="Inspector", sizing_mode="stretch_width", margin=0)
        self._bar.param.watch(self._tab_changed, "value")
        self._body = pn.Column(
            margin=0, sizing_mode="stretch_both", scroll=True, css_classes=["inspector-form"],
            styles={"padding": "2px 12px 12px", "gap": "10px", "border-top": "1px solid var(--line)"},
        )  # fmt: skip
        go = button("Run to here", "step-forward")
        go.on_click(lambda _: self._run_to(self._keys[0]) if self._run_to and self._keys else None)
        self._foot = pn.Row(go, margin=0, sizing_mode="stretch_width", visible=False, styles=_FOOT)
        self.tools = pn.Row(margin=0, width=28)
        head = pn.Row(self._head, self.tools, margin=0, sizing_mode="stretch_width", styles=_HEAD)
        parts = (head, self._bar, self._body, self._foot)
        self.view = pn.Column(*parts, margin=0, width=WIDTH, sizing_mode="stretch_height", styles=_FRAME)
        self.show(())

    def show(self, keys: Sequence[str]) -> None:
        """Show these nodes; none: the model itself."""
        self._keys = tuple(key for key in keys if key in self._state.model.nodes)
        self._shape = None
        self.refresh()

    def refresh(self) -> None:
        """Follow the model: fill the forms anew, or build others if what can be set has changed."""
        model = self._state.model
        self._keys = tuple(key for key in self._keys if key in model.nodes)
        node = model.nodes[self._keys[0]] if len(self._keys) == 1 else None
        shape = self._shape_of(node)
        if shape != self._shape:
            self._shape = shape
            self._build(node)
            return
        self._title(node)
        if node is not None:
            for form in (self._basics, self._form):
                if form is not None:
                    form.refresh(node)
            for contract in self._contracts:
                contract.refresh(model, node)
        elif self._basics is not None:
            self._basics.refresh(model)

    # ---- building ---------------------------------------------------------------------------------------------

    def _shape_of(self, node: Node | None) -> Any:
        """Return what the forms are built of: another one of these needs other widgets."""
        if node is None:
            return (self._keys, self._state.read_only)
        wired = ()
        if self._tab == "ports" and not isinstance(node, Boundary):
            wired = (
                self._state.model.wires_into(node.id),
                self._state.model.wires_out_of(node.id),
                node.inputs,
                node.outputs,
            )
        return (node.id, self._tab, self._sections(node), wired, self._state.read_only)

    def _sections(self, node: Node) -> tuple[Section, ...]:
        model = self._state.model
        match self._tab:
            case "settings":
                return settings_form(model, node, self._state.specs)
            case "policy":
                return policy_form(model, node)
            case "notes":
                return notes_form(node)
        return ()

    def _build(self, node: Node | None) -> None:
        self._form = self._basics = None
        self._contracts = []
        self._title(node)
        if node is None:
            self._bar.visible = self._foot.visible = False
            self._body.objects = self._model_form() if not self._keys else self._many()
            return
        tabs = ["settings", "ports", "policy", "notes"]
        if isinstance(node, Boundary):
            tabs = ["settings", "notes"]
        elif not isinstance(node, ActionFields):
            tabs = ["settings", "policy", "notes"]
        if self._tab not in tabs:
            self._tab = "settings"
            self._shape = self._shape_of(node)
        self._bar.param.update(items=[{"id": tab, "label": tab.capitalize()} for tab in tabs], value=self._tab)
        self._bar.visible = True
        self._body.objects = self._page(node)
        self._show_foot(node)

    def _page(self, node: Node) -> list[Any]:
        disabled = self._state.read_only
        parts: list[Any] = []
        if self._tab == "ports":
            return self._ports_page(node)
        if self._tab in ("settings", "notes"):
            basics = (_NAME,) if self._tab == "settings" else (_DESCRIPTION,)
            self._basics = FormView((Section("", basics),), node, self._set, self._judge, disabled=disabled)
            parts += self._basics.parts
        if isinstance(node, Boundary) and self._tab == "settings":
            for side, word in (("outputs", "Takes"), ("inputs", "Gives")):
                if (side == "outputs" and "input" in node.boundary) or (side == "inputs" and "output" in node.boundary):
                    contract = ContractView(self._state.model, node, side, self._do, disabled=disabled)  # type: ignore[arg-type]
                    self._contracts.append(contract)
                    parts += [_section(word), contract.view]
        self._form = FormView(self._sections(node), node, self._set, self._judge, disabled=disabled)
        return [*parts, *self._form.parts]

    def _ports_page(self, node: Node) -> list[Any]:
        parts: list[Any] = []
        free = self._free_sides(node)
        for side, ports in (("inputs", node.inputs), ("outputs", node.outputs)):
            parts.append(_section(side.capitalize()))
            if side in free and not self._state.read_only:
                contract = ContractView(self._state.model, node, side, self._do)  # type: ignore[arg-type]
                self._contracts.append(contract)
                parts.append(contract.view)
            else:
                parts.append(
                    html(self._ports_html(node, ports, side), stylesheets=[_HEAD_CSS], sizing_mode="stretch_width")
                )
        return parts

    def _free_sides(self, node: Node) -> tuple[str, ...]:
        """Return the sides on which a node's ports are the person's to choose."""
        if not isinstance(node, Tether):
            return () if isinstance(node, NestedModel) else ("inputs", "outputs")
        if node.binding in _OWN_PORTS:
            return ("inputs", "outputs")
        spec = self._state.specs.get(node.reference)
        return ("inputs",) if spec is not None and has_free_ports(spec) else ()

    def _ports_html(self, node: Node, ports: Sequence[Port], side: str) -> Markup:
        if not ports:
            return Markup('<p class="none">None.</p>')
        model = self._state.model
        wires = model.wires_into(node.id) if side == "inputs" else model.wires_out_of(node.id)
        items = []
        for port in ports:
            ends = [
                model.nodes[wire.source if side == "inputs" else wire.target].name
                for wire in wires
                if (wire.target_port if side == "inputs" else wire.source_port) == port.name
            ]
            way = "from" if side == "inputs" else "to"
            state = f"{way} {', '.join(ends)}" if ends else "not connected"
            text = f"{state}. {port.description}" if port.description else state
            kind = pill(short_name(port.port_schema) + (" · required" if port.required and side == "inputs" else ""))
            items.append(Markup("<li><b>{}</b>{}<small>{}</small></li>").format(port.name, kind, text))
        return Markup('<ul class="ports">{}</ul>').format(Markup("").join(items))

    def _model_form(self) -> list[Any]:
        model = self._state.model
        tags = Field(("tags",), "Tags", "tags", default=[], placeholder="comma, separated")
        section = Section("", (_NAME, _DESCRIPTION, tags))
        self._basics = FormView((section,), model, self._set_model, self._judge, disabled=self._state.read_only)
        facts = Markup('<p class="none">{}<br>{}</p>').format(_counts(model), "Select a node to see and change it.")
        return [*self._basics.parts, html(facts, stylesheets=[_HEAD_CSS], sizing_mode="stretch_width")]

    def _many(self) -> list[Any]:
        text = "Move, copy, duplicate or remove them on the canvas. Select one to see and change it."
        return [
            html(Markup('<p class="none">{}</p>').format(text), stylesheets=[_HEAD_CSS], sizing_mode="stretch_width")
        ]

    def _title(self, node: Node | None) -> None:
        if node is not None:
            mark, kind, name = (
                canvas.icon_of(node, self._state.scene.names),
                canvas.card_of(node, self._state.scene.names)["kind"],
                node.name,
            )
        else:
            mark, kind = "workflow", "nested"
            name = f"{len(self._keys)} nodes" if self._keys else "Model"
        drawn = icon(mark if mark in icon_names() else "square-function", 13)
        text = Markup(
            '<div class="who"><span class="chip" style="--kind:var(--{})">{}</span><b title="{}">{}</b></div>'
        )
        shown = str(text.format(kind, drawn, name, name))
        if shown != self._head.object:
            self._head.object = shown

    def _show_foot(self, node: Node) -> None:
        wanted = self._run_to is not None and isinstance(node, ActionFields)
        self._foot.visible = wanted

    def _tab_changed(self, event: Any) -> None:
        if event.new != self._tab:
            self._tab = event.new
            self.refresh()

    # ---- changing ---------------------------------------------------------------------------------------------

    def _set(self, field: Field, value: Json) -> str | None:
        model = self._state.model
        node = model.nodes.get(self._keys[0]) if len(self._keys) == 1 else None
        if node is None:
            return "This node is not there any more."
        edits: Sequence[Edit]
        try:
            if field.path == ("name",):
                edits = gestures.rename(model, node.id, str(value or ""))
            else:
                edits = [edit_of(node.id, field, value)]
        except TreadleError as error:
            return sentence(error)
        verb = f"Rename {node.name}" if field.path == ("name",) else f"Change {field.label.lower()} of {node.name}"
        return self._do(verb, edits, f"{node.id}.{field.key}")

    def _set_model(self, field: Field, value: Json) -> str | None:
        try:
            self._state.describe(field.key, value if value is not None else field.default)
        except TreadleError as error:
            return sentence(error)
        return None

    def _do(self, name: str, edits: Sequence[Edit], key: str) -> str | None:
        try:
            self._state.do(name, edits, key=key)
        except TreadleError as error:
            return sentence(error)
        return None

    def _judge(self, field: Field, text: str) -> str | None:
        try:
            self._state.engine.expressions.check(text, field.names)
        except ExpressionError as error:
            return sentence(error)
        return None


_HEAD = {"padding": "4px 8px 0 12px", "gap": "8px", "align-items": "center", "flex": "none"}
_FOOT = {"padding": "10px 12px", "gap": "8px", "border-top": "1px solid var(--line)", "flex": "none"}
_FRAME = {"background": "var(--surface)", "border-left": "1px solid var(--line)"}


def _section(title: str) -> Any:
    return html(
        Markup('<div class="section">{}</div>').format(title), stylesheets=[FORM_CSS], sizing_mode="stretch_width"
    )


def _counts(model: Any) -> str:
    actions = sum(1 for _ in model.actions())
    return (
        f"{actions} step{'' if actions == 1 else 's'}, {len(model.wires)} wire{'' if len(model.wires) == 1 else 's'}."
    )
