"""What a run waits for: each question as a card with a button for every option."""

from __future__ import annotations

from collections.abc import Callable

import panel as pn
from markupsafe import Markup

from engine.domain.entities import Decision, Option
from studio.theme import button, exact, html, icon

_CSS = """
h2{display:flex;align-items:center;gap:8px;margin:0;font-size:var(--t3);overflow-wrap:anywhere}
h2 svg{color:var(--warn)}
p{margin:6px 0 0;color:var(--ink-2);overflow-wrap:anywhere}
"""
_ICONS = {"retry": "rotate-ccw", "skip": "arrow-right", "fail": "x"}


class Questions:
    """The open decisions of a run. `choose` gets (path, option, reason)."""

    def __init__(self, choose: Callable[[str, str, str], None]) -> None:
        """Begin with none."""
        self._choose = choose
        self._shown: tuple[Decision, ...] = ()
        self._view = pn.Column(sizing_mode="stretch_width", margin=0)

    def view(self) -> pn.viewable.Viewable:
        """The cards."""
        return self._view

    def update(self, asked: tuple[Decision, ...]) -> None:
        """Show what is asked now; what is typed stays while the questions are the same."""
        if asked != self._shown:
            self._shown = asked
            self._view.objects = [self._card(each) for each in asked]

    def _card(self, asked: Decision) -> pn.viewable.Viewable:
        words = Markup("<h2>{}<span>{}</span></h2><p>{}</p>").format(
            icon("hourglass", 16), asked.question or "How does it go on?", _facts(asked)
        )
        reason = pn.widgets.TextInput(
            label="Reason", placeholder="Why (kept in the ledger)", sizing_mode="stretch_width", margin=(10, 0, 0, 0),
            max_length=1_000, styles={"max-width": "480px"},
        )  # fmt: skip
        choices = asked.options if asked.awaits in ("choice", "failure") else ()
        buttons = [self._button(asked, option, reason, first=not place) for place, option in enumerate(choices)]
        answer = [reason, pn.Row(*buttons, css_classes=["tr-actions"], margin=(10, 0, 0, 0))] if buttons else []
        return pn.Column(
            html(words, stylesheets=[_CSS], sizing_mode="stretch_width"), *answer,
            css_classes=["tr-card"], sizing_mode="stretch_width", margin=(0, 0, 14, 0),
        )  # fmt: skip

    def _button(
        self, asked: Decision, option: Option, reason: pn.widgets.TextInput, *, first: bool
    ) -> pn.viewable.Viewable:
        sign = _ICONS.get(option.id) if asked.awaits == "failure" else None
        return button(
            option.name, sign, "primary" if first else "danger" if sign == "x" else "plain",
            on_click=lambda _: self._choose(asked.path, option.id, reason.value_input or reason.value),
        )  # fmt: skip


def _facts(asked: Decision) -> str:
    step = asked.path.partition("?")[0]
    told = [f"Step {step!r} asked at {exact(asked.opened_at)}."] if not asked.signal else []
    if asked.choosers:
        told.append(f"May choose: {', '.join(asked.choosers)}.")
    if asked.deadline is not None:
        name = next((option.name for option in asked.options if option.id == asked.default), None)
        then = f"then {name!r} is chosen" if name is not None else "then the step fails"
        told.append(f"Until {exact(asked.deadline)}, {then}.")
    if asked.awaits == "signal":
        told.append(f"Send it with: treadle signal {asked.run} {asked.signal}")
    return " ".join(told)
