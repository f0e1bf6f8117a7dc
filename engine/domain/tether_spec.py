"""What is told of a function that nodes can bind to."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from engine.domain.values import Frozen, Port, Schema


class TetherSpec(Frozen):
    """A function that can be a node: what the palette shows and what the node starts with."""

    reference: str
    """Dotted and stable: 'files.read_csv'."""
    name: str
    category: str
    description: str = ""
    icon: str = "square-function"
    """A Lucide icon."""
    binding: Literal["function", "code", "http", "sql", "mcp", "spindle"] = "function"
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    settings: Schema = Field(default_factory=dict)
    """JSON Schema (object) of the settings that are not ports."""
    effect: bool = False
    """True: leaves the process; a completed one is never repeated."""
    runs: Literal["auto", "inline", "thread", "async", "process"] = "auto"
    code: str = ""
    """A digest of the function's code: with another one the same inputs may give something else."""
    keywords: tuple[str, ...] = ()
    example: dict[str, Any] = Field(default_factory=dict)
    """Settings and inputs to try it with."""
