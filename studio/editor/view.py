"""The editor's page: one model, its app bar, and the workbench; without a model, the choice of one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import panel as pn
from markupsafe import Markup

from engine.domain.model import FunctionModel
from engine.domain.writes import ModelRow
from studio.editor.parts import Listing, PageKeys
from studio.editor.state import EditorState, open_state
from studio.editor.workbench import Workbench
from studio.session import Session
from studio.shell import Badge, Bar, Crumb, Page, PageContext
from studio.theme import ago, button, empty_state, exact, html

_NEW_NAME = "New model"
_FOLDS: dict[str, dict[str, bool]] = {}
"""What each person has folded away, until the server ends."""


def page(ctx: PageContext) -> Page:
    """The editor of `?model=ID`, with `&node=ID` selected; the list of models without it."""
    reference = ctx.query.get("model")
    if not reference:
        return _choice(ctx)
    state = open_state(ctx.engine, reference)
    tab = EditorTab(state, ctx)
    ctx.session.on_close(tab.close)
    return Page(state.model.name, tab.view, tab.bar, tab.actions, room="fill")


class TabDesk:
    """A tab of the studio, as a workbench uses it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def soon(self, function: Any) -> None:
        """Run on the tab's document: at once from its own callbacks, else soon."""
        if Session.here() is self._session:
            function()
        else:
            self._session.later(function)

    def say(self, text: str, tone: Any) -> None:
        """Show a toast."""
        self._session.toast(text, tone)

    def go(self, address: str) -> None:
        """Open another page of the studio."""
        location = pn.state.location
        if location is not None:
            path, _, search = address.partition("?")
            location.param.update(pathname=path, search=f"?{search}" if search else "", reload=True)


class EditorTab:
    """The workbench of one tab with its app bar."""

    def __init__(self, state: EditorState, ctx: PageContext) -> None:
        self.state, self._ctx = state, ctx
        folds = _FOLDS.setdefault(ctx.actor, {})
        self.bench = Workbench(state, TabDesk(ctx.session), folds=folds)
        self.bar = Bar()
        # A run that ended before this tab was opened is no news in it.
        self._told = state.trial.run.id if state.trial.run is not None and not state.trial.running else ""
        self._save = button("Save", "save", description="Ctrl+S")
        self._save.on_click(lambda _: self.bench.save())
        self._publish = button("Publish", "rocket")
        self._publish.on_click(lambda _: self.bench.ask_publish())
        self._run = button("Run", "play", "primary")
        self._run.on_click(lambda _: self.bench.ask_run())
        self._cancel = button("Cancel", "circle-stop", "danger", visible=False)
        self._cancel.on_click(lambda _: state.trial.cancel())
        self.actions = (self._save, self._publish, self._cancel, self._run)
        keys = PageKeys(margin=0, width=0, height=0)
        keys.on_key(lambda key: self.bench.save() if key == "save" else self.bench.ask_run())
        self.view = pn.Row(self.bench.view, keys, margin=0, sizing_mode="stretch_both")
        names = ["model", "base_revision", "unsaved", "findings", "checked"]
        # Always later: the bar changes Bokeh models, which needs the document's lock.
        watcher = state.param.watch(lambda *_: ctx.session.later(self._follow), names)
        stop = state.trial.watch(lambda *_: None, lambda: ctx.session.later(self._phase))
        self._stops = [lambda: state.param.unwatch(watcher), stop]
        self._follow()
        self._phase()
        ctx.session.document.on_event("document_ready", lambda _: self._repeat())
        if state.left_behind:
            ctx.session.toast("Unsaved work of an earlier time no longer fits this model and was left out.", "warn")
        node = ctx.query.get("node")
        if node in state.model.nodes:
            ctx.session.later(lambda: self.bench.focus(str(node)))

    def close(self) -> None:
        """Let go of the state."""
        for stop in self._stops:
            stop()
        self.bench.close()

    def _repeat(self) -> None:
        """Say the badges again: what changed between painting the page and its connection was not shown."""
        badges, self.bar.badges = self.bar.badges, []
        self.bar.badges = badges

    def _follow(self) -> None:
        state = self.state
        crumbs = [Crumb("Models", "/editor"), Crumb(state.model.name)]
        if [crumb.label for crumb in self.bar.crumbs] != [crumb.label for crumb in crumbs]:
            self.bar.crumbs = crumbs
        badges = [status_badge(state), *validity_badges(state)]
        if badges != self.bar.badges:
            self.bar.badges = badges
        self._save.disabled = state.read_only or not state.unsaved
        reason = why_not_publish(state)
        self._publish.disabled = reason is not None
        self._publish.description = reason or "Make a version that never changes again"
        self._run.disabled = state.read_only

    def _phase(self) -> None:
        trial = self.state.trial
        self._cancel.visible, self._run.visible = trial.running, not trial.running
        run = trial.run
        if run is None or trial.running or run.id == self._told:
            return
        self._told = run.id
        if trial.failure:
            self._ctx.session.toast(trial.failure, "bad")


def status_badge(state: EditorState) -> Badge:
    """Return what the model is: its status, revision, and whether something is unsaved."""
    model = state.model
    if state.read_only:
        return Badge("Archived · read only", "idle", "archive")
    unsaved = state.unsaved
    if model.status == "published" and not unsaved and model.version is not None:
        return Badge(f"Published {model.version} · revision {state.base_revision}", "idle", "badge-check")
    text = f"Draft · revision {state.base_revision}"
    if unsaved:
        return Badge(
            f"{text} · unsaved", "warn", "circle-dot", title=f"{unsaved} unsaved {'step' if unsaved == 1 else 'steps'}"
        )
    return Badge(text)


def validity_badges(state: EditorState) -> list[Badge]:
    """Return whether the model can be published and run."""
    if not state.checked and not state.findings:
        return []
    errors = state.errors
    others = sum(finding.severity == "warning" for finding in state.findings)
    if errors:
        return [Badge(f"{errors} {'problem' if errors == 1 else 'problems'}", "bad", "circle-alert")]
    if others:
        return [Badge(f"Valid · {others} {'warning' if others == 1 else 'warnings'}", "ok", "check")]
    return [Badge("Valid", "ok", "check")]


def why_not_publish(state: EditorState) -> str | None:
    """Return why the model can't be published now, as a sentence; None if it can."""
    if state.read_only:
        return "An archived model is not published again."
    if state.errors:
        return "There are problems: the Problems tab below names them."
    if state.model.status == "published" and not state.unsaved:
        return "Nothing has changed since the last version."
    return None


def _choice(ctx: PageContext) -> Page:
    rows: list[ModelRow] = ctx.engine.models.list()
    bar = Bar(crumbs=[Crumb("Models")])
    desk = TabDesk(ctx.session)
    new = button("New model", "plus", "primary")
    new.on_click(lambda _: desk.go(f"/editor?model={_created(ctx.engine).id}"))
    if not rows:
        main: Any = empty_state(
            "No models yet", "A model is a workflow you draw and run. Start with an empty one.", [new], "workflow"
        )
        return Page("Models", main, bar)
    listing = Listing(
        columns=[
            {"label": "Model"}, {"label": "Status", "width": "140px"},
            {"label": "Nodes", "align": "right", "width": "80px"}, {"label": "Changed", "width": "140px"},
        ],
        rows=[_model_row(row) for row in rows], name_of_list="Models", sizing_mode="stretch_width", margin=0,
    )  # fmt: skip
    listing.on_pick(lambda key: desk.go(f"/editor?model={key}"))
    title = html(Markup("<h1>Models</h1>"))
    return Page("Models", pn.Column(title, listing, sizing_mode="stretch_width", margin=0), bar, (new,))


def _model_row(row: ModelRow) -> dict[str, Any]:
    status = f"{row.status} {row.version}" if row.version and row.status == "published" else row.status
    cells = [
        {"text": row.name, "sub": row.description[:160]},
        {"text": status, "tone": "ok" if row.status == "published" else "idle"},
        {"text": str(row.nodes)},
        {"text": ago(row.updated_at, datetime.now(UTC)), "title": exact(row.updated_at)},
    ]
    return {"id": row.id, "cells": cells}


def _created(engine: Any) -> FunctionModel:
    taken = {row.name.casefold() for row in engine.models.list(limit=1_000)}
    number = 1
    while (name := _NEW_NAME if number == 1 else f"{_NEW_NAME} {number}").casefold() in taken:
        number += 1
    return engine.models.create(name)
