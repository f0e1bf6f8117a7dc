"""A run as the commands print it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from engine.domain.canonical import Json
from engine.domain.runs import Run
from studio import terminal

if TYPE_CHECKING:
    from engine.engine import Engine
    from engine.run_handle import RunHandle


def print_run(engine: Engine, handle: RunHandle, *, as_json: bool, leave: bool = True) -> None:
    """Print a run; with `leave`, exit with 1 if it failed or was cancelled."""
    if as_json:
        terminal.document(run_document(engine, handle.run, handle.outputs))
    else:
        print_steps(engine, handle.run)
        print_end(handle.run, handle.outputs)
        print_questions(engine, handle.run)
    if leave and handle.status not in ("succeeded", "waiting", "paused"):
        raise typer.Exit(terminal.BAD)


def print_steps(engine: Engine, run: Run) -> None:
    """Print the steps of a run, nested ones indented."""
    rows = []
    for step in engine.runs.steps(run.id):
        result = ", ".join(value.summary for value in step.outputs.values()) or step.error or step.reason or ""
        attempts = f"{len(step.attempts)} attempts" if len(step.attempts) > 1 else ""
        indent = "  " * step.path.count("/")
        rows.append((indent + step.name, step.status, seconds(step.duration_s), attempts, result[:100]))
    terminal.table(("step", "status", "took", "", "result"), rows, empty="No steps.")


def print_end(run: Run, outputs: dict[str, Any]) -> None:
    """Print what came out, and on stderr how the run ended."""
    for name, value in outputs.items():
        terminal.value(name, value)
    word = f"{run.model_name} {run.status}" + (f" in {seconds(run.duration_s)}" if run.duration_s else "")
    terminal.err.print(f"\n{word} · run {run.id}" + (f"\n{run.error}" if run.error else ""), markup=False)


def print_questions(engine: Engine, run: Run) -> None:
    """Print what a run waits for, and how to answer."""
    if run.status == "paused":
        terminal.err.print(f"Go on with: treadle resume {run.id}", markup=False)
    for asked in engine.runs.decisions.of(run.id) if run.status == "waiting" else ():
        if asked.chosen is None:
            options = "|".join(option.id for option in asked.options)
            command = (
                f"treadle signal {run.id} {asked.signal}"
                if asked.signal
                else f"treadle decide {run.id} {options} --at {asked.path}"
            )
            terminal.err.print(f"{asked.path}: {asked.question}\n  {command}", markup=False)


def brief(run: Run) -> dict[str, Json]:
    """Return a run for a list: without values and the model as it ran."""
    return run.model_dump(mode="json", exclude={"inputs", "outputs", "model_file", "options"})


def run_document(engine: Engine, run: Run, outputs: dict[str, Any]) -> dict[str, Json]:
    """Return a run whole, with its steps and the values that came out."""
    steps = [
        {
            "path": step.path,
            "name": step.name,
            "kind": step.kind,
            "status": step.status,
            "attempts": len(step.attempts),
            "seconds": step.duration_s,
            "outputs": {port: value.summary for port, value in step.outputs.items()},
            "error": step.error,
            "reason": step.reason,
        }
        for step in engine.runs.steps(run.id)
    ]
    return {**brief(run), "duration_s": run.duration_s, "outputs": terminal.plain(outputs), "steps": steps}


def seconds(duration_s: float | None) -> str:
    """Return a duration for people."""
    if duration_s is None:
        return ""
    return f"{duration_s * 1_000:.0f} ms" if duration_s < 1 else f"{duration_s:.2f} s"
