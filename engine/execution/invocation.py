"""One call of an action: its inputs and settings, the call, and what its ports gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import isawaitable
from typing import Any, cast

from engine.domain import contracts
from engine.domain.canonical import Json
from engine.domain.entities import Option
from engine.domain.model import FunctionModel
from engine.domain.nodes import Knowledge, NestedModel, Tether
from engine.domain.values import Expression
from engine.errors import InputRefused, NotSerializable, PortMissing, StepError, TetherFailed, TreadleError
from engine.execution.plan import PlainCall, Work
from engine.execution.values import Encoded, encode
from engine.execution.waits import Answer, Request, StepWaits
from engine.ports import Expressions, Secrets

_LOG_LIMIT_CHARS = 65_536
_RECEIVED = Option(id="received", name="It came")
_MISSED = Option(id="missed", name="It did not come")
_DUE = Option(id="due", name="It is time")


class Context:
    """What a running tether may ask for; see `engine.ports.StepContext`."""

    __slots__ = (
        "_asked",
        "_dropped",
        "_length",
        "_report",
        "_run",
        "answers",
        "attempt",
        "is_cancelled",
        "logged",
        "path",
    )

    def __init__(self, run: str, path: str, attempt: int, report: Callable[[float, str], None] | None) -> None:
        self._run = run
        self.path = path
        self.attempt = attempt
        self.logged: list[str] | None = None
        self.is_cancelled = False
        self.answers: Sequence[Answer] = ()
        """What was asked for in earlier calls of this step, and given."""
        self._asked = 0
        self._report = report
        self._length = 0
        self._dropped = False

    @property
    def lines(self) -> list[str]:
        """The lines of the log."""
        return self.logged or []

    @property
    def idempotency_key(self) -> str:
        """The same whenever this attempt of this step is begun again: run/path/attempt."""
        return f"{self._run}/{self.path}/{self.attempt}"

    @property
    def cancelled(self) -> bool:
        """True once the run is being cancelled."""
        return self.is_cancelled

    def progress(self, share: float, text: str = "") -> None:
        """Report how much is done, from 0 to 1."""
        if self._report is not None:
            self._report(min(1.0, max(0.0, float(share))), str(text)[:200])

    def log(self, text: str) -> None:
        """Write a line into the step's log, which is kept up to 64 Ki characters."""
        line = str(text)
        lines = self.logged = self.logged or []
        self._length += len(line) + 1
        if self._length <= _LOG_LIMIT_CHARS:
            lines.append(line)
        elif not self._dropped:
            self._dropped = True
            lines.append("… the rest of the log was left out (64 Ki characters are kept)")

    def ask(
        self,
        question: str,
        options: Sequence[str],
        *,
        choosers: Sequence[str] = (),
        within_s: float | None = None,
        default: str | None = None,
    ) -> str:
        """Return the option that somebody chooses; see `engine.ports.StepContext`."""
        named = tuple(Option(id=name, name=name) for name in options)
        return self._got(Request("choice", question, named, tuple(choosers), within_s, default)).chosen

    def signal(self, name: str, *, within_s: float | None = None) -> Json:
        """Return what comes with a signal, None if none comes in time; see `engine.ports.StepContext`."""
        default = None if within_s is None else _MISSED.id
        question = f"Waits for the signal {name!r}."
        return self._got(Request("signal", question, (_RECEIVED, _MISSED), (), within_s, default, name)).value

    def sleep(self, seconds: float) -> None:
        """Wait without a thread; see `engine.ports.StepContext`."""
        self._got(Request("time", f"Waits {seconds:g} s.", (_DUE,), (), seconds, _DUE.id))

    def _got(self, request: Request) -> Answer:
        number, self._asked = self._asked, self._asked + 1
        if number < len(self.answers):
            return self.answers[number]
        raise StepWaits(request)


def scope_of(inputs: Mapping[str, Any], run_facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an expression of a step sees: each input by name, all as `inputs`, and the run as `run`."""
    return {**inputs, "inputs": dict(inputs), "run": dict(run_facts)}


def with_parameters(
    work: Work, inputs: Mapping[str, Any], expressions: Expressions, run_facts: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (inputs, settings): wired values first, then constants, then expressions over both."""
    merged = {**work.constants, **inputs}
    if work.expressions:
        scope = scope_of(merged, run_facts)
        for name, text in work.expressions.items():
            if name not in inputs:
                merged[name] = expressions.evaluate(text, scope)
    settings = {name: value for name, value in merged.items() if name in work.settings and name not in inputs}
    return {name: value for name, value in merged.items() if name not in settings}, settings


def with_connection(node: Tether, inputs: dict[str, Any], settings: dict[str, Any], secrets: Secrets) -> None:
    """Add what the node says of its endpoint to a call: address, headers, and the secret as a bearer token.

    Raises `TetherFailed` when the secret is not there.
    """
    if node.endpoint is not None:
        inputs.setdefault("url", node.endpoint)
    headers = dict(node.headers)
    if node.authentication is not None:
        value = secrets.secret(node.authentication)
        if value is None:
            reason = f"there is no secret {node.authentication!r}; set it in the environment (docs/commands.md)"
            raise TetherFailed(kind="Secret missing", reason=reason, permanent=True)
        headers["Authorization"] = f"Bearer {value}"
    if headers:
        settings["headers"] = {**headers, **(settings.get("headers") or {})}


def outputs_of(
    work: Work, result: Any, inputs: Mapping[str, Any], expressions: Expressions, run_facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the value of each output port of the node from what its tether returned."""
    node = work.node
    given: Mapping[str, Any] = cast("Mapping[str, Any]", result) if isinstance(result, Mapping) else {"result": result}
    mapping: Mapping[str, Expression] = node.output_mapping if isinstance(node, Tether) else {}
    outputs: dict[str, Any] = {}
    for port in node.outputs:
        if port.name in mapping:
            whole: Any = given["result"] if set(given) == {"result"} else dict(given)
            scope = {**scope_of(inputs, run_facts), "result": whole}
            outputs[port.name] = expressions.evaluate(mapping[port.name].cel, scope)
        elif port.name in given:
            outputs[port.name] = given[port.name]
        elif port.required:
            raise PortMissing(port=repr(port.name), given=", ".join(map(repr, given)) or "nothing")
    return outputs if node.outputs else dict(given)


def plain_outputs(call: PlainCall, result: Any) -> dict[str, Any]:
    """Return the value of each output port from what a plain call gave."""
    if isawaitable(result):
        close = getattr(result, "close", None)
        if close is not None:
            close()
        reason = "it returned something to await; write it as 'async def'"
        raise TetherFailed(kind="Not awaited", reason=reason, permanent=True)
    given: Mapping[str, Any] = cast("Mapping[str, Any]", result) if isinstance(result, Mapping) else {"result": result}
    if not call.outputs:
        return dict(given)
    outputs = {name: given[name] for name in call.outputs if name in given}
    if call.required and len(outputs) < len(call.outputs):
        missing = next(name for name in call.outputs if name not in given)
        raise PortMissing(port=repr(missing), given=", ".join(map(repr, given)) or "nothing")
    return outputs


def extracted(
    node: NestedModel,
    child: Mapping[str, Any],
    inputs: Mapping[str, Any],
    expressions: Expressions,
    run_facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the output ports of a nested step from its model's outputs."""
    if not node.outputs and not node.output_extraction:
        return dict(child)
    scope = {**scope_of(inputs, run_facts), "outputs": dict(child)}
    outputs: dict[str, Any] = {}
    for port in node.outputs:
        expression = node.output_extraction.get(port.name)
        if expression is not None:
            outputs[port.name] = expressions.evaluate(expression.cel, scope)
        else:
            outputs[port.name] = child.get(port.name)
    return outputs


def nested_inputs(
    node: NestedModel,
    model: FunctionModel,
    inputs: Mapping[str, Any],
    expressions: Expressions,
    run_facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the inputs that a nested step hands to its model; `InputRefused` if they break its contract."""
    given = dict(inputs)
    if node.context_mapping:
        scope = scope_of(inputs, run_facts)
        given.update({name: expressions.evaluate(cel.cel, scope) for name, cel in node.context_mapping.items()})
    schema = contracts.input_contract(model)
    given = contracts.with_defaults(schema, given)
    found = contracts.problems(schema, {name: value for name, value in given.items() if name in schema["properties"]})
    if found:
        raise InputRefused(where=found[0][0] or f"the inputs of {model.name!r}", reason=found[0][1])
    return given


def constant_outputs(work: Work, constant: Any) -> dict[str, Any]:
    """Return the outputs that a constant fallback gives: by port if it is an object of ports, else on each port."""
    names = [port.name for port in work.node.outputs] or ["result"]
    if isinstance(constant, dict):
        by_port = cast("dict[str, Any]", constant)
        if set(names) <= set(by_port):
            return {name: by_port[name] for name in names}
    return {name: constant for name in names}  # noqa: C420 - fromkeys has no type for a value of any kind


def content_of(node: Knowledge) -> dict[str, Any]:
    """Return what running a knowledge node yields: its documentation on every port."""
    text = node.documentation or node.short_description
    return {port.name: text for port in node.outputs} or {"content": text}


def encoded(outputs: Mapping[str, Any]) -> dict[str, Encoded]:
    """Return every output as bytes; `NotSerializable` names the port that can't be kept."""
    return {port: encode(value, port=port) for port, value in outputs.items()}


def as_step_error(error: BaseException) -> TreadleError:
    """Return an error of ours for whatever a tether raised, as one sentence."""
    if isinstance(error, TreadleError):
        return error
    text = str(error).strip().split("\n")[0] or "no reason given"
    if isinstance(error, SystemExit | KeyboardInterrupt):
        text = "it tried to end the program"
    return TetherFailed(kind=type(error).__name__, reason=text)


def is_retryable(error: TreadleError) -> bool:
    """Say whether another attempt may help: failures of the work itself, not of how it is described."""
    described_wrong = isinstance(error, NotSerializable | PortMissing) or bool(error.facts.get("permanent"))
    return isinstance(error, StepError) and not described_wrong
