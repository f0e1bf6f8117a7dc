"""The chain: hashes that cover every field, patches that lead there and back, Merkle roots as in RFC 6962."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.canonical import canonical_bytes, loads
from engine.domain.events import GENESIS_HASH, Draft, Head
from engine.errors import LedgerTampered, NotCanonical
from engine.ledger.chain import FORM, entry_of, link, merkle_root, patch, row_of, ts_text

keys = st.sampled_from(["a", "b", "a/b", "m~n", "", "__proto__", "0", "ü"])
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "", "1", "text"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=12
)


def a_draft(**fields):
    given = {"ts": datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "actor": "you", "action": "model.created"}
    return Draft(**{**given, "entity_kind": "model", "entity": "m1", **fields})


def applied(document, operations):
    """Apply a patch as RFC 6902 says, in a few lines of its own."""
    root = {"": json.loads(json.dumps(document))}
    for operation in operations:
        parent, steps = (
            root,
            ["", *(part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:])],
        )
        for step in steps[:-1]:
            parent = parent[int(step)] if isinstance(parent, list) else parent[step]
        last = int(steps[-1]) if isinstance(parent, list) else steps[-1]
        if operation["op"] == "remove":
            del parent[last]
        elif operation["op"] == "add":
            assert last not in parent
            parent[last] = operation["value"]
        else:
            parent[last] = operation["value"]
    return root[""]


def undone(operations):
    """Return the operations that take a patch back, from what was."""
    turned = {"add": "remove", "remove": "add", "replace": "replace"}
    back = []
    for operation in reversed(operations):
        was = {"value": operation["was"]} if "was" in operation else {}
        back.append({"op": turned[operation["op"]], "path": operation["path"], **was})
    return back


@given(values, values)
def test_a_patch_leads_from_before_to_after_and_back(before, after):
    operations = loads(patch(before, after))
    assert canonical_bytes(applied(before, operations)) == canonical_bytes(after)
    assert canonical_bytes(applied(after, undone(operations))) == canonical_bytes(before)


@given(values)
def test_nothing_changed_is_an_empty_patch(value):
    assert patch(value, value) == "[]"


def test_a_patch_names_the_places_that_changed_and_what_was_there():
    before = {"name": "Old", "tags": ["a", "b"], "gone": None, "flag": 1, "same": {"x": 1.0}}
    after = {"name": "New", "tags": ["a", "c"], "new": [1], "flag": True, "same": {"x": 1}}
    assert loads(patch(before, after)) == [
        {"op": "replace", "path": "/flag", "value": True, "was": 1},
        {"op": "remove", "path": "/gone", "was": None},
        {"op": "replace", "path": "/name", "value": "New", "was": "Old"},
        {"op": "add", "path": "/new", "value": [1]},
        {"op": "replace", "path": "/tags/1", "value": "c", "was": "b"},
    ]
    assert loads(patch([1, 2], [1])) == [{"op": "replace", "path": "", "value": [1], "was": [1, 2]}]


def test_a_link_hashes_every_field_as_it_is_stored():
    (entry,) = link(Head(), [a_draft(run="r1")])
    fields = [
        FORM,
        1,
        "2026-01-02T03:04:05.000006Z",
        "you",
        "model.created",
        "model",
        "m1",
        "r1",
        None,
        "[]",
        GENESIS_HASH,
    ]
    assert entry.hash == hashlib.sha256(canonical_bytes(fields)).hexdigest()
    assert (entry.sequence, entry.previous_hash) == (1, GENESIS_HASH)


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))])))
def test_time_is_stored_in_utc_with_microseconds(moment):
    (entry,) = link(Head(), [a_draft(ts=moment)])
    row = row_of(entry)
    assert len(row.ts) == len("2026-01-02T03:04:05.000006Z")
    assert datetime.fromisoformat(row.ts) == moment
    assert row.ts == ts_text(moment)
    assert entry_of(row) == entry


@pytest.mark.parametrize("text", ["\ud800", "a\x00b"])
def test_text_that_no_store_holds_is_refused(text):
    with pytest.raises(NotCanonical):
        link(Head(), [a_draft(request=text)])


@pytest.mark.parametrize(
    "change",
    [{"action": "no.such"}, {"ts": "yesterday"}, {"ts": "2026-01-01T00:00:00"}, {"actor": ""}, {"sequence": 0}],
)
def test_a_row_that_nobody_wrote_is_not_an_entry(change):
    (entry,) = link(Head(), [a_draft()])
    with pytest.raises(LedgerTampered):
        entry_of(row_of(entry)._replace(**change))


def split_root(leaves):
    """The definition in RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + split_root(leaves[:k]) + split_root(leaves[k:])).digest()


@given(st.lists(st.binary(max_size=4), max_size=40))
def test_the_merkle_root_is_that_of_the_definition(leaves):
    assert merkle_root(iter(leaves)) == split_root(leaves).hex()


def test_the_merkle_roots_of_the_certificate_transparency_tests():
    leaves = [
        bytes.fromhex(text)
        for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
    ]
    assert merkle_root([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle_root(leaves[:1]) == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle_root(leaves) == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
