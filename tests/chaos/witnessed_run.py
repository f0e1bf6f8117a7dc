"""Starts the witnessed run in a folder's store, or resumes it, in processes made to be killed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import engine
from engine import StepContext
from engine.domain.model import FunctionModel, Wire
from engine.domain.nodes import Boundary, Stage, Tether
from engine.domain.values import Port
from tests.chaos import nursery

EFFECTS = 24


@engine.tether(reference="witness.effect", effect=True)
def effect(number: int, context: StepContext) -> int:
    """Leave a line outside of the engine."""
    path = context.idempotency_key.split("/")[1]
    handle = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, f"{context.idempotency_key} {path}\n".encode())
    os.fsync(handle)
    os.close(handle)
    time.sleep(0.02)
    return number


@engine.tether(reference="witness.total")
def total(*numbers: int) -> int:
    """Add up what the effects gave."""
    return sum(numbers)


def model() -> FunctionModel:
    """Two chains' worth of effects, half of them sequential, and their sum."""
    nodes = [
        Stage(id="one-by-one", name="One by one", mode="sequential"),
        Stage(id="at-once", name="At once", parallelism=4),
        Stage(id="end", name="End"),
        Boundary(id="in", name="In", boundary="input", input_contract={"type": "object"}),
        Boundary(
            id="out",
            name="Out",
            boundary="output",
            output_contract={"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]},
        ),
        Tether(
            id="total",
            name="Total",
            parent="end",
            reference="witness.total",
            inputs=(Port(name="numbers", many=True),),
            outputs=(Port(name="result"),),
        ),
    ]
    wires = [Wire(id="total-out", source="total", source_port="result", target="out", target_port="total")]
    for number in range(EFFECTS):
        name = f"effect-{number}"
        nodes.append(
            Tether(
                id=name,
                name=name,
                parent="one-by-one" if number % 2 else "at-once",
                order=number,
                reference="witness.effect",
                inputs=(Port(name="number"),),
                outputs=(Port(name="result"),),
                parameters={"number": number},
            )
        )
        wires.append(Wire(id=f"w{number}", source=name, source_port="result", target="total", target_port="numbers"))
    return FunctionModel(
        id="witnessed",
        name="Witnessed",
        nodes={node.id: node for node in nodes},
        wires={wire.id: wire for wire in wires},
    )


def main(folder: Path, url: str) -> None:
    """Run in the store at a URL, or resume what an earlier process left; what is for the witness goes to the folder."""
    os.environ["WITNESS"] = str(folder / "witness.txt")
    with engine.open(url, tethers=[effect, total]) as opened:
        waiting = opened.runs.interrupted()
        nursery.say("started")
        ended = opened.runs.list(status="succeeded")
        if waiting:
            handle = opened.runs.resume(waiting[0].id).wait()
            result = {"status": handle.status, **handle.outputs}
        elif ended:  # killed between the seal and this program's last line
            result = {"status": "succeeded", "total": opened.runs.value(ended[0].outputs["total"])}
        else:
            handle = opened.run(model())
            result = {"status": handle.status, **handle.outputs}
        (folder / "result.json").write_text(json.dumps(result))


def _read(order: str) -> tuple[Path, str]:
    """Read an order: a folder and the URL of a store, with a tab between them."""
    folder, url = order.split("\t")
    return Path(folder), url


if __name__ == "__main__":
    with engine.open("memory:"):
        import pandas as pd  # noqa: F401  (DuckDB imports it at its first query)

        import engine.storage.journal_postgres
        import engine.storage.sql.duckdb
        import engine.storage.sql.postgres
    nursery.serve(lambda order: main(*_read(order)))
