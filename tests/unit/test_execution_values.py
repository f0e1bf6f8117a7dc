"""Values survive their way to disk; what can't be kept is refused with the port's name."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.values import Position
from engine.errors import NotSerializable
from engine.execution.values import ARROW, BYTES, JSON, TEXT, decode, encode, load, store, summary
from engine.storage.memory_journal import MemoryBlobs

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_json_values_come_back(value) -> None:
    encoded = encode(value)
    assert decode(encoded.media_type, encoded.data) == value


@given(st.binary())
def test_bytes_come_back(value) -> None:
    assert decode(BYTES, encode(value).data) == value


def test_tables_come_back_as_arrow() -> None:
    table = pa.table({"n": [1, 2], "t": ["a", None]})
    encoded = encode(table)
    assert encoded[0::2] == (ARROW, "2 rows")
    assert decode(ARROW, encoded.data).equals(table)
    frame = pd.DataFrame({"n": [1.5]})
    assert decode(ARROW, encode(frame).data).to_pylist() == [{"n": 1.5}]


def test_what_is_nearly_json_becomes_json() -> None:
    value = {
        "when": dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        "day": dt.date(2026, 1, 2),
        "much": Decimal("1.5"),
        "set": {3, 1},
        "number": np.int64(7),
        "model": Position(x=1, y=2),
        "table": pa.table({"n": [1]}),
        "frame": pd.DataFrame({"n": [2]}),
    }
    assert decode(JSON, encode(value).data) == {
        "when": "2026-01-02T00:00:00+00:00",
        "day": "2026-01-02",
        "much": 1.5,
        "set": [1, 3],
        "number": 7,
        "model": {"x": 1, "y": 2},
        "table": [{"n": 1}],
        "frame": [{"n": 2}],
    }


@pytest.mark.parametrize(
    "value",
    [object(), {"a": object()}, [float("nan")], "half \ud800", pd.DataFrame({"mixed": [1, "a"]}), {1: {2, "a"}}],
    ids=["object", "nested", "nan", "surrogate", "mixed", "unsortable"],
)
def test_what_can_not_be_kept_names_its_port(value) -> None:
    with pytest.raises(NotSerializable, match="rows"):
        encode(value, port="rows")


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list = []
    value.append(value)
    with pytest.raises(NotSerializable):
        encode(value)


def test_large_values_go_to_blobs_and_small_ones_stay() -> None:
    blobs = MemoryBlobs()
    small, large = store("x", blobs), store("x" * 100_000, blobs)
    assert small.data == b"x"
    assert large.data is None
    assert load(large, blobs) == "x" * 100_000
    assert load(small, blobs) == "x"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing"),
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (2.5, "2.5"),
        ("short", "short"),
        ("long" * 100, "400 characters"),
        ([1], "1 item"),
        ([1, 2], "2 items"),
        ({"a": 1}, "1 field"),
        ({"title": "Mass", "data": []}, "Mass"),
        (pa.table({"n": list(range(1_234))}), "1,234 rows"),
    ],
)
def test_what_a_node_shows_of_a_value(value, words) -> None:
    assert summary(value) == words


@pytest.mark.parametrize(("size", "words"), [(12, "12 bytes"), (12_300, "12.3 kB"), (4_000_000, "4 MB")])
def test_sizes_of_bytes(size, words) -> None:
    assert encode(b"\0" * size).summary == words


def test_text_is_text() -> None:
    assert encode("héllo")[:2] == (TEXT, "héllo".encode())
