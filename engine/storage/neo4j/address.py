"""What a URL such as 'neo4j://user:password@host:7687/database' says, and what the driver's errors mean."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from neo4j.exceptions import (
    AuthError,
    ClientError,
    ConfigurationError,
    ConstraintError,
    DriverError,
    IncompleteCommit,
    Neo4jError,
    ServiceUnavailable,
    SessionExpired,
    TransientError,
)

from engine.errors import NotCanonical, StoreConflict, StoreError, StoreUnreachable, TreadleError

SCHEMES = ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc")
DRIVER_ERRORS = (Neo4jError, DriverError, OSError, UnicodeEncodeError)
"""What the driver raises in use; when it is opened, ValueError too: for bytes that are no Bolt."""

_PORT = 7687
_NO_DATABASE = "Neo.ClientError.Database.DatabaseNotFound"


class Address(NamedTuple):
    """Where a server is and who asks."""

    uri: str
    """What the driver is given: no user, password or database in it."""
    user: str
    password: str
    database: str | None
    """None: the user's home database."""

    @property
    def place(self) -> str:
        """What messages call the store: without secrets."""
        return self.uri if self.database is None else f"{self.uri}/{self.database}"


def address_of(url: str) -> Address:
    """Read a URL; raise `StoreUnreachable` for one that names no server."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _PORT
    except ValueError:
        raise StoreUnreachable(path="neo4j://…", reason="its address is not a URL") from None
    if parts.scheme not in SCHEMES or not host:
        raise StoreUnreachable(path=f"{parts.scheme}://…", reason="the URL is not like neo4j://USER:PASSWORD@HOST")
    database = unquote(parts.path.strip("/")) or None
    shown = f"[{host}]" if ":" in host else host
    return Address(
        uri=f"{parts.scheme}://{shown}:{port}",
        user=unquote(parts.username or "neo4j"),
        password=unquote(parts.password or ""),
        database=database,
    )


def is_gone(error: BaseException) -> bool:
    """Tell whether the connection was lost, so that it may go better with another one."""
    return isinstance(error, ServiceUnavailable | SessionExpired | IncompleteCommit | OSError)


def told(error: BaseException, address: Address) -> TreadleError:
    """Return the error of ours that says what an error of the driver means."""
    if isinstance(error, UnicodeEncodeError):
        return NotCanonical(reason="a text holds half of a surrogate pair")
    if isinstance(error, ConstraintError | TransientError):
        return StoreConflict()
    return _unreachable(error, address)


def _unreachable(error: BaseException, address: Address) -> StoreError:
    reason = _first_line(error)
    if isinstance(error, AuthError):
        reason = f"it does not let the user {address.user} in: the password is wrong, or the user is locked"
    elif is_gone(error):
        reason = "no Neo4j server answers there"
    elif isinstance(error, ConfigurationError | ValueError):
        reason = "what answers there is no Neo4j server, or the address is wrong"
    elif isinstance(error, ClientError) and error.code == _NO_DATABASE:
        reason = f"it has no database {address.database}"
    return StoreUnreachable(path=address.place, reason=reason)


def _first_line(error: BaseException) -> str:
    text = (error.message if isinstance(error, Neo4jError) else None) or str(error) or type(error).__name__
    return text.strip().splitlines()[0][:300]
