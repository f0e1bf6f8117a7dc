"""WfCommons: what stands for a recorded task of a workflow instance (https://wfcommons.org)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from engine.domain.canonical import as_object
from engine.ports import StepContext
from engine.tethers.describe import tether
from engine.tethers.library.flow import sleep

CATEGORY = "Flow"


@tether(
    reference="wfcommons.task",
    name="Recorded task",
    category=CATEGORY,
    icon="hourglass",
    runs="thread",
    outputs=("done",),
    keywords=("wfcommons", "workflow", "instance", "trace", "replay", "simulate"),
    example={"task": "mProject", "seconds": 0.01},
)
def task(
    *before: Any,
    task: str = "",
    seconds: Annotated[float, Field(ge=0, le=1_000_000_000)] = 0.0,
    factor: Annotated[float, Field(ge=0, le=1_000_000)] = 1.0,
    context: StepContext | None = None,
) -> dict[str, Any]:
    """Wait as long as a recorded task took, then tell its name, the seconds waited and how many tasks it waited for.

    `level` counts the tasks on the longest chain that ends here, this one included.

    Args:
        before: What the tasks before this one gave.
        task: The name of the recorded task.
        seconds: How long it took when it was recorded.
        factor: What the seconds are multiplied by; 0 does not wait.
        context: The step; waiting ends when it is cancelled.
    """
    wait_s = seconds * factor
    sleep(seconds=wait_s, context=context)
    level = 1 + max((as_object(given).get("level", 0) for given in before), default=0)
    return {"task": task, "seconds": wait_s, "after": len(before), "level": level}
