"""Where files are: relative paths are looked for in the current folder, then in the configured ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders that paths refer to.

    A single person's studio may use any file. A `confined` one (a server for several people) uses only files below
    `roots`, links followed.
    """

    roots: tuple[Path, ...] = ()
    confined: bool = False

    def existing(self, path: str | os.PathLike[str]) -> Path:
        """Return the file to read; a path that is nowhere is returned as it would be in the first folder."""
        candidates = self._candidates(path)
        return next((found for found in candidates if found.exists()), candidates[0])

    def target(self, path: str | os.PathLike[str]) -> Path:
        """Return the file to write."""
        return self._candidates(path)[0]

    def _candidates(self, path: str | os.PathLike[str]) -> list[Path]:
        text = os.fspath(path)
        if not text or "\x00" in text:
            message = "takes the name of a file, but got an empty one" if not text else "takes the name of a file"
            raise ValueError(message)
        named = Path(text).expanduser() if not self.confined else Path(text)
        starts = self.roots if self.confined else (Path(), *self.roots)
        found = [named] if named.is_absolute() else [start / named for start in starts]
        allowed = [candidate for candidate in found if self._is_allowed(candidate)]
        if not allowed:
            message = f"names {text!r}, which is outside of the folders that may be used: {self._listed()}"
            raise ValueError(message)
        return allowed

    def _is_allowed(self, path: Path) -> bool:
        if not self.confined:
            return True
        try:
            real = path.resolve()
        except (OSError, RuntimeError):  # a loop of links
            return False
        return any(real.is_relative_to(root.resolve()) for root in self.roots)

    def _listed(self) -> str:
        return ", ".join(str(root) for root in self.roots) or "none is configured"
