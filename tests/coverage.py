"""`python -m tests.coverage`: branch coverage of the domain, the execution and the ledger; exits 1 below 95 %."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PARTS = ("engine/domain", "engine/execution", "engine/ledger")
LEAST_PERCENT = 95


def main() -> int:
    """Run the unit and contract tests under coverage and judge each part."""
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/coverage"
        options = ["--cov=engine", "--cov-branch", "--cov-report=", "-q", "-p", "no:cacheprovider"]
        elsewhere = ["-k", "not postgres and not neo4j and not shared"]  # servers run none of the measured code
        command = [sys.executable, "-m", "pytest", *options, "tests/unit", "tests/contract", *elsewhere]
        done = subprocess.run(command, cwd=ROOT, check=False, env={**os.environ, "COVERAGE_FILE": data})
        if done.returncode != 0:
            return done.returncode
        worst = 0
        for part in PARTS:
            report = [
                sys.executable,
                "-m",
                "coverage",
                "report",
                f"--data-file={data}",
                f"--include={part}/*",
                f"--fail-under={LEAST_PERCENT}",
            ]
            shown = subprocess.run(report, cwd=ROOT, check=False, capture_output=True, text=True)
            last = shown.stdout.strip().splitlines()[-1] if shown.returncode in (0, 2) else shown.stdout + shown.stderr
            print(f"{part}: {last}", flush=True)
            if shown.returncode != 0:
                print(shown.stdout, flush=True)
            worst = max(worst, shown.returncode)
        return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())
