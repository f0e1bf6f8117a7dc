"""Run the shared benchmark of peers with the engine among them: `python -m tests.peers [--peers A,B] [--cases C,D]`.

It is looked for in `../shared/bench/peers` from the project's root and left as it is. The floors and the engine run in
this interpreter; other peers want their virtual environments (`--venvs`, see its README).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PEERS = ROOT.parent / "shared" / "bench" / "peers"
USUAL = "floor-ready-full,own,own-journal-pipeline,own-journal-strict"


def main() -> int:
    """Copy the benchmark, add our adapter, run it, and print the ratios to the floor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default=USUAL)
    parser.add_argument("--cases", default="chain1k,fan1k,dag10k,light40")
    parser.add_argument("--venvs", type=Path, help="Virtual environments of other peers.")
    chosen = parser.parse_args()
    if not PEERS.is_dir():
        print(f"There is no {PEERS.relative_to(ROOT.parent)} beside the project: nothing to compare with.")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "peers"
        shutil.copytree(PEERS, place)
        shutil.copy(Path(__file__).with_name("own.py"), place / "adapters" / "own.py")
        venvs = Path(folder) / "venvs"
        for venv in ("floor", *(() if chosen.venvs is None else (each.name for each in chosen.venvs.iterdir()))):
            python = venvs / venv / "bin" / "python"
            python.parent.mkdir(parents=True)
            found = (
                sys.executable if venv == "floor" or chosen.venvs is None else chosen.venvs / venv / "bin" / "python"
            )
            python.write_text(f'#!/bin/sh\nexec "{found}" "$@"\n')
            python.chmod(0o755)
        out = Path(folder) / "out.json"
        command = [sys.executable, place / "run_peers.py", "--venvs", venvs, "--peers", chosen.peers]
        asked = ["--cases", chosen.cases, "--json", out, "--log", Path(folder) / "peers.log"]
        done = subprocess.run([*command, *asked], cwd=ROOT, env=_environment(), check=False)
        subprocess.run([sys.executable, place / "ratios.py", out, "floor-ready-full"], check=False)
    return done.returncode


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    sys.exit(main())
