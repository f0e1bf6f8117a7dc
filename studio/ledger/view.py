"""The page of the ledger."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import panel as pn
from markupsafe import Markup

from studio.components import BOX, QUIET_LABEL, Clickable, Latest
from studio.ledger.markup import LIST, STORY, entries_html, story_html, verdict_html
from studio.ledger.state import ACTIONS, Found, LedgerState, Verdict
from studio.shell import Badge, Bar, Crumb, Page, PageContext
from studio.theme import button, empty_state, html, icon, number

_STORY_PX = 400
_VERDICT_CSS = """
.verdict{display:flex;align-items:flex-start;gap:8px;padding:9px 12px;border-radius:var(--r2);font-size:var(--t3);
  line-height:1.4}
.verdict.ok{color:var(--ok);background:var(--ok-soft)}.verdict.bad{color:var(--bad);background:var(--bad-soft)}
.verdict .icon{margin-top:1px}
"""


def page(ctx: PageContext) -> Page:
    """The entries (`?entity=` and `?entry=` narrow or point), one entry's story beside them, and the proof."""
    given = ctx.query.get("entry", "")
    number_ = int(given) if given.isascii() and given.isdigit() and len(given) < 16 else 0
    view = LedgerView(LedgerState(ctx.engine, entity=ctx.query.get("entity", ""), selected=number_), ctx)
    return Page("Ledger", view.main, view.bar, (view.verify,), room="fill")


class LedgerView:
    """What stands on the page, and what its buttons do."""

    def __init__(self, state: LedgerState, ctx: PageContext) -> None:
        """Show `state`."""
        self._state = state
        self._list_work, self._story_work, self._proof = (Latest(ctx.session) for _ in range(3))
        self._found = Found((), more=False, names={})
        self.bar = Bar(crumbs=[Crumb("Ledger")])
        self.verify = button("Verify", "shield-check", "primary", on_click=lambda _: self._verify())
        self._verdict = html(Markup(""), stylesheets=[_VERDICT_CSS], sizing_mode="stretch_width", visible=False)
        self._list = Clickable(Markup(""), self._pressed, stylesheets=[LIST], sizing_mode="stretch_width", styles=BOX)
        self._room = pn.Column(sizing_mode="stretch_width", margin=0)
        self._story = Clickable(Markup(""), stylesheets=[STORY], sizing_mode="stretch_width")
        self._newer = button("Newer", "chevron-left", on_click=lambda _: state.newer())
        self._older = button("Older", "chevron-right", on_click=lambda _: state.older(self._found))
        self._place = html(Markup(""), align="center")
        self._pager = pn.Row(self._newer, self._older, self._place, css_classes=["tr-actions"], margin=(12, 0, 0, 0))
        self.main = self._layout()
        state.param.watch(
            lambda *_: self._list_work.ask(state.load, self._show), ["action", "actor", "text", "entity", "cursors"]
        )
        state.param.watch(lambda *_: self._story_work.ask(state.entry, self._tell), "selected")
        self._show(state.load())
        if not state.selected and self._found.entries:
            state.selected = self._found.entries[0].sequence
        self._tell(state.entry())
        self.bar.badges = [Badge(f"{number(state.total)} entries")]

    def _layout(self) -> pn.viewable.Viewable:
        left = pn.Column(
            self._filters(),
            pn.Column(self._verdict, sizing_mode="stretch_width", margin=0),
            self._room,
            sizing_mode="stretch_both",
            scroll="y-auto",
            margin=0,
            styles={"padding": "16px 16px 24px", "box-sizing": "border-box", "min-width": "0"},
        )
        right = pn.Column(
            self._story, width=_STORY_PX, sizing_mode="stretch_height", scroll="y-auto", margin=0,
            styles={"border-left": "1px solid var(--line)", "background": "var(--surface)"},
        )  # fmt: skip
        return pn.Row(left, right, sizing_mode="stretch_both", margin=0)

    def _filters(self) -> pn.viewable.Viewable:
        state = self._state
        quiet: dict[str, Any] = {"margin": 0, "stylesheets": [QUIET_LABEL]}
        text = pn.widgets.TextInput(label="Find in the ledger", placeholder="Find in the ledger", width=220, **quiet)
        text.param.watch(lambda event: setattr(state, "text", event.new), "value_input")
        actor = pn.widgets.TextInput(label="Actor", placeholder="By anyone", width=120, **quiet)
        actor.param.watch(lambda event: setattr(state, "actor", event.new), "value_input")
        action = pn.widgets.Select(
            label="Action", options={"Any action": "", **{one: one for one in ACTIONS}}, width=150, **quiet
        )
        action.link(state, value="action")
        parts: list[Any] = [text, actor, action]
        if state.entity:
            parts.append(button("Of one thing only", "x", on_click=lambda event: self._every(event.obj)))
        parts.append(pn.Spacer(sizing_mode="stretch_width", height=1))
        parts += [_export("CSV", "ledger.csv", state.as_csv), _export("JSON", "ledger.json", state.as_json)]
        return pn.Row(*parts, css_classes=["tr-actions"], sizing_mode="stretch_width", margin=(0, 0, 12, 0))

    def _every(self, pressed: Any) -> None:
        pressed.visible = False
        self._state.entity = ""

    def _show(self, found: Found) -> None:
        self._found, state = found, self._state
        if not found.entries:
            self._room.objects = [self._empty()]
            return
        self._list.show(entries_html(found, datetime.now(UTC)))
        self._list.current = str(state.selected)
        self._newer.disabled, self._older.disabled = not state.cursors, not found.more
        self._pager.visible = bool(state.cursors or found.more)
        words = f"{number(found.entries[0].sequence)} to {number(found.entries[-1].sequence)}"
        self._place.object = str(Markup('<span class="caption num">entries {}</span>').format(words))
        if self._list not in self._room.objects:
            self._room.objects = [self._list, self._pager]

    def _empty(self) -> pn.viewable.Viewable:
        if self._state.filtered or self._state.cursors:
            return empty_state(
                "No entry matches", "Look for fewer words, for another action or by anyone.", icon_name="search"
            )
        words = (
            "Every change to a model, run or setting becomes an entry here, bound to the one before it by its hash. "
            "Make a model to see the first."
        )
        return empty_state("Nothing has happened yet", words, icon_name="shield-check")

    def _tell(self, entry: Any) -> None:
        self._list.current = str(self._state.selected)
        self._story.show(story_html(entry, self._found))

    def _pressed(self, _word: str, key: str) -> None:
        if key.isdigit():
            self._state.selected = int(key)

    def _verify(self) -> None:
        self.verify.disabled = True
        self.verify.label = "Verifying"
        self._proof.ask(self._prove, self._judge)

    def _prove(self) -> Verdict:
        try:
            return self._state.verify()
        except Exception as error:  # noqa: BLE001  a proof that could not be made is not a proof
            return Verdict(ok=False, sentence=f"The ledger could not be read to its end: {error}")

    def _judge(self, verdict: Verdict) -> None:
        self.verify.disabled = False
        self.verify.label = "Verify"
        self._verdict.object = str(verdict_html(verdict.sentence, ok=verdict.ok))
        self._verdict.margin = (0, 0, 12, 0)
        self._verdict.visible = True
        proof = (
            Badge("verified", "ok", "shield-check") if verdict.ok else Badge("does not verify", "bad", "shield-alert")
        )
        self.bar.badges = [Badge(f"{number(self._state.total)} entries"), proof]
        if verdict.first_bad:
            self._state.param.update(selected=verdict.first_bad, cursors=(verdict.first_bad + 1,))


def _export(label: str, file: str, make: Callable[[], bytes]) -> pn.widgets.FileDownload:
    async def made() -> io.BytesIO:
        return io.BytesIO(await asyncio.to_thread(make))

    return pn.widgets.FileDownload(
        callback=made,
        filename=file,
        label=label,
        icon=str(icon("download", 14)),
        icon_size="14px",
        description=None,
        margin=0,
        align="center",
    )
