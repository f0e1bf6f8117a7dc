"""What a stranger does: start the command, open the address it prints, run a demo by mouse, in light and dark."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.browsing import chromium

SHOTS = Path(__file__).parent / "screenshots"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

pytestmark = pytest.mark.browser


@pytest.fixture
def address(tmp_path):
    """Start `treadle` in a home of its own; give the address that it prints; stop it as Ctrl+C does."""
    chromium()
    command = [sys.executable, "-m", "studio.cli", "studio", "--no-browser", "--port", "0"]
    environment = {**os.environ, "TREADLE_HOME": str(tmp_path / "home"), "PYTHONUNBUFFERED": "1"}
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
    assert process.stdout is not None
    found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", process.stdout.readline())
    try:
        assert found is not None
        yield found[0]
    finally:
        process.send_signal(2)
        assert process.wait(15) is not None
        process.stdout.close()
        log.close()


def shoot(page: Page, name: str) -> None:
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


def test_a_demo_runs_by_mouse_in_light_and_dark(address) -> None:
    outside: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
        page.on("request", lambda request: outside.append(request.url) if is_outside(request.url) else None)
        page.goto(address)
        expect(page.get_by_text("Penguin field report")).to_be_visible(timeout=20_000)
        shoot(page, "home-light")
        page.get_by_role("button", name="Open").first.click()
        page.wait_for_url("**/editor**", timeout=20_000)
        group = page.locator('.react-flow__node[data-id="group"]')
        expect(group).to_be_visible(timeout=20_000)
        page.get_by_role("button", name="Run", exact=True).click()
        expect(group).to_contain_text("3 rows", timeout=20_000)
        expect(page.locator('.react-flow__node[data-id="quarantine"]')).to_contain_text("skipped", timeout=20_000)
        shoot(page, "editor-light")
        page.get_by_role("button", name=re.compile("dark", re.IGNORECASE)).first.click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        shoot(page, "editor-dark")
        page.goto(address.split("?")[0] + "runs")
        expect(page.get_by_role("cell", name="trial").first).to_be_visible(timeout=20_000)
        shoot(page, "runs-dark")
        browser.close()
    assert outside == []


def is_outside(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))
