"""Every Python example in the README and the docs runs; every command they show exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from studio.cli import app

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?treadle ([a-z]+)(?: ([a-z]+))?", re.MULTILINE)
EXAMPLES = [
    pytest.param(page, "\n".join(BLOCK.findall(page.read_text(encoding="utf-8"))), id=str(page.relative_to(ROOT)))
    for page in PAGES
    if BLOCK.search(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("page", "code"), EXAMPLES)
def test_the_examples_of_a_page_run_one_after_the_other(page: Path, code: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(code, encoding="utf-8")
    environment = {"TREADLE_HOME": str(tmp_path / "home"), "PATH": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(script)], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{page.name}:\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_exist(page: Path) -> None:
    group = get_command(app)
    blocks = re.findall(
        r"^```(?:console|bash|sh)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    for command, sub in COMMAND.findall("\n".join(blocks)):
        found = group.commands.get(command)  # type: ignore[attr-defined]
        assert found is not None, f"treadle {command}"
        if hasattr(found, "commands"):
            assert sub in found.commands, f"treadle {command} {sub}"


def test_every_command_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        for sub in getattr(command, "commands", {"": None}):
            assert f"treadle {name} {sub}".rstrip() in guide


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} -> {target}"
