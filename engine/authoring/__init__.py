"""Models written in Python: `@engine.model` traces the body of a function once and makes a function model of it."""

from engine.authoring.calls import agent, call, call_model, cel, declared, knowledge
from engine.authoring.handles import Handle, each
from engine.authoring.models import AuthoredModel, model
from engine.authoring.refusals import BodyRefused
from engine.authoring.stages import Stage, constant, depends, given, options, stage

__all__ = [
    "AuthoredModel",
    "BodyRefused",
    "Handle",
    "Stage",
    "agent",
    "call",
    "call_model",
    "cel",
    "constant",
    "declared",
    "depends",
    "each",
    "given",
    "knowledge",
    "model",
    "options",
    "stage",
]
