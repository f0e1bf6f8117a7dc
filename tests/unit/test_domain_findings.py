"""Every finding: the smallest change to a finished model that has it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine.domain.model import FunctionModel
from engine.domain.rules import CODES, Finding, errors_in, validate
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Semver
from tests.small_models import (
    TABLE,
    TEXT,
    action,
    contract,
    entry,
    exit_,
    finished,
    nested,
    port,
    stage,
    waits,
    workflow,
)

ROOT = Path(__file__).parent.parent.parent
IN, OUT = "in.rows > clean.rows", "clean.rows > out.rows"
CLEAN = TetherSpec(
    reference="tables.clean",
    name="Clean",
    category="tables",
    inputs=(port("rows", TABLE),),  # type: ignore[arg-type]
    outputs=(port("rows", TABLE),),  # type: ignore[arg-type]
    settings={
        "type": "object",
        "properties": {"strict": {"type": "boolean"}, "limit": {"type": "integer", "minimum": 1}},
    },
)
PICKY = CLEAN.model_copy(update={"settings": {**CLEAN.settings, "required": ["limit"]}})
SEND = CLEAN.model_copy(update={"effect": True})
TETHERS = {"tables.clean": CLEAN, "tables.pick": PICKY, "mail.send": SEND}


def cel(text: str) -> dict[str, str]:
    return {"$cel": text}


def around(*nodes: dict[str, Any], wires: tuple[str, ...] = (), dependencies: Any = (), **work: Any) -> FunctionModel:
    """Return the finished model with these nodes put in or replaced."""
    kept = {node["id"]: node for node in (entry(), stage(**work), action(), exit_(), *nodes)}
    return workflow(kept.values(), [IN, OUT, *wires], dependencies)


def step(key: str, parent: str = "work", **more: Any) -> dict[str, Any]:
    """Return a second action that is fed by the input and need not be read."""
    return action(key, parent, order=1, **more)


class Case(NamedTuple):
    code: str
    subject: str | None
    model: FunctionModel
    told: str
    """Words that its message or mend must hold."""
    world: dict[str, Any] = {}  # noqa: RUF012 - read only


def child(reference: str, version: Semver | None) -> FunctionModel | None:
    """Stand in for the store: models by reference, each with what its name says."""
    del version
    nodes: list[Any] = [entry(), stage(), action(), exit_()]
    wires = [IN, OUT]
    if reference in ("loop", "deep", "lost", "self"):
        inner = {"loop": "loop", "deep": "deeper", "lost": "nowhere", "self": "m"}[reference]
        nodes.append(nested("inner", reference=inner, version=None))
    if reference == "deeper":
        nodes.append(nested("inner", reference="child"))
    known = {"child": "1.0.0", "old": "0.9.0", "loop": None, "deep": None, "deeper": None, "lost": None, "self": None}
    if reference == "m":
        return finished()
    if reference not in known:
        return None
    return workflow(nodes, wires, id=reference, name=f"{reference} model", version=known[reference])


NESTED = {"nested": child}
FED = ("in.rows > inner.rows",)


def calls(reference: str, **more: Any) -> FunctionModel:
    return around(nested(order=1, reference=reference, **more), wires=FED)


CASES = [
    Case("structure.no-input", None, workflow([stage(), action(), exit_()], [OUT]), "no input"),
    Case("structure.no-output", None, workflow([entry(), stage(), action()], [IN]), "no output"),
    Case("structure.dangling-wire", "in.rows > gone.rows", around(wires=("in.rows > gone.rows",)), "'gone'"),
    Case("structure.missing-port", "in.rows > clean.cols", around(wires=("in.rows > clean.cols",)), "'cols'"),
    Case("structure.missing-port", "clean.cols > out.rows", around(wires=("clean.cols > out.rows",)), "output 'cols'"),
    Case(
        "structure.wire-type",
        IN,
        around(action(inputs=[port("rows", TEXT)])),
        "a list can never be text",
    ),
    Case(
        "structure.many-producers",
        "out",
        around(step("other"), wires=("in.rows > other.rows", "other.rows > out.rows")),
        "'Clean' and 'Other'",
    ),
    Case("structure.same-port", "clean", around(action(outputs=[port("rows"), port("rows")])), "two outputs"),
    Case("structure.dangling-parent", "clean", around(action(parent="gone")), "'gone'"),
    Case("structure.parent-kind", "clean", around(action(parent="in")), "a boundary"),
    Case("structure.dangling-dependency", "in > gone", around(dependencies=[waits("in > gone")]), "'gone'"),
    Case("structure.dependency-kind", "in > clean", around(dependencies=[waits("in > clean")]), "is an action"),
    Case("structure.dangling-reference", "clean", around(action(compensation="gone")), "not there"),
    Case(
        "structure.dangling-reference",
        "clean",
        around(action(fallback={"use": "action", "action": "work"})),
        "is a container",
    ),
    Case(
        "structure.cycle",
        "back",
        around(
            stage("later"),
            action("back", "later", outputs=[port("x")], inputs=[port("rows", TABLE)]),
            action(inputs=[port("rows", TABLE), port("x")]),
            wires=("in.rows > back.rows", "back.x > clean.x"),
            dependencies=[waits("work > later")],
        ),
        "'Back' → 'Clean' → 'Work' → 'Later' → 'Back'",
    ),
    Case(
        "structure.order-cycle",
        "clean",
        around(
            action("first", order=5),
            action(inputs=[port("rows", TABLE)], order=0),
            wires=("in.rows > first.rows", "first.rows > clean.rows"),
            mode="sequential",
        ),
        "contradicts",
    ),
    Case("structure.orphan", "other", around(step("other", inputs=[])), "Nothing connects"),
    Case(
        "structure.unreachable",
        "third",
        around(
            step("other", status="inactive"),
            step("second"),
            step("third"),
            wires=("other.rows > second.rows", "second.rows > third.rows"),
        ),
        "can never run",
    ),
    Case(
        "structure.unreachable",
        "other",
        around(
            action(condition=cel("true")),
            step("other", condition=cel("false")),
            wires=("in.rows > other.rows",),
            mode="conditional",
        ),
        "never chosen",
    ),
    Case("structure.empty-stage", "idle", around(stage("idle")), "holds no action"),
    Case("structure.same-name", "work", around(stage(name="clean")), "Two nodes"),
    Case("business.boundary-contract", "in", around(entry(output_contract=contract())), "output contract"),
    Case("business.boundary-contract", "out", around(exit_(input_contract=contract())), "input contract"),
    Case("business.input-waits", "in", around(stage("idle"), dependencies=[waits("idle > in")]), "waits"),
    Case("business.output-unfed", "out", workflow([entry(), stage(), action(), exit_()], [IN]), "Nothing leads"),
    Case("business.contract-schema", "in", around(entry(fields={"type": "table"})), "not a valid JSON Schema"),
    Case("business.contract-object", "in", around(entry(fields={"properties": {"rows": TABLE}})), "an object"),
    Case("business.contract-port", "in", around(entry(fields=contract("rows", **{"a\nb": TEXT}))), "port's name"),
    Case(
        "business.contract-port",
        "in",
        around(entry(fields={**contract("rows"), "required": ["cols"]})),
        "needs the field 'cols'",
    ),
    Case("business.contract-empty", "in", around(entry(fields={"type": "object"})), "no ports"),
    Case("business.contract-clash", "more", around(entry("more", fields=contract(rows=TEXT))), "differently"),
    Case("business.port-schema", "clean", around(action(outputs=[port("rows", {"type": "tabel"})])), "not valid"),
    Case(
        "business.order-shared",
        "other",
        around(action("other"), wires=("in.rows > other.rows",), mode="sequential"),
        "share place 0",
    ),
    Case(
        "business.order-shared-parallel", "other", around(action("other"), wires=("in.rows > other.rows",)), "place 0"
    ),
    Case("business.condition-missing", "clean", around(mode="conditional"), "has none"),
    Case("business.condition-missing", "clean", around(action(mode="conditional")), "has none"),
    Case("business.gateway-mode", "work", around(stage="gateway"), "chooses nothing"),
    Case(
        "business.dependency-condition",
        "work > out",
        around(dependencies=[waits("work > out", necessity="conditional")]),
        "condition",
    ),
    Case(
        "business.edit-needs-view",
        "doc",
        around({"kind": "kbNode", "id": "doc", "name": "Doc", "parent": "work", "reference": "k", "edit": ["ann"]}),
        "'ann'",
    ),
    Case(
        "business.fallback-cycle",
        "clean",
        around(
            action(fallback={"use": "action", "action": "other"}),
            step("other", fallback={"use": "action", "action": "clean"}),
        ),
        "'Clean' → 'Other' → 'Clean'",
    ),
    Case("business.compensation-self", "clean", around(action(compensation="clean")), "its own"),
    Case("business.compensation-missing", "clean", around(action(effect=True), on_failure="compensate"), "undoes it"),
    Case("business.for-each-port", "clean", around(action(for_each="cols")), "'cols'"),
    Case("business.timeout-short", "clean", around(action(timeout_s=1, estimated_s=2)), "2 s"),
    Case("readiness.missing-input", "clean", workflow([entry(), stage(), action(), exit_()], [OUT]), "nothing is"),
    Case(
        "readiness.missing-input",
        "out",
        workflow([entry(), stage(), action(), exit_(fields=contract("rows", "sum"))], [IN, OUT]),
        "'sum'",
    ),
    Case("readiness.source-off", "out", around(action(status="inactive")), "switched off"),
    Case("readiness.unknown-tether", "clean", around(action(reference="tables.clan")), "'tables.clean'"),
    Case(
        "readiness.unknown-tether",
        "clean",
        around(),
        "No function",
        {"tethers": lambda _: "No function is registered as it."},
    ),
    Case("readiness.port-lost", "clean", around(action(inputs=[])), "lacks"),
    Case("readiness.port-changed", "clean", around(action(outputs=[port("rows"), port("cols")])), "no such output"),
    Case("readiness.port-changed", "clean", around(action(inputs=[port("rows", TEXT)])), "another type"),
    Case("readiness.settings", "clean", around(action(parameters={"limit": 0})), "minimum"),
    Case("readiness.settings", "clean", around(action(reference="tables.pick")), "'limit' is missing"),
    Case("readiness.unknown-setting", "clean", around(action(parameters={"limt": 3})), "'limit'"),
    Case(
        "readiness.parameter",
        "other",
        around(step("other", parameters={"rows": "many"}), wires=("other.rows > clean.rows",)),
        "'many' is not a list",
    ),
    Case("readiness.contract-impossible", "in", around(entry(fields=contract("rows", rows={"enum": []}))), "no type"),
    Case(
        "readiness.contract-impossible",
        "in",
        around(entry(fields=contract("n", rows=TABLE, n={"type": "integer", "minimum": 3, "maximum": 2}))),
        "nothing lies",
    ),
    Case(
        "readiness.no-provider",
        "ask",
        around({"kind": "agentNode", "id": "ask", "name": "Ask", "parent": "work", "agent": "helper"}),
        "provider",
    ),
    Case("readiness.failure-rule", "work", around(action(), on_failure="compensate"), "no action says how"),
    Case("readiness.nested-unknown", "inner", calls("nowhere"), "not there", NESTED),
    Case("readiness.nested-unknown", "inner", calls("lost"), "'lost model' → 'nowhere'", NESTED),
    Case("readiness.nested-version", "inner", calls("old"), "0.9.0", NESTED),
    Case("readiness.nested-unpinned", "inner", calls("child", version=None), "whatever version", NESTED),
    Case("readiness.nested-self", "inner", calls("m"), "'model' → 'model'"),
    Case("readiness.nested-self", "inner", calls("self"), "'model' → 'self model' → 'model'", NESTED),
    Case("readiness.nested-self", "inner", calls("loop"), "'loop model' → 'loop model'", NESTED),
    Case("readiness.nested-depth", "inner", calls("deep", max_depth=2), "3 levels", NESTED),
    Case("readiness.nested-ports", "inner", calls("child", inputs=[port("cols")]), "does not take", NESTED),
    Case("readiness.nested-ports", "inner", calls("child", inputs=[]), "needs 'rows'", NESTED),
    Case("readiness.nested-ports", "inner", calls("child", outputs=[port("cols")]), "does not give", NESTED),
    Case("readiness.secret-in-text", "clean", around(action(headers={"Authorization": "Bearer abcdefgh1"})), "secret"),
    Case("readiness.secret-in-text", "clean", around(action(parameters={"api_key": "abc"})), "plain text"),
    Case("readiness.secret-in-text", "clean", around(action(endpoint="https://me:pw@host/x")), "password"),
    Case("readiness.no-timeout", "clean", around(action(binding="http")), "timeout"),
    Case("readiness.no-timeout", "clean", around(action(reference="mail.send")), "timeout"),
    Case(
        "context.expression",
        "clean",
        around(action(parameters={"limit": cel("rows.size(")})),
        "rows, limit, inputs, run",
        {"check_expression": lambda text, _: "it ends too early" if text.endswith("(") else None},
    ),
    Case("context.mapping-port", "clean", around(action(output_mapping={"cols": cel("result")})), "'cols'"),
    Case("context.mapping-port", "inner", calls("child", context_mapping={"cols": cel("rows")}), "'cols'", NESTED),
    Case("context.mapping-port", "inner", calls("child", output_extraction={"n": cel("outputs.n")}), "'n'", NESTED),
    Case(
        "context.shared-parallel",
        "inner",
        calls("child", inheritance="shared", orchestration="parallel"),
        "writes last",
        NESTED,
    ),
    Case("links.duplicate", "~again", around(), "connected twice"),
    Case("links.duplicate", "~again", around(stage("later")), "waits twice"),
]


def judged(case: Case) -> tuple[Finding, ...]:
    model = case.model
    if case.subject == "~again":  # the same ends under another id
        model = _with_again(model)
    return validate(model, **{"tethers": TETHERS, **case.world})


def _with_again(model: FunctionModel) -> FunctionModel:
    if "later" not in model.nodes:
        return model.changed(wires={**model.wires, "~again": model.wires[IN].model_copy(update={"id": "~again"})})
    first = waits("work > later")
    edges = {"a": {**first, "id": "a"}, "~again": {**first, "id": "~again"}}
    return FunctionModel.model_validate({**model.model_dump(mode="json"), "dependencies": edges})


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.told[:20]}")
def test_the_smallest_model_that_has_the_finding(case: Case) -> None:
    found = [one for one in judged(case) if one.code == case.code]
    assert case.subject in [one.subject for one in found]
    said = [f"{one.message} {one.mend}" for one in found]
    assert any(case.told in words for words in said), said
    for one in found:
        assert one.severity == CODES[case.code].severity
        assert one.category == case.code.partition(".")[0]
        assert one.message[0].isupper() or one.message[0] in "'\"", one.message
        assert one.message.endswith(".")


def test_every_code_has_its_case() -> None:
    assert {case.code for case in CASES} == set(CODES)


def test_the_page_on_validation_lists_every_code_with_its_meaning() -> None:
    page = (ROOT / "docs/validation.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z.-]+)` \| (\w+) \| (.+) \|$", page, flags=re.MULTILINE)
    assert listed == [(code, known.severity, known.meaning) for code, known in CODES.items()]


def test_a_finished_model_has_no_findings() -> None:
    assert validate(finished(), tethers=TETHERS, nested=child, check_expression=lambda _text, _names: None) == ()


def test_findings_come_in_one_order_the_gravest_first() -> None:
    found = validate(around(stage("idle"), action(reference="tables.clan"), action("z", "gone")), tethers=TETHERS)
    assert [one.severity for one in found] == sorted((one.severity for one in found), key=_rank)
    assert errors_in(found) == tuple(one for one in found if one.severity == "error")


def _rank(severity: str) -> int:
    return ("error", "warning", "hint").index(severity)


def test_what_the_caller_does_not_know_is_not_checked() -> None:
    assert validate(around(action(reference="who.knows", parameters={"x": cel("((")}))) == ()


@pytest.mark.parametrize(
    "node",
    [
        action(parameters={"strict": True, "limit": cel("run.limit")}),
        action(headers={"Accept": "text/plain", "Authorization": "${secret:mail}"}),
        action("sink", parameters={"rows": []}),
        action("stand-in", inputs=[port("rows", TABLE)], order=9),
    ],
    ids=["an expression as a setting", "a secret by reference", "a parameter instead of a wire", "on call"],
)
def test_what_is_fine_is_not_reported(node: dict[str, Any]) -> None:
    fallback = {"use": "action", "action": "stand-in"} if node["id"] == "stand-in" else None
    first = node if node["id"] == "clean" else action(fallback=fallback)
    wires = ("sink.rows > out.more",) if node["id"] == "sink" else ()
    model = around(first, {**node, "order": 9}, exit_(fields=contract("rows", more=TABLE)), wires=wires)
    found = [one for one in validate(model, tethers=TETHERS) if one.severity != "hint"]
    assert [(one.code, one.message) for one in found] == []


def test_the_last_choice_of_a_first_match_needs_no_condition() -> None:
    model = around(action(condition=cel("x")), step("other"), wires=("in.rows > other.rows",), mode="conditional")
    assert [one.code for one in validate(model)] == []
    every = around(
        action(condition=cel("x")), step("other"), wires=("in.rows > other.rows",), mode="conditional", match="every"
    )
    assert [one.code for one in validate(every)] == ["business.condition-missing"]


def test_a_port_for_many_takes_many_wires() -> None:
    many = exit_()
    gather = action("gather", order=2, inputs=[port("rows", TABLE, many=True)])
    model = workflow(
        [entry(), stage(), action(), gather, many],
        [IN, "in.rows > gather.rows", "clean.rows > gather.rows", "gather.rows > out.rows"],
    )
    assert validate(model) == ()


def test_an_action_that_works_item_by_item_takes_and_gives_lists() -> None:
    each = action(for_each="row", inputs=[port("row", {"type": "object"})], outputs=[port("row", {"type": "object"})])
    model = workflow([entry(), stage(), each, exit_()], ["in.rows > clean.row", "clean.row > out.rows"])
    assert validate(model) == ()
    text = workflow([entry(fields=contract(rows=TEXT)), stage(), each, exit_()], ["in.rows > clean.row"])
    assert any("item by item" in one.message for one in validate(text))


def test_expressions_see_what_is_theirs_and_nothing_else() -> None:
    seen: dict[str, tuple[str, ...]] = {}
    model = around(
        action(condition=cel("condition"), output_mapping={"rows": cel("mapping")}, parameters={"limit": cel("limit")}),
        nested(
            order=1,
            context_mapping={"rows": cel("context")},
            output_extraction={"rows": cel("extraction")},
            inputs=[port("not a name"), port("rows", TABLE)],
        ),
        stage(completion=cel("completion")),
        entry(rules=[{"expression": cel("rule"), "message": "no"}]),
        dependencies=[waits("work > out", necessity="conditional", condition=cel("edge"))],
        wires=FED,
    )
    validate(model, check_expression=lambda text, names: seen.update({text: names}))
    assert seen == {
        "condition": ("rows", "limit", "inputs", "run"),
        "limit": ("rows", "limit", "inputs", "run"),
        "mapping": ("rows", "limit", "inputs", "run", "result"),
        "context": ("rows", "inputs", "run"),
        "extraction": ("rows", "inputs", "run", "outputs"),
        "completion": ("steps", "run"),
        "rule": ("rows", "inputs"),
        "edge": ("steps", "run"),
    }


def test_a_lookup_that_never_ends_is_given_up() -> None:
    def endless(reference: str, version: Semver | None) -> FunctionModel:
        del version
        below = nested(reference=reference + "x", version=None)
        return workflow([entry(), stage(), below, exit_()], id=reference, name="~again")

    found = validate(calls("x"), nested=endless)
    assert [one.code for one in found if "nested" in one.code] == ["readiness.nested-depth"]


def test_a_thousand_nodes_are_judged_while_one_types() -> None:
    nodes: list[Any] = [entry(), exit_()]
    wires = ["in.rows > n0.rows", "n999.rows > out.rows"]
    for place in range(1_000):
        nodes.append(action(f"n{place}", f"s{place // 10}", order=place, parameters={"limit": 3, "strict": True}))
        if place % 10 == 0:
            nodes.append(stage(f"s{place // 10}"))
        if place:
            wires.append(f"n{place - 1}.rows > n{place}.rows")
    model = workflow(nodes, wires)
    times_s: list[float] = []
    for _ in range(5):
        began_s = time.thread_time()
        assert validate(model, tethers=TETHERS) == ()
        times_s.append(time.thread_time() - began_s)
    assert min(times_s) < 0.2  # 35 ms where it was written; machines of CI are slow and shared
