"""Slow work of a page: done in a thread, shown on the page, and dropped when something newer was asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import panel as pn

_T = TypeVar("_T")
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="studio-page")


class Tab(Protocol):
    """What slow work needs of the browser tab it is done for."""

    def later(self, function: Callable[[], object]) -> None:
        """Run a function where widgets may be changed, soon."""
        ...

    def show(self, error: BaseException) -> None:
        """Tell the person of an error."""
        ...

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back once, when the tab has gone."""
        ...


class Latest:
    """One place of a page that is filled by work in a thread; only the newest result is shown."""

    def __init__(self, session: Tab) -> None:
        """Fill a place of `session`'s page."""
        self._session = session
        self._asked = 0

    def ask(self, work: Callable[[], _T], show: Callable[[_T], object]) -> None:
        """Run `work` in a thread, then `show` its result on the page. An error of either becomes a toast."""
        self._asked += 1
        mine = self._asked

        def shown(result: _T) -> None:
            if mine == self._asked:
                show(result)

        def run() -> None:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  whatever the work raises, the person is told
                self._session.show(error)
            else:
                self._session.later(lambda: shown(result))

        _threads.submit(run)


class Repeat:
    """Calls `work` every `interval_s` in a thread of its own until `stop` is called or the tab closes.

    An error of a kind in `ends_with` ends it without a word, any other one is told.
    """

    def __init__(
        self,
        session: Tab,
        work: Callable[[], object],
        *,
        interval_s: float,
        ends_with: type[Exception] | tuple[type[Exception], ...] = (),
    ) -> None:
        """Begin one interval after the browser has the page: what is told to the frame before that is lost."""
        self._work, self._session, self._interval_s, self._ends_with = work, session, interval_s, ends_with
        self._over = threading.Event()
        session.on_close(self.stop)
        pn.state.onload(self._begin)

    def stop(self) -> None:
        """Call no more. Safe from any thread and from `work` itself."""
        self._over.set()

    def _begin(self) -> None:
        threading.Thread(target=self._go, name="studio-repeat", daemon=True).start()

    def _go(self) -> None:
        while not self._over.wait(self._interval_s):
            try:
                self._work()
            except self._ends_with:
                return
            except Exception as error:  # noqa: BLE001  told once; repeating it would flood the page
                self._session.show(error)
                return
