"""The commands that look back at a run: replay, fork, the state at an event, provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from studio import run_report, terminal
from studio.opening import RunArgument, TethersOption, opened
from studio.store_commands import JsonOption, StoreOption

if TYPE_CHECKING:
    from engine.history.timeline import State


def register(app: typer.Typer) -> None:
    """Add the commands to `app`; `show --at` calls `print_state`."""
    for command in (replay, fork, provenance):
        app.command()(command)


def replay(
    run_id: RunArgument, *, store: StoreOption = None, tethers: TethersOption = None, as_json: JsonOption = False
) -> None:
    """Run the record of a run again: today's functions, no effect, no network. Exit code 1 if something differs."""
    with opened(store, tethers) as engine:
        found = engine.history.replay(run_id)
    first = found.first_divergence
    if as_json:
        terminal.document({**found._asdict(), "first_divergence": None if first is None else first._asdict()})
    elif first is None:
        left_out = f" {found.left_out:,} were left to chance." if found.left_out else ""
        terminal.out.print(f"The same: {found.compared:,} results compared, {found.called:,} calls made.{left_out}")
    else:
        at = "" if first.number is None else f"Event {first.number}: "
        terminal.out.print(f"{at}{first.text}", markup=False)
    if not found.ok:
        raise typer.Exit(terminal.BAD)


def fork(
    run_id: RunArgument,
    *,
    at: Annotated[int, typer.Option("--at", help="The event it goes on from; -1 is the last one.")],
    store: StoreOption = None,
    tethers: TethersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a new run that goes on from an event of an earlier one: what was done by then is not repeated."""
    with opened(store, tethers) as engine:
        handle = engine.history.start_fork(run_id, at).wait()
        run_report.print_run(engine, handle, as_json=as_json)


def provenance(
    run_id: RunArgument,
    step: Annotated[str, typer.Argument(metavar="STEP", help="A step's path, or an output boundary.")],
    port: Annotated[str, typer.Argument(metavar="PORT", help="The port that has the value.")],
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what made a value: steps, inputs, functions, people, earlier runs. --json gives W3C PROV-JSON."""
    with opened(store) as engine:
        found = engine.history.provenance(run_id, step, port)
    if as_json:
        terminal.document(found.to_prov_json())
        return
    rows = [
        (
            made.path,
            made.function or made.agent or made.kind,
            made.earlier_run or ("pinned" if made.pinned else ""),
            ", ".join(f"{each.chosen} ({each.by or 'its time had come'})" for each in made.decisions),
        )
        for made in found.steps.values()
    ]
    terminal.table(("step", "made by", "taken from", "decided"), rows, empty="No step made it.")
    inputs = ", ".join(f"{value.path}.{value.port}" for value in found.inputs) or "none"
    terminal.out.print(f"Inputs: {inputs}. Model: {found.run.model_name}, {found.run.content_hash[:16]}.", markup=False)


def print_state(state: State, *, as_json: bool) -> None:
    """Print a run as it was right after an event."""
    from engine.history.timeline import state_json

    if as_json:
        terminal.document(state_json(state))
        return
    terminal.out.print(
        f"Event {state.number}, {state.moment.ts:%Y-%m-%d %H:%M:%S} UTC: {state.moment.text}", markup=False
    )
    rows = [
        (step.path, step.name, step.status, ", ".join(value.summary for value in step.outputs.values()))
        for step in state.steps.values()
    ]
    terminal.table(("step", "name", "status", "result"), rows, empty="No steps.")
    for asked in state.decisions:
        answer = f"{asked.chosen}, {asked.by or 'its time had come'}" if asked.chosen else "open"
        terminal.out.print(f"{asked.path}: {asked.question} ({answer if not asked.is_open else 'open'})", markup=False)
