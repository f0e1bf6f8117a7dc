"""How functions are found: the library, files, modules, functions given; names that are wrong; reading again."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.errors import TetherSourceBroken, TetherUnknown
from engine.execution.invocation import Context
from engine.tethers import Registry, tether
from engine.tethers import registry as registering
from engine.tethers.node_ports import ports_for, tables_in

ROOT = Path(__file__).parent.parent.parent
TOOLS = '''"""Tools of one's own."""
import engine

CATEGORY = "My tools"


@engine.tether(icon="wrench")
def grow(number: int, *, by: int = 1) -> int:
    """Make a number larger."""
    return number + by
'''


@pytest.fixture(scope="module")
def library() -> Registry:
    return Registry()


@pytest.fixture
def tools(tmp_path) -> Path:
    path = tmp_path / "my_tools.py"
    path.write_text(TOOLS)
    return path


def call(registry: Registry, reference: str, **values):
    return registry.function(reference)(values, {}, Context("run", "step", 1, None))


def test_the_library_is_complete_for_the_palette(library) -> None:
    specs = library.specs()
    assert len(specs) >= 49
    assert len({spec.reference for spec in specs}) == len(specs)
    for spec in specs:
        assert spec.description, spec.reference
        assert spec.category, spec.reference
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", spec.icon), spec.reference
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", spec.reference), spec.reference
        assert (
            set(spec.example) <= {port.name for port in spec.inputs} | set(spec.settings["properties"])
            or (spec.settings["additionalProperties"])
        ), spec.reference


def test_specs_are_sorted_by_category_and_name(library) -> None:
    names = [(spec.category, spec.name) for spec in library.specs()]
    assert names == sorted(names)


def test_what_leaves_the_process_is_an_effect(library) -> None:
    effects = {spec.reference for spec in library.specs() if spec.effect}
    assert {"files.write_csv", "files.write_parquet", "files.write_json", "files.write_text", "http.request"} <= effects
    assert not effects & {"files.read_csv", "tables.filter_rows", "sql.query", "text.split"}


def test_the_binding_says_what_a_node_is(library) -> None:
    bindings = {
        reference: library.spec(reference).binding for reference in ("python.code", "sql.query", "http.request")
    }
    assert bindings == {"python.code": "code", "sql.query": "sql", "http.request": "http"}


@pytest.mark.parametrize(
    ("reference", "hint"), [("files.read_cvs", "files.read_csv"), ("zzz", "Load its module or file with --tethers")]
)
def test_an_unknown_reference_names_close_ones(library, reference, hint) -> None:
    with pytest.raises(TetherUnknown, match=hint):
        library.spec(reference)
    with pytest.raises(TetherUnknown):
        library.function(reference)


def test_describing_loads_nothing_heavy() -> None:
    heavy = "('pyarrow', 'pandas', 'duckdb', 'httpx', 'psutil', 'bokeh', 'numpy')"
    lines = ["import sys", "from engine.tethers import Registry", "Registry().specs()"]
    script = "\n".join([*lines, f"print([name for name in {heavy} if name in sys.modules])"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_a_file_is_loaded_by_its_path(tools) -> None:
    registry = Registry([str(tools)])
    spec = registry.spec("my_tools.grow")
    assert (spec.category, spec.icon, spec.description) == ("My tools", "wrench", "Make a number larger.")
    assert call(registry, "my_tools.grow", number=1) == {"result": 2}
    assert registry.sources() == (str(tools.resolve()),)


def test_a_module_is_loaded_by_its_name(tools, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(tools.parent))
    registry = Registry(["my_tools"])
    assert call(registry, "my_tools.grow", number=1) == {"result": 2}
    assert registry.sources() == ("my_tools",)
    sys.modules.pop("my_tools")


def test_two_files_of_one_name_do_not_mix(tools, tmp_path) -> None:
    other = tmp_path / "other" / "my_tools.py"
    other.parent.mkdir()
    other.write_text(TOOLS.replace("grow", "shrink"))
    registry = Registry([str(tools), str(other)])
    assert {"my_tools.grow", "my_tools.shrink"} <= {spec.reference for spec in registry.specs()}
    other.write_text(TOOLS)
    with pytest.raises(TetherSourceBroken, match=r"my_tools\.grow is in .*my_tools\.py already"):
        registry.reload()


def test_a_function_is_given_directly() -> None:
    @tether
    def double(x: int) -> int:
        return 2 * x

    registry = Registry([double])
    assert call(registry, "test_tethers_registry.double", x=2) == {"result": 4}
    assert registry.sources() == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1", "no function marked with @engine.tether"),
        ("def (", "line 1: invalid syntax"),
        ("import nowhere_at_all", "No module named 'nowhere_at_all' (line 1)"),
        ("\n1 / 0", "ZeroDivisionError: division by zero (line 2)"),
        ("raise SystemExit", "it tried to end the program"),
        (TOOLS.replace("(icon=", "('files.read_csv', icon="), "files.read_csv is in the library already"),
        ("from engine.tethers.library.files import read_csv", "no function marked with @engine.tether"),
    ],
)
def test_a_broken_file_is_told_in_one_sentence(tmp_path, text, reason) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(TetherSourceBroken) as caught:
        Registry([str(path)])
    assert reason in str(caught.value)
    assert "broken.py" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "reason"),
    [("nowhere/tools.py", "there is no such file"), ("nowhere_at_all.tools", "there is no such module")],
)
def test_a_missing_source_is_told(source, reason) -> None:
    with pytest.raises(TetherSourceBroken, match=reason):
        Registry([source])


def test_changed_files_are_read_again(tools) -> None:
    registry = Registry([str(tools)])
    assert registry.reload() == ()
    tools.write_text(TOOLS.replace("number + by", "number - by"))  # of the same length, within the same second
    assert registry.reload() == ("my_tools.grow",)
    assert call(registry, "my_tools.grow", number=1) == {"result": 0}
    tools.write_text(TOOLS.replace("grow", "rise"))
    assert registry.reload() == ("my_tools.rise",)
    with pytest.raises(TetherUnknown, match=r"my_tools\.rise"):
        registry.spec("my_tools.grow")


def test_a_file_that_broke_leaves_its_former_functions(tools) -> None:
    registry = Registry([str(tools)])
    tools.write_text("def (")
    with pytest.raises(TetherSourceBroken, match="line 1"):
        registry.reload()
    assert call(registry, "my_tools.grow", number=1) == {"result": 2}
    tools.write_text(TOOLS + "\n")
    assert registry.reload() == ("my_tools.grow",)


def test_installed_packages_offer_modules_and_functions(monkeypatch) -> None:
    @tether("acme.double")
    def double(x: int) -> int:
        return 2 * x

    entry = SimpleNamespace(name="acme", value="acme:double", load=lambda: double)
    monkeypatch.setattr(registering, "metadata", SimpleNamespace(entry_points=lambda group: [entry]))
    assert call(Registry(), "acme.double", x=2) == {"result": 4}


def test_the_engine_offers_its_library_as_a_package_would() -> None:
    names = [entry.value for entry in metadata.entry_points(group="treadle.tethers")]
    assert not names or "engine.tethers.library" in names


def test_a_resume_loads_what_the_run_had(tools) -> None:
    registry = Registry([str(tools)])
    again = Registry()
    again.load_all(registry.sources())
    again.load_all(registry.sources())
    assert again.spec("my_tools.grow")


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("", ()),
        ("SELECT extract(year FROM day) FROM orders", ("orders",)),
        ('WITH z AS (SELECT * FROM foo) SELECT * FROM z JOIN "odd name" USING (i)', ("foo", "odd name")),
        ("SELECT * FROM a WHERE i IN (SELECT i FROM b) UNION ALL SELECT * FROM c", ("a", "b", "c")),
        ("PIVOT sales ON year USING sum(amount)", ("sales",)),
        ("SELECT * FROM orders JOIN", ("orders",)),
        ("SELECT 1", ()),
    ],
)
def test_a_query_names_its_tables(sql, tables) -> None:
    assert set(tables_in(sql)) == set(tables)


@pytest.mark.parametrize(
    ("reference", "parameters", "inputs"),
    [
        ("sql.query", {"sql": "SELECT * FROM orders"}, {"orders": True}),
        ("python.code", {"code": "def run(rows: list, limit: int = 3): ..."}, {"rows": True, "limit": False}),
        ("python.code", {"code": "def ("}, {}),
        (
            "text.template",
            {"template": "Hello {{ name }}, {{ items.size() > n }}"},
            {"name": True, "items": True, "n": True},
        ),
        ("reports.markdown", {"template": "{{ not closed"}, {}),
        ("sql.query", {"sql": {"$cel": "inputs.sql"}}, {}),
        ("text.split", {}, {"text": True}),
    ],
)
def test_ports_follow_the_settings(library, reference, parameters, inputs) -> None:
    ports = ports_for(library.spec(reference), parameters)
    assert {port.name: port.required for port in ports.inputs} == inputs
    assert ports.outputs


def test_the_guide_lists_the_library(library) -> None:
    text = (ROOT / "docs" / "tethers.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z_.]+)` \|", text.partition("## The library")[2], re.MULTILINE)
    assert sorted(listed) == sorted(spec.reference for spec in library.specs())


def test_the_example_of_the_guide_works(tmp_path) -> None:
    text = (ROOT / "docs" / "tethers.md").read_text(encoding="utf-8")
    path = tmp_path / "my_tools.py"
    path.write_text(text.partition("```python\n")[2].partition("```")[0])
    assert call(Registry([str(path)]), "my_tools.grow", rows=[{"size": 2}]) == {"result": [{"size": 4.0}]}
