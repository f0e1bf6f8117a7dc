"""Our own static files: few, held in memory, addressed by exact name, so no path can lead elsewhere."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from studio.error_pages import error_response
from studio.theme import page_css

_FOLDER = Path(__file__).parent / "theme"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
_HASH_LENGTH = 12


@functools.cache
def _assets() -> dict[str, bytes]:
    files = {f"fonts/{path.name}": path for path in (_FOLDER / "fonts").iterdir()}
    files |= {name: _FOLDER / name for name in ("shell.js", "favicon.svg", "NOTICE.txt")}
    return {"page.css": page_css().encode(), **{name: path.read_bytes() for name, path in files.items()}}


@functools.cache
def asset_url(name: str) -> str:
    """The address of an asset, with its content's hash, so that browsers may keep it for good."""
    digest = hashlib.sha256(_assets()[name]).hexdigest()[:_HASH_LENGTH]
    return f"/assets/{name}?v={digest}"


async def serve_asset(request: Request) -> Response:
    """Answer `/assets/NAME`."""
    name = request.path_params["name"]
    content = _assets().get(name)
    if content is None:
        return error_response(request.scope, 404)
    etag = f'"{hashlib.sha256(content).hexdigest()[:_HASH_LENGTH]}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"etag": etag})
    return Response(content, media_type=_TYPES[Path(name).suffix], headers={"etag": etag})
