"""The browser that tests drive: Debian's Chromium."""

import shutil

from tests.servers import absent

NAMES = ("chromium-headless-shell", "chromium")
"""The shell draws no windows of its own: pages open in two thirds of the time."""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def chromium() -> str:
    """Return where Chromium is; skip the test if it is nowhere, or fail if TREADLE_REQUIRE names it."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or absent("chromium", f"Install it: apt-get install {NAMES[0]} (or {NAMES[1]}).")
