"""Flow: steps that wait for somebody, for a signal or for a time; and steps that fail or sleep on purpose."""

from __future__ import annotations

import threading
import time
from typing import Annotated, Any

from pydantic import Field

from engine.errors import StepCancelled, TetherFailed
from engine.ports import StepContext
from engine.tethers.describe import tether

CATEGORY = "Flow"
_LOOK_EVERY_S = 0.05


@tether(
    reference="flow.fail_first",
    name="Fail first",
    category=CATEGORY,
    icon="bug",
    outputs=("value",),
    keywords=("retry", "test", "demo", "error"),
    example={"value": "through", "times": 0},
)
def fail_first(
    value: Any = None,
    *,
    context: StepContext,
    times: Annotated[int, Field(ge=0, le=100)] = 2,
    message: str = "It fails on purpose",
) -> Any:
    """Fail the first attempts, then pass the value on: shows what the retries of a step do.

    Args:
        value: What is passed on.
        context: The step.
        times: How many attempts fail.
        message: What the error says.
    """
    if context.attempt <= times:
        reason = f"{message.rstrip('.')} (attempt {context.attempt}, the first {times} fail)."
        raise TetherFailed(kind="Failed on purpose", reason=reason)
    return value


@tether(
    reference="flow.sleep",
    name="Wait",
    category=CATEGORY,
    icon="timer",
    runs="thread",
    outputs=("value",),
    keywords=("sleep", "delay", "pause", "slow"),
    example={"value": "later", "seconds": 0.01},
)
def sleep(
    value: Any = None, *, seconds: Annotated[float, Field(ge=0, le=86_400)] = 1.0, context: StepContext | None = None
) -> Any:
    """Wait, then pass the value on.

    Args:
        value: What is passed on.
        seconds: How long.
        context: The step; waiting ends when it is cancelled.
    """
    started, never = time.monotonic(), threading.Event()
    while (left := seconds - (time.monotonic() - started)) > 0:
        if context is not None:
            if context.cancelled:
                raise StepCancelled
            context.progress(1 - left / seconds, f"{left:.1f} s left")
        never.wait(min(left, _LOOK_EVERY_S))
    if context is not None:
        context.progress(1.0)
    return value


@tether(
    reference="flow.ask",
    name="Ask for a decision",
    category=CATEGORY,
    icon="circle-help",
    runs="inline",
    outputs=("chosen", "value"),
    keywords=("decision", "approve", "approval", "person", "gateway", "human"),
    example={"value": "an invoice", "options": ["approve"], "within_s": 0.0, "default": "approve"},
)
def ask(
    value: Any = None,
    *,
    context: StepContext,
    question: str = "How does it go on?",
    options: Annotated[list[str], Field(min_length=1, max_length=50)] = ["approve", "reject"],  # noqa: B006 - a default
    choosers: list[str] = [],  # noqa: B006 - shown in the inspector, never changed
    within_s: Annotated[float | None, Field(ge=0, le=31_536_000)] = None,
    default: str | None = None,
) -> tuple[str, Any]:
    """Wait until somebody chooses an option, for days if need be; the choice and the value go on.

    Args:
        value: What it is about, passed on.
        context: The step.
        question: What is asked.
        options: What can be chosen.
        choosers: Who may choose; nobody named: whoever may operate the run.
        within_s: Seconds after which the default is chosen, or the step fails without one.
        default: The option that is chosen then.
    """
    return context.ask(question, options, choosers=choosers, within_s=within_s, default=default), value


@tether(
    reference="flow.signal",
    name="Wait for a signal",
    category=CATEGORY,
    icon="radio",
    runs="inline",
    outputs=("content",),
    keywords=("event", "webhook", "callback", "message"),
    example={"signal": "paid", "within_s": 0.0},
)
def signal(
    *, context: StepContext, signal: str = "go", within_s: Annotated[float | None, Field(ge=0, le=31_536_000)] = None
) -> Any:
    """Wait for a signal that is sent to the run, and give what comes with it.

    Args:
        context: The step.
        signal: Its name.
        within_s: Seconds after which it goes on without: the content is then nothing.
    """
    return context.signal(signal, within_s=within_s)


@tether(
    reference="flow.wait",
    name="Wait without a thread",
    category=CATEGORY,
    icon="timer",
    runs="inline",
    outputs=("value",),
    keywords=("timer", "delay", "days", "later"),
    example={"value": "later", "seconds": 0.0},
)
def wait(
    value: Any = None, *, context: StepContext, seconds: Annotated[float, Field(ge=0, le=31_536_000)] = 3_600.0
) -> Any:
    """Wait for a time, up to a year, without holding anything; it survives a restart.

    Args:
        value: What is passed on.
        context: The step.
        seconds: How long.
    """
    context.sleep(seconds)
    return value
