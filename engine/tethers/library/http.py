"""Calling addresses on the web."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import quote

from pydantic import Field

from engine.ports import StepContext
from engine.tethers.describe import tether

CATEGORY = "Web"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_KEY_LIMIT_CHARS = 200


class Answer(NamedTuple):
    """What came back."""

    body: Any
    status: int
    headers: dict[str, str]


@tether(
    reference="http.request",
    name="HTTP request",
    category="Web",
    icon="globe",
    binding="http",
    effect=True,
    runs="thread",
    keywords=("api", "rest", "web", "webhook", "url", "fetch", "download", "post"),
    example={"url": "https://example.com/", "method": "GET"},
)
def request(
    url: str,
    body: Any = None,
    *,
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] = "GET",
    headers: dict[str, str] | None = None,
    expect: list[int] | None = None,
    timeout_s: Annotated[float, Field(gt=0, le=3_600)] = 30.0,
    context: StepContext,
) -> Answer:
    """Send a request and return the answer: its body as a JSON value, text or bytes.

    Addresses inside the own network are refused unless TREADLE_HTTP_ALLOW names them. An unexpected status is a
    failure; 408, 429 and those from 500 on may be tried again.

    Args:
        url: where to, starting with http:// or https://.
        body: what to send: text, bytes, or any value, which is sent as JSON.
        method: what to do there.
        headers: further headers.
        expect: the statuses that count as success; all from 200 to 299 if empty.
        timeout_s: seconds after which it is given up.
    """
    from engine.outside.http import Policy, Request, send

    sent = dict(headers or {})
    if method not in _SAFE and not any(name.lower() == "idempotency-key" for name in sent):
        sent["Idempotency-Key"] = _key(context.idempotency_key)
    answer = send(
        Request(url, method, sent, body),
        expect=expect or range(200, 300),
        policy=Policy(total_s=timeout_s, read_s=timeout_s, connect_s=min(10.0, timeout_s)),
        stopped=lambda: context.cancelled,
    )
    return Answer(answer.body, answer.status, answer.headers)


def _key(text: str) -> str:
    """Return the step's key as a header can hold it."""
    key = quote(text, safe="/[]#:._-")
    return key if len(key) <= _KEY_LIMIT_CHARS else hashlib.sha256(text.encode(errors="replace")).hexdigest()
