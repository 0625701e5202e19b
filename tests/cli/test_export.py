"""`perdure export`."""

import csv
import io
import json
import sys

import pytest


def test_to_stdout(perdure, finished):
    ran = perdure("export", finished)
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [row["accuracy"] for row in rows] == ["0.1", "0.2", "0.3", "0.75", "0.5"]
    assert [row["loss"] for row in perdure("export", finished, "--rows", "last", "--json").json] == [1.5, 0.5]
    lines = perdure("export", finished, "--format", "jsonl").lines
    assert [json.loads(line)["training_iteration"] for line in lines] == [1, 2, 3, 1, 2]


def test_to_a_file(perdure, finished, tmp_path):
    ran = perdure("export", finished, "-o", tmp_path / "rows.csv")
    assert (ran.code, ran.out) == (0, f"5 rows written to {tmp_path / 'rows.csv'}\n")
    ran = perdure("export", finished, "--rows", "last", "-o", tmp_path / "rows.parquet", "--json")
    assert (ran.json["format"], ran.json["rows"]) == ("parquet", 2)
    assert (tmp_path / "rows.parquet").read_bytes()[:4] == b"PAR1"


def test_what_cannot_be_done(perdure, finished, tmp_path):
    ran = perdure("export", finished, "--format", "parquet")
    assert (ran.code, ran.out) == (2, "")
    assert "-o FILE" in ran.err
    assert perdure("export", finished, "-o", tmp_path / "rows.xlsx").code == 2
    assert perdure("export", tmp_path / "nowhere").code == 2


def test_a_library_that_is_not_installed_is_said_in_one_line(perdure, finished, tmp_path, monkeypatch):
    for name in ("pyarrow", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
    ran = perdure("export", finished, "-o", tmp_path / "rows.parquet")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("perdure: Nothing was exported: Parquet needs pyarrow or polars")
    assert ran.err.count("\n") == 1
    assert list(tmp_path.glob("rows.parquet*")) == []


def test_a_missing_part_of_perdure_itself_is_no_library_to_install(perdure, finished, monkeypatch):
    monkeypatch.setitem(sys.modules, "perdure.result_grid", None)
    with pytest.raises(ModuleNotFoundError):
        perdure("export", finished)
