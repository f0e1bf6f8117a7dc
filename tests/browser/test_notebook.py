"""The editor in a real JupyterLab, without a network: the mouse reaches the kernel; saved, a cell is a picture."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.browsing import chromium

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
CELLS = (
    'from studio.notebook import edit, start\nstart()\nprint("READY", 1)',
    'import engine\neng = engine.open("memory:")\nview = edit(eng.models.create("By mouse"), engine=eng)\nview',
    'print("NODES", len(view.model.nodes), [node.name for node in view.model.nodes.values()])',
)
LATER = """
import time
view.state.wish({"type": "add", "node_type": "stage", "position": {"x": 0, "y": 0}, "parent": None, "link": None})
view.state.wish({"type": "rename", "id": next(iter(view.model.nodes)), "name": "Named later"})
time.sleep(2)
"""
pytestmark = pytest.mark.timeout(180)


class Lab(NamedTuple):
    """A JupyterLab that runs: where it answers, its token, its folder and its settings."""

    host: str
    token: str
    home: Path
    environment: dict[str, str]

    def address(self, name: str) -> str:
        """Where a notebook of its folder is opened, with no other beside it."""
        return f"{self.host}/lab/workspaces/{secrets.token_hex(4)}/tree/{name}?token={self.token}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def notebook(cells: tuple[str, ...]) -> dict[str, Any]:
    """A notebook of code cells, in nbformat 4."""
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "cells": [
            {
                "id": f"c{at}",
                "cell_type": "code",
                "source": source,
                "metadata": {},
                "outputs": [],
                "execution_count": None,
            }
            for at, source in enumerate(cells)
        ],
    }


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on the loopback with a token."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: pip install jupyterlab jupyter_bokeh")
    chromium()
    home = tmp_path_factory.mktemp("lab")
    (home / "tour.ipynb").write_text(json.dumps(notebook(CELLS)), encoding="utf-8")
    port, token = free_port(), secrets.token_hex(16)
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={home}", "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--ServerApp.port_retries=0",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
    }
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=home)
    try:
        wait_for(f"http://127.0.0.1:{port}/api/status?token={token}", process)
        yield Lab(f"http://127.0.0.1:{port}", token, home, environment)
    finally:
        process.terminate()
        process.wait(20)


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            assert process.poll() is None, "JupyterLab ended by itself"
            time.sleep(0.3)
    pytest.fail("JupyterLab did not answer within a minute")


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A tab that gets no answer from elsewhere, and asks for nothing there."""
    context = browser.new_context(viewport={"width": 1440, "height": 1100})
    page = context.new_page()
    strangers: list[str] = []

    def outside(url: str) -> bool:
        found = urlsplit(url)
        return found.scheme not in ("blob", "data") and found.hostname not in ("127.0.0.1", "localhost")

    def refuse(route: Any) -> None:
        strangers.append(route.request.url)
        route.abort()

    context.route(outside, refuse)
    page.on("request", lambda request: strangers.append(request.url) if outside(request.url) else None)
    page.on("websocket", lambda socket: strangers.append(socket.url) if outside(socket.url) else None)
    yield page
    context.close()
    assert strangers == []


def run_first(tab: Any, cell: Any) -> None:
    """Run the first cell; JupyterLab may ask for the kernel once more while that is starting."""
    cell.locator(".jp-InputArea-editor").click()
    tab.keyboard.press("Shift+Enter")
    ready, asked = tab.locator("text=READY 1"), tab.locator(".jp-Dialog button:has-text('Select')")
    ready.or_(asked).first.wait_for(timeout=60_000)
    if asked.count():
        asked.click()
        ready.wait_for(timeout=60_000)


def test_a_node_added_by_mouse_is_in_the_next_cell(tab: Any, lab: Lab) -> None:
    tab.goto(lab.address("tour.ipynb"))
    cells = tab.locator(".jp-NotebookPanel .jp-CodeCell")
    cells.nth(2).wait_for(timeout=60_000)
    tab.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=60_000)
    tab.wait_for_selector("text=/ipykernel\\) \\| Idle/", timeout=60_000)
    run_first(tab, cells.nth(0))
    tab.keyboard.press("Shift+Enter")
    entry = tab.locator(".fe-entry[data-type=stage]")
    entry.wait_for(timeout=60_000)
    tab.locator(".fe-root").scroll_into_view_if_needed()

    canvas = tab.locator(".fe-canvas").bounding_box()
    box = entry.bounding_box()
    tab.mouse.move(box["x"] + 30, box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(canvas["x"] + 60, canvas["y"] + 120, steps=5)
    tab.mouse.move(canvas["x"] + 90, canvas["y"] + 140, steps=5)
    tab.mouse.up()
    tab.wait_for_selector(".fe-frame .fe-name:has-text('Stage')", timeout=20_000)

    tab.wait_for_selector(".who b:has-text('Stage')", timeout=20_000)
    if os.environ.get("TREADLE_SHOTS"):
        tab.screenshot(path=f"{os.environ['TREADLE_SHOTS']}/notebook.png")
    last = cells.nth(2)
    last.locator(".jp-InputArea-editor").click()
    tab.keyboard.press("Shift+Enter")
    tab.wait_for_selector("text=NODES 1 ['Stage']", timeout=30_000)
    assert not tab.locator("img.treadle-picture").is_visible()  # the editor is there
    assert_styled(tab)


def assert_styled(tab: Any) -> None:
    """What was drawn first and what came later has Panel's styles and ours, and links none."""
    for part in (".fe-root", ".who"):
        links, own, panels = tab.locator(part).first.evaluate(
            """(part) => {
              const root = part.getRootNode(), style = getComputedStyle(root.host);
              const value = (name) => style.getPropertyValue(name);
              return [root.querySelectorAll("link").length, value("--ink"), value("--panel-border-color")];
            }"""
        )
        assert (links, own, panels) == (0, "#12161c", "#e0e0e0"), part
    button = tab.locator("button.bk-btn").first
    assert button.evaluate("(one) => getComputedStyle(one).height") == "28px"


@pytest.fixture(scope="module")
def saved() -> dict[str, Any]:
    """A notebook whose cells were run by a kernel that has ended; the model was edited after it was shown."""
    nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed: pip install nbclient")
    client = pytest.importorskip("nbclient", reason="nbclient is not installed: pip install nbclient ipykernel")
    made = nbformat.from_dict(notebook((*CELLS[:2], LATER)))
    client.NotebookClient(
        made, timeout=90, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    return json.loads(nbformat.writes(made))


def test_the_picture_in_a_saved_notebook_is_of_the_last_edit(saved: dict[str, Any]) -> None:
    still, editor = saved["cells"][1]["outputs"]
    page = "".join(still["data"]["text/html"])
    svg = base64.b64decode(page.split("base64,")[1].split('"')[0]).decode()
    assert "Named later" in svg
    assert 'alt="&lt;Editor of &#39;By mouse&#39;: 1 nodes, 0 wires&gt;"' in page
    assert "application/vnd.jupyter.widget-view+json" in editor["data"]


@pytest.mark.parametrize(
    "case",
    [
        "trusted",
        *(
            pytest.param(each, marks=pytest.mark.ci)
            for each in ("trusted, with the state of its widgets", "a stranger's")
        ),
    ],
)
def test_a_saved_notebook_shows_the_model_when_nothing_runs(
    tab: Any, lab: Lab, saved: dict[str, Any], case: str
) -> None:
    name = f"{case.replace(' ', '-')}.ipynb"
    kept = {**saved["metadata"], "case": case}  # trust goes by content
    if "widgets" not in case:
        del kept["widgets"]
    (lab.home / name).write_text(json.dumps({**saved, "metadata": kept}), encoding="utf-8")
    if "trusted" in case:
        command = [sys.executable, "-m", "jupyter", "trust", str(lab.home / name)]
        subprocess.run(command, env=lab.environment, check=True, capture_output=True)
    tab.goto(lab.address(name))
    tab.wait_for_selector("text=/ipykernel\\) \\| Idle/", timeout=60_000)
    picture = tab.locator("img.treadle-picture")
    picture.wait_for(timeout=60_000)
    time.sleep(2)  # were an editor to take its place, it would be here
    assert picture.is_visible()
    assert picture.evaluate("(one) => one.naturalWidth") > 300
    assert not tab.locator(".fe-root").is_visible()
    if "trusted" in case:
        assert not tab.locator(".jp-OutputArea-output.lm-Panel").is_visible()


def test_the_tour_runs_from_top_to_bottom() -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed: pip install nbclient")
    client = pytest.importorskip("nbclient", reason="nbclient is not installed: pip install nbclient ipykernel")
    tour = nbformat.read(NOTEBOOKS / "first_steps.ipynb", 4)
    runner = client.NotebookClient(tour, timeout=90, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}})
    runner.execute()
    shown = "\n".join(
        str(output.get("data", {}).get("text/plain", "")) for cell in tour.cells for output in cell.get("outputs", ())
    )
    assert "{'total': [12.0, 24.0, 36.0]}" in shown
    assert "model.created" in shown
