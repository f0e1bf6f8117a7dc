"""The list of runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import panel as pn
from markupsafe import Markup

from engine.domain.runs import Run
from engine.errors import StoreUnreachable
from studio.components import BOX, LIST_CSS, QUIET_LABEL, Clickable, Latest, Navigator, Repeat, table, when
from studio.runs.run_view import run_page
from studio.runs.state import PAGE_ROWS, STATUSES, Found, RunsState
from studio.shell import Bar, Crumb, Page, PageContext
from studio.theme import button, duration, empty_state, html, number, short_id
from studio.values.states import status_pill, word_of

__all__ = ["page", "run_page"]

_LOOK_EVERY_S = 2.0
_HEADS = (
    ("Status", "124px", ""),
    ("Model", "", ""),
    ("Run", "92px", ""),
    ("Version", "84px", ""),
    ("Started", "110px", ""),
    ("Took", "96px", "num"),
    ("Steps", "128px", "num"),
    ("By", "110px", ""),
)


def page(ctx: PageContext) -> Page:
    """The list, filtered as the address says (`model`, `status`, `text`)."""
    query = ctx.query
    state = RunsState(
        ctx.engine, status=query.get("status", ""), model=query.get("model", ""), text=query.get("text", "")
    )
    view = RunsView(state, ctx)
    return Page("Runs", view.main, Bar(crumbs=[Crumb("Runs")]))


class RunsView:
    """The filters, the table, the way to older ones; looked at again every two seconds."""

    def __init__(self, state: RunsState, ctx: PageContext) -> None:
        """Show `state`."""
        self._state = state
        self._latest = Latest(ctx.session)
        self._list = Clickable(Markup(""), stylesheets=[LIST_CSS], sizing_mode="stretch_width", styles=BOX)
        self._navigator = Navigator()
        self._room = pn.Column(sizing_mode="stretch_width", margin=0)
        self._place = html(Markup(""), align="center")
        self._newer = button("Newer", "chevron-left", on_click=lambda _: self._turn(-1))
        self._older = button("Older", "chevron-right", on_click=lambda _: self._turn(1))
        self._pager = pn.Row(self._newer, self._older, self._place, css_classes=["tr-actions"], margin=(12, 0, 0, 0))
        self.main = pn.Column(
            self._filters(), self._room, self._navigator, sizing_mode="stretch_width", margin=0, max_width=1320
        )
        self._session = ctx.session
        state.param.watch(lambda *_: self._ask(), ["status", "model", "text", "page"])
        self._show(state.load())
        Repeat(ctx.session, self._look, interval_s=_LOOK_EVERY_S, ends_with=StoreUnreachable)

    def _filters(self) -> pn.viewable.Viewable:
        state = self._state
        quiet: dict[str, Any] = {"margin": 0, "stylesheets": [QUIET_LABEL]}
        words = "Find by model, run id or error"
        text = pn.widgets.TextInput(label=words, value=state.text, placeholder=words, width=280, **quiet)
        text.param.watch(lambda event: setattr(state, "text", event.new), "value_input")
        statuses = {"Any status": "", **{word_of(one): one for one in STATUSES}}
        status = pn.widgets.Select(label="Status", options=statuses, value=state.status, width=140, **quiet)
        models = {"Any model": "", **state.models()}
        model = pn.widgets.Select(label="Model", options=models, value=state.model, width=220, **quiet)
        status.link(state, value="status")
        model.link(state, value="model")
        title = html(Markup("<h1>Runs</h1>"), stylesheets=["h1{margin:0}"], align="center")
        space = pn.Spacer(sizing_mode="stretch_width", height=1)
        return pn.Row(
            title,
            space,
            text,
            model,
            status,
            css_classes=["tr-actions"],
            sizing_mode="stretch_width",
            margin=(0, 0, 14, 0),
        )

    def _ask(self) -> None:
        self._latest.ask(self._state.load, self._show)

    def _look(self) -> None:
        found = self._state.load()
        self._session.later(lambda: self._show(found))

    def _turn(self, by: int) -> None:
        self._state.page = max(0, self._state.page + by)

    def _show(self, found: Found) -> None:
        state = self._state
        if not found.runs and not state.page:
            self._room.objects = [self._empty()]
            return
        now = datetime.now(UTC)
        rows = [_row(run, status, now) for run, status in found.runs]
        self._list.show(table(_HEADS, rows, "Runs, newest first"))
        first = state.page * PAGE_ROWS
        words = f"{number(first + 1)} to {number(first + len(found.runs))}" if found.runs else "No older runs"
        self._place.object = str(Markup('<span class="caption num">{}</span>').format(words))
        self._newer.disabled, self._older.disabled = state.page == 0, not found.more
        self._pager.visible = bool(state.page or found.more)
        if self._list not in self._room.objects:
            self._room.objects = [self._list, self._pager]

    def _empty(self) -> pn.viewable.Viewable:
        if self._state.filtered:
            return empty_state(
                "No run matches", "Look for fewer words, or for another status or model.", icon_name="search"
            )
        home = button("Choose a model", "workflow", "primary", on_click=lambda _: self._navigator.go("/"))
        words = "Each run of a model is listed here with its steps, values and logs. Open a model and press Run."
        return empty_state("No runs yet", words, [home], icon_name="activity")


def _row(run: Run, status: str, now: datetime) -> Markup:
    started = run.started_at or run.created_at
    took: Any = duration(run.duration_s) if run.duration_s is not None else "–"
    if run.duration_s is None and status == "running":
        took = duration(max(0.0, (now - started).total_seconds()))
    steps = f"{number(run.steps_done)} of {number(run.steps_total)}"
    return Markup(
        '<tr><td>{}</td><td title="{}"><a class="name" href="/run?id={}">{}</a></td>'
        '<td><span class="mono" title="{}">{}</span></td>'
        '<td>{}</td><td>{}</td><td class="num">{}</td><td class="num">{}</td><td title="{}">{}</td></tr>'
    ).format(
        status_pill(status), _hint(run), quote(run.id), run.model_name, run.id, short_id(run.id),
        "trial" if run.trial else str(run.version), when(started, now), took, steps, run.actor, run.actor,
    )  # fmt: skip


def _hint(run: Run) -> str:
    return f"{run.model_name}: {run.error}" if run.error else run.model_name
