"""The one way out: sends an HTTP request to a checked, pinned address and returns the answer as a value.

The host is resolved here and only here; each redirect is checked anew; nothing is taken from the environment but
TREADLE_HTTP_ALLOW (no proxies, no .netrc). Every failure is one sentence.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.domain.canonical import loads
from engine.errors import FileError, StepTimedOut, TargetRefused, TetherFailed
from engine.execution.values import ARROW, BYTES, TEXT, decode, encode
from engine.outside.addresses import Resolver, allowed_by_environment, checked_addresses, resolve

if TYPE_CHECKING:
    import httpx

_REDIRECTS_LIMIT = 5
_LIMIT_BYTES = 50 << 20
_EXCERPT_CHARS = 200
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_SECRET_FREE = frozenset({"accept", "accept-language", "content-type", "user-agent", "idempotency-key"})
"""The headers that follow a redirect to another origin."""
_OURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "proxy-authorization"}
)
_TEXTUAL = ("text/", "application/xml", "application/javascript", "application/x-www-form-urlencoded")


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. The body is text, bytes, a table (sent as rows) or any JSON value; None sends none."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Any = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What is allowed, and how long and how large it may be. `allow` None: what TREADLE_HTTP_ALLOW says."""

    allow: frozenset[str] | None = None
    resolver: Resolver = resolve
    limit_bytes: int = _LIMIT_BYTES
    connect_s: float = 10.0
    read_s: float = 30.0
    total_s: float = 30.0


class Response(NamedTuple):
    """An answer: the body as a JSON value, text or bytes (None if empty), header names in lower case."""

    status: int
    headers: dict[str, str]
    body: Any


class _Hop(NamedTuple):
    method: str
    url: httpx.URL
    headers: dict[str, str]
    content: bytes


def send(
    request: Request,
    *,
    expect: Collection[int] = range(200, 300),
    policy: Policy | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Response:
    """Send a request, follow up to 5 redirects, and return the answer if its status is expected.

    Raises `TargetRefused` for what may not be reached, `StepTimedOut`, `StepCancelled` once `stopped()` is true, and
    `TetherFailed` for the rest; permanent (no other attempt helps) unless it is a failure of the network or one of
    408, 429 and 5xx.
    """
    from engine.outside.pinned import Deadline

    policy = policy or Policy()
    allow = allowed_by_environment() if policy.allow is None else frozenset(name.lower() for name in policy.allow)
    policy = replace(policy, allow=allow)
    deadline = Deadline(policy.total_s, stopped)
    hop = _first(request)
    for _ in range(_REDIRECTS_LIMIT + 1):
        answer = _exchange(hop, policy, deadline)
        location = answer.headers.get("location")
        if answer.status in expect or answer.status not in {301, 302, 303, 307, 308} or location is None:
            return _accepted(answer, hop, expect)
        hop = _next(hop, answer.status, location)
    raise TetherFailed(kind="Redirects", reason=f"it was sent on more than {_REDIRECTS_LIMIT} times", permanent=True)


def _first(request: Request) -> _Hop:
    headers = {"user-agent": "treadle", "accept": "*/*", "accept-encoding": "gzip, deflate"}
    media_type, content = _content(request.body)
    if media_type:
        headers["content-type"] = media_type
    for name, value in request.headers.items():
        headers[name.lower()] = _checked_header(name, value)
    if not _TOKEN.fullmatch(request.method):
        raise _refused("the method is not one word")
    return _Hop(request.method.upper(), _checked_url(request.url), headers, content)


def _content(body: Any) -> tuple[str, bytes]:
    """Return (media type, bytes) of a body."""
    if body is None:
        return "", b""
    encoded = encode(body, port="body")
    if encoded.media_type == ARROW:
        encoded = encode(decode(ARROW, encoded.data).to_pylist(), port="body")
    suffix = "; charset=utf-8" if encoded.media_type == TEXT else ""
    return encoded.media_type + suffix, encoded.data


def _checked_header(name: str, value: object) -> str:
    if not _TOKEN.fullmatch(name):
        raise _refused(f"the header name {name[:40]!r} is not one word")
    if name.lower() in _OURS:
        raise _refused(f"the header {name} is set by the engine")
    text = str(value)
    if not all(character == "\t" or " " <= character <= "~" for character in text):
        raise _refused(f"the value of the header {name} has characters other than printable ASCII, or a line break")
    return text.strip()


def _refused(reason: str) -> TetherFailed:
    return TetherFailed(kind="Request", reason=reason, permanent=True)


def _checked_url(text: str | httpx.URL) -> httpx.URL:
    import httpx

    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError, TypeError, ValueError) as error:
        raise TargetRefused(target=repr(str(text)[:80]), reason=f"it is not a URL ({error})", permanent=True) from None
    reason = _url_reason(url)
    if reason:
        raise TargetRefused(target=shown(url), reason=reason, permanent=True)
    return url.copy_with(fragment=None)


def _url_reason(url: httpx.URL) -> str | None:
    if url.scheme not in {"http", "https"}:
        return "only http:// and https:// can be called"
    if not url.raw_host or not re.fullmatch(rb"[A-Za-z0-9_.:-]{1,253}", url.raw_host):
        return "it names no host"
    if url.userinfo:
        return "it has a name or password before the host; send those in a header"
    if url.port is not None and not 0 < url.port < 65_536:
        return "its port is not between 1 and 65535"
    return None


def shown(url: httpx.URL) -> str:
    """Return a URL as messages show it: without query, user and password."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = "" if url.port is None else f":{url.port}"
    return f"{url.scheme}://{host}{port}{url.raw_path.decode('ascii').partition('?')[0]}"[:200]


def _next(hop: _Hop, status: int, location: str) -> _Hop:
    """Return where a redirect leads, with only what may go there."""
    import httpx

    try:
        url = _checked_url(hop.url.join(location))
    except httpx.InvalidURL:
        raise TetherFailed(kind="Redirects", reason="it was sent on to what is not a URL", permanent=True) from None
    method, headers, content = hop.method, dict(hop.headers), hop.content
    if (status == 303 and method != "HEAD") or (status in {301, 302} and method == "POST"):
        method, content = "GET", b""
        headers = {name: value for name, value in headers.items() if name not in {"content-type", "idempotency-key"}}
    if hop.url.scheme == "https" and url.scheme == "http":
        raise TargetRefused(target=shown(url), reason="it was sent there from https without it", permanent=True)
    if _origin(hop.url) != _origin(url):
        headers = {name: value for name, value in headers.items() if name in _SECRET_FREE or name == "accept-encoding"}
    return _Hop(method, url, headers, content)


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host.lower(), url.port or (443 if url.scheme == "https" else 80)


def _exchange(hop: _Hop, policy: Policy, deadline: Any) -> Response:
    """Send one request and return the answer with its body as bytes."""
    import httpcore
    import httpx

    from engine.outside.pinned import pool

    # httpx writes the Host and Content-Length headers; the request goes out through the pinned pool.
    request = httpx.Request(hop.method, hop.url, headers=hop.headers, content=hop.content or None)
    times = {"connect": policy.connect_s, "read": policy.read_s, "write": policy.read_s, "pool": policy.connect_s}
    addresses = partial(checked_addresses, allow=policy.allow or frozenset(), resolver=policy.resolver)
    target = httpcore.URL(scheme=hop.url.raw_scheme, host=hop.url.raw_host, port=hop.url.port, target=hop.url.raw_path)
    try:
        with (
            pool(addresses, deadline) as connections,
            connections.stream(
                hop.method,
                target,
                headers=request.headers.raw,
                content=hop.content or None,
                extensions={"timeout": times},
            ) as answer,
        ):
            headers = _headers(answer.headers)
            body = _body(answer.iter_stream(), headers, policy.limit_bytes, hop.url)
            return Response(answer.status, headers, body)
    except (httpcore.ReadTimeout, httpcore.WriteTimeout):
        limit_s = min(policy.read_s, policy.total_s)
        raise StepTimedOut(timeout_s=f"{limit_s:g}") from None
    except httpcore.TimeoutException:
        raise TetherFailed(kind="Connection", reason=f"{shown(hop.url)} did not take the call in time") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, zlib.error, OSError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise TetherFailed(kind="Connection", reason=f"{shown(hop.url)} can't be called ({reason})") from None


def _headers(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _body(chunks: Iterator[bytes], headers: Mapping[str, str], limit_bytes: int, url: httpx.URL) -> bytes:
    """Return the whole body, unpacked; what is packed counts by its size unpacked, and is never unpacked further."""
    packing = headers.get("content-encoding", "identity").strip().lower() or "identity"
    if packing not in {"identity", "gzip", "x-gzip", "deflate"}:
        raise TetherFailed(kind="Answer", reason=f"{shown(url)} packed it in an unknown way ({packing[:40]})")
    unpack = None if packing == "identity" else zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    body = bytearray()
    for chunk in chunks:
        body += chunk if unpack is None else unpack.decompress(chunk, limit_bytes + 1 - len(body))
        if len(body) > limit_bytes:
            reason = f"{shown(url)} answered with more than {limit_bytes / (1 << 20):,.4g} MiB, which is the most"
            raise TetherFailed(kind="Answer", reason=reason, permanent=True)
    if body and unpack is not None and not unpack.eof:
        raise TetherFailed(kind="Answer", reason=f"what {shown(url)} answered is cut short")
    return bytes(body)


def _accepted(answer: Response, hop: _Hop, expect: Collection[int]) -> Response:
    """Return the answer with its body parsed; raise if its status was not expected."""
    if answer.status in expect:
        return answer._replace(body=_parsed(answer, hop))
    said = " ".join(answer.body[:2_000].decode("utf-8", "replace").split())[:_EXCERPT_CHARS]
    wait = answer.headers.get("retry-after", "")[:60]
    parts = [f"{hop.method} {shown(hop.url)} was answered so"]
    parts += [f"it asks to wait {wait}{' s' if wait.isdigit() else ''} (Retry-After)"] if wait else []
    reason = "; ".join(parts) + (f": {said}" if said else "")
    permanent = answer.status < 500 and answer.status not in {408, 429}
    raise TetherFailed(kind=f"HTTP {answer.status}", reason=reason, permanent=permanent)


def _parsed(answer: Response, hop: _Hop) -> Any:
    data: bytes = answer.body
    media_type, _, parameters = answer.headers.get("content-type", BYTES).lower().partition(";")
    media_type = media_type.strip()
    if not data:
        return "" if media_type.startswith("text/") else None
    if media_type in {"application/json", "text/json"} or media_type.endswith("+json"):
        try:
            return loads(data, source=f"The answer of {shown(hop.url)}")
        except FileError as error:
            raise TetherFailed(kind="Answer", reason=str(error), permanent=True) from None
    if media_type.startswith(_TEXTUAL) or media_type.endswith("+xml"):
        match = re.search(r"charset=\"?([\w.:-]+)", parameters)
        try:
            return data.decode(match[1] if match else "utf-8", "replace")
        except (LookupError, ValueError):
            return data.decode("utf-8", "replace")
    return data
