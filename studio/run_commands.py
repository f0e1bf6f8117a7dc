"""The commands about runs: started, taken up, repeated, answered, stopped, listed and shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.domain.canonical import Json, loads
from engine.errors import FileMissing, NotJson, TreadleError
from studio import history_commands, run_report, terminal
from studio.opening import RunArgument, TethersOption, opened
from studio.store_commands import JsonOption, StoreOption

if TYPE_CHECKING:
    from engine.domain.entities import Decision
    from engine.domain.runs import Run
    from engine.engine import Engine
    from engine.run_reuse import Extent

_RESTS = ("paused", "waiting")
"""Statuses in which a run is left on purpose."""


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (run, resume, retry, cancel, decide, signal, runs, show):
        app.command()(command)


def run(
    *,
    model: Annotated[str, typer.Argument(help="A model file, or the name of a model in the store.")],
    inputs: Annotated[
        str | None, typer.Option("--input", help="All inputs as a JSON object, or @FILE.", show_default=False)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="One input as name=value; the value is JSON, or else text.", show_default=False),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="Run only this node and what it needs.", show_default=False)
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Run only this node, on pinned values (repeatable).", show_default=False),
    ] = None,
    pin: Annotated[
        list[str] | None,
        typer.Option("--pin", help="A node's values as NODE=JSON (port: value), taken instead of running it."),
    ] = None,
    stop_at: Annotated[
        list[str] | None,
        typer.Option("--break", help="Pause before this node; 'treadle resume RUN' goes on.", show_default=False),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Pause after so many steps.", min=1, show_default=False)] = None,
    unchanged: Annotated[
        bool, typer.Option("--unchanged", help="Take from the last good run what has not changed since.")
    ] = False,
    durability: Annotated[str, typer.Option(help="off, pipelined or strict.")] = "pipelined",
    workers: Annotated[int | None, typer.Option(help="Worker threads at a time.", min=1, show_default=False)] = None,
    store: StoreOption = None,
    tethers: TethersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a model to its end, or until it waits or pauses, and print what came out."""
    if durability not in ("off", "pipelined", "strict"):
        terminal.stop(f"--durability takes off, pipelined or strict, not {durability!r}.", terminal.USAGE)
    wanted, functions = _what_to_run(model)
    with opened(store, [*(tethers or ()), *functions]) as engine:
        found, _ = engine.find(wanted)
        extent = replace(_extent(until, only, pin, stop_at, steps), unchanged=unchanged)
        with terminal.progress(sum(1 for _ in found.actions())) as watch:
            handle = engine.run(
                wanted, _inputs(inputs, settings), durability=durability, extent=extent, watch=watch, workers=workers
            )
        run_report.print_run(engine, handle, as_json=as_json)


def _what_to_run(model: str) -> tuple[Any, list[str]]:
    """Return what a command names, with the functions that come with it: a Python file is one of the user's own."""
    if not model.endswith(".py"):
        return model, []
    from engine.interchange.python import load_python

    with terminal.reported():
        found = load_python(model)
    return found, [model] if getattr(found, "tethers", ()) else []


def _extent(
    until: str | None, only: list[str] | None, pins: list[str] | None, stops: list[str] | None, steps: int | None
) -> Extent:
    from engine.run_reuse import Extent

    pinned: dict[str, Any] = {}
    for pin in pins or ():
        name, equals, text = pin.partition("=")
        values = loads(text, source=f"--pin {name}") if equals else None
        if not isinstance(values, dict):
            terminal.stop(f"--pin takes NODE=JSON with an object of port: value, not {pin!r}.", terminal.USAGE)
        pinned[name] = values
    return Extent(until=until, only=only, pins=pinned, breakpoints=stops or (), steps=steps)


def resume(
    *,
    run_id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Default: every interrupted run.")] = None,
    steps: Annotated[int | None, typer.Option(help="Pause after so many steps.", min=1, show_default=False)] = None,
    store: StoreOption = None,
    tethers: TethersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take up runs that a crash or a stop interrupted, or one that is paused. What is done is not repeated."""
    with opened(store, tethers) as engine:
        handles, is_refused = [], False
        for interrupted in _to_resume(engine, run_id):
            try:
                with terminal.progress(interrupted.steps_total) as watch:
                    handles.append(engine.runs.resume(interrupted.id, watch=watch, steps=steps).wait())
            except TreadleError as error:  # it keeps none of the others from going on
                is_refused = True
                terminal.err.print(f"Run {interrupted.id}: {error}", markup=False)
        if as_json:
            terminal.document([run_report.run_document(engine, handle.run, handle.outputs) for handle in handles])
        elif not handles and not is_refused:
            terminal.out.print("No run was interrupted.")
        else:
            for handle in handles:
                run_report.print_run(engine, handle, as_json=False, leave=False)
        if is_refused or any(handle.status not in ("succeeded", *_RESTS) for handle in handles):
            raise typer.Exit(terminal.BAD)


def _to_resume(engine: Engine, run_id: str | None) -> Iterator[Run]:
    """Give one run, or all interrupted ones that no other program takes up meanwhile."""
    if run_id is None:
        while (run := engine.runs.take_interrupted()) is not None:
            yield run
        return
    waiting = [run for run in engine.runs.interrupted() if run.id == run_id or run.id.endswith(run_id)]
    yield from waiting or [engine.runs.get(run_id)]


def retry(
    *,
    run_id: RunArgument,
    from_node: Annotated[
        list[str] | None,
        typer.Option("--from", help="Run this node and all after it again (repeatable).", show_default=False),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A mended model, instead of the one that ran.", show_default=False)
    ] = None,
    store: StoreOption = None,
    tethers: TethersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a new run with the results of an earlier one: only what failed, changed or is asked for runs again."""
    with opened(store, tethers) as engine:
        earlier = engine.runs.get(run_id)
        mended = engine.find(model)[0] if model is not None else None
        with terminal.progress(earlier.steps_total) as watch:
            handle = engine.runs.again(earlier.id, from_nodes=from_node or (), model=mended, watch=watch).wait()
        run_report.print_run(engine, handle, as_json=as_json)


def cancel(*, run_id: RunArgument, store: StoreOption = None, tethers: TethersOption = None) -> None:
    """End a run that waits, is paused or was interrupted. One that another program runs is cancelled there."""
    with opened(store, tethers) as engine:
        found = engine.runs.get(run_id)
        handle = engine.runs.cancel(found.id).wait()
        terminal.err.print(f"Run {found.id}: {handle.status}", markup=False)


def decide(
    *,
    run_id: RunArgument,
    option: Annotated[str, typer.Argument(help="The option to choose.")],
    path: Annotated[
        str | None, typer.Option("--at", help="The decision, when the run waits for several.", show_default=False)
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it is kept.")] = "",
    by: Annotated[str | None, typer.Option(help="Who chooses.", show_default=False)] = None,
    store: StoreOption = None,
    tethers: TethersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose an option that a run waits for, and let it go on."""
    with opened(store, tethers) as engine:
        run = engine.runs.get(run_id)
        asked = [found for found in engine.runs.decisions.of(run.id) if found.chosen is None]
        if path is None and len(asked) != 1:
            named = ", ".join(found.path for found in asked) or "none"
            terminal.stop(f"Say which decision with --at; the run waits for: {named}.", terminal.USAGE)
        made = engine.runs.decisions.choose(run.id, path or asked[0].path, option, by=by, reason=reason)
        _follow(engine, made, as_json=as_json)


def signal(
    *,
    run_id: RunArgument,
    name: Annotated[str, typer.Argument(help="The signal's name.")],
    value: Annotated[str, typer.Option("--value", help="What comes with it, as JSON.")] = "null",
    store: StoreOption = None,
    tethers: TethersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a signal to a run that waits for it, or will."""
    with opened(store, tethers) as engine:
        run = engine.runs.get(run_id)
        sent = engine.runs.decisions.send(run.id, name, loads(value, source="--value"))
        _follow(engine, sent, as_json=as_json)


def _follow(engine: Engine, decision: Decision, *, as_json: bool) -> None:
    """Let the run of a decision go on, and print how it does if that is here."""
    try:
        handle = engine.runs.deliver(decision)
    except TreadleError as error:
        terminal.stop(f"The choice is kept, but the run does not go on here: {error}", terminal.exit_code(error))
    if handle is None:
        terminal.err.print("It is kept; the program that runs it goes on with it.")
    else:
        run_report.print_run(engine, handle.wait(), as_json=as_json)


def runs(
    *,
    model: Annotated[str | None, typer.Option(help="Only runs of this model.", show_default=False)] = None,
    status: Annotated[str | None, typer.Option(help="Only runs with this status.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="How many.", min=1, max=10_000)] = 20,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    with opened(store) as engine:
        wanted = engine.models.get(model).id if model is not None else None
        found = engine.runs.list(model=wanted, status=status, limit=limit)
        if as_json:
            terminal.document([run_report.brief(run) for run in found])
            return
        rows = [
            (
                run.id,
                run.model_name,
                run.status,
                run.created_at.strftime("%Y-%m-%d %H:%M:%S"),
                run_report.seconds(run.duration_s),
            )
            for run in found
        ]
        terminal.table(
            ("run", "model", "status", "started (UTC)", "took"),
            rows,
            empty="No runs yet. 'treadle run MODEL' makes one.",
        )


def show(
    *,
    run_id: RunArgument,
    at: Annotated[
        int | None, typer.Option("--at", help="As it was right after this event; -1: the last.", show_default=False)
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one run with its steps, attempts and outputs."""
    with opened(store) as engine:
        if at is not None:
            history_commands.print_state(engine.history.state_at(run_id, at), as_json=as_json)
            return
        found = engine.runs.get(run_id)
        outputs = {name: engine.runs.value(value) for name, value in found.outputs.items()}
        if as_json:
            terminal.document(run_report.run_document(engine, found, outputs))
            return
        run_report.print_steps(engine, found)
        run_report.print_end(found, outputs)


def _inputs(text: str | None, settings: list[str] | None) -> dict[str, Json]:
    found: dict[str, Json] = {}
    if text is not None:
        if text.startswith("@"):
            path = Path(text[1:])
            if not path.is_file():
                raise FileMissing(path=path)
            found = loads(path.read_bytes(), source=path.name)
        else:
            found = loads(text, source="--input")
        if not isinstance(found, dict):
            raise NotJson(source="--input", reason="it is not an object of inputs by name")
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        if not equals or not name:
            terminal.stop(f"--set takes name=value, not {setting!r}.", terminal.USAGE)
        try:
            found[name] = loads(value)
        except NotJson:
            found[name] = value
    return found
