"""The start page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import panel as pn
from markupsafe import Markup

from engine.domain.runs import Run
from engine.domain.writes import ModelRow
from engine.errors import StoreUnreachable, TreadleError
from studio.components import BOX, QUIET_LABEL, Clickable, Latest, Navigator, Repeat
from studio.home.dialog import NameDialog
from studio.home.markup import (
    CARDS_CSS,
    CSS,
    NOTICE_CSS,
    RUNS_CSS,
    UNDO_CSS,
    deleted_html,
    demos_html,
    interrupted_html,
    models_html,
    runs_html,
    undo_html,
)
from studio.home.state import MODELS_A_PAGE, HomeState, NameRefused
from studio.shell import Bar, Crumb, Page, PageContext
from studio.theme import button, empty_state, html, number

_LOOK_EVERY_S = 3.0
_RUNS_PX = 344
_HEAD_CSS = "h1{margin:0;font-size:22px}p{margin:3px 0 0;color:var(--ink-2)}h2{margin:0}"


def page(ctx: PageContext) -> Page:
    """Models at the left, the last runs at the right, demos below."""
    view = HomeView(HomeState(ctx.engine), ctx)
    return Page("Home", view.main, Bar(crumbs=[Crumb("Home")]), (view.new,))


class HomeView:
    """What stands on the page, and what its buttons do."""

    def __init__(self, state: HomeState, ctx: PageContext) -> None:
        """Show `state`; the runs are looked at again every three seconds."""
        self._state, self._session = state, ctx.session
        self._list_work, self._work = Latest(ctx.session), Latest(ctx.session)
        self._navigator = Navigator()
        self._dialog = NameDialog(self._create)
        self.new = button("New model", "plus", "primary", on_click=lambda _: self._dialog.ask())
        self._greeting = html(Markup(""), stylesheets=[_HEAD_CSS])
        self._interrupted = Clickable(Markup(""), self._pressed, stylesheets=[NOTICE_CSS], sizing_mode="stretch_width")
        self._models = Clickable(Markup(""), self._pressed, stylesheets=[CSS], sizing_mode="stretch_width", styles=BOX)
        self._models_room = pn.Column(sizing_mode="stretch_width", margin=0)
        self._runs = Clickable(Markup(""), stylesheets=[RUNS_CSS], width=_RUNS_PX, styles=BOX)
        self._undo = Clickable(Markup(""), self._pressed, stylesheets=[UNDO_CSS], height=0, sizing_mode="stretch_width")
        self._bin = button("Deleted", "trash-2", "ghost", on_click=lambda _: self._toggle_deleted())
        self.main = self._layout()
        state.param.watch(lambda *_: self._ask_models(), ["text", "shown", "deleted"])
        self._show_models(self._load_models())
        self._show_runs(state.runs(), state.interrupted())
        Repeat(ctx.session, self._look, interval_s=_LOOK_EVERY_S, ends_with=StoreUnreachable)

    def _layout(self) -> pn.viewable.Viewable:
        words = "Find a model or a node in one"
        find = pn.widgets.TextInput(label=words, placeholder=words, width=260, margin=0, stylesheets=[QUIET_LABEL])
        find.param.watch(lambda event: self._state.param.update(text=event.new, shown=MODELS_A_PAGE), "value_input")
        space = pn.Spacer(sizing_mode="stretch_width", height=1)
        head = pn.Row(
            _title("Models"),
            space,
            find,
            self._bin,
            css_classes=["tr-actions"],
            sizing_mode="stretch_width",
            margin=(0, 0, 10, 0),
        )
        left = pn.Column(head, self._models_room, *self._demo_cards(), sizing_mode="stretch_width", margin=0)
        all_runs = html(
            Markup('<a href="/runs">All runs</a>'),
            align="center",
            stylesheets=["a{font-size:var(--t2);text-decoration:none}"],
        )
        right_head = pn.Row(
            _title("Recent runs"),
            pn.Spacer(sizing_mode="stretch_width", height=28),
            all_runs,
            width=_RUNS_PX,
            margin=(0, 0, 10, 0),
        )
        right = pn.Column(right_head, self._runs, width=_RUNS_PX, margin=(0, 0, 0, 20))
        parts: list[Any] = [
            self._greeting,
            pn.Column(self._interrupted, sizing_mode="stretch_width", margin=(14, 0, 0, 0)),
            pn.Row(left, right, sizing_mode="stretch_width", margin=(22, 0, 0, 0)),
        ]
        parts += [self._undo, self._navigator, self._dialog]
        return pn.Column(*parts, sizing_mode="stretch_width", max_width=1320, margin=0)

    def _demo_cards(self) -> list[Any]:
        demos = self._state.demos()
        if not demos:
            return []
        cards = Clickable(demos_html(demos), self._pressed, stylesheets=[CARDS_CSS], sizing_mode="stretch_width")
        title = pn.Row(_title("Demos"), margin=(26, 0, 10, 0))
        return [title, cards]

    # ---- models -----------------------------------------------------------------------------------------------

    def _load_models(self) -> tuple[list[ModelRow], bool, int]:
        rows, more = self._state.models()
        return rows, more, self._state.count_deleted()

    def _ask_models(self) -> None:
        self._list_work.ask(self._load_models, self._show_models)

    def _show_models(self, found: tuple[list[ModelRow], bool, int]) -> None:
        rows, more, deleted = found
        state, now = self._state, datetime.now(UTC)
        self._bin.visible = bool(deleted) or state.deleted
        self._bin.label = "Back to the models" if state.deleted else f"Deleted ({number(deleted)})"
        self._bin.icon = None if state.deleted else self._bin.icon
        if state.deleted:
            self._models.show(deleted_html(rows, now))
        elif rows:
            self._models.show(models_html(rows, now, more=more))
        else:
            self._models_room.objects = [pn.Column(self._empty(), sizing_mode="stretch_width", styles=BOX, margin=0)]
            return
        if self._models not in self._models_room.objects:
            self._models_room.objects = [self._models]

    def _empty(self) -> pn.viewable.Viewable:
        if self._state.text.strip():
            return empty_state(
                "No model matches", "Names, descriptions and the names of nodes are searched.", icon_name="search"
            )
        new = button("New model", "plus", "primary", on_click=lambda _: self._dialog.ask())
        return empty_state(
            "No models yet",
            "A model is a workflow you draw: data comes in, steps work on it, results go out. "
            "Make one, or open a demo below.",
            [new],
            "workflow",
        )

    def _toggle_deleted(self) -> None:
        self._state.deleted = not self._state.deleted

    # ---- runs -------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        runs, interrupted = self._state.runs(), self._state.interrupted()
        self._session.later(lambda: self._show_runs(runs, interrupted))

    def _show_runs(self, runs: list[tuple[Run, str]], interrupted: list[Run]) -> None:
        now = datetime.now(UTC)
        greeting = Markup("<h1>{}</h1><p>{}</p>").format(*self._state.greeting(datetime.now().astimezone(), runs))
        if self._greeting.object != str(greeting):
            self._greeting.object = str(greeting)
        self._runs.show(runs_html(runs, now))
        self._interrupted.visible = bool(interrupted)
        self._interrupted.show(interrupted_html(interrupted, now))

    # ---- what the buttons do ----------------------------------------------------------------------------------

    def _pressed(self, word: str, key: str) -> None:
        state, go = self._state, self._navigator.go
        acts: dict[str, Callable[[], object]] = {
            "delete": lambda: self._work.ask(lambda: state.delete(key), self._deleted),
            "undo": lambda: self._recover(key),
            "recover": lambda: self._recover(key),
            "more": lambda: state.param.update(shown=state.shown + MODELS_A_PAGE),
            "resume": lambda: self._work.ask(lambda: state.resume(key), lambda run: go(f"/run?id={quote(run.id)}")),
            "open-demo": lambda: self._work.ask(
                lambda: state.open_demo(key), lambda made: go(f"/editor?model={quote(made.id)}")
            ),
            "run-demo": lambda: self._work.ask(lambda: state.run_demo(key), lambda run: go(f"/run?id={quote(run.id)}")),
        }
        act = acts.get(word)
        if act is not None:
            act()

    def _create(self, name: str) -> None:
        def make() -> str | Exception:
            try:
                return self._state.create(name).id
            except (TreadleError, NameRefused) as error:
                return error

        def made(result: str | Exception) -> None:
            if isinstance(result, str):
                self._navigator.go(f"/editor?model={quote(result)}")
            else:
                self._dialog.refuse(str(result))

        self._work.ask(make, made)

    def _deleted(self, model: Any) -> None:
        self._undo.show(undo_html(model.name, model.id))
        self._ask_models()

    def _recover(self, model: str) -> None:
        def back(_model: Any) -> None:
            self._undo.show(Markup(""))
            self._ask_models()

        self._work.ask(lambda: self._state.recover(model), back)


def _title(words: str) -> pn.viewable.Viewable:
    return html(Markup("<h2>{}</h2>").format(words), stylesheets=[_HEAD_CSS], align="center")
