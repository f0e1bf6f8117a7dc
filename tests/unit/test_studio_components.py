"""Parts of pages, without a browser: what they let in, and how slow work comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from studio.components import Clickable, Latest, Repeat, copy_button

HOSTILE = '<img src=x onerror="alert(1)"><script>alert(1)</script>'


class Tab:
    """A browser tab that does at once what it is told."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def later(self, function: Callable[[], object]) -> None:
        function()

    def show(self, error: BaseException) -> None:
        self.errors.append(error)

    def on_close(self, callback: Callable[[], None]) -> None:
        self.close = callback


def test_pressable_html_takes_only_what_was_escaped() -> None:
    with pytest.raises(TypeError, match="Markup"):
        Clickable("<b>", None)  # type: ignore[arg-type]
    assert HOSTILE not in copy_button(HOSTILE, HOSTILE)


def test_only_what_was_asked_last_is_shown() -> None:
    latest, go, both, shown = Latest(Tab()), threading.Event(), threading.Barrier(2, timeout=10), []

    def first() -> int:
        assert go.wait(10)
        return 1

    def finished(result: int) -> None:
        shown.append(result)
        both.wait()

    latest.ask(first, shown.append)
    latest.ask(lambda: 2, finished)
    both.wait()
    go.set()
    latest.ask(lambda: 3, finished)
    both.wait()
    assert shown == [2, 3]


@pytest.mark.parametrize(("error", "told"), [(KeyError("gone"), []), (ValueError("bad"), ["bad"])])
def test_repeated_work_ends_with_its_first_error(error: Exception, told: list[str], monkeypatch) -> None:
    monkeypatch.setattr("panel.state.onload", lambda _begin: None)  # no thread of its own: it is run here
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise error

    tab = Tab()
    repeat = Repeat(tab, work, interval_s=0.001, ends_with=KeyError)
    repeat._go()
    assert len(calls) == 3
    assert [str(found) for found in tab.errors] == told
    tab.close()
    repeat._go()
    assert len(calls) == 3
