"""Results for other programs: dataframes of each library, and files."""

import csv
import json
import math
import warnings

import polars
import pytest
from pyarrow import parquet

from perdure.core.events import Spec
from perdure.errors import ConfigurationError, JournalCorruptError
from perdure.result_grid import ResultGrid
from perdure.testing.written import WrittenExperiment


@pytest.fixture
def path(tmp_path):
    written = WrittenExperiment(tmp_path / "exp", spec=Spec(metric="loss", mode="min"))
    for lr, losses in ((0.5, [3.0, 2.0, 1.0]), (0.25, [2.5, math.nan])):
        trial = written.trial({"lr": lr, "net": {"act": "relu"}})
        written.attempt(trial)
        for iteration, loss in enumerate(losses, 1):
            late = {"late": iteration} if lr == 0.25 else {}
            written.report(trial, iteration, {"loss": loss, "mixed": [None, "x", 2][iteration - 1], **late})
        written.end(trial)
    written.close()
    return tmp_path / "exp"


@pytest.fixture
def grid(path):
    return ResultGrid.from_path(path)


def test_a_polars_dataframe_has_what_the_pandas_one_has(grid):
    frame = grid.all_rows_dataframe(library="polars")
    assert isinstance(frame, polars.DataFrame)
    known = grid.all_rows_dataframe()
    assert frame.columns == list(known.columns)
    for name in ("training_iteration", "trial_id", "config/lr", "config/net/act", "date", "done", "time_total_s"):
        assert frame[name].to_list() == known[name].tolist()
    assert frame["loss"].to_list()[:4] == [3.0, 2.0, 1.0, 2.5]
    assert math.isnan(frame["loss"][4])
    assert frame["mixed"].to_list() == [None, "x", "2", None, "x"]
    assert frame["training_iteration"].dtype == polars.Int64
    assert grid[1].get_dataframe(library="polars")["late"].to_list() == [1, 2]
    assert grid.get_dataframe(library="polars")["logdir"].to_list() == [result.path for result in grid]


def test_an_unknown_library_is_refused(grid):
    with pytest.raises(ConfigurationError, match="pandas, polars, pyarrow"):
        grid.get_dataframe(library="dask")


def test_an_experiment_without_rows_has_empty_tables(tmp_path):
    WrittenExperiment(tmp_path / "empty").close()
    grid = ResultGrid.from_path(tmp_path / "empty")
    for library in ("pandas", "polars", "pyarrow"):
        assert len(grid.all_rows_dataframe(library=library)) == 0
    for ending in ("csv", "json", "jsonl", "parquet"):
        assert grid.export(tmp_path / f"rows.{ending}") == 0
    assert json.loads((tmp_path / "rows.json").read_text()) == []


def test_csv(grid, tmp_path):
    assert grid.export(tmp_path / "rows.csv") == 5
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["training_iteration"] for row in rows] == ["1", "2", "3", "1", "2"]
    assert [row["loss"] for row in rows] == ["3.0", "2.0", "1.0", "2.5", "nan"]
    assert [row["config/lr"] for row in rows] == ["0.5"] * 3 + ["0.25"] * 2
    assert list(rows[0]) == list(grid.all_rows_dataframe().columns)


def test_json_is_strict(grid, tmp_path):
    grid.export(tmp_path / "rows.json")
    grid.export(tmp_path / "lines", format="jsonl")

    def refuse(constant):
        raise AssertionError(constant)

    rows = json.loads((tmp_path / "rows.json").read_text(), parse_constant=refuse)
    assert [row["loss"] for row in rows] == [3.0, 2.0, 1.0, 2.5, None]
    assert [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()] == rows


def test_parquet(grid, tmp_path):
    assert grid.export(tmp_path / "last.parquet", rows="last") == 2
    table = parquet.read_table(tmp_path / "last.parquet")
    assert table["config/lr"].to_pylist() == [0.5, 0.25]
    assert table["training_iteration"].to_pylist() == [3, 2]
    assert table["done"].to_pylist() == [True, True]


def test_a_refused_export_leaves_the_old_file(grid, tmp_path, monkeypatch):
    (tmp_path / "rows.parquet").write_bytes(b"old")
    with pytest.raises(ConfigurationError, match="csv, parquet, json, jsonl"):
        grid.export(tmp_path / "rows.xlsx")
    with pytest.raises(ConfigurationError, match="last"):
        grid.export(tmp_path / "rows.csv", rows="best")

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("perdure.export.library", missing)
    with pytest.raises(ModuleNotFoundError, match=r"perdure\[arrow\]"):
        grid.export(tmp_path / "rows.parquet")
    assert (tmp_path / "rows.parquet").read_bytes() == b"old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["exp", "rows.parquet"]


def test_of_a_damaged_journal_what_precedes_the_damage_is_salvaged(path):
    journal = path / "journal-000001.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    bad = next(number for number, line in enumerate(lines) if b'"loss":2.5' in line)
    lines[bad] = lines[bad].replace(b"2.5", b"9.5")
    journal.write_bytes(b"".join(lines))
    with pytest.raises(JournalCorruptError, match=r"from_path\(path, salvage=True\) reads what precedes it"):
        len(ResultGrid.from_path(path))
    with pytest.warns(UserWarning, match=f"line {bad + 1}, byte"):
        grid = ResultGrid.from_path(path, salvage=True)
    assert [len(result.metrics_dataframe) for result in grid] == [3, 0]
    assert grid.all_rows_dataframe()["loss"].tolist() == [3.0, 2.0, 1.0]


def test_results_of_a_moved_experiment_warn_of_nothing(path, tmp_path):
    moved = path.rename(tmp_path / "elsewhere")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid = ResultGrid.from_path(moved)
    assert grid.get_best_result().path.startswith(str(moved))
