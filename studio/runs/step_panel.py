"""The panel at the right of a run's page: one step, what went in, what came out, what it said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import panel as pn
from markupsafe import Markup

from engine.domain.runs import Attempt, Step, StoredValue
from engine.errors import TreadleError
from studio.components import COPY_CSS, Clickable, Latest, copy_button
from studio.runs.provenance import Given
from studio.runs.run_state import RunState
from studio.session import Session
from studio.theme import duration, error_card, html, icon, number, pill
from studio.values import value_view
from studio.values.states import clock, status_pill, tone_of, word_of

WIDTH_PX = 340
_TABS = ("Step", "Input", "Output", "Logs")
_ROWS = 8
_CSS = (
    COPY_CSS
    + """
.inside{display:grid;grid-template-columns:minmax(0,1fr);gap:14px}
h2{margin:0;font-size:var(--t3);overflow-wrap:anywhere;display:-webkit-box;-webkit-line-clamp:3;
  -webkit-box-orient:vertical;overflow:hidden}
.head{display:grid;gap:6px;justify-items:start}
.kind{font-size:var(--t2);color:var(--ink-2)}
h3{margin:0 0 4px;font-size:var(--t1);color:var(--ink-2);font-weight:600}
.field{display:flex;align-items:center;gap:6px;min-height:30px;padding:2px 4px 2px 9px;
  border:1px solid var(--line-strong);
  border-radius:6px;font-size:var(--t2)}
.field .mono{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;flex:1}.field i{flex:1}.field a{font-weight:500}
.said{margin:0;padding:8px 10px;border:1px solid var(--line);border-radius:6px;background:var(--bg);
  font:var(--t2)/1.5 var(--mono);
  white-space:pre-wrap;overflow-wrap:anywhere;max-height:220px;overflow:auto}
table.attempts{width:100%;border-collapse:collapse;font-size:var(--t2);font-variant-numeric:tabular-nums}
.attempts th{font-weight:600;color:var(--ink-2);text-align:left}
.attempts :is(th,td){padding:5px 6px;border-bottom:1px solid var(--line)}
.attempts :is(th,td):nth-child(3){text-align:right}
.attempts :is(th,td):first-child{padding-left:0;width:18px}
p{margin:0;font-size:var(--t2);color:var(--ink-2);line-height:1.5}
.open{display:inline-flex;align-items:center;gap:5px;font-size:var(--t2);font-weight:500;text-decoration:none;
  width:max-content}
.open:hover{text-decoration:underline}
"""
)
_PORT_CSS = (
    "h3{margin:0;font-size:var(--t2)}p{margin:1px 0 0;font-size:var(--t1);color:var(--ink-3);overflow-wrap:anywhere}"
)
_LOG_CSS = "pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;max-height:none}"


class StepPanel:
    """The panel. `update` shows the state's step again, in the tab that is open."""

    def __init__(self, state: RunState, session: Session) -> None:
        """Follow the state's selected step."""
        self._state, self._session = state, session
        self._latest = Latest(session)
        self._drawn: tuple[Any, ...] = ()
        self._step = Clickable(Markup(""), stylesheets=[_CSS], sizing_mode="stretch_width")
        self._rooms = [pn.Column(sizing_mode="stretch_width", margin=(0, 16, 24, 16)) for _ in _TABS]
        self._rooms[0].objects = [self._step]
        self._tabs = pn.Tabs(*zip(_TABS, self._rooms, strict=True), dynamic=True, sizing_mode="stretch_width", margin=0)
        self._tabs.param.watch(lambda _event: self.update(), "active")
        state.param.watch(lambda _event: self.update(), "selected")
        self.update()

    def view(self) -> pn.viewable.Viewable:
        """The panel as wide as it stays, scrolling by itself."""
        return pn.Column(
            self._tabs,
            width=WIDTH_PX,
            sizing_mode="stretch_height",
            scroll="y-auto",
            margin=0,
            styles={"border-left": "1px solid var(--line)", "background": "var(--surface)"},
        )

    def update(self) -> None:
        """Show the step; nothing is drawn anew that looks the same."""
        step, active = self._state.step, self._tabs.active
        shown = (active, step, self._state.ended)
        if shown == self._drawn:
            return
        self._drawn = shown
        if active == 0:
            self._step.show(_step_html(self._state, step))
        elif active == 1 and step is not None:
            self._fill(1, step, self._given)
        elif active == 2 and step is not None:
            self._fill(2, step, self._gave)
        elif step is not None:
            self._rooms[3].objects = [_logs(step)]

    def _fill(self, tab: int, step: Step, load: Any) -> None:
        """Read values in a thread, then show them; large ones take a while."""

        def show(parts: list[tuple[str, str, Any]]) -> None:
            if self._tabs.active == tab and self._state.selected == step.path:
                self._rooms[tab].objects = [_port(*part, step.path) for part in parts] or [_quiet(tab, step)]

        self._latest.ask(lambda: load(step), show)

    def _given(self, step: Step) -> list[tuple[str, str, Any]]:
        parts = [(given.port, given.origin, self._of(given)) for given in self._state.inputs(step.path)]
        settings = self._state.models.settings(step.path)
        return [*parts, ("Settings", "set in the node", settings)] if settings else parts

    def _gave(self, step: Step) -> list[tuple[str, str, Any]]:
        return [(port, stored.summary, self._read(stored)) for port, stored in step.outputs.items()]

    def _of(self, given: Given) -> Any:
        return self._read(given.stored) if given.stored is not None else given.plain

    def _read(self, stored: StoredValue) -> Any:
        try:
            return self._state.value(stored)
        except TreadleError as error:
            return error


def _port(name: str, origin: str, value: Any, path: str) -> pn.viewable.Viewable:
    head = html(
        Markup("<h3>{}</h3><p>{}</p>").format(name, origin), stylesheets=[_PORT_CSS], sizing_mode="stretch_width"
    )
    if isinstance(value, TreadleError):
        body: Any = error_card("This value can't be shown", str(value))
    elif value is None and origin.startswith("nothing"):
        return pn.Column(head, sizing_mode="stretch_width", margin=(0, 0, 16, 0))
    else:
        body = value_view(value, rows=_ROWS, name=f"{path}-{name}")
    return pn.Column(head, pn.Spacer(height=8), body, sizing_mode="stretch_width", margin=(0, 0, 20, 0))


def _quiet(tab: int, step: Step) -> pn.viewable.Viewable:
    words = "This step has no inputs." if tab == 1 else "It gave nothing."
    if tab != 1 and step.status in ("pending", "running", "retrying"):
        words = "Nothing yet."
    return html(Markup('<p class="muted">{}</p>').format(words))


def _logs(step: Step) -> pn.viewable.Viewable:
    if not step.logs:
        words = Markup(
            '<p class="muted">It logged nothing. A function can ask for a <code>StepContext</code> '
            "and call <code>log</code>.</p>"
        )
        return html(words, sizing_mode="stretch_width")
    return html(
        Markup('<pre tabindex="0">{}</pre>').format("\n".join(step.logs)),
        stylesheets=[_LOG_CSS],
        sizing_mode="stretch_width",
    )


def _step_html(state: RunState, step: Step | None) -> Markup:
    if step is None:
        return Markup("<p>Choose a step in the timeline to look into it.</p>")
    parts = [_head(state, step)]
    if step.error:
        parts.append(Markup('<div><h3>Error</h3><pre class="said" tabindex="0">{}</pre></div>').format(step.error))
        if state.stood_in(step):
            parts.append(Markup("<p>Its fallback stood in, and the run went on.</p>"))
    elif step.reason:
        parts.append(Markup("<p>{}</p>").format(step.reason))
    if step.attempts:
        parts.append(_attempts(step.attempts))
        key = step.attempts[-1].idempotency_key
        if key:
            copy = copy_button(key, "the idempotency key")
            parts.append(
                _field("Idempotency key", Markup('<span class="mono" title="{}">{}</span>{}').format(key, key, copy))
            )
    parts.append(_recorded(state))
    if state.model_exists():
        link = f"/editor?model={quote(state.run.model)}&node={quote(step.path.partition('/')[0].partition('[')[0])}"
        parts.append(Markup('<a class="open" href="{}">{}Open in the editor</a>').format(link, icon("workflow", 14)))
    return Markup("").join(parts)


def _head(state: RunState, step: Step) -> Markup:
    took = Markup(" {}").format(duration(step.duration_s)) if step.duration_s is not None else ""
    return Markup('<div class="head"><h2 title="{}">{}</h2><span class="kind">{}</span><span>{}{}</span></div>').format(
        step.name,
        step.name,
        state.models.kind_word(step),
        status_pill(step.status),
        Markup('<span class="muted num">{}</span>').format(took),
    )


def _attempts(attempts: Sequence[Attempt]) -> Markup:
    rows = [
        Markup("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>").format(
            number(one.number),
            clock(one.started_at),
            duration((one.ended_at - one.started_at).total_seconds()) if one.ended_at else "–",
            pill(word_of(one.status), tone_of(one.status), title=one.error or ""),
        )
        for one in attempts
    ]
    return Markup(
        '<div><h3>Attempts</h3><table class="attempts"><thead><tr><th>#</th><th>started</th><th>took</th>'
        "<th>result</th></tr></thead><tbody>{}</tbody></table></div>"
    ).format(Markup("").join(rows))


def _field(label: str, content: Markup) -> Markup:
    return Markup('<div><h3>{}</h3><div class="field">{}</div></div>').format(label, content)


def _recorded(state: RunState) -> Markup:
    entry = state.ledger_entry()
    if entry is None:
        return Markup("")
    root = state.run.merkle_root
    seal = (
        pill("sealed", "ok", icon_name="shield-check", title=f"Merkle root of the run's records: {root}")
        if root
        else Markup("")
    )
    link = Markup('<a href="/ledger?entry={}">entry {}</a><i></i>{}').format(entry, number(entry), seal)
    return _field("Recorded in the ledger", link)
