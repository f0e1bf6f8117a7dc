"""A real Neo4j Community server for the tests: a separate process on the loopback address, never shipped (GPL).

Its parts come from Maven Central into the user's cache, once; it needs Java 17 and Maven. All workers of a session
share a server, and a keeper stops it when the last of them is gone, see `tests.servers`.

python -m tests.neo4j_servers fetch             get the parts, as CI does beforehand
python -m tests.neo4j_servers keep FOLDER OPTION…  what the keeper runs
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from neo4j import GraphDatabase
from neo4j.exceptions import DriverError, Neo4jError

from tests.servers import ROOT, _held, _hold, _locked, absent, free_port

VERSION = "5.26.30"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "treadle-tests" / f"neo4j-{VERSION}"
_FETCH_S = 270
_START_S = 90
_HOW = "It needs Java 17 and Maven: 'python -m tests.neo4j_servers fetch' gets the server's parts."
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>treadle.tests</groupId><artifactId>neo4j</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>{VERSION}</version></dependency>
  </dependencies>
</project>
"""
_SETTINGS = """server.bolt.listen_address=127.0.0.1:{port}
server.bolt.advertised_address=127.0.0.1:{port}
server.default_listen_address=127.0.0.1
server.http.enabled=false
server.https.enabled=false
dbms.usage_report.enabled=false
server.memory.pagecache.size=64m
db.tx_log.preallocate=false
db.tx_log.rotation.size=32m
"""
_SMALL = ("-Xms192m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""What the tests need: a server that starts soon."""
_OPENED = ("java.base/java.nio", "java.base/java.io", "java.base/sun.nio.ch", "java.base/java.lang")


class Neo4jServer(NamedTuple):
    """A running server."""

    port: int
    password: str

    def url(self, *, user="neo4j", password=None, port=None, database=""):
        place = f"127.0.0.1:{port or self.port}"
        return f"bolt://{user}:{password or self.password}@{place}{database and '/' + database}"

    def run(self, query, **parameters):
        """Run a statement and return its rows."""
        return [record.data() for record in _driver(self).execute_query(query, parameters)[0]]


@cache
def _driver(server):
    driver = GraphDatabase.driver(f"bolt://127.0.0.1:{server.port}", auth=("neo4j", server.password))
    atexit.register(driver.close)
    return driver


def neo4j():
    """Return the session's server, started if it is not running yet."""
    found = _shared()
    return found if isinstance(found, Neo4jServer) else absent("neo4j", f"{found} {_HOW}")


@contextmanager
def emptied(server, organization="local"):
    """Have an organization for oneself, with nothing in it: a server of this edition has one database for all."""
    with _locked(_folder() / "turn"):
        server.run("MATCH (n) WHERE n.organization = $organization DETACH DELETE n", organization=organization)
        yield


def _folder():
    return Path(tempfile.gettempdir()) / f"treadle-neo4j-{os.environ.get('PYTEST_XDIST_TESTRUNUID') or os.getpid()}"


@cache
def _shared():
    folder = _folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    _hold(folder / "users", fcntl.LOCK_SH)
    facts = folder / "server.json"
    with _locked(folder / "starting"):
        if not facts.exists():
            found = fetch() or list(start(folder))
            facts.write_text(json.dumps(found), encoding="utf-8")
    known = json.loads(facts.read_text(encoding="utf-8"))
    return known if isinstance(known, str) else Neo4jServer(*known)


def fetch():
    """Get the server's parts unless they are here; return why that is impossible, or None."""
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    if missing:
        return f"There is no {missing[0]}."
    _CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(_CACHE / "fetching"):
        if _is_fetched():
            return None
        (_CACHE / "pom.xml").write_text(_POM, encoding="utf-8")
        command = ["mvn", "-q", "-B", "dependency:build-classpath", "-Dmdep.outputFile=classpath"]
        try:
            done = subprocess.run(command, cwd=_CACHE, capture_output=True, text=True, timeout=_FETCH_S, check=False)
        except subprocess.TimeoutExpired:
            return "Maven took too long."
        return None if _is_fetched() else f"Maven could not get it: {done.stdout[-300:]}"


def _is_fetched():
    classpath = _CACHE / "classpath"
    return classpath.exists() and all(Path(part).exists() for part in classpath.read_text().split(os.pathsep))


def start(folder, *, port=None, password=None, java=_SMALL):
    """Start a server with its data in `folder` and return it once it answers; it ends with the holders of 'users'."""
    home, port = folder / "home", port or free_port()
    (home / "conf").mkdir(parents=True, exist_ok=True)
    (home / "conf" / "neo4j.conf").write_text(_SETTINGS.format(port=port), encoding="utf-8")
    with (folder / "log").open("a", encoding="utf-8") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.neo4j_servers", "keep", str(folder), *java],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    _held.append(keeper)
    server = Neo4jServer(port, password or secrets.token_hex(16))
    _wait_until_it_answers(server, folder / "log", is_new=password is None)
    return server


def java_of(folder):
    """Return the process id of the server in `folder`."""
    return int((folder / "pid").read_text())


def keep(folder, *java):
    """Run the server until nobody holds 'users' any more, then stop it and remove the folder."""
    home = folder / "home"
    command = [
        "java", *java,
        *(f"--add-opens={name}=ALL-UNNAMED" for name in _OPENED),
        "-cp", (_CACHE / "classpath").read_text(), "org.neo4j.server.CommunityEntryPoint",
        f"--home-dir={home}", f"--config-dir={home / 'conf'}", "--console-mode",
    ]  # fmt: skip
    server = subprocess.Popen(command, cwd=folder)
    (folder / "pid").write_text(str(server.pid))
    _hold(folder / "users", fcntl.LOCK_EX)
    server.send_signal(signal.SIGKILL)
    server.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _wait_until_it_answers(server, log, *, is_new):
    """Wait for the server; a new one has a password known to all, which is changed at once."""
    if is_new:
        change = "ALTER CURRENT USER SET PASSWORD FROM 'neo4j' TO $password"
        _insist(server, "neo4j", "system", change, log)
    _insist(server, server.password, "neo4j", "RETURN 1", log)


def _insist(server, password, database, query, log):
    until = time.monotonic() + _START_S
    while True:
        try:
            with GraphDatabase.driver(
                f"bolt://127.0.0.1:{server.port}", auth=("neo4j", password), max_transaction_retry_time=0
            ) as driver:
                driver.execute_query(query, password=server.password, database_=database)
            return
        except (DriverError, Neo4jError):
            if time.monotonic() > until:
                pytest.fail(f"Neo4j did not start: {log.read_text()[-2_000:]}")
            time.sleep(0.1)


if __name__ == "__main__":
    if sys.argv[1] == "keep":
        keep(Path(sys.argv[2]), *sys.argv[3:])
    else:
        sys.exit(fetch())
