"""Compile the editor: `python -m studio.components.flow_editor.build [--check]`.

Needs npm. The output is the same bytes for the same sources, so `--check` can compare: it exits 1
when the committed bundle is not what the sources give.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
DIST = HERE / "dist"
TOKENS = HERE.parents[1] / "theme" / "tokens.css"
LIBRARY_CSS = HERE / "node_modules" / "@xyflow" / "react" / "dist" / "base.css"
STYLES = sorted((HERE / "src").glob("*.css"))
SCRIPT_NAME, STYLE_NAME = "flow_editor.bundle.js", "flow_editor.css"


class BuildError(RuntimeError):
    """A tool of the build is missing or failed; the message says which and what it said."""


def run(command: Sequence[str], *, text: str | None = None) -> str:
    """Run a tool in this folder, `text` on its standard input, and give its standard output.

    Raises:
        BuildError: it is not installed or exits with an error.
    """
    program = shutil.which(command[0])
    if program is None:
        reason = f"{command[0]} is not installed"
        raise BuildError(reason)
    done = subprocess.run([program, *command[1:]], cwd=HERE, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"{command[0]} failed: {done.stderr.strip()}"
        raise BuildError(reason)
    return done.stdout


def install() -> None:
    """Install exactly the locked packages, unless they are there already."""
    installed = HERE / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= (HERE / "package-lock.json").stat().st_mtime:
        return
    run(["npm", "ci", "--no-audit", "--no-fund"])


def styles() -> str:
    """Tokens, library and editor styles as one sheet.

    In a shadow root `:root` matches nothing, so the tokens are set on the editor's own element.
    """
    tokens = TOKENS.read_text(encoding="utf-8").replace(":root", ".fe-root")
    return "\n".join([tokens, *(path.read_text(encoding="utf-8") for path in [LIBRARY_CSS, *STYLES])])


def compile_into(folder: Path) -> None:
    """Write both files into `folder`.

    Raises:
        BuildError: npm or esbuild failed.
    """
    install()
    esbuild = str(HERE / "node_modules" / ".bin" / "esbuild")
    run(
        [
            esbuild,
            "src/index.js",
            "--bundle",
            "--minify",
            "--format=esm",
            "--target=es2022",
            "--jsx=automatic",
            "--charset=utf8",
            "--legal-comments=eof",
            '--define:process.env.NODE_ENV="production"',
            f"--outfile={folder / SCRIPT_NAME}",
        ]
    )
    sheet = run([esbuild, "--loader=css", "--minify", "--charset=utf8"], text=styles())
    (folder / STYLE_NAME).write_text(sheet, encoding="utf-8")


def stale(folder: Path) -> list[str]:
    """Names of the files in `dist` which differ from those in `folder`."""
    names = (SCRIPT_NAME, STYLE_NAME)
    return [
        name
        for name in names
        if not (DIST / name).is_file() or (DIST / name).read_bytes() != (folder / name).read_bytes()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, or with `--check` compare; 0 when all is well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with dist instead of writing")
    check = parser.parse_args(arguments).check
    try:
        if not check:
            DIST.mkdir(exist_ok=True)
            compile_into(DIST)
            return 0
        with tempfile.TemporaryDirectory() as folder:
            compile_into(Path(folder))
            names = stale(Path(folder))
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if names:
        command = "python -m studio.components.flow_editor.build"
        sys.stderr.write(f"{' and '.join(names)} out of date: run {command} and commit the result.\n")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
