"""Calls that wait for a process: in which order, how many are sent together, and as what."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import count
from typing import Any

from engine.execution import process_wire as wire
from engine.execution.process_handle import Entry
from engine.execution.values import encode

CHUNK_S = 0.005
"""What a chunk of quick calls takes."""
_QUICK_S = 0.001
"""A call that takes longer goes alone."""
_OVERHEAD_S = 1e-5
"""What a process needs for a call beside the call itself."""
_S_PER_BYTE = 1e-8
_LEAST_SHARE = 32
"""So few calls are not spread over several processes."""


class Queue:
    """The calls that wait, first come first served. Used on one thread, but for `waiting`."""

    def __init__(self) -> None:
        """Begin with none, and without knowledge."""
        self._entries: deque[Entry] = deque()
        self._costs: dict[str, float] = {}
        """Seconds that a call of each function takes, as of late."""
        self._numbers = count(1)

    def __len__(self) -> int:
        """Return how many there are, those included that nobody waits for any more."""
        return len(self._entries)

    def waiting(self) -> int:
        """Return how many wait."""
        return sum(not entry.ended for entry in self._entries.copy())

    def add(self, entry: Entry) -> None:
        """Add a call behind all others."""
        self._entries.append(entry)

    def add_again(self, entries: Sequence[Entry]) -> None:
        """Add calls before all others: they were not made, or nobody knows."""
        for entry in reversed(entries):
            if not entry.ended:
                entry.child = None
                self._entries.appendleft(entry)

    def first(self) -> Entry | None:
        """Return the first that has not ended."""
        while self._entries and self._entries[0].ended:
            self._entries.popleft()
        return self._entries[0] if self._entries else None

    def pop(self) -> Entry:
        """Take the first."""
        return self._entries.popleft()

    def take_all(self) -> list[Entry]:
        """Take all."""
        entries = list(self._entries)
        self._entries.clear()
        return entries

    def is_alone(self, entry: Entry) -> bool:
        """Say whether a call is sent without others: it has an effect or a large value, or isn't known to be quick."""
        call = entry.call
        return entry.alone or self._costs.get(call.reference, _QUICK_S) >= _QUICK_S or not wire.is_inline(call.inputs)

    def chunk(self, idle: int) -> list[Entry]:
        """Take the calls that go together to one process while `idle` are idle; there must be one."""
        first = self._entries.popleft()
        if self.is_alone(first):
            first.alone = True
            return [first]
        chunk, cost_s = [first], self.cost_s(first)
        most = max(_LEAST_SHARE, -(-len(self._entries) // max(1, idle)))
        while len(chunk) < most and cost_s < CHUNK_S:
            entry = self.first()
            if entry is None or self.is_alone(entry):
                break
            chunk.append(self._entries.popleft())
            cost_s += self.cost_s(entry)
        return chunk

    def cost_s(self, entry: Entry) -> float:
        """Return what a call is expected to take in its process."""
        return self._costs.get(entry.call.reference, _QUICK_S) + _OVERHEAD_S

    def learn(self, entry: Entry, took_s: float) -> float:
        """Learn what a call took; return what it was expected to take."""
        cost_s = took_s + entry.size_bytes * _S_PER_BYTE
        known_s = self._costs.get(entry.call.reference, cost_s)
        self._costs[entry.call.reference] = (cost_s + known_s) / 2
        return known_s + _OVERHEAD_S

    def packed(self, chunk: Sequence[Entry]) -> tuple[bytes, list[bytes]]:
        """Return the JSON of a message, and the bytes that follow it. Raises `NotSerializable`, `TetherFailed`."""
        items: list[Any] = []
        bodies: list[bytes] = []
        for entry in chunk:
            call = entry.call
            inline, parts = wire.split(call.inputs, "was given") if entry.alone else (call.inputs, [])
            entry.number = next(self._numbers)
            told = wire.described(parts)
            head = (entry.number, call.reference, call.run, call.path, call.attempt, call.context.answers)
            items.append((*head, inline, call.settings, told))
            bodies += [encoded.data for _, encoded in parts]
        data = encode(items).data
        size_bytes = len(data) + sum(map(len, bodies))
        wire.fits(size_bytes, "was given")
        for entry in chunk:
            entry.size_bytes = size_bytes / len(chunk)
        return data, bodies
