"""`python -m tests.store_figures`: 'treadle bench stores' on a DuckDB file and on servers of its own.

python -m tests.store_figures                            all three, 10,000 models and 1,000,000 steps: an hour
python -m tests.store_figures postgres --models 1000 --steps 100000
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import neo4j_servers
from tests.servers import new_folder, start_postgres

_HEAP = ("-Xms1g", "-Xmx2g")
"""A server that people use has more than what the tests give theirs."""


def _postgres():
    return start_postgres(new_folder(), fsync=True).url()


def _neo4j():
    if problem := neo4j_servers.fetch():
        sys.exit(problem)
    return neo4j_servers.start(new_folder(), java=_HEAP).url()


_PLACES = {"duckdb": lambda: None, "postgres": _postgres, "neo4j": _neo4j}


def main(arguments: list[str]) -> int:
    """Measure the stores named, or all; the rest of the arguments go to 'treadle bench'."""
    named = [each for each in arguments if each in _PLACES]
    options = [each for each in arguments if each not in _PLACES]
    codes = []
    for name in named or _PLACES:
        url = _PLACES[name]()
        command = [
            Path(sys.executable).parent / "treadle",
            "bench",
            "stores",
            *(["--store", url] if url else []),
            *options,
        ]
        codes.append(subprocess.run(command, check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
