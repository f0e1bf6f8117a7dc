"""Models, batches, versions, runs and steps as JSON text, the form in which stores keep them.

Values are written in full or by what differs from the defaults, so that text written by an older release is read by
a newer one. Bytes are Base64. Reading raises ValueError, KeyError or TypeError for text that none of ours wrote;
a store says then that it is corrupted.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from engine.domain.canonical import Json
from engine.domain.edits import EditBatch, edit_json
from engine.domain.entities import ENTITY, AnyEntity
from engine.domain.model import FunctionModel
from engine.domain.runs import Run, Step, StoredValue
from engine.domain.versions import Version
from engine.errors import NotCanonical

_MODEL_FACTS = ("status", "revision", "owner", "organization", "permissions", "deleted_at", "deleted_by")
"""What a model has besides its file."""
_FAST = 1
"""The level of compression: 80 us for a model of 30 nodes; higher ones save little and cost much."""
_VALUES = ("inputs", "outputs")
_HALF = "a text holds half of a surrogate pair"
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def json_text(value: Json) -> str:
    """Return compact JSON; raise `NotCanonical` for what JSON or UTF-8 can't hold."""
    try:
        text = _encode(value)
        text.encode()
    except UnicodeEncodeError:
        raise NotCanonical(reason=_HALF) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise NotCanonical(reason=str(error)) from None
    return text


def json_value(text: str) -> Json:
    """Read back what `json_text` wrote."""
    return json.loads(text)


def packed(value: Json) -> bytes:
    """Return JSON compressed by zlib, to a tenth of the text or so: for rows that are written again and again."""
    return zlib.compress(json_text(value).encode(), _FAST)


def unpacked(data: bytes) -> Json:
    """Read back what `packed` wrote."""
    return json.loads(zlib.decompress(data))


def model_json(model: FunctionModel) -> Json:
    """Return the whole model: its file and what a store knows besides."""
    facts = _plain(model, include=set(_MODEL_FACTS), exclude_defaults=True)
    return {**model.to_json(), **facts}


def model_from(plain: Json) -> FunctionModel:
    """Read back what `model_json` wrote."""
    fields = {key: value for key, value in plain.items() if key != "format"}
    for name in ("nodes", "wires", "dependencies"):
        fields[name] = {element["id"]: element for element in fields[name]}
    return FunctionModel.model_validate(fields)


def batch_json(batch: EditBatch) -> Json:
    """Return a batch with each edit in its JSON form."""
    return {**_plain(batch, exclude={"edits"}), "edits": [edit_json(edit) for edit in batch.edits]}


def batch_from(plain: Json) -> EditBatch:
    """Read back what `batch_json` wrote."""
    return EditBatch.model_validate(plain)


def version_json(version: Version) -> Json:
    """Return a version with its snapshot."""
    return {**_plain(version, exclude={"snapshot"}), "snapshot": model_json(version.snapshot)}


def version_from(plain: Json) -> Version:
    """Read back what `version_json` wrote."""
    return Version.model_validate({**plain, "snapshot": model_from(plain["snapshot"])})


def run_json(run: Run) -> Json:
    """Return a run without its model file, which can be large and is kept by itself."""
    values = {name: values_json(getattr(run, name)) for name in _VALUES}
    return {**_plain(run, exclude={*_VALUES, "model_file"}, exclude_defaults=True), **values}


def run_from(plain: Json, model_file: Json = None) -> Run:
    """Read back what `run_json` wrote."""
    values = {name: values_from(plain[name]) for name in _VALUES}
    return Run.model_validate({**plain, **values, "model_file": model_file})


def step_json(step: Step) -> Json:
    """Return a step."""
    plain = _plain(step, exclude={"outputs"}, exclude_defaults=True)
    return {**plain, "outputs": values_json(step.outputs)}


def step_from(plain: Json) -> Step:
    """Read back what `step_json` wrote."""
    return Step.model_validate({**plain, "outputs": values_from(plain["outputs"])})


def entity_json(entity: AnyEntity) -> Json:
    """Return an entity."""
    return _plain(entity)


def entity_from(plain: Json) -> AnyEntity:
    """Read back what `entity_json` wrote."""
    return ENTITY.validate_python(plain)


def _plain(value: BaseModel, **options: Any) -> dict[str, Json]:
    """Return the JSON form of a value; `NotCanonical` where a key of an object can't be written."""
    try:
        return value.model_dump(mode="json", **options)
    except PydanticSerializationError as error:
        raise NotCanonical(reason=_HALF if "surrogates" in str(error) else str(error)) from None


def values_json(values: Mapping[str, StoredValue]) -> Json:
    """Return values by port, their bytes in Base64."""
    return {port: _value_json(value) for port, value in values.items()}


def values_from(plain: Json) -> dict[str, StoredValue]:
    """Read back what `values_json` wrote."""
    return {port: _value_from(value) for port, value in plain.items()}


def _value_json(value: StoredValue) -> Json:
    plain = _plain(value, exclude={"data"}, exclude_defaults=True)
    return plain if value.data is None else {**plain, "data": b64encode(value.data).decode()}


def _value_from(plain: Json) -> StoredValue:
    data = plain.get("data")
    return StoredValue.model_validate({**plain, "data": None if data is None else b64decode(data, validate=True)})
