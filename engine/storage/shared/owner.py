"""A file that this process owns: one database for all its catalogs here, and a door for other programs.

The door costs an opening next to nothing: a socket, a small file, and a thread that waits. What answers is loaded
when somebody comes.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread, current_thread
from time import monotonic

from engine.domain.events import Entry
from engine.domain.writes import Write
from engine.errors import StoreLocked
from engine.storage.shared import sidecar as sidecars
from engine.storage.shared.locking import hold
from engine.storage.shared.manners import Manners
from engine.storage.shared.sidecar import HOST
from engine.storage.sql.catalog import SqlCatalog
from engine.storage.sql.duckdb import DuckDB

_logger = logging.getLogger(__name__)
_MOST_CONNECTIONS = 256
_PATIENCE_S = 2.0
"""How long closing waits for answers that are under way."""


class Owned:
    """A DuckDB file and what this process has open over it."""

    def __init__(self, path: Path, *, migrate: bool) -> None:
        """Open the file; raises what `open_duckdb` says."""
        self.pid = os.getpid()
        self.users = 1
        self.database = DuckDB(path, migrate=migrate)
        try:
            self._lock = hold(path)
        except BaseException:
            self.database.close()
            raise
        self.identity = sidecars.identity(path) or ""
        self._catalogs: dict[str, SqlCatalog] = {}
        self.closing = False
        self._manners = Manners()
        self._door = open_door(self, path)

    def catalog(self, organization: str) -> SqlCatalog:
        """Return the catalog as an organization sees it."""
        return self._catalogs.setdefault(organization, SqlCatalog(self.database, organization=organization))

    def commit(self, organization: str, writes: Sequence[Write], once: str | None = None) -> tuple[Entry, ...]:
        """Do all writes or none; with an id, not if the commit of that id was done already."""
        catalog = self.catalog(organization)
        if once is None:
            return self._manners.commit(lambda: catalog.commit(*writes))
        return self._manners.commit(lambda: catalog.commit_once(once, *writes))

    def ring(self) -> None:
        """Let everybody who waits look again."""
        self.database.tell()

    def close(self) -> None:
        """Let nobody in any more, answer what was asked, and let go of the file."""
        self.closing = True
        if self._door is not None:
            self._door.close()
        self.database.close()
        if self._lock is not None:
            os.close(self._lock)


class Door:
    """The socket where other programs come in, and the sidecar that tells them."""

    def __init__(self, owned: Owned, listener: socket.socket, sidecar: sidecars.Sidecar, place: Path) -> None:
        """Let others in from now on."""
        self.sidecar, self.identity = sidecar, owned.identity
        self.catalog, self.commit = owned.catalog, owned.commit
        self._owned, self._listener, self._place = owned, listener, place
        self._guests: dict[Thread, socket.socket] = {}
        self._lock = Lock()
        self._admitting = Thread(target=self._admit, name="treadle-door", daemon=True)
        self._admitting.start()
        atexit.register(self._leave)

    @property
    def closing(self) -> bool:
        """Whether the owner lets go of the file."""
        return self._owned.closing

    def news(self, organization: str, after: int, timeout_s: float) -> list[Entry]:
        """Wait for news on behalf of a guest."""
        from engine.storage.shared.server import Gone

        found = self.catalog(organization).news(after, timeout_s, stop=lambda: self.closing)
        if self.closing:
            raise Gone
        return found

    def close(self) -> None:
        """End all connections, those last that wait for an answer."""
        self._leave()
        atexit.unregister(self._leave)
        self._owned.ring()
        with suppress(OSError):
            socket.create_connection((HOST, self.sidecar.port), timeout=1).close()
        self._admitting.join(_PATIENCE_S)
        self._listener.close()
        with self._lock:
            guests = dict(self._guests)
        self._end(guests, socket.SHUT_RD)
        until = monotonic() + _PATIENCE_S
        for thread in guests:
            thread.join(max(0.0, until - monotonic()))
        self._end({thread: guest for thread, guest in guests.items() if thread.is_alive()}, socket.SHUT_RDWR)

    def _end(self, guests: dict[Thread, socket.socket], how: int) -> None:
        for guest in guests.values():
            with suppress(OSError):
                guest.shutdown(how)

    def _leave(self) -> None:
        """Take the sidecar away while the file is still owned; not from a fork of the process, whose it is not."""
        if self._owned.pid == os.getpid():
            sidecars.remove(self._place, self.sidecar)

    def _admit(self) -> None:
        while True:
            try:
                guest, _ = self._listener.accept()
            except OSError:
                if self.closing or self._listener.fileno() < 0:
                    return
                continue
            if self.closing:
                guest.close()
                return
            thread = Thread(target=self._serve, args=(guest,), name="treadle-guest", daemon=True)
            with self._lock:
                is_full = len(self._guests) >= _MOST_CONNECTIONS
                if not is_full:
                    self._guests[thread] = guest
            if is_full:
                guest.close()
            else:
                thread.start()

    def _serve(self, guest: socket.socket) -> None:
        from engine.storage.shared.server import Requests

        try:
            with guest:
                Requests(guest, None, self)
        except Exception:
            # the guest sees its connection end, and asks again or tells its user
            _logger.debug("the connection of another program broke off", exc_info=True)
        finally:
            with self._lock:
                self._guests.pop(current_thread(), None)


def open_door(owned: Owned, path: Path) -> Door | None:
    """Let others in, or return None where that can't be: then this process has the store for itself."""
    try:
        listener = socket.create_server((HOST, 0))
    except OSError:
        return None
    sidecar, place = sidecars.new_sidecar(listener.getsockname()[1]), sidecars.place_of(path)
    if not sidecars.write(place, sidecar):
        listener.close()
        return None
    return Door(owned, listener, sidecar, place)


_owned: dict[str, Owned] = {}
"""What this process owns, by the identity of the file. DuckDB's lock is dropped when the file is opened twice."""
_turn = Lock()


def own(path: Path, *, migrate: bool = False) -> Owned:
    """Return the file as this process's own; `StoreLocked` while another one has it, and what `open_duckdb` raises.

    A fork of the process that owns it counts as another one.
    """
    with _turn:
        found = _owned.get(sidecars.identity(path) or "")
        if found is None:
            found = Owned(path, migrate=migrate)
            _owned[found.identity] = found
        elif found.pid != os.getpid():
            raise StoreLocked(path=path, owner=f" (process {found.pid})")
        else:
            found.users += 1
        return found


def release(owned: Owned) -> None:
    """Let go of the file once nobody in this process uses it."""
    if owned.pid != os.getpid():
        return
    with _turn:
        owned.users -= 1
        if not owned.users:
            del _owned[owned.identity]
            owned.close()


def _forked() -> None:
    """Give the child a lock of its own: another thread of the parent may have held it."""
    global _turn  # noqa: PLW0603
    _turn = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
