"""`perdure list-trials` and `list-experiments`: what Ray's `tune` command offers."""

import csv
import json

import pytest

from perdure.cli.listing import TRIAL_COLUMNS


@pytest.mark.parametrize("command", ["ls", "list-trials"])
def test_columns_filter_sort_and_limit(perdure, finished, command):
    ran = perdure(command, finished, "--columns", "name,accuracy", "--sort", "accuracy", "--desc", "true")
    assert [line.split() for line in ran.lines] == [
        ["name", "accuracy"],
        ["-" * 27],
        ["train_ab12c_00001", "0.5"],
        ["train_ab12c_00000", "0.3"],
        ["train_ab12c_00002"],
    ]
    ran = perdure(command, finished, "--filter", "accuracy >= 0.5", "--result-columns", "loss", "--json")
    assert ran.json["rows"][0]["loss"] == 0.5
    assert [row["name"] for row in ran.json["rows"]] == ["train_ab12c_00001"]
    assert ran.json["columns"][:3] == ["name", "status", "training_iteration"]
    rows = perdure(command, finished, "--sort", "config/lr", "--limit", "1", "--json").json["rows"]
    assert [row["config/lr"] for row in rows] == [pytest.approx(0.1 / 3)]
    ran = perdure(command, finished, "--filter", "status == ERROR", "--json")
    assert [row["name"] for row in ran.json["rows"]] == ["train_ab12c_00002"]


@pytest.mark.parametrize(
    "argv", [["--sort", "loss"], ["--filter", "loss < 1"], ["--filter", "loss<1"], ["--filter", "loss <1 "]]
)
def test_what_is_sorted_or_filtered_by_is_shown(perdure, finished, argv):
    document = perdure("ls", finished, *argv, "--json").json
    assert document["columns"][:7] == [*TRIAL_COLUMNS, "loss", "config/lr"]
    assert document["rows"][0]["loss"] == 0.5
    assert len(document["rows"]) == (3 if argv[0] == "--sort" else 1)
    assert perdure("ls", finished, *argv, "--columns", "name", "--json").json["columns"] == ["name"]


def test_every_operator_needs_no_spaces(perdure, finished):
    found = {
        sign: [row["loss"] for row in perdure("ls", finished, "--filter", f"loss{sign}0.5", "--json").json["rows"]]
        for sign in ("<", "<=", "==", "!=", ">=", ">")
    }
    assert found == {"<": [], "<=": [0.5], "==": [0.5], "!=": [1.5], ">=": [1.5, 0.5], ">": [1.5]}


def test_nan_is_a_value_of_its_column_and_is_sorted_last(perdure, new_experiment):
    experiment = new_experiment()
    for n, loss in enumerate([{"$float": "nan"}, 2.5, {"$float": "-inf"}, 1.5]):
        experiment.start(n)
        experiment.report(n, 1, loss=loss)
    experiment.journal.close()
    for order, expected in (([], ["-inf", "1.5", "2.5", "nan"]), (["--desc"], ["2.5", "1.5", "-inf", "nan"])):
        ran = perdure("ls", experiment.path, "--sort", "loss", *order, "--columns", "loss")
        assert [line.strip() for line in ran.lines] == ["loss", "----", *expected]
    rows = perdure("ls", experiment.path, "--filter", "loss<0", "--json").json["rows"]
    assert [row["loss"] for row in rows] == [{"$float": "-inf"}]
    perdure("ls", experiment.path, "--columns", "loss", "-o", experiment.path / "rows.csv")
    assert (experiment.path / "rows.csv").read_text().split() == ["loss", "nan", "2.5", "-inf", "1.5"]


def test_experiments(perdure, finished, interrupted):
    for command in ("lsx", "list-experiments"):
        ran = perdure(command, finished.parent, "--columns", "name,total_trials,condition", "--sort", "total_trials")
        assert [line.split() for line in ran.lines[2:]] == [
            ["cut_short", "1", "interrupted"],
            ["digits", "3", "finished"],
        ]
    ran = perdure("lsx", finished.parent, "--filter", "error_trials > 0", "--json")
    assert [row["name"] for row in ran.json["rows"]] == ["digits"]


def test_rows_go_to_a_file(perdure, finished, tmp_path):
    perdure("ls", finished, "--columns", "name,loss", "-o", tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open() as file:
        assert [row["loss"] for row in csv.DictReader(file)] == ["1.5", "0.5", ""]
    perdure("ls", finished, "--columns", "loss", "-o", tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text()) == [{"loss": 1.5}, {"loss": 0.5}, {"loss": None}]


@pytest.mark.parametrize(
    "argv", [["--columns", "nope"], ["--filter", "loss"], ["--filter", "loss ~ 3"], ["--sort", "x"], ["-o", "rows.pkl"]]
)
def test_what_makes_no_sense_is_said(perdure, finished, argv):
    ran = perdure("ls", finished, *argv)
    assert ran.code == 2
    assert ran.err.startswith("perdure: ")


def test_a_note(perdure, finished):
    ran = perdure("add-note", finished, "--text", "wider nets next")
    assert (ran.code, ran.out) == (0, f"Note created: {finished / 'note.txt'}\n")
    assert perdure("add-note", finished, "--text", "done", "--json").json == {
        "file": str(finished / "note.txt"),
        "created": False,
    }
    assert (finished / "note.txt").read_text() == "wider nets next\ndone\n"
    assert perdure("add-note", finished, "--filename", "../note.txt", "--text", "x").code == 2
    assert perdure("add-note", finished / "nowhere", "--text", "x").code == 2
