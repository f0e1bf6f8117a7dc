"""Handles: what a body holds in place of values. They can be passed on, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from engine.authoring.drafts import Draft, named
from engine.authoring.refusals import BodyRefused
from engine.domain.values import Port


class Handle:
    """What a step will give once the model runs: all its outputs, or one of them.

    Several outputs are told apart by attribute, name or place: `found.kept`, `found["kept"]`, `kept, dropped = found`.
    """

    __slots__ = ("_draft", "_port")

    def __init__(self, draft: Draft, port: str | None = None) -> None:
        self._draft = draft
        self._port = port

    def __getattr__(self, name: str) -> Handle:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, key: str | int) -> Handle:
        ports = [port.name for port in self._draft.outputs]
        if self._port is None and isinstance(key, int) and len(ports) > 1 and -len(ports) <= key < len(ports):
            return Handle(self._draft, ports[key])
        if self._port is None and isinstance(key, str) and self._draft.output(key) is not None:
            return Handle(self._draft, key)
        if self._port is None:
            what = f"{self._draft.name!r} has no output {key!r}; it gives {named(ports)}"
        else:
            what = f"The output {self._port!r} of {self._draft.name!r} has no value yet that {key!r} could be taken of"
        raise BodyRefused(
            what=what, mend="To take a part of a value, use a tether or engine.cel in the step that needs it"
        )

    def __iter__(self) -> Iterator[Handle]:
        if self._port is not None or len(self._draft.outputs) < 2:
            _no_value(self, "looped over", "Give engine.each(…) to a step, which then works item by item")
        return (Handle(self._draft, port.name) for port in tuple(self._draft.outputs))

    def __len__(self) -> int:
        if self._port is not None or len(self._draft.outputs) < 2:
            _no_value(self, "counted", _WORK)
        return len(self._draft.outputs)

    def __bool__(self) -> NoReturn:  # noqa: PLE0304 - it never returns
        mend = "Use engine.options(step, condition=…) in a stage with mode='conditional', or decide in a tether"
        _no_value(self, "used in if, while, and, or, not", mend)

    def __repr__(self) -> str:
        port = "" if self._port is None else f".{self._port}"
        return f"<what {self._draft.name!r}{port} will give>"


def output_of(handle: Handle) -> tuple[Draft, Port]:
    """Return (step, port) of a handle; one of a whole step must have one output."""
    draft, name = handle._draft, handle._port  # noqa: SLF001 - a handle's own names must not hide those of ports  # pyright: ignore[reportPrivateUsage]
    if name is None and len(draft.outputs) == 1:
        return draft, draft.outputs[0]
    port = None if name is None else draft.output(name)
    if port is None:
        ports = [found.name for found in draft.outputs]
        example = ports[0] if ports else "port"
        mend = f'Say which: step["{example}"]' if ports or draft.open_outputs else "Take a step that gives something"
        raise BodyRefused(what=f"{draft.name!r} gives {named(ports)}, not one value", mend=mend)
    return draft, port


def draft_of(handle: object, what: str) -> Draft:
    """Return the step behind a handle; raise `BodyRefused` for anything else. `what` begins the sentence."""
    if not isinstance(handle, Handle):
        raise BodyRefused(what=f"{what} takes a step, not {handle!r}", mend="Give it what the step's call returned")
    return handle._draft  # noqa: SLF001 - as above  # pyright: ignore[reportPrivateUsage]


class Each:
    """A list to be worked through item by item; made by `engine.each`."""

    __slots__ = ("handle",)

    def __init__(self, handle: Handle) -> None:
        self.handle = handle


def each(values: Any) -> Any:
    """Give a step a list of which it takes one item at a time; each of its outputs is then the list of results."""
    if not isinstance(values, Handle):
        raise BodyRefused(what="engine.each takes what a step or an input gives", mend="Pass a constant list as it is")
    return Each(values)


def _no_value(handle: Handle, how: str, mend: str) -> NoReturn:
    raise BodyRefused(what=f"{handle!r} has no value while the body is traced, so it can't be {how}", mend=mend)


def _refusing(how: str, mend: str) -> Any:
    def refuse(self: Handle, *_: object) -> NoReturn:
        _no_value(self, how, mend)

    return refuse


_WORK = "Do that in a tether, or give the step engine.cel('…')"
_OPERATIONS = "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow matmul rmatmul and rand"
_OTHERS = "or ror xor rxor lshift rlshift rshift rrshift neg pos abs invert divmod rdivmod round"
for _name in f"{_OPERATIONS} {_OTHERS}".split():
    setattr(Handle, f"__{_name}__", _refusing("calculated with", _WORK))
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "contains"):
    setattr(Handle, f"__{_name}__", _refusing("compared", _WORK))
for _name in ("int", "float", "complex", "index", "str", "format", "bytes"):
    setattr(Handle, f"__{_name}__", _refusing("turned into a number or text", _WORK))
for _name in ("setitem", "delitem", "enter", "call"):
    setattr(Handle, f"__{_name}__", _refusing("changed, entered or called", _WORK))
Handle.__hash__ = object.__hash__
