"""What the studio's server is told once, at its start."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from engine.errors import SettingInvalid

_SECRET_BYTES = 32
_SHORTEST_TOKEN = 16


def _token() -> str:
    return secrets.token_urlsafe(_SECRET_BYTES)


def _secret() -> bytes:
    return secrets.token_bytes(_SECRET_BYTES)


@dataclass(frozen=True)
class StudioSettings:
    """How the local studio is served. Secrets are random for each process unless given.

    `hosts` are further host names the studio may be addressed by, `origins` further origins
    (`scheme://host:port`) whose pages may talk to it. Sizes are in bytes, times in seconds.

    Raises:
        SettingInvalid: the token or a secret is too short, or a limit is not positive.
    """

    host: str = "127.0.0.1"
    port: int = 5006
    actor: str = "you"
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    token: str = field(default_factory=_token, repr=False)
    cookie_secret: bytes = field(default_factory=_secret, repr=False)
    session_secret: bytes = field(default_factory=_secret, repr=False)
    cookie_lifetime_s: int = 30 * 24 * 3600
    body_limit_bytes: int = 16 * 2**20
    message_limit_bytes: int = 20 * 2**20
    abandoned_session_s: float = 60.0
    access_log: bool = True

    def __post_init__(self) -> None:
        """Refuse what would make the gate weak."""
        if len(self.token) < _SHORTEST_TOKEN or not self.token.isascii():
            raise SettingInvalid(name="token", reason=f"it needs at least {_SHORTEST_TOKEN} ASCII characters")
        for name in ("cookie_secret", "session_secret"):
            if len(getattr(self, name)) < _SECRET_BYTES:
                raise SettingInvalid(name=name, reason=f"it needs at least {_SECRET_BYTES} bytes")
        for name in ("cookie_lifetime_s", "body_limit_bytes", "message_limit_bytes", "abandoned_session_s"):
            if getattr(self, name) <= 0:
                raise SettingInvalid(name=name, reason="it must be more than 0")
