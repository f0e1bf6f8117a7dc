"""HTTP: ask a service, send it something."""

from __future__ import annotations

import json as json_text
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from engine.domain.canonical import loads
from engine.errors import FileError, TetherFailed
from engine.outside.http import Limits, Reply, request as send
from engine.ports import StepContext
from engine.tethers.describe import tether

CATEGORY = "HTTP"
_KIND = "HTTP request"
_SHOWN_CHARS = 200


class Answer(NamedTuple):
    """What a service answered."""

    body: Any
    status: int
    headers: dict[str, str]


@tether(
    name="HTTP request",
    icon="globe",
    binding="http",
    effect=True,
    runs="thread",
    keywords=("rest", "api", "url", "get", "post", "webhook", "fetch"),
    example={"url": "https://example.org", "method": "GET"},
)
def request(
    url: str,
    body: Any = None,
    *,
    context: StepContext,
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] = "GET",
    headers: dict[str, str] | None = None,
    query: dict[str, Any] | None = None,
    expected: list[int] | None = None,
    reply_as: Literal["auto", "json", "text", "bytes"] = "auto",
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0,
    limit_mib: Annotated[int, Field(ge=1, le=1024)] = 16,
) -> Answer:
    """Sends one request and gives the reply.

    Addresses of this machine and of private networks are refused unless their name is in TREADLE_HTTP_ALLOW. The
    request carries an Idempotency-Key, so that a service that knows it never does the same thing twice.

    Args:
        url: where to, with http:// or https://.
        body: objects and lists are sent as JSON, text and bytes as they are.
        method: the HTTP method.
        headers: further headers.
        query: added to the address after a question mark.
        expected: statuses that are fine; by default those from 200 to 299.
        reply_as: how to read the reply; 'auto' goes by what the service says it is.
        timeout_s: how long to wait in all, in seconds.
        limit_mib: the largest reply to take, in MiB.
    """
    content, kind = _encoded(body)
    given = {"Idempotency-Key": context.idempotency_key, **({"Content-Type": kind} if kind else {})}
    overridden = {name.lower() for name in headers or {}}
    reply = send(
        method,
        _with_query(url, query or {}),
        headers={**{n: v for n, v in given.items() if n.lower() not in overridden}, **(headers or {})},
        body=content,
        limits=Limits(timeout_s=timeout_s, size_bytes=limit_mib << 20),
        cancelled=lambda: context.cancelled,
    )
    context.log(f"{method} {reply.url.partition('?')[0]}: {reply.status}, {len(reply.body):,} bytes")
    _check_status(method, reply, expected)
    return Answer(_decoded(reply, reply_as), reply.status, reply.headers)


def _encoded(body: Any) -> tuple[bytes | None, str]:
    if body is None:
        return None, ""
    if isinstance(body, bytes):
        return body, "application/octet-stream"
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    try:
        return json_text.dumps(body, allow_nan=False).encode(), "application/json"
    except (TypeError, ValueError) as error:
        raise TetherFailed(kind=_KIND, reason=f"the body can't be written as JSON: {error}", permanent=True) from None


def _with_query(url: str, query: dict[str, Any]) -> str:
    from urllib.parse import urlencode

    if not query:
        return url
    bare, mark, fragment = url.partition("#")
    joint = "&" if "?" in bare else "?"
    return f"{bare}{joint}{urlencode(query, doseq=True)}{mark}{fragment}"


def _check_status(method: str, reply: Reply, expected: list[int] | None) -> None:
    fine = reply.status in expected if expected else 200 <= reply.status < 300
    if fine:
        return
    said = " ".join(reply.body[:2_000].decode("utf-8", "replace").split())[:_SHOWN_CHARS]
    raise TetherFailed(
        kind=f"{method} {reply.url.partition('?')[0]}",
        reason=f"status {reply.status}" + (f": {said}" if said else ""),
        status=reply.status,
        retry_after=reply.headers.get("retry-after"),
        permanent=400 <= reply.status < 500 and reply.status not in {408, 425, 429},
    )


def _decoded(reply: Reply, reply_as: str) -> Any:
    kind = reply.headers.get("content-type", "").lower()
    is_json = "json" in kind.partition(";")[0]
    if not reply.body and reply_as != "bytes":
        return None if is_json or reply_as == "json" else ""
    if reply_as == "json" or (reply_as == "auto" and is_json):
        try:
            return loads(reply.body, source=f"The reply of {reply.url.partition('?')[0]}")
        except FileError as error:
            raise TetherFailed(kind=_KIND, reason=str(error)) from None
    is_text = kind.startswith("text/") or "xml" in kind or "charset=" in kind
    if reply_as == "text" or (reply_as == "auto" and is_text):
        return reply.body.decode(_charset(kind), "replace")
    return reply.body


def _charset(kind: str) -> str:
    name = kind.partition("charset=")[2].partition(";")[0].strip(" \"'")
    try:
        "".encode(name or "utf-8")
    except LookupError:
        return "utf-8"
    return name or "utf-8"
