"""Running the studio's server: the port, the signals, and a stop that doesn't wait for open tabs."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import uvicorn

from engine.errors import TreadleError

if TYPE_CHECKING:
    from studio.asgi import StudioApp

_STOP_S = 2
_START_S = 30.0


class PortInUse(TreadleError):
    """Port {port} is already in use. Stop the other program or choose another one with --port."""

    exit_code = 3  # the environment, not what was asked for


class PortRefused(TreadleError):
    """The studio can't listen on {host}:{port}: {reason}. Choose another one with --port."""

    exit_code = 3  # the environment, not what was asked for


class NotLocal(TreadleError):
    """The local studio listens on this computer only, and {host} is not it. Use 127.0.0.1 or localhost."""

    exit_code = 3  # the environment, not what was asked for


class Server(uvicorn.Server):
    """uvicorn with a call when it is ready, on a socket we have bound ourselves."""

    def __init__(self, app: StudioApp, host: str, port: int, on_ready: Callable[[str], None] | None = None) -> None:
        """Bind `host`:`port`; port 0 takes a free one.

        Raises:
            NotLocal: `host` is not a loopback address.
            PortInUse: another program listens there.
            PortRefused: the system doesn't allow it.
        """
        self._socket = _bind(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{_shown(host)}:{self.port}/?token={app.settings.token}"
        self._on_ready = on_ready
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="on",
                ws_max_size=app.settings.message_limit_bytes,
                timeout_graceful_shutdown=_STOP_S,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then call `on_ready` with the URL that holds the token."""
        await super().startup(sockets)
        if self._on_ready is not None and not self.should_exit:
            self._on_ready(self.url)

    def serve_until_stopped(self) -> None:
        """Run until SIGINT, SIGTERM or `stop`."""
        try:
            self.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Ask the server to stop; it does within about two seconds. Safe from any thread."""
        self.should_exit = True


def serve(
    app: StudioApp,
    host: str | None = None,
    port: int | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve `app` until SIGINT or SIGTERM. `on_ready` gets the URL with the token once it answers.

    `host` and `port` default to the app's settings; port 0 takes a free one. Raises as `Server` does.
    """
    settings = app.settings
    server = Server(app, host or settings.host, settings.port if port is None else port, on_ready)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_until_stopped()


@contextlib.contextmanager
def serving(app: StudioApp, host: str = "127.0.0.1", port: int = 0) -> Iterator[Server]:
    """Serve `app` in a thread while the block runs: for notebooks and tests.

    Raises:
        TimeoutError: it did not start within 30 s.
    """
    ready = threading.Event()
    server = Server(app, host, port, lambda _url: ready.set())
    thread = threading.Thread(target=server.serve_until_stopped, name="studio", daemon=True)
    thread.start()
    try:
        if not ready.wait(_START_S):
            message = "The studio did not start within 30 s."
            raise TimeoutError(message)
        yield server
    finally:
        server.stop()
        thread.join(_START_S)


def _bind(host: str, port: int) -> socket.socket:
    address = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise NotLocal(host=host)
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(port=port) from error
        raise PortRefused(host=host, port=port, reason=error.strerror) from error
    listener.settimeout(0)
    return listener


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
