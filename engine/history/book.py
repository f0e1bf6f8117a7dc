"""The history of the runs of one store: events, states, forks, replays, provenance."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Protocol

from engine.domain.runs import Durability, Run
from engine.execution.frames import Watch
from engine.execution.local import Services
from engine.history.events import Live, Moment, Recording, Recordings
from engine.history.forks import Fork, Forks, Starter
from engine.history.provenance import Provenance, provenance
from engine.history.recorded_plans import recorded_plan
from engine.history.replaying import Replay, Replayer
from engine.history.timeline import State, Timeline
from engine.models import Models
from engine.ports import Catalog, Journal, Tethers
from engine.run_handle import RunHandle

_KEPT = 4


class RunsOfStore(Starter, Protocol):
    """What history needs of `engine.runs.Runs`."""

    def get(self, run: str) -> Run:
        """Return a run by its id or the unique beginning or end of it; raise `RunNotFound`."""
        ...


class History:
    """Looks into what was recorded of any run. Safe to use from any thread."""

    def __init__(
        self,
        catalog: Catalog,
        journal: Journal,
        services: Services,
        models: Models,
        tethers: Tethers,
        *,
        runs: RunsOfStore,
        live: Live = lambda _: None,
    ) -> None:
        """Look at the runs of a store; `live` gives the records of those under way in this process."""
        self._runs, self._models, self._tethers = runs, models, tethers
        self._recordings = Recordings(journal, services.blobs, live)
        self._forks = Forks(models, services.blobs, runs)
        self._replayer = Replayer(catalog, services, models, tethers)
        self._timelines: OrderedDict[str, Timeline] = OrderedDict()
        self._lock = Lock()

    def recording(self, run: str) -> Recording:
        """Return the records of a run, proven if it has ended; see `Recordings.of`."""
        return self._recordings.of(self._runs.get(run))

    def moments(self, run: str) -> tuple[Moment, ...]:
        """Return what happened in a run, in order."""
        return self.timeline(run).moments

    def timeline(self, run: str) -> Timeline:
        """Return the events of a run with the states after them; that of an ended run is kept for a while."""
        found = self._runs.get(run)
        with self._lock:
            kept = self._timelines.get(found.id)
            if kept is not None:
                self._timelines.move_to_end(found.id)
                return kept
        recording = self._recordings.of(found)
        made = Timeline(recording, recorded_plan(found, self._models))
        if recording.is_whole:
            with self._lock:
                self._timelines[found.id] = made
                while len(self._timelines) > _KEPT:
                    self._timelines.popitem(last=False)
        return made

    def state_at(self, run: str, number: int) -> State:
        """Return the whole state of a run right after event `number` (-1: the last); raises `MomentUnknown`."""
        return self.timeline(run).at(number)

    def fork(self, run: str, number: int) -> Fork:
        """Return what a run needs that goes on from event `number` of a run."""
        timeline = self.timeline(run)
        return self._forks.fork(timeline.run, timeline.at(number))

    def start_fork(
        self, run: str, number: int, *, watch: Watch | None = None, durability: Durability | None = None
    ) -> RunHandle:
        """Start a run that goes on from event `number` of a run: what was done by then is taken over."""
        self._load_functions(run)
        return self._forks.start(self.fork(run, number), watch=watch, durability=durability)

    def replay(self, run: str) -> Replay:
        """Replay a run and name the first difference; see `Replayer.replay`."""
        self._load_functions(run)
        return self._replayer.replay(self.recording(run))

    def _load_functions(self, run: str) -> None:
        """Load the files of functions that the run was started with."""
        self._tethers.load_all(self._runs.get(run).options.get("tethers") or ())

    def provenance(self, run: str, path: str, port: str) -> Provenance:
        """Return what made the value that a step has at a port, by the last event; raises `ValueUnknown`."""
        timeline = self.timeline(run)
        return provenance(timeline.run, timeline.at(-1), path, port)
