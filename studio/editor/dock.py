"""The dock below the canvas: steps and data of the run, problems of the model, logs, earlier runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import panel as pn
from markupsafe import Markup

from engine.domain.nodes import Boundary, Stage
from engine.domain.runs import Run, Step, StoredValue
from studio.editor import canvas
from studio.editor.parts import Listing, TabBar
from studio.editor.state import EditorState
from studio.theme import ago, button, duration, exact, html, icon, short_id
from studio.values import stored_view

HEIGHT = 236
FOLDED_HEIGHT = 38
_MOST_ROWS = 500
_RUNS_SHOWN = 30
_SEVERITIES = {"error": ("circle-alert", "bad"), "warning": ("triangle-alert", "warn"), "hint": ("info", "idle")}
_TONES = {
    "succeeded": "ok", "cached": "ok", "failed": "bad", "running": "run", "retrying": "warn", "waiting": "warn",
    "paused": "warn",
}  # fmt: skip
_ICONS = {"ok": "check", "bad": "x", "run": "loader-circle", "warn": "triangle-alert"}
_TABS = ("steps", "data", "problems", "logs", "runs")
_LOG_CSS = """
pre{margin:0;padding:10px 14px;border:0;background:none;font:var(--t2)/1.6 var(--mono);white-space:pre-wrap;
  overflow-wrap:anywhere}
p{margin:0;padding:22px 16px;color:var(--ink-3);text-align:center;font-size:var(--t2)}
p.failed{padding:10px 14px;text-align:left;color:var(--bad);background:var(--bad-soft)}
"""
# The names of the values begin where those of the dock's own tabs do.
_TABS_CSS = ".bk-header{padding-left:4px}"
Go = Callable[[str], None]


class Dock:
    """Five views of one model's work.

    `select(node)` and `open_run(run)` are called when a row is chosen, `folded(…)` when it is folded or unfolded.
    """

    def __init__(
        self, state: EditorState, *, select: Go, open_run: Go, folded: Callable[[bool], None] | None = None
    ) -> None:
        self._state, self._select, self._open_run = state, select, open_run
        self._tell_folded = folded or (lambda _: None)
        self._node: str | None = None
        self._shown: Any = None
        self._bar = TabBar(items=[], value="problems", label="Below the canvas", sizing_mode="stretch_width", margin=0)
        self._bar.param.watch(lambda _: self._tab_changed(), "value")
        self._fold = button("Fold", "chevron-down", "ghost", icon_only=True)
        self._fold.on_click(lambda _: self.fold(folded=not self.folded))
        head = pn.Row(self._bar, self._fold, margin=0, sizing_mode="stretch_width", styles=_HEAD)
        self._list = Listing(sizing_mode="stretch_width", margin=0)
        self._list.on_pick(self._picked)
        self._body = pn.Column(margin=0, sizing_mode="stretch_both", scroll=True)
        self.folded = False
        self.view = pn.Column(head, self._body, margin=0, height=HEIGHT, sizing_mode="stretch_width", styles=_FRAME)
        self._titles()
        self.refresh()

    @property
    def tab(self) -> str:
        """The open tab."""
        return self._bar.value

    def open(self, tab: str) -> None:
        """Open a tab, unfolding the dock."""
        self.fold(folded=False)
        self._bar.value = tab

    def fold(self, *, folded: bool) -> None:
        """Show only the tabs, or all."""
        if folded != self.folded:
            self.folded = folded
            self._tell_folded(folded)
            self.view.height = FOLDED_HEIGHT if folded else HEIGHT
            self._body.visible = not folded
            self._fold.param.update(
                icon=str(icon("chevron-up" if folded else "chevron-down", 14)), label="Unfold" if folded else "Fold"
            )

    def show_node(self, node: str | None) -> None:
        """Show the data and logs of this node."""
        if node != self._node:
            self._node = node
            if self.tab in ("data", "logs", "steps"):
                self.refresh()

    def findings_changed(self) -> None:
        """Follow the findings."""
        self._titles()
        if self.tab == "problems":
            self.refresh()

    def run_changed(self) -> None:
        """Follow the run: it began or ended."""
        self._titles()
        if self.tab == "problems" and self._state.trial.running:
            self._bar.value = "steps"
        else:
            self._shown = None
            self.refresh()

    def refresh(self) -> None:
        """Fill the open tab."""
        match self.tab:
            case "problems":
                empty = "Nothing is wrong with this model." if self._state.checked else "Looking for problems …"
                self._show_rows(_PROBLEM_COLUMNS, self._problem_rows(), empty)
            case "steps":
                self._show_rows(_STEP_COLUMNS, self._step_rows(), "Run the model to see its steps here.")
            case "runs":
                self._show_rows(_RUN_COLUMNS, self._run_rows(), "This model has not been run yet.")
            case "logs":
                self._show(html(self._logs(), stylesheets=[_LOG_CSS], sizing_mode="stretch_width"))
            case _:
                self._show_data()

    # ---- the tabs ---------------------------------------------------------------------------------------------

    def _titles(self) -> None:
        problems = len(self._state.findings)
        worst = "bad" if self._state.errors else "warn"
        run = self._state.trial.run
        steps = 0 if run is None else run.steps_total
        counts: dict[str, tuple[int, str]] = {"steps": (steps, "idle"), "problems": (problems, worst)}
        items = [
            {
                "id": tab,
                "label": tab.capitalize(),
                "count": counts.get(tab, (0, ""))[0],
                "tone": counts.get(tab, (0, ""))[1],
            }
            for tab in _TABS
        ]
        if items != self._bar.items:
            self._bar.items = items

    def _show(self, content: Any) -> None:
        self._shown = None
        self._body.objects = [content]

    def _show_rows(self, columns: list[dict[str, Any]], rows: list[dict[str, Any]], empty: str) -> None:
        self._list.param.update(
            columns=columns, rows=rows, empty=empty, name_of_list=self.tab, current=self._node or ""
        )
        if self._shown is not self._list:
            self._body.objects = [self._list]
            self._shown = self._list

    def _problem_rows(self) -> list[dict[str, Any]]:
        model = self._state.model
        rows = []
        for place, finding in enumerate(self._state.findings[:_MOST_ROWS]):
            node = canvas.subject_node(model, finding.subject)
            mark, tone = _SEVERITIES[finding.severity]
            what = {"text": finding.message, "sub": finding.mend, "icon": str(icon(mark, 14)), "iconTone": tone}
            where = model.nodes[node].name if node is not None else model.name
            rows.append(
                {"id": str(place), "cells": [what, {"text": where}, {"text": finding.severity, "title": finding.code}]}
            )
        return rows

    def _step_rows(self) -> list[dict[str, Any]]:
        model, trial = self._state.model, self._state.trial
        kept: Mapping[str, Step] = {step.path: step for step in trial.steps}
        begun = {path: place for place, path in enumerate(kept)}
        rows = []
        for key, status in sorted(trial.status.items(), key=lambda item: begun.get(item[0], len(begun)))[:_MOST_ROWS]:
            if key not in model.nodes or isinstance(model.nodes[key], Boundary | Stage):
                continue
            step = kept.get(key)
            tone = _TONES.get(status["state"], "idle")
            ms = status.get("ms")
            attempts = len(step.attempts) if step is not None else status.get("attempt", "")
            said = status.get("message") or (step.reason if step is not None else None) or status.get("detail", "")
            cells = [
                {"text": model.nodes[key].name},
                {"text": status["state"], "tone": tone, **_mark(tone)},
                {"text": str(attempts or "")},
                {"text": duration(ms / 1000) if ms is not None else ""},
                {"text": said},
            ]
            rows.append({"id": key, "cells": cells, "muted": status["state"] in ("queued", "skipped")})
        return rows

    def _run_rows(self) -> list[dict[str, Any]]:
        now = datetime.now(UTC)
        return [_run_row(run, now) for run in self._state.engine.runs.list(model=self._state.id, limit=_RUNS_SHOWN)]

    def _logs(self) -> Markup:
        trial = self._state.trial
        parts = [Markup('<p class="failed">{}</p>').format(trial.failure)] if trial.failure else []
        chosen = [step for step in trial.steps if self._node is None or step.node == self._node]
        lines = [f"{step.name}  {line}" for step in chosen for line in step.logs]
        if lines:
            parts.append(Markup("<pre>{}</pre>").format("\n".join(lines)))
        elif not parts:
            text = "No step has written anything." if trial.steps else "What steps write while they run is shown here."
            parts.append(Markup("<p>{}</p>").format(text))
        return Markup("").join(parts)

    def _show_data(self) -> None:
        values = self._values()
        if not values:
            self._show(
                html(
                    Markup("<p>{}</p>").format(self._why_no_data()), stylesheets=[_LOG_CSS], sizing_mode="stretch_width"
                )
            )
            return
        key = tuple((name, value.sha256) for name, value in values.items())
        if self._shown == key:
            return
        views = [
            pn.Column(stored_view(self._state.engine, value), margin=0, sizing_mode="stretch_width", styles=_DATA)
            for value in values.values()
        ]
        if len(views) == 1:
            self._body.objects = views
        else:
            tabs = zip(values, views, strict=True)
            self._body.objects = [
                pn.Tabs(*tabs, dynamic=True, margin=0, sizing_mode="stretch_both", stylesheets=[_TABS_CSS])
            ]
        self._shown = key

    def _values(self) -> Mapping[str, StoredValue]:
        """Return the outputs of the selected node in the run that is shown; without one, the run's outputs."""
        trial, model = self._state.trial, self._state.model
        if trial.run is None:
            return {}
        node = model.nodes.get(self._node or "")
        if node is None:
            return trial.run.outputs
        if isinstance(node, Boundary):
            kept = trial.run.outputs if node.boundary == "output" else trial.run.inputs
            ports = node.inputs if node.boundary == "output" else node.outputs
            return {port.name: kept[port.name] for port in ports if port.name in kept}
        step = next((step for step in trial.steps if step.path == node.id), None)
        return step.outputs if step is not None else {}

    def _why_no_data(self) -> str:
        trial, node = self._state.trial, self._state.model.nodes.get(self._node or "")
        if trial.run is None:
            return "Run the model: then what each node gave is shown here."
        if trial.running:
            return "The run is going on. Data is shown when it has ended."
        return f"{node.name} gave nothing in this run." if node is not None else "This run gave nothing."

    def _tab_changed(self) -> None:
        self.fold(folded=False)
        self.refresh()

    def _picked(self, row: str) -> None:
        if self.tab == "problems":
            findings = self._state.findings
            finding = findings[int(row)] if row.isdecimal() and int(row) < len(findings) else None
            node = canvas.subject_node(self._state.model, finding.subject) if finding is not None else None
            if node is not None:
                self._select(node)
        elif self.tab == "runs":
            self._open_run(row)
        else:
            self._select(row)


def _run_row(run: Run, now: datetime) -> dict[str, Any]:
    tone = _TONES.get(run.status, "idle")
    what = f"version {run.version}" if run.version is not None else f"trial of revision {run.revision}"
    cells = [
        {"text": ago(run.created_at, now), "title": exact(run.created_at)},
        {"text": run.status, "tone": tone, **_mark(tone)},
        {"text": what},
        {"text": f"{run.steps_done} of {run.steps_total}"},
        {"text": duration(run.duration_s) if run.duration_s is not None else ""},
        {"text": run.error or ""},
        {"text": short_id(run.id), "mono": True, "title": run.id},
    ]
    return {"id": run.id, "cells": cells}


def _mark(tone: str) -> dict[str, str]:
    return {"icon": str(icon(_ICONS[tone], 12, 2.25))} if tone in _ICONS else {}


_HEAD = {"align-items": "center", "padding-right": "8px", "border-bottom": "1px solid var(--line)", "flex": "none"}
_FRAME = {"background": "var(--surface)", "border-top": "1px solid var(--line)", "flex": "none"}
_DATA = {"padding": "10px 16px 16px"}
_PROBLEM_COLUMNS = [{"label": ""}, {"label": "", "width": "180px"}, {"label": "", "width": "90px"}]
_STEP_COLUMNS = [
    {"label": "Step", "width": "22%"},
    {"label": "State", "width": "110px"},
    {"label": "Attempts", "align": "right", "width": "80px"},
    {"label": "Time", "align": "right", "width": "90px"},
    {"label": "Result"},
]
_RUN_COLUMNS = [
    {"label": "Started", "width": "110px"},
    {"label": "State", "width": "110px"},
    {"label": "What"},
    {"label": "Steps", "align": "right", "width": "80px"},
    {"label": "Time", "align": "right", "width": "90px"},
    {"label": "Error"},
    {"label": "Run", "width": "80px"},
]
