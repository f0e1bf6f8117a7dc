"""Small values: retry policies, ids, runs, and edits that are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from engine.domain.edits import (
    AddNode,
    Change,
    Configure,
    Connect,
    Depend,
    Describe,
    Edit,
    EditBatch,
    RemoveNode,
    Reparent,
    Undepend,
    apply,
)
from engine.domain.ids import slug, uuid7, uuid7_ms
from engine.domain.model import Dependency, Wire
from engine.domain.nodes import NODE
from engine.domain.runs import Attempt, Run, Step
from engine.domain.values import Position, RetryPolicy
from engine.errors import EditRefused
from tests.small_models import action, finished, stage, workflow

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def test_delays_grow_as_the_policy_says() -> None:
    def delays(backoff: str, **more: float) -> list[float]:
        policy = RetryPolicy(max_attempts=5, backoff=backoff, base_delay_s=1, cap_s=3, **more)  # type: ignore[arg-type]
        return [policy.delay_s(attempt) for attempt in (1, 2, 3)]

    assert delays("immediate") == [0, 0, 0]
    assert delays("linear") == [1, 2, 3]
    assert delays("exponential") == [1, 2, 3]
    jittered = RetryPolicy(jitter=0.5)
    assert (jittered.delay_s(1, noise=1), jittered.delay_s(1, noise=-1)) == (1.5, 0.5)
    assert RetryPolicy(max_attempts=5, failure_threshold=2).attempts() == 2
    assert RetryPolicy(max_attempts=5).attempts() == 5


def test_ids_are_uuids_in_order_of_time() -> None:
    first, second = uuid7(1_700_000_000_000, 2**80 - 1), uuid7(1_700_000_000_001, 0)
    assert first < second
    assert first[14] == "7"
    assert uuid7_ms(first) == 1_700_000_000_000


def test_readable_ids_are_made_of_names() -> None:
    assert slug("Clean rows!") == "clean-rows"
    assert slug("Clean rows", {"clean-rows", "clean-rows-2"}) == "clean-rows-3"
    assert slug("…") == "node"


def test_times_say_their_zone_and_are_kept_in_utc() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5)))
    assert Attempt(number=1, started_at=there).started_at == NOON
    with pytest.raises(ValidationError, match="time zone"):
        Attempt(number=1, started_at=NOON.replace(tzinfo=None))


def test_a_step_and_a_run_know_how_long_they_took() -> None:
    later = NOON + timedelta(seconds=2)
    step = Step(run="r", path="clean", node="clean", name="Clean", kind="tetherNode", status="pending")
    assert (step.started_at, step.ended_at, step.duration_s) == (None, None, None)
    tried = step.model_copy(update={"attempts": (Attempt(number=1, started_at=NOON, ended_at=later),)})
    assert tried.duration_s == 2
    run = Run(id="r", model="m", model_name="model", content_hash="", created_at=NOON)
    assert run.duration_s is None
    assert run.model_copy(update={"started_at": NOON, "ended_at": later}).duration_s == 2


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (AddNode(node=NODE.validate_python(stage())), "a node 'work' already"),
        (AddNode(node=NODE.validate_python(action("new", "clean"))), "'clean' is an action"),
        (AddNode(node=NODE.validate_python(action("new", "gone"))), "no 'gone'"),
        (RemoveNode(id="clean"), "still connected by 'in.rows > clean.rows'"),
        (RemoveNode(id="work"), "still holds 'Clean'"),
        (Reparent(id="work", parent="work", to=Position()), "is a container"),
        (Reparent(id="clean", parent="gone", to=Position()), "no 'gone'"),
        (Configure(id="clean", changes=(Change(path=("parent",), value="x"),)), "'parent' can't be set"),
        (Configure(id="clean", changes=(Change(path=("colour",), value="x"),)), "no field 'colour'"),
        (Configure(id="clean", changes=(Change(path=("priority",), value=99),)), "priority"),
        (Describe(changes=(Change(path=("status",), value="archived"),)), "no field 'status'"),
        (Describe(changes=(Change(path=("name",), value=""),)), "name"),
        (Connect(wire=Wire(id="w", source="gone", source_port="a", target="out", target_port="b")), "no 'gone'"),
        (
            Connect(wire=Wire(id="in.rows > clean.rows", source="in", source_port="a", target="out", target_port="b")),
            "already",
        ),
        (Depend(dependency=Dependency(id="d", source="in", target="clean")), "is an action"),
        (Undepend(id="d"), "no 'd'"),
    ],
    ids=lambda value: value.edit if hasattr(value, "edit") else None,
)
def test_an_edit_that_does_not_apply_is_refused_and_changes_nothing(edit: Edit, reason: str) -> None:
    model = finished()
    with pytest.raises(EditRefused, match=reason):
        apply(model, [Configure(id="in", changes=(Change(path=("name",), value="x"),)), edit])
    assert model == finished()


def test_a_dependency_is_added_once() -> None:
    edge = Dependency(id="d", source="in", target="work")
    with pytest.raises(EditRefused, match="already"):
        apply(finished(), [Depend(dependency=edge), Depend(dependency=edge)])


def test_what_is_tied_is_counted_while_a_batch_goes_on() -> None:
    model = workflow([stage(), stage("b"), action()])
    edits: list[Edit] = [
        RemoveNode(id="b"),
        AddNode(node=NODE.validate_python(stage("b"))),
        Reparent(id="clean", parent="b", to=Position()),
        RemoveNode(id="work"),
        AddNode(node=NODE.validate_python(action("new", "b"))),
        Connect(wire=Wire(id="w", source="new", source_port="rows", target="clean", target_port="rows")),
        Depend(dependency=Dependency(id="d", source="b", target="b")),
    ]
    with pytest.raises(EditRefused, match="still connected by 'w'"):
        apply(model, [*edits, RemoveNode(id="new")])
    with pytest.raises(EditRefused, match="still connected by 'd'"):
        apply(model, [*edits, RemoveNode(id="b")])


def test_a_batch_holds_what_one_gesture_did() -> None:
    batch = EditBatch(
        id="b", model="m", name="Add it", actor="you", ts=NOON, base_revision=0, edits=(RemoveNode(id="x"),)
    )
    assert EditBatch.model_validate_json(batch.model_dump_json()) == batch
    with pytest.raises(ValidationError):
        batch.model_copy().__class__.model_validate({**batch.model_dump(), "edits": []})
