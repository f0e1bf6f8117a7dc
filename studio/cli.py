"""The `treadle` command. `--json` prints one document to stdout; logs and progress go to stderr.

Exit codes: 0 done, 1 the thing asked about is bad, 2 usage, 3 environment, 130 stopped by Ctrl+C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import LedgerTampered
from studio import export_commands, history_commands, import_commands, run_commands, store_commands, terminal
from studio.opening import TethersOption, opened
from studio.store_commands import JsonOption, StoreOption

if TYPE_CHECKING:
    from engine.engine import Engine

app = typer.Typer(
    name="treadle",
    help="Draw workflows, run them, prove what happened. Without a command: open the studio.",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
ledger_app = typer.Typer(help="The record of everything that changed.", no_args_is_help=True)
app.add_typer(ledger_app, name="ledger")
store_commands.register(app)
import_commands.register(app)
export_commands.register(app)
history_commands.register(app)
run_commands.register(app)

PortOption = Annotated[int, typer.Option("--port", help="The port on 127.0.0.1.", min=0, max=65535)]
BrowserOption = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser.")]


@app.callback(invoke_without_command=True)
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        studio(store=None, port=5006, browser=True, tethers=None)


@app.command()
def studio(
    store: StoreOption = None, port: PortOption = 5006, browser: BrowserOption = True, tethers: TethersOption = None
) -> None:
    """Open the studio in the browser. It listens on this machine only; the opened address holds the token."""
    from studio.launch import launch

    with opened(store, tethers) as engine:
        launch(engine, port=port, browser=browser)


@app.command()
def models(
    text: Annotated[str, typer.Argument(help="Only models that hold this text.", show_default=False)] = "",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the models in the store."""
    with opened(store) as engine:
        found = engine.models.list(text=text, limit=1_000)
        if as_json:
            terminal.document([row._asdict() for row in found])
            return
        rows = [(row.name, row.status, row.version or "", str(row.revision), str(row.nodes), row.id) for row in found]
        terminal.table(
            ("name", "status", "version", "revision", "nodes", "id"),
            rows,
            empty="No models yet. Make one in the studio.",
        )


@app.command()
def validate(
    model: Annotated[str, typer.Argument(help="A model file, or the name of a model in the store.")],
    store: StoreOption = None,
    tethers: TethersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a model and say what is wrong and how to mend it."""
    with opened(store, tethers) as engine:
        findings = engine.validate(model)
        bad = any(finding.severity == "error" for finding in findings)
        if as_json:
            listed = [finding.model_dump(mode="json") for finding in findings]
            terminal.document({"model": model, "valid": not bad, "findings": listed})
        elif not findings:
            terminal.out.print(f"{model} is valid.", markup=False)
        else:
            for finding in findings:
                terminal.out.print(
                    f"{finding.severity:<8}{finding.code}  {finding.message} {finding.mend}", markup=False
                )
        if bad:
            raise typer.Exit(terminal.BAD)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A model: file, name, or name@version.")],
    after: Annotated[str, typer.Argument(metavar="B", help="A model: file, name, or name@version.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what differs between two models, field by field. Exit code 0 either way."""
    with opened(store) as engine:
        comparison = engine.models.compare(_model_at(engine, before), _model_at(engine, after))
        if as_json:
            terminal.document(comparison.model_dump(mode="json"))
            return
        lines = comparison.lines()
        terminal.out.print("\n".join(lines) if lines else "They are the same.", markup=False)


@app.command()
def doctor(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Check this installation and the store, and say what is missing."""
    from studio.doctor import examine, rows

    facts, trouble = examine(store)
    if as_json:
        terminal.document({"ok": not trouble, "facts": facts, "trouble": trouble})
    else:
        terminal.table(("what", "found"), list(rows(facts)), empty="")
        for sentence in trouble:
            terminal.err.print(f"! {sentence}", markup=False)
    if trouble:
        raise typer.Exit(terminal.ENVIRONMENT)


def _told(what: str) -> None:
    terminal.err.print(what, markup=False)


@app.command()
def bench(
    name: Annotated[
        str | None, typer.Argument(help="'engine', 'stores' or one case. Default: engine.", show_default=False)
    ] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", help="An empty store for 'stores'. Default: a DuckDB file.", show_default=False),
    ] = None,
    models: Annotated[int, typer.Option(min=100, help="How many models 'stores' fills in.")] = 10_000,
    steps: Annotated[int, typer.Option(min=1, help="How many finished steps 'stores' fills in.")] = 1_000_000,
    as_json: JsonOption = False,
) -> None:
    """Measure the engine or a store on this machine, against the same work in plain Python or the goal."""
    from engine.benchmarks import CASES, measure

    if name not in (None, "engine", "stores", *CASES):
        terminal.stop(f"There is no case {name!r}. There are: engine, stores, {', '.join(CASES)}.", terminal.USAGE)
    with terminal.reported():
        if name == "stores":
            from engine.store_benchmarks import measure_store

            found = list(measure_store(store, models=models, steps=steps, told=_told))
        else:
            found = [measure(case) for case in ([name] if name in CASES else CASES)]
    if as_json:
        terminal.document([row._asdict() for row in found])
        return
    rows = [
        (
            row.case,
            f"{row.value:.4g} {row.unit}",
            f"{row.floor:.4g}" if row.floor else "",
            f"{row.ratio:.3g}x" if row.ratio else "",
        )
        for row in found
    ]
    terminal.table(("case", "value", "goal" if name == "stores" else "floor", "ratio"), rows, empty="")


@ledger_app.command()
def verify(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Check every entry against its hash, the chain and the signed checkpoints. Exit code 1 if one was changed."""
    with opened(store) as engine:
        found = engine.ledger.verify()
        if as_json:
            terminal.document(found._asdict())
            if not found.ok:
                raise typer.Exit(terminal.BAD)
            return
        if not found.ok:
            raise LedgerTampered(reason=found.reason)
        terminal.out.print(f"{found.entries:,} entries verified.")


@ledger_app.command()
def head(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Print how many entries there are and the hash of the last: keep it elsewhere as a proof."""
    with opened(store) as engine:
        found = engine.ledger.head()
        if as_json:
            terminal.document(found)
        else:
            terminal.out.print(f"{found.sequence} {found.hash}")


@ledger_app.command()
def export(store: StoreOption = None) -> None:
    """Print every entry as JSON, one a line, oldest first."""
    with opened(store) as engine:
        after = 0
        while page := engine.ledger.entries(after=after):
            for entry in page:
                typer.echo(entry.model_dump_json())
            after = page[-1].sequence


def _model_at(engine: Engine, reference: str) -> Any:
    name, at, number = reference.rpartition("@")
    if at and not reference.endswith(".json"):
        return engine.models.version(name, number).snapshot
    return engine.find(reference)[0]


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
