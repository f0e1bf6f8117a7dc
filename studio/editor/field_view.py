"""A field on the page: its label, its widget, the switch to an expression, and the sentence when it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import panel as pn
from markupsafe import Markup

from engine.domain.canonical import Json
from engine.domain.model import FunctionModel
from engine.domain.nodes import Node
from studio.editor.fields import CEL, Field, NotAValue, Section, is_expression, parsed, text_of, value_of
from studio.theme import html

Apply = Callable[[Field, Json], str | None]
"""Sets a field to a value; returns why it was refused, as a sentence, or None."""
Judge = Callable[[Field, str], str | None]
"""Returns why a text is no expression, as a sentence, or None."""

_LONGEST_AREA_ROWS = 18
_ROW_CHARS = 36
FORM_CSS = """
.field-label{display:flex;align-items:center;gap:4px;font-size:var(--t1);font-weight:600;color:var(--ink-2);
  line-height:1.4}
.field-note{font-size:var(--t1);line-height:1.4;color:var(--ink-3);overflow-wrap:anywhere}
.field-note.bad{color:var(--bad)}
.field-note.warn{color:var(--warn)}
.section{margin:6px 0 0;padding:10px 0 0;border-top:1px solid var(--line);font-size:var(--t1);font-weight:600;
  color:var(--ink-3)}
"""
_FX_CSS = """
.bk-btn{min-height:20px!important;height:20px!important;padding:0 6px!important}
.bk-btn{font:600 var(--t1)/1 var(--mono)!important}
:host(.on) .bk-btn{background:var(--accent-soft)!important;color:var(--accent)!important}
"""


class FieldView:
    """One field of one node. What can't be taken stays in the widget, with the reason below it."""

    def __init__(
        self, field: Field, node: Node | FunctionModel, apply: Apply, judge: Judge, *, disabled: bool = False
    ) -> None:
        self.field = field
        self._apply, self._judge, self._disabled = apply, judge, disabled
        value = value_of(node, field)
        self._known: Json = value
        self._as_expression = field.kind == "expression" or is_expression(value)
        self._filling = False
        self._note = html(Markup(""), sizing_mode="stretch_width", visible=False, stylesheets=[FORM_CSS])
        self._place = pn.Column(margin=0, sizing_mode="stretch_width")
        self._fx: pn.widgets.Button | None = None
        self.widget: Any = None
        self._rebuild(value)
        head = self._head()
        self.view = pn.Column(
            *([head] if head is not None else []),
            self._place,
            self._note,
            margin=0,
            sizing_mode="stretch_width",
            styles={"gap": "3px"},
        )

    def refresh(self, node: Node | FunctionModel) -> None:
        """Show what the node holds now, unless it is what was typed here."""
        value = value_of(node, self.field)
        if value == self._known and type(value) is type(self._known):
            return
        self._known = value
        if self.field.kind != "expression" and value is not None and is_expression(value) != self._as_expression:
            self._as_expression = is_expression(value)
            self._rebuild(value)
            return
        self._filling = True
        self.widget.value = self._shown(value)
        self._filling = False
        self._say(None)

    def _head(self) -> Any:
        if not self.field.switchable:
            return None
        self._fx = pn.widgets.Button(
            label="fx", color="light", margin=0, css_classes=["tr-ghost", *(["on"] if self._as_expression else [])],
            stylesheets=[_FX_CSS], disabled=self._disabled,
        )  # fmt: skip
        self._fx.on_click(lambda _: self._switch())
        label = html(
            Markup('<div class="field-label">{}</div>').format(self.field.label),
            stylesheets=[FORM_CSS],
            sizing_mode="stretch_width",
        )
        return pn.Row(label, self._fx, margin=0, sizing_mode="stretch_width", styles={"align-items": "center"})

    def _rebuild(self, value: Json) -> None:
        self.widget = self._make(value)
        for name in ("value_input", "value"):
            if name in self.widget.param:
                self.widget.param.watch(self._typed, name)
        self._place.objects = [self.widget]
        self._say(None)

    def _make(self, value: Json) -> Any:
        field = self.field
        label = "" if field.switchable else field.label
        shared: dict[str, Any] = {
            "label": label,
            "margin": 0,
            "sizing_mode": "stretch_width",
            "disabled": self._disabled,
        }
        if self._as_expression:
            hint = field.placeholder or "a CEL expression"
            return pn.widgets.TextInput(
                value=text_of(field, value), placeholder=hint, max_length=10_000, css_classes=["tr-code"], **shared
            )
        if field.kind == "switch":
            return pn.widgets.Checkbox(
                value=bool(value), **{**shared, "label": field.label if not field.switchable else "On"}
            )
        if field.kind == "select":
            return pn.widgets.Select(options=self._choices(value), value=json.dumps(value), **shared)
        if field.kind in ("area", "code", "json", "lines"):
            text = text_of(field, value)
            rows = _rows_for(text)
            return pn.widgets.TextAreaInput(
                value=text, auto_grow=True, rows=rows, max_rows=_LONGEST_AREA_ROWS, placeholder=field.placeholder,
                max_length=1_000_000, css_classes=[] if field.kind in ("area", "lines") else ["tr-code"], **shared,
            )  # fmt: skip
        return pn.widgets.TextInput(
            value=text_of(field, value), placeholder=field.placeholder, max_length=100_000, **shared
        )

    def _choices(self, value: Json) -> dict[str, str]:
        found = dict(self.field.options)
        shown = json.dumps(value)
        return found if shown in found.values() else {**found, str(value): shown}

    def _shown(self, value: Json) -> Any:
        if self._as_expression or self.field.kind not in ("switch", "select"):
            return text_of(self.field, value)
        if self.field.kind == "select":
            self.widget.options = self._choices(value)
            return json.dumps(value)
        return bool(value)

    def _typed(self, event: Any) -> None:
        if self._filling:
            return
        given = event.new
        try:
            if self._as_expression:
                value = parsed(self.field, given or "", expression=True)
            elif self.field.kind == "switch":
                value = bool(given)
            elif self.field.kind == "select":
                value = json.loads(given)
            else:
                value = parsed(self.field, given or "")
        except NotAValue as reason:
            self._say(str(reason))
            return
        if value == self._known and type(value) is type(self._known):
            self._say(self._doubt(value), tone="warn")
            return
        before, self._known = self._known, value if value is not None else self.field.default
        refused = self._apply(self.field, value)
        if refused is not None:
            self._known = before
            self._say(refused)
        else:
            self._say(self._doubt(value))

    def _doubt(self, value: Json) -> str | None:
        """Return what is wrong with an expression: it is kept all the same, and validation names it too."""
        text = value.get(CEL) if isinstance(value, dict) and self._as_expression else None
        return self._judge(self.field, text) if isinstance(text, str) else None

    def _switch(self) -> None:
        """Turn a value into the expression that gives it, or an expression into an empty value."""
        self._as_expression = not self._as_expression
        value: Json = None
        if self._as_expression:
            known = self._known
            value = {CEL: json.dumps(known)} if known is not None and not is_expression(known) else known
        if self._fx is not None:
            self._fx.css_classes = ["tr-ghost", *(["on"] if self._as_expression else [])]
        self._rebuild(value if self._as_expression else self.field.default)
        if self._as_expression and value is None:
            return
        self._known = value if self._as_expression else self.field.default
        self._apply(self.field, value)

    def _say(self, sentence: str | None, tone: str = "bad") -> None:
        text = sentence or self.field.hint
        if self._as_expression and not sentence and self.field.switchable:
            text = f"An expression over {', '.join(self.field.names)}."
        mark = (
            Markup('<div class="field-note {}">{}</div>').format(tone if sentence else "", text) if text else Markup("")
        )
        if str(mark) != self._note.object:
            self._note.object = str(mark)
        self._note.visible = bool(text)


def _rows_for(text: str) -> int:
    """Return how many rows a text takes at the inspector's width, one more to write in."""
    rows = sum(1 + len(line) // _ROW_CHARS for line in text.split("\n"))
    return max(3, min(_LONGEST_AREA_ROWS, rows + 1))


class FormView:
    """Sections of fields for one node; `refresh` keeps them up to date."""

    def __init__(
        self,
        sections: tuple[Section, ...],
        node: Node | FunctionModel,
        apply: Apply,
        judge: Judge,
        *,
        disabled: bool = False,
    ) -> None:
        self.sections = sections
        self.fields = [
            FieldView(field, node, apply, judge, disabled=disabled) for section in sections for field in section.fields
        ]
        views = iter(self.fields)
        parts: list[Any] = []
        for section in sections:
            if section.title:
                mark = Markup('<div class="section">{}</div>').format(section.title)
                parts.append(html(mark, sizing_mode="stretch_width", stylesheets=[FORM_CSS]))
            parts += _lines([next(views) for _ in section.fields])
        self.parts = parts

    def refresh(self, node: Node | FunctionModel) -> None:
        """Show what the node holds now."""
        for field in self.fields:
            field.refresh(node)


def _lines(views: list[FieldView]) -> list[Any]:
    """Put two neighbours that share a line into one."""
    lines: list[Any] = []
    waiting: FieldView | None = None
    for view in views:
        if not view.field.half:
            lines += [waiting.view] if waiting is not None else []
            lines.append(view.view)
            waiting = None
        elif waiting is None:
            waiting = view
        else:
            pair = pn.Row(
                waiting.view,
                view.view,
                margin=0,
                sizing_mode="stretch_width",
                styles={"gap": "8px", "align-items": "start"},
            )
            lines.append(pair)
            waiting = None
    return [*lines, waiting.view] if waiting is not None else lines
