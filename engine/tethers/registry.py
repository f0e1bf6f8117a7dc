"""The functions that nodes can bind to: the library, installed ones, modules and files, functions given directly."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from engine.domain.tether_spec import TetherSpec
from engine.errors import TetherSourceBroken, TetherUnknown
from engine.ports import Invoke
from engine.tethers.calling import invoke_for
from engine.tethers.describe import Described, describe, marks_of
from engine.tethers.folders import Folders
from engine.tethers.sources import Source, load_source, read_again

_GROUP = "treadle.tethers"
LIBRARY = "engine.tethers.library"
_CODE = "engine.tethers.code"


class Registry:
    """Finds functions and describes them. Safe to share between threads once made; see `engine.ports.Tethers`."""

    def __init__(self, sources: Iterable[object] = (), *, roots: Iterable[Path] = ()) -> None:
        """Take in the library, every installed entry point of `treadle.tethers`, and `sources`.

        A source is a function, 'package.module' or 'path/file.py'. Raises `TetherSourceBroken`.
        """
        self._folders = Folders(roots=tuple(roots))
        self._described: dict[str, Described] = {}
        self._invokes: dict[str, Invoke] = {}
        self._sources: dict[str, Source] = {}
        for name in (LIBRARY, _CODE):
            self._take_module(importlib.import_module(name))
        self._built_in = frozenset(self._described)
        self._take_installed()
        for source in sources:
            self.load(source)

    def load(self, source: object) -> None:
        """Take in a function, a module or a file; raise `TetherSourceBroken` if it can't be loaded."""
        if callable(source):
            self._add(describe(cast("Callable[..., Any]", source)))
            return
        self._keep(load_source(str(source)))

    def reload(self) -> tuple[str, ...]:
        """Read changed files again and return the references of their functions.

        Raise `TetherSourceBroken` for one that can't be read any more; its former functions stay.
        """
        changed: list[str] = []
        for source in list(self._sources.values()):
            again = read_again(source)
            if again is not None:
                self._keep(again)
                changed += [found.spec.reference for found in again.functions]
        return tuple(changed)

    def load_all(self, sources: Iterable[str]) -> None:
        """Take in what an earlier process had loaded besides, if it is not here yet."""
        for source in sources:
            if source not in self._sources:
                self.load(source)

    def specs(self) -> list[TetherSpec]:
        """Return all, by category and name."""
        found = [described.spec for described in self._described.values()]
        return sorted(found, key=lambda spec: (spec.category, spec.name))

    def spec(self, reference: str) -> TetherSpec:
        """Return one; `TetherUnknown` names close ones."""
        return self._find(reference).spec

    def function(self, reference: str) -> Invoke:
        """Return what is called; `TetherUnknown` as above."""
        found = self._invokes.get(reference)
        if found is None:
            found = self._invokes[reference] = invoke_for(self._find(reference), self._folders)
        return found

    def sources(self) -> tuple[str, ...]:
        """Return the modules and files that were loaded besides the built-in ones."""
        return tuple(self._sources)

    def close(self) -> None:
        """Let go of what functions hold. Calling it twice is harmless."""
        self._invokes.clear()

    def _find(self, reference: str) -> Described:
        found = self._described.get(reference)
        if found is None:
            close = difflib.get_close_matches(reference, self._described, n=3)
            hint = f" Did you mean {' or '.join(close)}?" if close else " Load its module or file with --tethers."
            raise TetherUnknown(reference=repr(reference), hint=hint)
        return found

    def _keep(self, source: Source) -> None:
        """Take in the functions of a source in place of those it had before."""
        for found in source.functions:
            reference = found.spec.reference
            owner = "the library" if reference in self._built_in else self._owner(reference)
            if owner not in {None, source.name}:
                reason = f"{reference} is in {owner} already; give it another reference"
                raise TetherSourceBroken(source=source.name, reason=reason)
        former = self._sources.get(source.name)
        for found in former.functions if former is not None else ():
            self._described.pop(found.spec.reference, None)
            self._invokes.pop(found.spec.reference, None)
        self._sources[source.name] = source
        for found in source.functions:
            self._add(found)

    def _owner(self, reference: str) -> str | None:
        sources = self._sources.values()
        return next((s.name for s in sources if any(f.spec.reference == reference for f in s.functions)), None)

    def _add(self, described: Described) -> None:
        self._described[described.spec.reference] = described
        self._invokes.pop(described.spec.reference, None)

    def _take_module(self, module: ModuleType) -> int:
        """Take in every marked function of a module, or those that its `functions()` gives; return how many."""
        listed = getattr(module, "functions", None)
        marked = (
            list(cast("Iterable[Any]", listed()))
            if callable(listed) and marks_of(listed) is None
            else [value for value in vars(module).values() if callable(value) and marks_of(value) is not None]
        )
        for function in marked:
            self._add(describe(function))
        return len(marked)

    def _take_installed(self) -> None:
        for entry in metadata.entry_points(group=_GROUP):
            if entry.value == LIBRARY:
                continue
            try:
                found = entry.load()
            except Exception as error:
                raise TetherSourceBroken(source=f"the installed package of {entry.name}", reason=str(error)) from error
            if isinstance(found, ModuleType):
                self._take_module(found)
            else:
                self._add(describe(found))
