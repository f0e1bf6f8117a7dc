"""The questions the editor asks: inputs of a run, the number of a version, what to do about a conflict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import panel as pn
from markupsafe import Markup

from engine.domain.canonical import Json
from engine.domain.model import FunctionModel
from engine.domain.versions import Proposal
from engine.errors import TreadleError
from studio.editor.field_view import FORM_CSS
from studio.editor.fields import NotAValue
from studio.editor.inputs_form import InputsForm
from studio.editor.parts import Dialog
from studio.theme import button, html

_GAP = {"gap": "12px"}
_END = {"gap": "8px", "justify-content": "flex-end"}


class Questions:
    """One dialog that asks one thing at a time. Answers that fail stay on the page with the reason."""

    def __init__(self) -> None:
        # One body for good: the browser half holds on to it, only what is in it changes.
        self._body = pn.Column(margin=0, sizing_mode="stretch_width", styles=_GAP)
        self.dialog = Dialog(body=self._body, margin=0, width=0, height=0, styles={"position": "absolute"})

    def close(self) -> None:
        """Close the dialog."""
        self.dialog.open = False

    def ask_inputs(
        self, model: FunctionModel, given: Mapping[str, Json], start: Callable[[dict[str, Json]], None]
    ) -> None:
        """Ask for the inputs of a run."""
        form = InputsForm(model, given)
        words = _words("The run takes the model as it is on the screen. Nothing is saved by it.")
        self._ask(f"Run {model.name}", [words, form.view], "Run", "play", lambda: start(form.values()))

    def ask_version(self, name: str, proposal: Proposal, unsaved: int, publish: Callable[[str, str], None]) -> None:
        """Ask for the number and message of a version."""
        number = pn.widgets.TextInput(
            label="Version", value=str(proposal.number), margin=0, sizing_mode="stretch_width"
        )
        message = pn.widgets.TextAreaInput(
            label="Message", placeholder="What is new in it", rows=3, margin=0, sizing_mode="stretch_width"
        )
        reasons = Markup("").join(Markup("<li>{}</li>").format(reason) for reason in proposal_reasons(proposal))
        why = Markup('<ul class="reasons">{}</ul>').format(reasons) if reasons else Markup("")
        first = f"{unsaved} unsaved {'change is' if unsaved == 1 else 'changes are'} saved first. " if unsaved else ""
        said = Markup("{}{}{}").format(
            first, "A version never changes again. The number can be raised, not lowered.", why
        )
        parts = [_words(said), number, message]
        self._ask(
            f"Publish {name}",
            parts,
            "Publish",
            "rocket",
            lambda: publish(number.value.strip(), message.value_input or message.value),
        )

    def tell_conflict(self, error: TreadleError, discard: Callable[[], None]) -> None:
        """Say that others changed the same and offer to take their state."""
        text = Markup("{}<br><br>{}").format(
            error, "Change your value to theirs and save again, or give up your unsaved changes and see theirs."
        )
        self._ask(
            "Somebody else changed the same", [_words(text)], "Discard my changes", "rotate-ccw", discard, kind="danger"
        )

    def _ask(
        self, title: str, parts: list[Any], verb: str, mark: str, act: Callable[[], None], *, kind: Any = "primary"
    ) -> None:
        note = html(Markup(""), visible=False, stylesheets=[FORM_CSS], sizing_mode="stretch_width")
        go, leave = button(verb, mark, kind), button("Cancel")

        def answered(_event: object) -> None:
            try:
                act()
            except (TreadleError, NotAValue) as error:
                note.object = str(Markup('<div class="field-note bad" role="alert">{}</div>').format(error))
                note.visible = True
                return
            self.close()

        go.on_click(answered)
        leave.on_click(lambda _: self.close())
        row = pn.Row(leave, go, margin=0, sizing_mode="stretch_width", styles=_END)
        self._body.objects = [*parts, note, row]
        self.dialog.param.update(title=title, open=True)


def proposal_reasons(proposal: Proposal) -> tuple[str, ...]:
    """Return why a number is proposed."""
    reasons = getattr(proposal, "reasons", ())
    return tuple(str(getattr(reason, "text", reason)) for reason in reasons)[:6]


_WORDS_CSS = """
:host{font-size:var(--t2);line-height:1.5;color:var(--ink-2)}
.reasons{margin:8px 0 0;padding-left:18px}
"""


def _words(text: str | Markup) -> Any:
    return html(Markup("<div>{}</div>").format(text), stylesheets=[_WORDS_CSS], sizing_mode="stretch_width")
