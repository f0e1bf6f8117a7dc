"""Values on their way to disk and back: JSON, text, bytes and tables. Never pickle."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple, cast

from engine.domain.runs import INLINE_LIMIT_BYTES, StoredValue
from engine.errors import NotSerializable
from engine.ports import Blobs

JSON = "application/json"
TEXT = "text/plain"
BYTES = "application/octet-stream"
ARROW = "application/vnd.apache.arrow.stream"


class Encoded(NamedTuple):
    """A value as bytes of a media type, with what a person sees of it."""

    media_type: str
    data: bytes
    summary: str


def encode(value: Any, *, port: str = "result") -> Encoded:
    """Return `value` as bytes; raise `NotSerializable` naming `port` for what can't be kept."""
    if isinstance(value, str):
        return _text(value, port)
    if isinstance(value, bytes | bytearray):
        return Encoded(BYTES, bytes(value), _size(len(value)))
    if _is_table(value):
        return _table(value, port)
    try:
        data = _json(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        kind = type(value).__name__ if not isinstance(error, RecursionError) else "a value that nests too deep"
        reason = f"{kind} ({error})" if isinstance(value, dict | list | tuple) else f"a {kind}"
        raise NotSerializable(kind=reason, port=port) from None
    return Encoded(JSON, data, summary(value))


def decode(media_type: str, data: bytes) -> Any:
    """Return the value that `encode` made these bytes of; a table comes back as a pyarrow.Table."""
    if media_type == JSON:
        return json.loads(data)
    if media_type == TEXT:
        return data.decode("utf-8")
    if media_type == ARROW:
        import pyarrow as pa

        with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
            return reader.read_all()
    return data


def store(value: Any, blobs: Blobs, *, port: str = "result") -> StoredValue:
    """Return `value` as it is kept: inline, or put into `blobs` when it is large."""
    return keep(encode(value, port=port), blobs)


def keep(encoded: Encoded, blobs: Blobs) -> StoredValue:
    """Return an encoded value as it is kept."""
    large = len(encoded.data) > INLINE_LIMIT_BYTES
    name = blobs.put(encoded.data) if large else hashlib.sha256(encoded.data).hexdigest()
    return StoredValue(
        media_type=encoded.media_type,
        sha256=name,
        size_bytes=len(encoded.data),
        summary=encoded.summary,
        data=None if large else encoded.data,
    )


def load(stored: StoredValue, blobs: Blobs) -> Any:
    """Return the value that was stored."""
    return decode(stored.media_type, blobs.get(stored.sha256) if stored.data is None else stored.data)


def summary(value: Any) -> str:
    """Return what a node shows of a value: '344 rows', '3 items', 'Adelie', '4.2'."""
    if _is_table(value):
        return _count(len(value), "row")
    if isinstance(value, Mapping):
        title = cast("Mapping[str, Any]", value).get("title")
        return title[:60] if isinstance(title, str) else _count(len(cast("Mapping[str, Any]", value)), "field")
    if isinstance(value, list | tuple):
        return _count(len(cast("list[Any]", value)), "item")
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return text if len(text) <= 40 else f"{len(text):,} characters"


def _text(value: str, port: str) -> Encoded:
    try:
        return Encoded(TEXT, value.encode("utf-8"), summary(value))
    except UnicodeEncodeError:
        raise NotSerializable(kind="a text with half of a surrogate pair", port=port) from None


def _is_table(value: Any) -> bool:
    """Say whether it is a pyarrow.Table or a pandas.DataFrame, without importing either."""
    kind = cast("type[object]", type(value))
    return (kind.__name__, kind.__module__.partition(".")[0]) in {("Table", "pyarrow"), ("DataFrame", "pandas")}


def _table(value: Any, port: str) -> Encoded:
    import pyarrow as pa

    try:
        table = value if isinstance(value, pa.Table) else pa.Table.from_pandas(value, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise NotSerializable(kind=f"a table with mixed columns ({error})", port=port) from None
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return Encoded(ARROW, sink.getvalue().to_pybytes(), _count(table.num_rows, "row"))


def _plain(value: Any) -> Any:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, set | frozenset):
        return sorted(cast("set[Any]", value))
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return value.item()
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    if _is_table(value):
        return value.to_pylist() if hasattr(value, "to_pylist") else value.to_dict("records")
    message = f"a {type(value).__name__} inside it"
    raise TypeError(message)


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain).encode


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(size_bytes: int) -> str:
    for unit, limit in (("bytes", 1_000), ("kB", 1_000_000), ("MB", 1_000_000_000)):
        if size_bytes < limit:
            return f"{size_bytes / (limit / 1_000):.3g} {unit}" if unit != "bytes" else f"{size_bytes} bytes"
    return f"{size_bytes / 1e9:.3g} GB"
