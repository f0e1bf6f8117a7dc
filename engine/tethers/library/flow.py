"""Flow: steps that fail or wait on purpose, to try retries, timeouts and cancelling."""

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
