"""The open DuckDB file, opened anew when a COMMIT could not be written.

DuckDB 1.5.6 takes such a transaction back in memory, but not wholly: a checkpoint afterwards (it makes one when the
file is closed) keeps index entries of rows that never were, and the next change of such a row loses it. The
write-ahead log is right. So nothing more is written through that instance, it is closed without a checkpoint, and the
next one reads the log.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition

import duckdb

from engine.errors import StoreUnreachable
from engine.storage.disk import FULL
from engine.storage.sql.duckdb_file import connect

_PATIENCE_S = 2.0
"""How long to wait for those who still read through the old instance."""
_GIVE_UP = ("PRAGMA disable_checkpoint_on_shutdown", "SET GLOBAL checkpoint_threshold = '999TB'")


class Handle:
    """The connection that all others are cursors of, and who uses them. Safe to use from any thread."""

    def __init__(self, path: Path, renewing: Callable[[], None]) -> None:
        """Open the file; `renewing` is called before it is opened anew, to let go of idle cursors."""
        self._path = path
        self._root = connect(path)
        self._renewing = renewing
        self._users = 0
        self._spoiled = False
        self._changed = Condition()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of its own to the file."""
        return self._root.cursor()

    def checkpoint(self) -> None:
        """Write everything into the file itself."""
        self._root.execute("CHECKPOINT")

    @contextmanager
    def using(self) -> Generator[None]:
        """Let the file be used meanwhile, after it was opened anew if it has to be; raises what `connect` raises."""
        with self._changed:
            if self._spoiled:
                self._renew()
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def spoil(self) -> None:
        """Have the file opened anew before it is used again."""
        with self._changed, suppress(duckdb.Error):
            self._spoiled = True
            with self._root.cursor() as cursor:
                for statement in _GIVE_UP:
                    cursor.execute(statement)

    def close(self) -> None:
        """Let go of the file. Calling it twice is harmless."""
        self._root.close()

    def _renew(self) -> None:
        if not self._changed.wait_for(lambda: self._users == 0 or not self._spoiled, _PATIENCE_S):
            raise StoreUnreachable(path=self._path, reason=FULL)
        if self._spoiled:
            self._renewing()
            self._root.close()
            self._root = connect(self._path)
            self._spoiled = False
