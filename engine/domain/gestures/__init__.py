"""What a person does in one go, as a batch of edits: each is accepted by `engine.domain.edits.apply`, in order.

Ids come from the caller, as `new_id("Clean rows")`: every call gives one that was never used (`fresh_ids` makes such
a function). A gesture that makes no sense raises `EditRefused` or `WireRefused` and has changed nothing.
"""

from engine.domain.differences import edits_between, edits_for
from engine.domain.gestures.connecting import connect, depend, why_not_connect, why_not_depend
from engine.domain.gestures.copying import CLIP_FORMAT, copy_text, duplicate, paste
from engine.domain.gestures.placing import (
    NewId,
    absolute_position,
    add_action,
    add_container,
    fresh_ids,
    is_frameless,
    move,
    rename,
    reparent,
    unique_name,
)
from engine.domain.gestures.removing import removal

__all__ = [
    "CLIP_FORMAT",
    "NewId",
    "absolute_position",
    "add_action",
    "add_container",
    "connect",
    "copy_text",
    "depend",
    "duplicate",
    "edits_between",
    "edits_for",
    "fresh_ids",
    "is_frameless",
    "move",
    "paste",
    "removal",
    "rename",
    "reparent",
    "unique_name",
    "why_not_connect",
    "why_not_depend",
]
