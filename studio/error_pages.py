"""Pages for what can't be shown: one sentence, what to do about it, in the studio's look, needing no script."""

from __future__ import annotations

from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

from markupsafe import Markup
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from studio.theme import icon, page_css

if TYPE_CHECKING:
    from starlette.types import Scope

    from studio.security import Refusal

THEME_COOKIE = "treadle-theme"

_SENTENCES = {
    404: ("There is no such page", "Nothing is kept under this address; go back to where you came from."),
    405: ("That is not done here", "This address takes no such request; use the studio's own buttons."),
    413: ("Too large", "What was sent is larger than the studio accepts; send less at once."),
    500: ("The studio made a mistake", "Try again; if it stays so, the server's log says more under the id below."),
}
_ICONS = {401: "lock", 403: "shield-alert", 429: "hourglass"}
_DEFAULT = ("That did not work", "Try again, or go back to where you came from.")

_PAGE = Markup("""<!doctype html>
<html lang="en"{theme}><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} · Treadle</title><link rel="icon" href="/assets/favicon.svg" type="image/svg+xml">
<script nonce="{nonce}">if(!document.documentElement.dataset.theme&&matchMedia("(prefers-color-scheme:dark)").matches)
document.documentElement.dataset.theme="dark"</script><style>{css}</style></head>
<body class="notice-page"><main class="notice"><span class="notice-mark">{mark}</span><h1>{title}</h1>
<p>{sentence}</p>{home}<p class="caption">{status} · request <span class="mono">{request}</span></p></main>
</body></html>
""")


def appearance_of(scope: Scope) -> str | None:
    """The appearance the browser remembered, "light" or "dark"; None if it has none yet."""
    raw = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    try:
        morsel = SimpleCookie(raw.decode("latin-1")).get(THEME_COOKIE)
    except CookieError:
        return None
    value = "" if morsel is None else morsel.value.removeprefix("system-")
    return value if value in {"light", "dark"} else None


def error_response(scope: Scope, status: int, title: str | None = None, sentence: str | None = None) -> Response:
    """The answer for `status`: a page for browsers, JSON under `/api`, one line of text for everything else."""
    known = _SENTENCES.get(status, _DEFAULT)
    title, sentence = title or known[0], sentence or known[1]
    accepts = b"".join(value for name, value in scope["headers"] if name == b"accept")
    if scope["path"].startswith("/api"):
        return JSONResponse({"error": title, "sentence": sentence}, status)
    if b"text/html" not in accepts:
        return PlainTextResponse(sentence + "\n", status)
    facts = scope.get("treadle", {})
    theme = appearance_of(scope)
    inside = status not in {401, 403, 429}
    return HTMLResponse(
        _PAGE.format(
            theme=Markup(' data-theme="{}"').format(theme) if theme else "",
            title=title,
            sentence=sentence,
            css=Markup(page_css()),  # noqa: S704  our own file
            mark=icon(_ICONS.get(status, "triangle-alert"), 20),
            home=Markup('<p><a class="notice-home" href="/">Go to the start page</a></p>') if inside else "",
            status=f"{status} {HTTPStatus(status).phrase}",
            request=facts.get("id", ""),
            nonce=facts.get("nonce", ""),
        ),
        status,
    )


def refusal_response(scope: Scope, refusal: Refusal) -> Response:
    """The answer of the gate."""
    return error_response(scope, refusal.status, refusal.title, refusal.sentence)
