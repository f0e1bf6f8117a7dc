"""The server takes a port or says why not, and stops soon, whoever is still looking."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from websockets.sync.client import connect

from engine.errors import SettingInvalid
from studio.asgi import NotLocal, PortInUse, StudioSettings, build, serve

PROGRAM = """
from studio.asgi import StudioSettings, build, serve
from studio.shell import Page, PageRoute
import panel as pn
app = build(None, StudioSettings(port=0), pages=[PageRoute("/", lambda ctx: Page("T", pn.pane.Str("x")))])
serve(app, on_ready=lambda url: print(url, flush=True))
"""


def test_a_taken_port_is_named_with_the_way_out() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUse, match=f"Port {port} is already in use.*--port"):
            serve(build(None, StudioSettings(), pages=[]), port=port)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.org", "::"])
def test_the_local_studio_listens_on_loopback_only(host: str) -> None:
    with pytest.raises(NotLocal):
        serve(build(None, StudioSettings(), pages=[]), host=host, port=0)


@pytest.mark.parametrize("facts", [{"token": "short"}, {"cookie_secret": b"x"}, {"body_limit_bytes": 0}])
def test_weak_settings_are_refused(facts: dict[str, object]) -> None:
    with pytest.raises(SettingInvalid):
        StudioSettings(**facts)  # type: ignore[arg-type]


def test_secrets_are_fresh_and_stay_out_of_the_repr() -> None:
    one, other = StudioSettings(), StudioSettings()
    assert one.token != other.token
    assert one.cookie_secret != other.cookie_secret
    assert one.token not in repr(one)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_within_three_seconds_with_a_tab_open(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            url = process.stdout.readline().decode().strip()
            base = url.partition("/?")[0]
            with httpx.Client(follow_redirects=True, trust_env=False) as client:
                token = re.search(r'"token":"([^"]+)"', client.get(url).text)[1]  # type: ignore[index]
                cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
            address = base.replace("http", "ws") + "/ws"
            headers = {"Cookie": cookies}
            with connect(address, subprotocols=["bokeh", token], additional_headers=headers, proxy=None) as socket_:  # type: ignore[list-item]
                socket_.recv(timeout=10)
                started = time.monotonic()
                process.send_signal(number)
                process.wait(10)
                assert time.monotonic() - started < 3
            log = process.stderr.read().decode()
            assert "Traceback" not in log
            assert url.partition("token=")[2] not in log
        finally:
            process.kill()
