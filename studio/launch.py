"""Opens the studio over an engine: demos on the first start, the server, the browser."""

from __future__ import annotations

import webbrowser
from typing import TYPE_CHECKING

from studio import terminal
from studio.asgi import StudioSettings, build, serve

if TYPE_CHECKING:
    from engine.engine import Engine


def launch(engine: Engine, *, port: int, browser: bool) -> None:
    """Serve the studio on this machine until Ctrl+C or SIGTERM. Raises `PortInUse` naming the mend."""
    settings = StudioSettings(port=port)
    app = build(engine, settings)
    engine.waker.start()

    def ready(url: str) -> None:
        terminal.out.print(f"Treadle is running at {url}", markup=False, soft_wrap=True)
        terminal.err.print(f"Store: {engine.url}. Stop it with Ctrl+C.", markup=False)
        if browser:
            webbrowser.open(url)

    serve(app, settings.host, settings.port, ready)
