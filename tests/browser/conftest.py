"""The browser of these tests. On a busy machine a test gets a second try: what fails twice in a row has failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browsing import FLAGS, chromium

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start Debian's Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is missing: pip install playwright.")
    path = chromium()
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of this folder be run once more when they fail."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.flaky(reruns=1))
