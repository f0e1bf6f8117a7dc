"""The studio and a notebook on one store at the same time: what is made in one is there in the other."""

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

import engine

ROOT = Path(__file__).parents[2]
NOTEBOOK = """
import sys, engine
with engine.open(sys.argv[1]) as eng:
    model = eng.models.create("From the notebook")
    run = eng.run("assets/demos/penguins.json", {"source": "assets/data/penguins.csv"})
    print(run.status, *(row.name for row in eng.models.list()), sep="|", flush=True)
"""


@contextmanager
def studio(url, home):
    """Start the studio; give the address that it prints and its process."""
    command = [sys.executable, "-m", "studio.cli", "studio", "--no-browser", "--port", "0", "--store", url]
    environment = {**os.environ, "TREADLE_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd=ROOT, text=True
    ) as process:
        try:
            yield re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", process.stdout.readline())[0], process
        finally:
            process.terminate()
            process.wait(20)


def pages_words(address, sought):
    """Read what the home page is told over its websocket until it has the words sought."""
    with httpx.Client(follow_redirects=True, trust_env=False, timeout=30) as client:
        token = re.search(r'"token":"([^"]+)"', client.get(address).text)[1]
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    place = address.partition("/?")[0].replace("http", "ws") + "/ws"
    with connect(
        place, subprotocols=["bokeh", token], additional_headers={"Cookie": cookies}, proxy=None, max_size=None
    ) as page:
        for part in ({"msgid": "1", "msgtype": "PULL-DOC-REQ"}, {}, {}):
            page.send(json.dumps(part))
        while sought not in (words := str(page.recv(timeout=60))):
            pass
        return words


def notebook(url, home):
    environment = {**os.environ, "TREADLE_HOME": str(home)}
    command = [sys.executable, "-c", NOTEBOOK, url]
    done = subprocess.run(command, capture_output=True, env=environment, cwd=ROOT, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split("|")


@pytest.fixture
def url(tmp_path):
    return f"duckdb:///{tmp_path / 'store.duckdb'}"


def test_a_notebook_works_through_the_studio(url, tmp_path):
    with studio(url, tmp_path) as (address, process):
        assert notebook(url, tmp_path) == ["succeeded", "From the notebook"]
        assert "From the notebook" in pages_words(address, "From the notebook")
        with engine.open(url) as eng:
            assert eng.describe()["owner_pid"] == process.pid


def test_the_studio_works_through_a_notebook_and_goes_on_alone(url, tmp_path):
    with engine.open(url) as eng, studio(url, tmp_path) as (address, process):
        eng.models.create("From the notebook")
        assert "From the notebook" in pages_words(address, "From the notebook")
        assert eng.describe()["owner_pid"] == os.getpid()
        eng.close()
        assert "From the notebook" in pages_words(address, "From the notebook")
        with engine.open(url) as again:
            assert again.describe()["owner_pid"] in (process.pid, os.getpid())
            assert again.ledger.verify().ok
