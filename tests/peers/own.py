"""The engine's adapter for the shared benchmark of peers: the plan is built beforehand, as every adapter does."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from . import Base  # type: ignore[attr-defined] - the shared benchmark's own

VENV = ""


class Own(Base):
    """Treadle, nothing kept: states, times and an event a step in memory."""

    durability = "off"

    def setup(self) -> None:
        """Open a store in a folder of its own."""
        from dataclasses import replace

        from engine import benchmark_models, benchmarks
        from engine.settings import Settings
        from engine.wiring import open_stores

        self.models = benchmark_models
        self.folder = tempfile.TemporaryDirectory()
        home = Path(self.folder.name)
        self.made = benchmarks._Bench(home)
        self.journal = None
        if self.durability != "off":
            settings = replace(Settings.from_environment({}), home=home)
            self.journal = open_stores(f"duckdb:///{home / 'peers.duckdb'}", settings).journal

    def build(self, wl: Any) -> Any:
        """Compile a model of the workload: a step a task, a wire a dependency."""

        def call(inputs: Any, settings: Any, context: Any) -> dict[str, Any]:
            del settings, context
            return {"result": wl.fn(*inputs["values"])}

        self.made.functions.put("bench.peer", call)
        edges = [(source, target) for target, sources in enumerate(wl.deps) for source in sources]
        model = self.models.model_of_edges(wl.n, edges, "bench.peer", results=wl.sinks)
        return self.made.plan(model), wl.sinks

    def run(self, plan: Any) -> list[Any]:
        """Run it and return what the last steps gave."""
        outputs = self.made.outputs(plan[0], self.durability, journal=self.journal)
        return [outputs[f"n{sink}"] for sink in plan[1]]

    def version(self) -> str:
        """Return the version of Python."""
        import platform

        return f"Python {platform.python_version()}"

    def teardown(self) -> None:
        """Let go of the store."""
        self.made.close()


class Pipelined(Own):
    """Treadle, journaled in groups: the run returns when the last group is on disk."""

    durable = "fsync a group, output commit"
    durability = "pipelined"


class Strict(Own):
    """Treadle, each step on disk before the next one starts."""

    durable = "fsync a step"
    durability = "strict"
    cases = frozenset({"chain1k", "light40"})


PEERS = {"own": Own, "own-journal-pipeline": Pipelined, "own-journal-strict": Strict}
