"""Rows as files that other programs read: CSV, JSON, JSON lines, Parquet.

CSV and JSON need no library. What CSV has no word for is written as in `progress.csv`; JSON has NaN and infinities as
null, as browsers and strict readers want it.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from perdure.errors import ConfigurationError
from perdure.frames import Table, library

FORMATS = ("csv", "parquet", "json", "jsonl")


def format_of(path: str | os.PathLike[str], chosen: str | None = None) -> str:
    """Return the format to write: the one that was chosen, or what the path's ending says.

    Raises:
        ConfigurationError: there is no such format.
    """
    found = Path(path).suffix.lstrip(".").lower() if chosen is None else chosen.lower()
    if found not in FORMATS:
        asked = f"format={chosen!r}" if chosen is not None else f"{os.fspath(path)!r} does not end in a known format"
        raise ConfigurationError(f"Nothing was exported: {asked}. Use one of {', '.join(FORMATS)}.")
    return found


def export(table: Table, path: str | os.PathLike[str], format: str) -> None:  # noqa: A002 - what everybody calls it
    """Write the table to a file, which is replaced in one step.

    Raises:
        ModuleNotFoundError: Parquet needs pyarrow or polars, and neither is installed.
    """
    target = os.path.abspath(os.path.expanduser(os.fspath(path)))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    temporary = f"{target}.{os.getpid()}.tmp"
    try:
        if format == "parquet":
            _to_parquet(table, temporary)
        else:
            with open(temporary, "w", newline="", encoding="utf-8") as file:
                write_text(table, file, format)
        os.replace(temporary, target)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def write_text(table: Table, file: IO[str], format: str) -> None:  # noqa: A002
    """Write the table to a stream, in one of the formats that are text."""
    {"csv": write_csv, "json": write_json, "jsonl": write_jsonl}[format](table, file)


def write_csv(table: Table, file: IO[str]) -> None:
    """Write a header and a line for each row."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows())


def json_rows(table: Table) -> Iterator[str]:
    """Yield each row as a JSON object."""
    names = list(table.columns)
    for row in table.rows():
        yield json.dumps({name: plain(value) for name, value in zip(names, row, strict=True)}, default=str)


def plain(value: Any) -> Any:
    """Return a value as JSON can say it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(table: Table, file: IO[str]) -> None:
    """Write one list of objects, one a line."""
    separator = "[\n"
    for row in json_rows(table):
        file.write(separator + row)
        separator = ",\n"
    file.write("\n]\n" if len(table) else "[]\n")


def write_jsonl(table: Table, file: IO[str]) -> None:
    """Write an object a line."""
    file.writelines(row + "\n" for row in json_rows(table))


def _to_parquet(table: Table, path: str) -> None:
    try:
        arrow = library("pyarrow")
    except ModuleNotFoundError:
        try:
            library("polars")
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "Nothing was exported: Parquet needs pyarrow or polars, and neither is installed: "
                'pip install "perdure[arrow]". CSV and JSON need neither.',
                name="pyarrow",
            ) from None
        table.make("polars").write_parquet(path)
        return
    from pyarrow import parquet

    parquet.write_table(table.make(arrow.__name__), path)
