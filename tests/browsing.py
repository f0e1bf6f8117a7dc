"""The browser that tests drive: Debian's Chromium."""

import shutil

from tests.servers import absent

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def chromium() -> str:
    """Return where Chromium is; skip the test if it is nowhere, or fail if TREADLE_REQUIRE names it."""
    return shutil.which("chromium") or absent("chromium", "Install it: apt-get install chromium.")
