"""A server that speaks Bolt and calls itself Neo4j, but is another database: refused at opening, in one sentence."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from engine.errors import StoreUnreachable
from engine.storage.neo4j import open_neo4j
from studio.cli import app
from tests.servers import free_port

PASSWORD = "correct-horse"
SERVER = """
import sys
from arcadedb_embedded.server import ArcadeDBServer

folder, port, web_port, password = sys.argv[1:]
settings = {
    "http_port": int(web_port), "server_plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin", "bolt_port": int(port)
}
server = ArcadeDBServer(folder, root_password=password, config=settings, jvm_kwargs={"heap_size": "256m"})
server.start()
server.create_database("treadle")
print("up", flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Return the place of a running ArcadeDB."""
    port, folder = free_port(), tmp_path_factory.mktemp("arcadedb")
    command = [sys.executable, "-c", SERVER, folder, str(port), str(free_port()), PASSWORD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder) as server:
        assert any(line.strip() == "up" for line in server.stdout)
        yield f"127.0.0.1:{port}/treadle"
        server.communicate()


def test_it_is_refused_in_one_sentence(stranger):
    with pytest.raises(StoreUnreachable, match="speaks Bolt but is not Neo4j 5: check host and port in its URL"):
        open_neo4j(f"bolt://root:{PASSWORD}@{stranger}")


def test_it_stays_refused(stranger):
    for command in ("models", "doctor"):
        result = CliRunner().invoke(app, [command, "--store", f"bolt://root:{PASSWORD}@{stranger}"])
        assert result.exit_code == 3
        assert "is not Neo4j 5" in result.output
        assert PASSWORD not in result.output


def test_its_wrong_password_is_told(stranger):
    with pytest.raises(StoreUnreachable, match="the password is wrong"):
        open_neo4j(f"bolt://root:wrong-horse@{stranger}")
