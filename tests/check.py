"""`python -m tests.check`: every check that is not a test. Prints what it ran; exits 1 if one failed.

python -m tests.check            all of them
python -m tests.check types      one
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHON = sys.executable
CHECKS: dict[str, list[str]] = {
    "style": [PYTHON, "-m", "ruff", "check", "."],
    "format": [PYTHON, "-m", "ruff", "format", "--check", "."],
    "types": [PYTHON, "-m", "pyright", "--project", str(ROOT / "pyproject.toml"), "--pythonpath", PYTHON],
    "layers": [str(Path(PYTHON).parent / "lint-imports"), "--no-cache"],
    "docs": [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "tests/docs"],
    "bundle": [PYTHON, "-m", "studio.components.flow_editor.build", "--check"],
}


def main(names: list[str]) -> int:
    """Run the named checks, or all; return the exit code."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        print(f"There is no check {unknown[0]!r}. There are: {', '.join(CHECKS)}.", file=sys.stderr)
        return 2
    failed: list[str] = []
    for name in names or CHECKS:
        began = time.monotonic()
        done = subprocess.run(CHECKS[name], cwd=ROOT, check=False, capture_output=True, text=True)
        word = "passed" if done.returncode == 0 else "FAILED"
        print(f"{name:<8}{word}  {time.monotonic() - began:.1f} s", flush=True)
        if done.returncode != 0:
            failed.append(name)
            print(done.stdout[-8_000:], done.stderr[-4_000:], sep="\n", flush=True)
    print(f"{len(names or CHECKS) - len(failed)} checks passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
