"""The engine as its users hold it: models, runs, the ledger and the functions of one store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from engine.domain.canonical import Json
from engine.domain.model import FunctionModel
from engine.domain.rules import Finding
from engine.domain.runs import Durability
from engine.domain.writes import Answer
from engine.drafts import Drafts
from engine.errors import LedgerTampered
from engine.execution.frames import Watch
from engine.history.book import History
from engine.ledger.book import Ledger
from engine.models import Models
from engine.ports import Catalog, Expressions, Tethers
from engine.run_handle import RunHandle
from engine.run_models import Sources
from engine.run_reuse import Extent
from engine.runs import Runs
from engine.store_settings import StoreSettings
from engine.waking import Waker

if TYPE_CHECKING:
    from engine.authoring.models import AuthoredModel


class Engine:
    """One open store. Use it as a context manager, or call `close`. Safe to share between threads.

    Attributes:
        models: make, edit, publish, compare.
        runs: start, resume, list, look into.
        ledger: what changed, by whom, and whether it still verifies.
        tethers: the functions that nodes can bind to.
        expressions: CEL, as conditions and parameters use it.
        drafts: what was typed and not yet saved.
        settings: small values kept in the store.
        history: what happened in a run, event by event; forks, replays, where values came from.
        waker: lets runs go on that wait for a decision of another program or a deadline.
    """

    def __init__(
        self,
        *,
        url: str,
        catalog: Catalog,
        models: Models,
        runs: Runs,
        ledger: Ledger,
        tethers: Tethers,
        expressions: Expressions,
        drafts: Drafts,
        settings: StoreSettings,
        waker: Waker,
        history: History,
        closers: tuple[Callable[[], None], ...],
    ) -> None:
        self.url = url
        self.models = models
        self.runs = runs
        self.ledger = ledger
        self.tethers = tethers
        self.expressions = expressions
        self.drafts = drafts
        self.settings = settings
        self.waker = waker
        self.history = history
        self._catalog = catalog
        self._closers = closers
        self._closed = False

    def run(
        self,
        model: FunctionModel | AuthoredModel | str | Path,
        inputs: Mapping[str, Any] | None = None,
        *,
        durability: Durability = "pipelined",
        until: str | None = None,
        extent: Extent | None = None,
        watch: Watch | None = None,
        workers: int | None = None,
    ) -> RunHandle:
        """Run a model to its end, or until it pauses or waits, and return the run; see `start`."""
        handle = self.start(
            model, inputs, durability=durability, until=until, extent=extent, watch=watch, workers=workers
        )
        try:
            return handle.wait()
        except KeyboardInterrupt:
            handle.cancel()
            handle.wait(10)
            raise

    def start(
        self,
        model: FunctionModel | AuthoredModel | str | Path,
        inputs: Mapping[str, Any] | None = None,
        *,
        durability: Durability = "pipelined",
        until: str | None = None,
        extent: Extent | None = None,
        watch: Watch | None = None,
        workers: int | None = None,
    ) -> RunHandle:
        """Start a run of a model, a model file, or a model in the store by name, and return at once.

        `until` names a node: only it and what it needs are run; `extent` says more of that kind.
        Raises `ModelNotFound`, `FileError`, `ModelInvalid`, `InputRefused` or `ProviderMissing` before anything is
        recorded.
        """
        found, folder = self.find(model)
        return self.runs.start(
            found,
            inputs,
            durability=durability,
            extent=extent or Extent(until=until),
            watch=watch,
            source=self._sources(model, folder),
            workers=workers,
        )

    def _sources(self, model: object, folder: Path | None) -> Sources:
        """Return where nested models are: those written beside a Python one come with it."""
        authored: Sequence[FunctionModel] = getattr(model, "nested", ())
        return Sources(self.models, folder, {f"{each.name}@{each.version or ''}": each for each in authored} or None)

    def find(self, model: FunctionModel | AuthoredModel | str | Path) -> tuple[FunctionModel, Path | None]:
        """Return (model, folder of its file or None) for a model, a path or a name in the store."""
        if isinstance(model, FunctionModel):
            return model, None
        if not isinstance(model, str | Path):
            return model.model, None
        path = Path(model)
        if isinstance(model, Path) or path.suffix == ".json" or path.is_file():
            return FunctionModel.load(path), path.parent
        return self.models.get(model), None

    def validate(self, model: FunctionModel | AuthoredModel | str | Path) -> tuple[Finding, ...]:
        """Return the findings of a model."""
        found, folder = self.find(model)
        return self.models.validate(found, source=self._sources(model, folder))

    def query(self, sql: str, *, limit: int | None = None) -> Answer:
        """Answer one SELECT over the views of docs/sql.md; see `Catalog.query`."""
        return self._catalog.query(sql, limit=limit)

    def describe(self) -> dict[str, Json]:
        """Return facts about the store and the functions, for 'treadle doctor'."""
        return {"store": self.url, **self._catalog.describe(), "tethers": len(self.tethers.specs())}

    def close(self) -> None:
        """Suspend runs under way and let go of the store. Calling it twice is harmless."""
        if not self._closed:
            self._closed = True
            self.waker.close()
            self.runs.close()
            with suppress(LedgerTampered):  # 'ledger verify' names it; closing must not fail for it
                self.ledger.sign()
            for closer in self._closers:
                closer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
