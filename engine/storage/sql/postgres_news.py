"""News of commits: one connection that listens, for everybody in the process who waits for the ledger to move."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Thread

import psycopg

from engine.storage.sql.postgres_schema import CHANNEL

_LOOK_S = 30.0
"""How often the connection is tried even if nothing was told: it may have been lost without a word."""
_AGAIN_S = 1.0
"""How long to wait before connecting anew; those who wait look for themselves then."""


class News:
    """Wakes those who wait for an organization's ledger as soon as an entry is committed, by whatever program."""

    def __init__(self, connect: Callable[[], psycopg.Connection], organization: str) -> None:
        """Begin to listen with the connections that `connect` makes."""
        self._connect = connect
        self._prefix = f"{organization}:"
        self._changed = Condition()
        self._told = 0
        self._closing = False
        self._wake, self._woken = socket.socketpair()
        self._thread = Thread(target=self._listen_on, name="treadle-news", daemon=True)
        self._thread.start()

    def wait(self, is_news: Callable[[], bool], timeout_s: float) -> bool:
        """Ask `is_news` now and after each commit; True when it says so, False after `timeout_s`."""
        until = time.monotonic() + timeout_s
        while True:
            told = self._told
            if is_news():
                return True
            with self._changed:
                left_s = until - time.monotonic()
                if left_s <= 0 or not self._changed.wait_for(lambda told=told: self._told != told, left_s):
                    return False

    def close(self) -> None:
        """Stop listening and wake everybody who waits. Calling it twice is harmless."""
        if self._closing:
            return
        self._closing = True
        self._wake.send(b"x")
        self._thread.join()
        self._wake.close()
        self._woken.close()
        self._tell()

    def _listen_on(self) -> None:
        """Listen, connecting anew when the connection is lost, until closing; the thread's whole life."""
        while not self._closing:
            with suppress(psycopg.Error, OSError):
                self._listen()
            self._tell()
            if not self._closing:
                select.select([self._woken], [], [], _AGAIN_S)

    def _listen(self) -> None:
        connection = self._connect()
        try:
            connection.autocommit = True
            connection.execute(f"LISTEN {CHANNEL}")
            self._tell()
            while not self._closing:
                self._receive(connection)
        finally:
            connection.close()

    def _receive(self, connection: psycopg.Connection) -> None:
        """Wait for notes and tell of them; through libpq itself, since psycopg's way can't be woken."""
        readable, _, _ = select.select([connection.fileno(), self._woken], [], [], _LOOK_S)
        if connection.fileno() in readable:
            connection.pgconn.consume_input()
        elif not readable:
            connection.execute("SELECT 1")
        if any(note.startswith(self._prefix) for note in _notes(connection)):
            self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._told += 1
            self._changed.notify_all()


def _notes(connection: psycopg.Connection) -> list[str]:
    found: list[str] = []
    while note := connection.pgconn.notifies():
        found.append(note.extra.decode())
    return found
