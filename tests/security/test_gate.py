"""Nobody gets past the gate without the token, and nobody's page but ours can use a browser that did."""

from __future__ import annotations

import contextlib
import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import websockets
from bokeh.util.token import generate_jwt_token, generate_session_id, get_session_id, get_token_payload
from websockets.sync.client import connect

from studio.security import Seal
from tests.security.conftest import BODY_LIMIT_BYTES, Studio

HTML = {"accept": "text/html"}
PATHS = ("/", "/runs", "/ws", "/static/js/bokeh.min.js", "/components/os/path/x/y", "/api/echo", "/nowhere", "/docs")


def _cookie_header(client: httpx.Client) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}


def _bokeh_token(html: str) -> str:
    found = re.search(r'"token":"([^"]+)"', html)
    assert found is not None
    return found[1]


def _handshake(studio: Studio, token: str, path: str = "/ws", **options):
    uri = f"ws://127.0.0.1:{studio.port}{path}"
    return connect(uri, subprotocols=["bokeh", token], proxy=None, open_timeout=10, **options)  # type: ignore[arg-type]


def _refused(studio: Studio, token: str, **options) -> int:
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught, _handshake(studio, token, **options):
        pass
    return caught.value.response.status_code


@pytest.mark.parametrize("path", PATHS)
def test_without_a_token_every_path_answers_401(studio: Studio, path: str) -> None:
    with studio.client() as client:
        answer = client.get(path, headers=HTML)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    if not path.startswith("/api"):
        assert "printed in the terminal" in answer.text


def test_health_says_only_ok(studio: Studio) -> None:
    with studio.client() as client:
        answer = client.get("/health")
        assert (answer.status_code, answer.text) == (200, "ok\n")
        assert client.get("/health/x").status_code == 401
        assert client.post("/health").status_code == 401


def test_a_wrong_token_is_refused_slowly(studio: Studio) -> None:
    with studio.client() as client:
        started = time.perf_counter()
        answer = client.get("/", params={"token": "x" * 43}, headers=HTML)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "printed last" in answer.text
    assert time.perf_counter() - started >= 0.25


@pytest.mark.parametrize("token", ["", "é", "\x00", "x" * 5000])
def test_odd_tokens_are_refused_like_wrong_ones(studio: Studio, token: str) -> None:
    with studio.client() as client:
        assert client.get("/", params={"token": token}).status_code == 401


def test_the_token_becomes_a_strict_cookie_and_leaves_the_address(studio: Studio) -> None:
    with studio.client() as client:
        answer = client.get("/runs", params={"token": studio.token, "name": "a b"})
        assert answer.status_code == 303
        assert answer.headers["location"] == "/runs?name=a+b"
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith(f"treadle-{studio.port}=")
        assert studio.token not in cookie
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        page = client.get(answer.headers["location"])
    assert page.status_code == 200
    assert studio.token not in page.text


def test_coming_from_another_site_the_cookie_is_set_by_a_page_of_ours(studio: Studio) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    with studio.client() as client:
        answer = client.get("/", params={"token": studio.token}, headers=headers)
    assert answer.status_code == 200
    assert 'content="0;url=/"' in answer.text


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example", "///evil.example"])
def test_the_redirect_stays_on_this_server(studio: Studio, path: str) -> None:
    with studio.client() as client:
        answer = client.get(f"{studio.base}{path}?token={studio.token}")
    location = answer.headers.get("location", "/")
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))


def test_the_token_in_a_header_serves_scripts_without_a_cookie(studio: Studio) -> None:
    with studio.client(headers={"authorization": f"Bearer {studio.token}"}) as client:
        answer = client.get("/")
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        assert client.post("/api/echo", json={"a": 1}).json() == {"a": 1}
    with studio.client(headers={"authorization": "Bearer wrong"}) as client:
        assert client.get("/").status_code == 401


def test_forged_and_foreign_cookies_are_refused(studio: Studio) -> None:
    name = f"treadle-{studio.port}"
    now = time.time()
    ours = Seal(studio.app.settings.cookie_secret, 3600)
    signed, _, signature = ours.issue(studio.port, now).rpartition(".")
    forged = {
        "another secret": Seal(b"x" * 32, 3600).issue(studio.port, now),
        "another port": ours.issue(studio.port + 1, now),
        "too old": ours.issue(studio.port, now - studio.app.settings.cookie_lifetime_s - 5),
        "from the future": ours.issue(studio.port, now + 600),
        "changed": f"{signed}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}",
        "no signature": f"{int(now)}.abc.",
        "nonsense": "x",
        "the token": studio.token,
    }
    for reason, value in forged.items():
        with studio.client(cookies={name: value}) as client:
            assert client.get("/").status_code == 401, reason
    with studio.client(cookies={name: ours.issue(studio.port, now)}) as client:
        assert client.get("/").status_code == 200


@pytest.mark.parametrize("cookie", ["is_guest=1", "user=admin", "id_token=x; is_guest=1"])
def test_is_guest_opens_nothing(studio: Studio, cookie: str) -> None:
    token = generate_jwt_token(generate_session_id(signed=False), signed=False)
    with studio.client(headers={"cookie": cookie}) as client:
        assert client.get("/").status_code == 401
        assert client.get("/?is_guest=1").status_code == 401
    assert _refused(studio, token, additional_headers={"Cookie": cookie}) == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "0.0.0.0", "[::2]", "", "a b"]
)
def test_an_unknown_host_name_is_refused_even_with_the_cookie(studio: Studio, host: str) -> None:
    with studio.guest_with_cookie() as client:
        answer = client.get("/", headers={"host": host, **_cookie_header(client)})
    assert answer.status_code in {400, 403}
    assert "content-security-policy" in answer.headers or answer.status_code == 400


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]"])
def test_the_local_names_are_served(studio: Studio, name: str) -> None:
    with studio.guest_with_cookie() as client:
        headers = {"host": f"{name}:{studio.port}", **_cookie_header(client)}
        assert client.get("/", headers=headers).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost", ""])
def test_another_origin_is_refused_over_http(studio: Studio, origin: str) -> None:
    with studio.guest_with_cookie() as client:
        answer = client.post("/api/echo", json={}, headers={"origin": origin})
        assert answer.status_code == 403
        assert answer.json()["sentence"].count(".") == 1
        assert client.post("/api/echo", json={"b": 2}, headers={"origin": studio.base}).json() == {"b": 2}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_may_link_here_but_not_fetch(studio: Studio, site: str) -> None:
    with studio.guest_with_cookie() as client:
        fetch = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
        assert client.get("/static/js/bokeh.min.js", headers=fetch).status_code == 403
        assert client.post("/api/echo", json={}, headers={"sec-fetch-site": site}).status_code == 403
        assert client.get("/", headers={"sec-fetch-site": site, "sec-fetch-mode": "navigate"}).status_code == 200


def test_another_origin_is_refused_over_the_websocket(studio: Studio) -> None:
    with studio.guest_with_cookie() as client:
        token = _bokeh_token(client.get("/").text)
        cookie = _cookie_header(client)
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        assert _refused(studio, token, origin=origin, additional_headers=cookie) == 403
    with _handshake(studio, token, origin=studio.base, additional_headers=cookie) as socket:
        assert "ACK" in str(socket.recv(timeout=10))


def test_without_an_origin_the_websocket_needs_the_cookie_or_the_token(studio: Studio) -> None:
    with studio.guest_with_cookie() as client:
        token = _bokeh_token(client.get("/").text)
        cookie = _cookie_header(client)
    assert _refused(studio, token) == 403
    for headers in (cookie, {"Authorization": f"token {studio.token}"}):
        with _handshake(studio, token, additional_headers=headers) as socket:
            assert "ACK" in str(socket.recv(timeout=10))


def test_the_token_in_the_query_opens_no_websocket(studio: Studio) -> None:
    with studio.guest_with_cookie() as client:
        token = _bokeh_token(client.get("/").text)
    assert _refused(studio, token, path=f"/ws?token={studio.token}") == 403


def test_forged_session_tokens_are_refused_behind_the_gate(studio: Studio) -> None:
    with studio.guest_with_cookie() as client:
        cookie = _cookie_header(client)
    session = generate_session_id(signed=False)
    forged = [
        generate_jwt_token(session, signed=False),
        generate_jwt_token(session, signed=True, secret_key=b"y" * 32),
        generate_jwt_token(session, signed=True, secret_key=studio.app.settings.session_secret, expiration=-10),
        "x",
    ]
    for token in forged:
        assert _refused(studio, token, additional_headers=cookie) == 403


def test_the_session_token_carries_no_cookie_and_no_header(studio: Studio) -> None:
    with studio.guest_with_cookie() as client:
        html = client.get("/", params={"name": "x"}, headers={"x-private": "private-value"}).text
        secret = client.cookies[f"treadle-{studio.port}"]
    payload = get_token_payload(_bokeh_token(html))
    assert payload["headers"] == {}
    assert payload["cookies"] == {}
    assert secret not in str(payload)
    assert secret not in html


def test_a_request_cannot_choose_its_session(studio: Studio) -> None:
    with studio.guest_with_cookie() as client:
        html = client.get("/", params={"bokeh_session_id": "chosen", "bokeh-session-id": "chosen"}).text
    assert get_session_id(_bokeh_token(html)) != "chosen"


def test_too_large_a_body_is_refused_announced_or_not(studio: Studio) -> None:
    with studio.guest_with_cookie() as client:
        announced = client.post("/api/echo", content=b"x" * (BODY_LIMIT_BYTES + 1))
        assert announced.status_code == 413
        chunks = (b"x" * 500 for _ in range(10))
        assert client.post("/api/echo", content=chunks).status_code == 413


def test_too_large_a_message_closes_the_websocket(studio: Studio) -> None:
    with studio.guest_with_cookie() as client:
        token = _bokeh_token(client.get("/").text)
        cookie = _cookie_header(client)
    with _handshake(studio, token, additional_headers=cookie) as socket:
        socket.send("x" * 5_000)
        with pytest.raises(websockets.exceptions.ConnectionClosed) as caught:  # noqa: PT012 - it closes at some answer
            for _ in range(10):
                socket.recv(timeout=10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../security.py",
        "/assets/..%2fsecurity.py",
        "/assets/fonts/..%2f..%2ftheme/parts.py",
        "/assets//etc/passwd",
        "/static/..%2f..%2f..%2f..%2fetc/passwd",
        "/static/extensions/panel/..%2f..%2f__init__.py",
        "/components/os/path/modifiers/x",
        "/components/studio.security/Gate/_resources/css/../../security.py",
        "/components/antigravity/x/__css__/y",
    ],
)
def test_no_path_leads_out_of_the_static_files(studio: Studio, path: str) -> None:
    with studio.guest_with_cookie() as client:
        answer = client.send(client.build_request("GET", studio.base + path))
    assert answer.status_code in {400, 403, 404}
    assert "import" not in answer.text
    assert "root:" not in answer.text


def test_every_answer_carries_the_security_headers(studio: Studio) -> None:
    with studio.guest_with_cookie() as client, studio.client() as stranger:
        answers = [
            client.get("/"),
            client.get("/nowhere", headers=HTML),
            client.get("/static/js/bokeh.min.js"),
            client.get("/assets/page.css"),
            stranger.get("/", headers=HTML),
            client.post("/api/echo", json={}),
        ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "'unsafe-inline'" not in answer.headers["content-security-policy"].partition("style-src")[0]
        assert re.fullmatch(r"[0-9a-f]{12}", answer.headers["x-request-id"])
        assert "server" not in answer.headers
    pages = [answer for answer in answers if "text/html" in answer.headers["content-type"]]
    assert {answer.headers["cache-control"] for answer in pages} == {"no-store"}
    nonces = {re.search(r"nonce-([\w-]+)", answer.headers["content-security-policy"])[1] for answer in pages}  # type: ignore[index]
    assert len(nonces) == len(pages)


def test_every_inline_script_of_a_page_has_its_nonce(studio: Studio) -> None:
    with studio.guest_with_cookie() as client:
        answer = client.get("/", params={"name": "<script>alert(1)</script>"})
    nonce = re.search(r"nonce-([\w-]+)", answer.headers["content-security-policy"])[1]  # type: ignore[index]
    assert "<script>alert" not in answer.text
    scripts = re.findall(r"<script[^>]*>", answer.text)
    assert scripts
    assert all(f'nonce="{nonce}"' in tag for tag in scripts)


def test_no_page_names_another_server(studio: Studio) -> None:
    with studio.guest_with_cookie() as client, studio.client() as stranger:
        texts = [
            client.get("/").text,
            client.get("/runs").text,
            client.get("/nowhere", headers=HTML).text,
            client.get("/", params={"fail": "bug"}, headers=HTML).text,
            stranger.get("/", headers=HTML).text,
            client.get("/assets/page.css").text,
            client.get("/assets/shell.js").text,
        ]
    for text in texts:
        hosts = set(re.findall(r"(?:https?:)?//([a-z0-9.-]+\.[a-z]{2,})", text))
        assert hosts <= {"www.w3.org"}  # the namespace of SVG, never fetched


def test_a_page_that_fails_says_so_in_one_sentence(studio: Studio) -> None:
    with studio.guest_with_cookie() as client:
        missing = client.get("/", params={"fail": "missing"}, headers=HTML)
        bug = client.get("/", params={"fail": "bug"}, headers=HTML)
    assert missing.status_code == 404
    assert "No model is called &lt;i&gt;Weather&lt;/i&gt;." in missing.text
    assert bug.status_code == 500
    assert "secret detail" not in bug.text
    assert bug.headers["x-request-id"] in bug.text


def test_assets_are_public_and_kept_by_the_browser(studio: Studio) -> None:
    with studio.client() as client:
        font = client.get("/assets/fonts/inter-latin-wght-normal.woff2")
        assert font.status_code == 200
        assert font.headers["content-type"] == "font/woff2"
        assert "immutable" in font.headers["cache-control"]
        etag = client.get("/assets/page.css").headers["etag"]
        again = client.get("/assets/page.css", headers={"if-none-match": etag})
        assert again.status_code == 304


def test_abandoned_sessions_leave_memory(studio: Studio) -> None:
    with studio.guest_with_cookie() as client:
        cookie = _cookie_header(client)
        tokens = [_bokeh_token(client.get("/").text) for _ in range(3)]
    with contextlib.ExitStack() as open_tabs:
        for token in tokens:
            open_tabs.enter_context(_handshake(studio, token, additional_headers=cookie))
        assert studio.app.documents.session_count >= 3
    deadline = time.monotonic() + 15
    while studio.app.documents.session_count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert studio.app.documents.session_count == 0
    # The page of an ended session must be loaded again: its token opens nothing.
    assert _refused(studio, tokens[0], additional_headers=cookie) == 403


def test_guessing_is_stopped_but_the_right_token_still_works(studio: Studio) -> None:
    def guess(number: int) -> int:
        with studio.client() as client:
            return client.get("/", params={"token": f"guess-{number}-of-many"}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(guess, range(40)))
    assert set(statuses) == {401, 429}
    with studio.guest_with_cookie() as client:
        assert client.get("/").status_code == 200
