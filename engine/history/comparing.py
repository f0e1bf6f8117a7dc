"""What came in a replay, beside what was recorded; the first difference is named."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.domain.runs import StoredValue
from engine.history.events import Moment

_ENDINGS = ("done", "failed", "skipped")
_DIFFERENT_BYTES = "{} (bytes {}…)"


class Divergence(NamedTuple):
    """Where a replay first differs from the record."""

    path: str
    """The step; empty for the run itself."""
    recorded: str
    now: str
    number: int | None = None
    """The event of the record, None if it has none."""

    @property
    def text(self) -> str:
        """The difference as a sentence."""
        return f"{self.path or 'The run'}: recorded was: {self.recorded}; now: {self.now}."


class Comparison(NamedTuple):
    """How far record and replay agree."""

    compared: int
    """Endings of attempts and steps that were compared."""
    left_out: int
    """Those recorded after the run had failed or been stopped, when order is chance."""
    first: Divergence | None


@dataclass(frozen=True, slots=True)
class Endings:
    """How each step's attempts ended, in order, by path."""

    by_path: Mapping[str, Sequence[Moment]]

    @classmethod
    def of(cls, moments: Iterable[Moment]) -> Endings:
        """Gather them."""
        found: dict[str, list[Moment]] = {}
        for moment in moments:
            if moment.kind in _ENDINGS:
                found.setdefault(moment.path, []).append(moment)
        return cls(found)


def compare(then: Sequence[Moment], now: Sequence[Moment], *, whole: bool, exempt: AbstractSet[str]) -> Comparison:
    """Compare endings in the order of the record.

    whole: the recorded run succeeded, so everything must be there again; else what was recorded after the first
        failure for good may be missing, because what is under way then is chance.
    exempt: steps that timed out around others; neither they nor what is below them is compared.
    """
    came, seen = Endings.of(now).by_path, dict[str, int]()
    compared = left_out = 0
    is_sure = True
    for moment in then:
        if moment.kind not in _ENDINGS or _is_below(moment.path, exempt):
            continue
        place = seen[moment.path] = seen.get(moment.path, -1) + 1
        others = came.get(moment.path, ())
        if place < len(others):
            compared += 1
            first = _difference(moment, others[place])
        elif is_sure:
            first = Divergence(moment.path, _told(moment), _instead(others), moment.number)
        else:
            left_out, first = left_out + 1, None
        if first is not None:
            return Comparison(compared, left_out, first)
        is_sure = is_sure and (whole or not (moment.kind == "failed" and moment.body[2]))
    return Comparison(compared, left_out, _unknown(came, seen, exempt) if whole else None)


def _unknown(
    came: Mapping[str, Sequence[Moment]], seen: Mapping[str, int], exempt: AbstractSet[str]
) -> Divergence | None:
    for path, moments in came.items():
        known = seen.get(path, -1) + 1
        if known < len(moments) and not _is_below(path, exempt):
            return Divergence(path, "nothing more of it", _told(moments[known]))
    return None


def compare_outputs(then: Mapping[str, StoredValue], now: Mapping[str, StoredValue]) -> Divergence | None:
    """Compare what came out of the run, byte for byte."""
    for port in sorted({*then, *now}):
        old, new = then.get(port), now.get(port)
        if old is None or new is None or (old.media_type, old.sha256) != (new.media_type, new.sha256):
            return Divergence("", _output(port, old), _output(port, new))
    return None


def _output(port: str, value: StoredValue | None) -> str:
    return f"no output {port}" if value is None else f"output {port}: {value.summary} (bytes {value.sha256[:8]}…)"


def _is_below(path: str, exempt: AbstractSet[str]) -> bool:
    return bool(exempt) and any(path == each or path.startswith((f"{each}/", f"{each}#")) for each in exempt)


def _difference(then: Moment, now: Moment) -> Divergence | None:
    if (then.kind, then.attempt) != (now.kind, now.attempt):
        return Divergence(then.path, _told(then), _told(now), then.number)
    if then.kind == "skipped":
        same = then.body[0] == now.body[0]
    elif then.kind == "failed":
        same = then.body[1] == now.body[1]
    else:
        return _other_values(then, now)
    return None if same else Divergence(then.path, _told(then), _told(now), then.number)


def _other_values(then: Moment, now: Moment) -> Divergence | None:
    for port in dict.fromkeys([*then.kept, *now.kept]):
        old, new = then.kept.get(port), now.kept.get(port)
        if old is None or new is None:
            return Divergence(then.path, _value(port, old), _value(port, new), then.number)
        if (old[0], _digest(old)) != (new[0], _digest(new)):
            was, is_now = _value(port, old), _value(port, new)
            if was == is_now:
                was, is_now = (_DIFFERENT_BYTES.format(_value(port, each), _digest(each)[:8]) for each in (old, new))
            return Divergence(then.path, was, is_now, then.number)
    return None


def _digest(item: Sequence[Any]) -> str:
    form, data = item[3], item[4]
    if form == "s":
        return data
    return hashlib.sha256(b64decode(data) if form == "b" else data.encode()).hexdigest()


def _value(port: str, item: Sequence[Any] | None) -> str:
    return f"nothing at {port}" if item is None else f"{port} = {item[1]}"


def _told(moment: Moment) -> str:
    again = f" in attempt {moment.attempt}" if moment.attempt > 1 else ""
    if moment.kind == "failed":
        return f"failed{again}: {moment.body[1].rstrip('.')}"
    if moment.kind == "skipped":
        return f"skipped: {moment.body[0]}"
    given = ", ".join(f"{port} = {words}" for port, words in moment.outputs.items())
    return f"succeeded{again}" + (f" with {given}" if given else "")


def _instead(others: Sequence[Moment]) -> str:
    return f"it ended before that: {_told(others[-1])}" if others else "it did not run"
