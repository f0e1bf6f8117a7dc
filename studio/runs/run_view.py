"""The page of one run: its timeline, what failed and why, what came out, and how it went before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import panel as pn
from markupsafe import Markup

from engine.errors import RunNotFound, StoreUnreachable
from studio.components import Latest, Navigator, Repeat
from studio.runs.gantt import Gantt
from studio.runs.history import HistoryChart
from studio.runs.questions import Questions
from studio.runs.run_state import Failure, History, RunState
from studio.runs.step_panel import StepPanel
from studio.shell import Badge, Bar, Crumb, Page, PageContext
from studio.theme import button, duration, error_card, error_markup, exact, html, icon, number, short_id
from studio.values import stored_view
from studio.values.states import tone_of, word_of

_LOOK_EVERY_S = 0.5
_ICONS = {"ok": "check", "bad": "x", "warn": "triangle-alert", "run": "loader-circle"}
_CARD_CSS = """
h2{margin:0 0 8px;font-size:var(--t3)}p{margin:6px 0 0}
.said{margin:10px 0 0;padding:7px 10px;border:1px solid var(--line-strong);border-radius:6px;
  font:var(--t2)/1.5 var(--mono);
  white-space:pre-wrap;overflow-wrap:anywhere;max-height:150px;overflow:auto}
h3{margin:0 0 8px;font-size:var(--t2);font-weight:600}
"""


def run_page(ctx: PageContext) -> Page:
    """The page of the run that `?id=` names. Raises RunNotFound."""
    identifier = ctx.query.get("id", "")
    if not identifier:
        raise RunNotFound(run="without an id")
    return RunPage(RunState(ctx.engine, identifier), ctx).page()


class RunPage:
    """What stands on the page, and what its buttons do."""

    def __init__(self, state: RunState, ctx: PageContext) -> None:
        """Draw `state`, and follow it while the run is under way."""
        self._state, self._session, self._engine = state, ctx.session, ctx.engine
        self._work = Latest(ctx.session)
        self._bar = Bar()
        self._gantt = Gantt(state, ctx.session, self._select)
        self._panel = StepPanel(state, ctx.session)
        self._questions = Questions(self._choose)
        self._cards = pn.Column(sizing_mode="stretch_width", margin=0)
        self._history = state.history()
        self._repeat: Repeat | None = None
        self._cancel = button("Cancel", "circle-stop", "danger", on_click=lambda _: self._do_cancel())
        self._resume = button("Resume", "play", "primary", on_click=lambda _: self._go_to(state.resume))
        self._again = button("Run again", "rotate-ccw", "primary", on_click=lambda _: self._go_to(state.run_again))
        self._failed_only = button("Run what failed", "play", on_click=lambda _: self._go_to(state.run_what_failed))
        self._again_here = button("Run again", "rotate-ccw", on_click=lambda _: self._go_to(state.run_again))
        self._navigator = Navigator()
        self._chart: HistoryChart | None = None
        ctx.session.on_theme(lambda appearance: self._chart and self._chart.restyle(dark=appearance == "dark"))
        self._refresh()
        self._draw_cards()
        if state.may_change:
            self._repeat = Repeat(ctx.session, self._look, interval_s=_LOOK_EVERY_S, ends_with=StoreUnreachable)

    def page(self) -> Page:
        """The page for the shell."""
        run = self._state.run
        left = pn.Column(
            self._questions.view(), self._gantt.view(), self._cards,
            sizing_mode="stretch_both", scroll="y-auto", margin=0,
            styles={"padding": "14px 16px 24px", "box-sizing": "border-box", "min-width": "0"},
        )  # fmt: skip
        main = pn.Row(left, self._panel.view(), self._navigator, sizing_mode="stretch_both", margin=0)
        actions = (self._cancel, self._resume, self._again)
        return Page(f"{run.model_name} · run {short_id(run.id)}", main, self._bar, actions, room="fill")

    # ---- drawing ----------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Bring badges and buttons up to date."""
        state, run = self._state, self._state.run
        editor = f"/editor?model={quote(run.model)}" if state.model_exists() else None
        self._bar.crumbs = [Crumb("Runs", "/runs"), Crumb(run.model_name, editor), Crumb(f"run {short_id(run.id)}")]
        tone = tone_of(state.status)
        facts = [
            "trial" if run.trial else str(run.version),
            f"{state.began.astimezone():%H:%M:%S}",
            duration(state.took_s),
            f"by {run.actor}",
        ]
        if run.resumed:
            facts.append(f"resumed {number(run.resumed)} {'time' if run.resumed == 1 else 'times'}")
        self._bar.badges = [
            Badge(word_of(state.status), tone, _ICONS.get(tone)),
            Badge(" · ".join(facts), title=f"Started {exact(state.began)} · run {run.id}"),
        ]
        self._questions.update(state.questions)
        self._cancel.visible = state.here or state.status in ("waiting", "paused")
        self._resume.visible = state.status in ("interrupted", "paused") and not state.live
        self._again.visible = state.ended

    def _draw_cards(self) -> None:
        state, history = self._state, self._history
        dark = self._session.theme == "dark"
        failure = state.failure(history)
        trouble = [error_card("The steps can't be shown", state.trouble)] if state.trouble else []
        self._chart = HistoryChart(history, state.run.id, dark=dark)
        past = _past(history, self._chart)
        if failure is not None:
            cards: list[Any] = [*trouble, _beside(self._failed(failure), past)]
        else:
            cards = [_outputs(self._engine, state, dark=dark), past] if state.ended else [*trouble, past]
        if failure is not None and state.run.outputs:
            cards.append(_outputs(self._engine, state, dark=dark))
        self._cards.objects = [pn.Column(card, margin=(14, 0, 0, 0), sizing_mode="stretch_width") for card in cards]

    def _failed(self, failure: Failure) -> pn.viewable.Viewable:
        state = self._state
        words = error_markup(failure.heading, failure.sentence)
        said = Markup('<pre class="said" tabindex="0">{}</pre>').format(failure.error)
        actions: list[Any] = [self._failed_only, self._again_here]
        if failure.step is not None and state.model_exists():
            node = failure.step.path.partition("/")[0].partition("[")[0]
            actions.append(
                _link("Open in the editor", f"/editor?model={quote(state.run.model)}&node={quote(node)}", "workflow")
            )
        if failure.same > 1:
            where = f"/runs?model={quote(state.run.model)}&status=failed"
            actions.append(_link(f"Same failure in {number(failure.same)} runs", where))
        return pn.Column(
            html(words + said, stylesheets=[_CARD_CSS], sizing_mode="stretch_width"),
            pn.Row(*actions, css_classes=["tr-actions"], margin=(12, 0, 0, 0)),
            css_classes=["tr-card"],
            sizing_mode="stretch_width",
            margin=0,
        )

    # ---- what happens -----------------------------------------------------------------------------------------

    def _select(self, path: str) -> None:
        self._state.selected = path

    def _look(self) -> None:
        """Read how the run stands (in a thread) and hand it to the page."""
        has_ended = self._state.refresh()
        history = self._state.history() if has_ended else self._history
        if not self._state.may_change:
            if self._repeat is not None:
                self._repeat.stop()
            has_ended = True

        def show() -> None:
            self._history = history
            self._gantt.update()
            self._panel.update()
            self._refresh()
            if has_ended:
                self._draw_cards()

        self._session.later(show)

    def _choose(self, path: str, option: str, reason: str) -> None:
        told = "Kept. The run goes on."
        self._work.ask(lambda: self._state.decide(path, option, reason), lambda _: self._session.toast(told))

    def _do_cancel(self) -> None:
        self._cancel.disabled = True
        self._session.toast("Cancelling: nothing new starts, steps under way have 5 s to stop.")
        self._work.ask(self._state.cancel, lambda _: None)

    def _go_to(self, begin: Callable[[], Any]) -> None:
        """Begin a run in a thread and go to its page; a refusal becomes a toast."""
        self._work.ask(begin, lambda handle: self._navigator.go(f"/run?id={quote(handle.id)}"))


def _past(history: History, chart: HistoryChart) -> pn.viewable.Viewable:
    title = "Last 30 runs" if len(history.runs) > 1 else "The first run of this model"
    return pn.Column(
        html(Markup("<h2>{}</h2>").format(title), stylesheets=[_CARD_CSS]),
        pn.pane.Bokeh(chart.figure, sizing_mode="stretch_width", margin=0),
        html(Markup('<p class="caption">{}</p>').format(history.sentence), stylesheets=[_CARD_CSS]),
        css_classes=["tr-card"],
        sizing_mode="stretch_width",
        margin=0,
    )


def _outputs(engine: Any, state: RunState, *, dark: bool) -> pn.viewable.Viewable:
    outputs = state.run.outputs
    title = html(
        Markup("<h2>{}</h2>").format("Outputs" if len(outputs) != 1 else f"Output: {next(iter(outputs))}"),
        stylesheets=[_CARD_CSS],
    )
    if not outputs:
        words = (
            "The run was cancelled before anything came out."
            if state.run.status == "cancelled"
            else "This model gives nothing back."
        )
        body: Any = html(Markup('<p class="muted">{}</p>').format(words), stylesheets=["p{margin:0}"])
    elif len(outputs) == 1:
        name, stored = next(iter(outputs.items()))
        body = stored_view(engine, stored, dark=dark, name=name)
    else:
        tabs = [(name, _padded(stored_view(engine, stored, dark=dark, name=name))) for name, stored in outputs.items()]
        body = pn.Tabs(*tabs, dynamic=True, sizing_mode="stretch_width", margin=0)
    return pn.Column(title, body, css_classes=["tr-card"], sizing_mode="stretch_width", margin=0)


def _padded(view: pn.viewable.Viewable) -> pn.viewable.Viewable:
    return pn.Column(view, sizing_mode="stretch_width", margin=(4, 0, 0, 0))


def _beside(first: Any, second: Any) -> pn.viewable.Viewable:
    second.margin = (0, 0, 0, 14)
    return pn.Row(first, second, sizing_mode="stretch_width", margin=0)


def _link(label: str, href: str, icon_name: str | None = None) -> pn.viewable.Viewable:
    mark = icon(icon_name, 14) if icon_name else Markup("")
    css = (
        "a{display:inline-flex;align-items:center;gap:6px;height:26px;padding:0 11px;"
        "border:1px solid var(--line-strong);"
        "border-radius:6px;background:var(--surface);color:var(--ink);font:600 var(--t2)/1 var(--font);"
        "text-decoration:none}"
        "a:hover{background:var(--idle-soft)}"
    )
    return html(Markup('<a href="{}">{}{}</a>').format(href, mark, label), stylesheets=[css], align="center")
