"""Files: CSV, Parquet, JSON and text, read from where they are found and written whole or not at all."""

# pyarrow has no type stubs, so strict checking can't know what its functions take and give:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from engine.domain.canonical import loads
from engine.errors import TetherFailed
from engine.tethers.annotations import ToWrite
from engine.tethers.describe import tether
from engine.tethers.library.columns import Names, listed, unique
from engine.tethers.library.places import replace, resolve, resolve_file
from engine.tethers.library.plain import plain

if TYPE_CHECKING:
    import pyarrow as pa

CATEGORY = "Files"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_BLOCK_BYTES = 64 * 2**20
"""Kinds of columns are found out from the first block, so that it is large."""


@tether(
    reference="files.read_csv",
    name="Read CSV",
    category=CATEGORY,
    icon="file-spreadsheet",
    outputs=("rows",),
    keywords=("csv", "table", "import", "load", "open"),
    example={"path": "data/penguins.csv"},
)
def read_csv(
    path: Path,
    *,
    delimiter: str = ",",
    has_header: bool = True,
    missing: tuple[str, ...] = ("NA", ""),
    as_text: Names = "",
    encoding: str = "utf-8",
) -> pa.Table:
    """Read a CSV file as a table; the kind of each column is found out.

    Args:
        path: The file; a relative path is looked for in the current folder, then in the configured ones.
        delimiter: The character between values.
        has_header: Whether the first line holds the names of the columns.
        missing: Texts that stand for a missing value.
        as_text: Columns to keep as text, like codes with leading zeros.
        encoding: How characters are stored.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    found = resolve_file(path)
    _check_delimiter(delimiter)
    names, lines = _csv_names(found, delimiter, encoding, has_header=has_header)
    try:
        return arrow_csv.read_csv(
            found,
            read_options=arrow_csv.ReadOptions(
                encoding=encoding, column_names=names, skip_rows=0, skip_rows_after_names=lines,
                block_size=max(1, min(found.stat().st_size + 1, _BLOCK_BYTES)),
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                null_values=list(missing), strings_can_be_null=True, quoted_strings_can_be_null=True,
                column_types={name: pa.string() for name in listed(as_text) if name in names},
            ),
        )  # fmt: skip
    except (pa.ArrowException, UnicodeDecodeError, LookupError) as error:
        reason = f"{path} can't be read as CSV: {_first_line(error)}. Check the delimiter, the encoding and that line."
        raise TetherFailed(kind="Not CSV", reason=reason) from None


def _csv_names(path: Path, delimiter: str, encoding: str, *, has_header: bool) -> tuple[list[str], int]:
    """Return (names of the columns, which all are there and differ; lines up to the end of the header)."""
    try:
        with path.open(encoding="utf-8-sig" if encoding.lower() in {"utf-8", "utf8"} else encoding, newline="") as text:
            rows = enumerate(csv.reader(text, delimiter=delimiter), start=1)
            line, first = next(((line, row) for line, row in rows if row), (0, []))
    except (UnicodeDecodeError, LookupError, csv.Error) as error:
        reason = f"{path} can't be read as CSV: {_first_line(error)}. Check its encoding and the delimiter."
        raise TetherFailed(kind="Not CSV", reason=reason) from None
    if not first:
        raise TetherFailed(kind="Not CSV", reason=f"{path} is empty. Check the step or program that wrote it.")
    return (unique(first), line) if has_header else (unique([""] * len(first)), 0)


@tether(
    reference="files.write_csv",
    name="Write CSV",
    category=CATEGORY,
    icon="file-down",
    effect=True,
    outputs=("path",),
    keywords=("csv", "save", "export", "spreadsheet"),
    example={"rows": [{"city": "Oslo", "people": 709037}], "path": "cities.csv"},
)
def write_csv(
    rows: pa.Table, path: Annotated[Path, ToWrite], *, delimiter: str = ",", escape_formulas: bool = True
) -> str:
    """Write a table as a CSV file and give its path.

    Args:
        rows: The table.
        path: The file to write; one that is there is replaced.
        delimiter: The character between values.
        escape_formulas: Put an apostrophe before texts that a spreadsheet would run as a formula.
    """
    _check_delimiter(delimiter)

    def write(draft: Path) -> None:
        with draft.open("x", encoding="utf-8", newline="") as text:
            writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
            shield = _shielded if escape_formulas else str
            writer.writerow([shield(name) for name in rows.column_names])
            for batch in rows.to_batches(max_chunksize=10_000):
                columns = [_csv_cells(column.to_pylist(), shield) for column in batch.columns]
                writer.writerows(zip(*columns, strict=True))

    return replace(path, write)


def _csv_cells(values: Iterable[Any], shield: Callable[[str], str]) -> Iterable[Any]:
    return [shield(value) if isinstance(value, str) else _csv_cell(value) for value in values]


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | None):
        return value
    simple = plain(value)
    return json.dumps(simple, ensure_ascii=False) if isinstance(simple, dict | list) else simple


def _shielded(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


@tether(
    reference="files.read_parquet",
    name="Read Parquet",
    category=CATEGORY,
    icon="file-box",
    outputs=("rows",),
    keywords=("parquet", "arrow", "table", "import", "load"),
    example={"path": "data/rows.parquet"},
)
def read_parquet(path: Path, *, columns: Names = "") -> pa.Table:
    """Read a Parquet file as a table.

    Args:
        path: The file; a relative path is looked for in the current folder, then in the configured ones.
        columns: The columns to read; all of them if none is named.
    """
    import pyarrow as pa
    from pyarrow import parquet

    from engine.tethers.library.columns import existing

    try:
        with parquet.ParquetFile(resolve_file(path)) as file:
            chosen = existing(file.schema_arrow.empty_table(), columns)
            return file.read(columns=chosen or None)
    except pa.ArrowException as error:
        reason = f"{path} can't be read as Parquet: {_first_line(error)}. Check that it is a Parquet file."
        raise TetherFailed(kind="Not Parquet", reason=reason) from None


@tether(
    reference="files.write_parquet",
    name="Write Parquet",
    category=CATEGORY,
    icon="file-box",
    effect=True,
    outputs=("path",),
    keywords=("parquet", "arrow", "save", "export"),
    example={"rows": [{"city": "Oslo", "people": 709037}], "path": "cities.parquet"},
)
def write_parquet(rows: pa.Table, path: Annotated[Path, ToWrite]) -> str:
    """Write a table as a Parquet file and give its path.

    Args:
        rows: The table.
        path: The file to write; one that is there is replaced.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return replace(path, lambda draft: parquet.write_table(rows, draft))
    except pa.ArrowException as error:
        reason = f"The table can't be written as Parquet: {_first_line(error)}. Change or drop that column."
        raise TetherFailed(kind="Not Parquet", reason=reason) from None


@tether(
    reference="files.read_json",
    name="Read JSON",
    category=CATEGORY,
    icon="file-json",
    outputs=("value",),
    keywords=("json", "object", "import", "load"),
    example={"path": "data/settings.json"},
)
def read_json(path: Path) -> Any:
    """Read a JSON file strictly: keys that stand twice, NaN and text after the end are refused.

    Args:
        path: The file; a relative path is looked for in the current folder, then in the configured ones.
    """
    return loads(resolve_file(path).read_bytes(), source=str(path))


@tether(
    reference="files.write_json",
    name="Write JSON",
    category=CATEGORY,
    icon="file-json",
    effect=True,
    outputs=("path",),
    keywords=("json", "save", "export"),
    example={"value": {"city": "Oslo"}, "path": "city.json"},
)
def write_json(value: Any, path: Annotated[Path, ToWrite], *, indent: int = 2) -> str:
    """Write a value as a JSON file and give its path; a table becomes a list of objects.

    Args:
        value: What to write.
        path: The file to write; one that is there is replaced.
        indent: How many blanks to indent by; 0 writes one line.
    """
    text = json.dumps(plain(value), ensure_ascii=False, indent=indent or None, allow_nan=False) + "\n"
    return replace(path, lambda draft: draft.write_bytes(_utf8(text)))


@tether(
    reference="files.list_files",
    name="List files",
    category=CATEGORY,
    icon="folder-search",
    outputs=("paths",),
    keywords=("folder", "directory", "glob", "find", "dir"),
    example={"folder": "data", "pattern": "*.csv"},
)
def list_files(folder: Path, *, pattern: str = "*") -> list[str]:
    """List the files in a folder, sorted by path.

    Args:
        folder: The folder; a relative path is looked for in the current folder, then in the configured ones.
        pattern: Which files: * stands for any characters, ** for any folders below.
    """
    found = resolve(folder)
    if not found.is_dir():
        reason = f"{folder} is a file, not a folder. Give the path of a folder."
        raise TetherFailed(kind="Not a folder", reason=reason)
    if not pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        reason = f"The pattern {pattern!r} leads out of the folder. Use one like '*.csv' or '**/*.csv'."
        raise TetherFailed(kind="Pattern refused", reason=reason)
    return sorted(path.as_posix() for path in found.glob(pattern) if path.is_file())


@tether(
    reference="files.read_text",
    name="Read text",
    category=CATEGORY,
    icon="file-text",
    outputs=("text",),
    keywords=("txt", "markdown", "log", "load", "open"),
    example={"path": "data/notes.md"},
)
def read_text(path: Path, *, encoding: str = "utf-8") -> str:
    """Read a file as text.

    Args:
        path: The file; a relative path is looked for in the current folder, then in the configured ones.
        encoding: How characters are stored.
    """
    try:
        return resolve_file(path).read_text(encoding="utf-8-sig" if encoding.lower() in {"utf-8", "utf8"} else encoding)
    except (UnicodeDecodeError, LookupError) as error:
        reason = f"{path} is not text in {encoding}: {_first_line(error)}. Choose another encoding."
        raise TetherFailed(kind="Not text", reason=reason) from None


@tether(
    reference="files.write_text",
    name="Write text",
    category=CATEGORY,
    icon="file-pen",
    effect=True,
    outputs=("path",),
    keywords=("txt", "markdown", "save", "report"),
    example={"text": "# Report", "path": "report.md"},
)
def write_text(text: str, path: Annotated[Path, ToWrite]) -> str:
    """Write a text file in UTF-8 and give its path.

    Args:
        text: What to write.
        path: The file to write; one that is there is replaced.
    """
    return replace(path, lambda draft: draft.write_bytes(_utf8(text)))


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        reason = "The text holds half of a surrogate pair, which no file can keep. Remove that character."
        raise TetherFailed(kind="Not text", reason=reason) from None


def _check_delimiter(delimiter: str) -> None:
    if len(delimiter) != 1 or delimiter in '\r\n"' or not delimiter.isascii():
        raise ValueError(f"The delimiter {delimiter!r} is not one character. Use a comma, a semicolon or a tab.")


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200].rstrip(".")
