"""The shape of the code, held by tests: layers, sizes, names, what is public, what is forbidden."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import engine

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted(path for folder in ("engine", "studio") for path in (ROOT / folder).rglob("*.py"))
FRONT_END = sorted(
    path
    for suffix in ("*.js", "*.jsx", "*.css")
    for path in (ROOT / "studio").rglob(suffix)
    if not {"node_modules", "dist"} & set(path.parts)
)
MAX_LINES = 400
MAX_FUNCTION_LINES = 60
NAMES_THAT_SAY_NOTHING = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "base"}


def test_imports_run_one_way() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", [*SOURCES, *FRONT_END], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_small(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    reason = "\n".join(lines[:12])
    assert len(lines) <= MAX_LINES or "longer than" in reason, f"{len(lines)} lines"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_keep_the_house_rules(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert path.stem not in NAMES_THAT_SAY_NOTHING
    compiles = path.name == "code_worker.py"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno
            has_reason = f"{node.name}: longer than" in (ast.get_docstring(tree) or "")
            assert length <= MAX_FUNCTION_LINES or has_reason, f"{node.name}: {length} lines"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert compiles or node.func.id not in ("eval", "exec"), f"line {node.lineno}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
            assert not names & {"pickle", "cloudpickle", "dill", "shelve"}, f"line {node.lineno}"


def test_the_public_names_of_the_engine_are_what_all_says() -> None:
    assert sorted(engine.__all__) == engine.__all__ == dir(engine)
    assert all(getattr(engine, name) is not None for name in engine.__all__)


def test_importing_the_engine_loads_nothing_heavy() -> None:
    script = "import sys, json, engine; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(json.loads(done.stdout))
    heavy = {"pydantic", "duckdb", "sqlalchemy", "pyarrow", "pandas", "networkx", "panel", "bokeh", "cel_expr_python"}
    assert not loaded & heavy


def test_no_file_names_a_registry_or_a_path_of_a_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    pattern = re.compile(
        r"https?://\S+\.(whl|tgz|tar\.gz)\b|\"resolved\": *\"https?:|index-url|(?<![\w.])/(work|root)/[\w.]"
    )
    texts = {".md", ".py", ".toml", ".json", ".yml", ".yaml", ".txt", ".sh", ".cfg", ".jsx", ".js", ".css", ".ipynb"}
    for name in listed:
        path = ROOT / name
        if path.suffix in texts and path.is_file() and "dist" not in path.parts and path != Path(__file__):
            found = pattern.search(path.read_text(encoding="utf-8", errors="ignore"))
            assert found is None, f"{name}: {found[0] if found else ''}"
