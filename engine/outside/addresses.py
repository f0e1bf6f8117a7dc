"""Which addresses outgoing calls may reach: public ones, and those whose name was allowed."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Sequence
from typing import TypeAlias

from engine.errors import TargetRefused, TetherFailed

ALLOW_VARIABLE = "TREADLE_HTTP_ALLOW"
Resolver: TypeAlias = Callable[[str, int], Sequence[str]]
"""(host, port) -> addresses; raises OSError if there are none."""

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_METADATA = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"))
)
"""Where clouds tell a machine its credentials; Azure's is a public address."""
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "100.64.0.0/10", "64:ff9b:1::/48", "2001::/23", "2002::/16", "fec0::/10"),
    )
)
"""What Python's tables of private networks lack in some versions, and ways to write an IPv4 address inside IPv6."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def allowed_by_environment() -> frozenset[str]:
    """Return the hosts (or host:port) of TREADLE_HTTP_ALLOW, which is a list with commas."""
    names = os.environ.get(ALLOW_VARIABLE, "").split(",")
    return frozenset(name.strip().lower().rstrip(".") for name in names if name.strip())


def checked_addresses(host: str, port: int, *, allow: frozenset[str], resolver: Resolver = resolve) -> list[str]:
    """Return the addresses of `host` that may be connected to, as they were checked: connect to these only.

    Raises `TargetRefused` if any of them is not public, unless the host is allowed by name; `TetherFailed` if it has
    none.
    """
    name = host.lower().rstrip(".")
    shown = f"[{name}]" if ":" in name else name
    try:
        addresses = list(resolver(name, port))
    except (OSError, UnicodeError):
        raise TetherFailed(kind="Name", reason=f"the name {shown} can't be resolved") from None
    if not addresses:
        raise TetherFailed(kind="Name", reason=f"the name {shown} has no address")
    if allow.isdisjoint({name, shown, f"{shown}:{port}"}):
        for address in addresses:
            reason = why_refused(address)
            if reason:
                where = "it is" if address == name else f"it leads to {address},"
                advice = f"to reach it all the same, add {shown}:{port} to {ALLOW_VARIABLE}"
                raise TargetRefused(target=f"{shown}:{port}", reason=f"{where} {reason}; {advice}", permanent=True)
    return addresses


def why_refused(text: str) -> str | None:
    """Return what is wrong with an address as the end of a sentence, or None if it is public."""
    try:
        address = _plain(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return "not an address"
    if address in _METADATA:
        return "an address of a cloud's metadata service"
    kinds = (
        (address.is_unspecified, "the unspecified address"),
        (address.is_loopback, "an address of this machine"),
        (address.is_link_local, "a link-local address"),
        (address.is_multicast, "a multicast address"),
        (address.is_reserved, "a reserved address"),
        (any(address in network for network in _NOT_PUBLIC), "a private or special address"),
        (not address.is_global, "a private or special address"),
    )
    return next((reason for holds, reason in kinds if holds), None)


def _plain(address: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address
