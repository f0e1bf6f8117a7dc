"""Everything that crosses from program to program arrives as it was."""

import inspect
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import errors
from engine.domain.writes import (
    InsertBatch,
    InsertModel,
    InsertVersion,
    PutEntity,
    PutRun,
    PutSetting,
    PutSteps,
    Record,
    RemoveEntity,
    UpdateModel,
)
from engine.ports import Catalog
from engine.storage.shared import codec
from engine.storage.shared.values import value_from, value_json
from tests.contract.samples import at, draft, entities, everything, many_edits, run, step, value, version

WRITES = (
    InsertModel(model=everything()),
    InsertModel(model=everything(), updated_at=at(3)),
    UpdateModel(model=everything(), expected_revision=6),
    InsertBatch(batch=many_edits(), revision=7),
    InsertVersion(version=version("1.2.3")),
    PutRun(run=run(inputs={"a": value()}, outputs={"b": value(b"\x00", "x/y")}, model_file={"model": [1, None]})),
    PutSteps(steps=(step("a", started=1, outputs={"p": value()}), step("b[1]/c"))),
    PutSetting(key="k", value={"deep": [1, 2.5, None, {"\u2028": "🧵"}]}),
    *(PutEntity(entity=entity, expected_revision=number) for number, entity in enumerate(entities())),
    PutEntity(entity=entities()[0]),
    RemoveEntity(kind="link", key="l1"),
    RemoveEntity(kind="link", key="l1", expected_revision=2),
    Record(draft=draft(run="r1", request="q")),
)
plain = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
kinds = (
    plain
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | st.just(timezone.utc))  # noqa: UP017
    | st.timedeltas()
)
values = st.recursive(
    kinds, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner)
)


@given(values)
def test_every_value_of_an_answer_arrives_with_its_type(given):
    found = value_from(codec.value_of(codec.bytes_of(value_json(given))))
    assert found == given
    assert type(found) is type(given)


def test_what_has_no_form_arrives_as_text():
    assert value_from(value_json(Path("/a"))) == "/a"
    assert repr(value_from(value_json(float("nan")))) == "nan"
    samples = (datetime(2026, 1, 1), date(2026, 1, 1), time(1), timedelta(1), Decimal("1.10"), UUID(int=1))  # noqa: DTZ001
    assert tuple(map(type, map(value_from, map(value_json, samples)))) == tuple(map(type, samples))


@pytest.mark.parametrize("write", WRITES, ids=lambda write: type(write).__name__)
def test_every_write_arrives_as_it_was(write):
    sent = codec.bytes_of(codec.arguments_json("commit_once", {"commit": "c", "writes": (write,)}))
    assert codec.arguments_from("commit_once", codec.value_of(sent)) == {"commit": "c", "writes": [write]}


def test_every_verb_of_the_port_crosses_with_all_its_arguments():
    own = {"commit", "ledger", "close"}
    port = {name: method for name, method in inspect.getmembers(Catalog, inspect.isfunction) if name[0] != "_"}
    assert port.keys() - own == codec.VERBS.keys() - {"commit_once"}
    for name, verb in codec.VERBS.items():
        if name in port:
            assert list(inspect.signature(port[name]).parameters)[1:] == sorted(
                verb.arguments, key=list(inspect.signature(port[name]).parameters).index
            )


KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.TreadleError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_arrives_as_its_class_with_its_facts(kind):
    names = {name for _, name, _, _ in errors.string.Formatter().parse(kind.__doc__) if name}
    raised = kind(**{name: Path("/x") if name == "path" else [1, "a"] for name in names})
    found = codec.error_from(codec.value_of(codec.bytes_of(codec.error_json(raised))))
    assert (type(found), str(found)) == (kind, str(raised))


@pytest.mark.parametrize(
    "told",
    [None, [], {}, {"error": "Exception"}, {"error": "string"}, {"error": "StaleRevision", "facts": {}}, {"error": 7}],
)
def test_what_is_no_error_of_ours_is_none(told):
    assert codec.error_from(told) is None
