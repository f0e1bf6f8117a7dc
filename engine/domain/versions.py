"""Versions: immutable snapshots, the number a change asks for, and what differs between two models."""

from __future__ import annotations

from engine.domain.model import FunctionModel
from engine.domain.values import Frozen, Identifier, Semver, Text, Timestamp


class Version(Frozen):
    """A published snapshot of a whole model."""

    model: Identifier
    number: Semver
    snapshot: FunctionModel
    author: Identifier
    message: Text = ""
    ts: Timestamp
    content_hash: str
