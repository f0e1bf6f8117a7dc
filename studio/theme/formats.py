"""How times, numbers and ids read: one way everywhere."""

from __future__ import annotations

from datetime import UTC, datetime

_SHORT_ID_LENGTH = 6
_UNITS = ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h"), (7 * 86_400, 86_400, "d"))
_SIZES = ("B", "kB", "MB", "GB", "TB")


def ago(then: datetime, now: datetime) -> str:
    """How long before `now` `then` was: "just now", "12 s ago", "3 h ago", later the date.

    A naive datetime is taken as UTC. A time in the future reads "in 5 min".
    """
    seconds = (_aware(now) - _aware(then)).total_seconds()
    distance = abs(seconds)
    if distance < 5:
        return "just now"
    for limit, unit_s, name in _UNITS:
        if distance < limit:
            count = int(distance // unit_s)
            return f"{count} {name} ago" if seconds > 0 else f"in {count} {name}"
    return day(then)


def day(when: datetime) -> str:
    """The date, such as "21 Nov 2026", in UTC."""
    moment = _aware(when)
    return f"{moment.day} {moment:%b %Y}"


def exact(when: datetime) -> str:
    """The full time for a tooltip, such as "2026-11-21 14:02:11.250 UTC"."""
    moment = _aware(when)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} UTC"


def number(value: float, unit: str = "", digits: int | None = None) -> str:
    """`value` with thousands separated by commas, `digits` decimals (default: at most 3 significant), `unit`.

    12345 reads "12,345"; 3.14159 reads "3.14"; 0.5 with unit "s" reads "0.5 s".
    """
    if digits is not None:
        text = f"{value:,.{digits}f}"
    elif isinstance(value, int) or float(value).is_integer():
        text = f"{int(value):,}"
    elif abs(value) >= 100:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.3g}"
    return f"{text} {unit}" if unit else text


def duration(seconds: float) -> str:
    """A length of time in the unit that suits: "0.4 ms", "120 ms", "8.4 s", "3 min 12 s", "2 h 5 min"."""
    if seconds < 1:
        return number(seconds * 1000, "ms")
    if seconds < 60:
        return number(seconds, "s", 1 if seconds < 10 else 0)
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size(count: int) -> str:
    """A number of bytes in decimal units: "812 B", "1.3 MB"."""
    value = float(count)
    for unit in _SIZES[:-1]:
        if value < 1000:
            return number(value, unit)
        value /= 1000
    return number(value, _SIZES[-1])


def short_id(identifier: str, length: int = _SHORT_ID_LENGTH) -> str:
    """The last `length` characters of an id: time-ordered ids differ at their end."""
    return str(identifier).replace("-", "")[-length:]


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
