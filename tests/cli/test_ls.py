"""`perdure ls`."""

import json

import pytest


def test_experiments_under_a_path(perdure, finished, interrupted):
    ran = perdure("ls", finished.parent)
    assert ran.code == 0
    assert [line.split()[:3] for line in ran.lines] == [
        ["experiment", "condition", "trials"],
        [ran.lines[1]],
        ["cut_short", "interrupted", "1"],
        ["digits", "finished", "3"],
    ]
    assert "accuracy 0.5" in ran.lines[3]


def test_experiments_in_json(perdure, finished, interrupted):
    document = perdure("ls", finished.parent, "--json").json
    assert document["path"] == str(finished.parent)
    assert document["unreadable"] == []
    short, digits = document["experiments"]
    assert short["condition"] == "interrupted"
    assert short["resume"] == f'Tuner.restore("{interrupted}", trainable).fit()'
    assert digits["resume"] is None
    assert digits["counts"] == {"PENDING": 0, "RUNNING": 0, "PAUSED": 0, "TERMINATED": 2, "ERROR": 1}
    assert digits["best"] == {
        "value": 0.5,
        "trial": "ab12c_00001",
        "name": "train_ab12c_00001",
        "iteration": 2,
        "searched": {"lr": 0.05},
    }


GRIDS = [["lr", [0.1, 0.01]], ["model/units", [8, 16, 32]]]


@pytest.mark.parametrize(
    ("num_samples", "definition", "total"),
    [
        (12, {"grids": [], "search_alg": None}, 12),
        (2, {"grids": GRIDS, "search_alg": None}, 12),
        (2, {"grids": GRIDS, "search_alg": {"BasicVariantGenerator": {"constant_grid_search": True}}}, 12),
        (12, {"grids": [], "search_alg": {"OptunaSearch": {"points_to_evaluate": [{"lr": 0.1}]}}}, 12),
        (12, {"grids": GRIDS, "search_alg": {"OptunaSearch": {}}}, None),
        (2, {"grids": GRIDS, "search_alg": {"BasicVariantGenerator": {"points_to_evaluate": [{"lr": 0.1}]}}}, None),
        (2, {"grids": [["lr", [{"grid_search": [1, 2]}, 3]]], "search_alg": None}, None),
        (-1, {"grids": [], "search_alg": None}, None),
        (12, {}, None),
    ],
)
def test_of_how_many_trials_is_said_where_it_is_known(perdure, new_experiment, num_samples, definition, total):
    experiment = new_experiment(num_samples=num_samples, definition=definition)
    experiment.start(0)
    experiment.start(1)
    experiment.journal.close()
    said = "2" if total is None else f"2 of {total}"
    assert perdure("ls", experiment.path.parent).lines[-1].split()[1:-2] == ["interrupted", *said.split()]
    shown = perdure("show", experiment.path)
    assert shown.lines[1] == f"interrupted, {said} trials: 2 INTERRUPTED"
    assert perdure("show", experiment.path, "--json").json["experiment"]["total"] == total


def test_a_search_that_has_ended_has_no_more_trials_to_come(perdure, new_experiment):
    experiment = new_experiment(num_samples=12, definition={"grids": [], "search_alg": None})
    experiment.start(0)
    experiment.end(0)
    experiment.finish()
    assert perdure("show", experiment.path).lines[1] == "finished, 1 trial: 1 TERMINATED"
    assert perdure("show", experiment.path, "--json").json["experiment"]["total"] == 1


def test_trials_of_an_experiment(perdure, finished):
    ran = perdure("ls", finished)
    assert ran.code == 0
    assert [line.split() for line in ran.lines[2:]] == [
        ["train_ab12c_00000", "TERMINATED", "3", "1.5", "s", "0.3", "1.5", "0.1", "3"],
        ["train_ab12c_00001", "TERMINATED", "2", "1.0", "s", "0.5", "0.5", "0.05", "2"],
        ["train_ab12c_00002", "ERROR", "0.033333"],
    ]


def test_trials_in_json(perdure, finished):
    trials = perdure("ls", finished, "--json").json["trials"]
    assert [trial["trial"] for trial in trials] == ["ab12c_00000", "ab12c_00001", "ab12c_00002"]
    assert trials[0] == {
        "trial": "ab12c_00000",
        "number": 0,
        "name": "train_ab12c_00000",
        "path": str(finished / "train_ab12c_00000"),
        "status": "TERMINATED",
        "interrupted": False,
        "held": False,
        "iteration": 3,
        "time_total_s": 1.5,
        "metrics": {"accuracy": 0.3, "loss": 1.5},
        "searched": {"lr": 0.1},
        "failures": 0,
        "checkpoints": 3,
        "error": None,
    }
    assert trials[2]["error"]["kind"] == "ValueError"


def test_some_trials(perdure, finished):
    assert [line.split()[0] for line in perdure("ls", finished, "--status", "error").lines[2:]] == ["train_ab12c_00002"]
    assert len(perdure("ls", finished, "--limit", 1).lines) == 3
    ran = perdure("ls", finished, "--status", "lost")
    assert (ran.code, ran.out) == (2, "")
    assert "There is no status LOST" in ran.err


def test_no_trials_and_no_such_trials(perdure, finished, new_experiment):
    assert perdure("ls", finished, "--status", "paused").lines == [f"No such trials in {finished}."]
    empty = new_experiment("empty").path
    assert perdure("ls", empty).lines == [f"No trials yet in {empty}."]


def test_an_empty_storage_path(perdure, tmp_path):
    ran = perdure("ls", tmp_path)
    assert (ran.code, ran.out) == (0, f"No experiments in {tmp_path}.\n")


def test_the_default_path_comes_from_the_environment(perdure, finished, monkeypatch):
    monkeypatch.setenv("PERDURE_STORAGE_PATH", str(finished.parent))
    assert "digits" in perdure("ls").out


def test_one_damaged_experiment_does_not_hide_the_others(perdure, finished, interrupted):
    journal = finished / "journal-000001.jsonl"
    damaged = bytearray(journal.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    journal.write_bytes(damaged)
    ran = perdure("ls", finished.parent)
    assert ran.code == 1
    assert "cut_short" in ran.out
    assert "digits: cannot be read:" in ran.out
    assert "journal-000001.jsonl, line " in ran.out
    document = perdure("ls", finished.parent, "--json").json
    assert [each["path"] for each in document["unreadable"]] == [str(finished)]


def test_values_that_are_not_json_stay_tagged_in_json_and_are_told_in_words(perdure, new_experiment):
    experiment = new_experiment()
    experiment.start(0, optimiser={"$py": "<class 'Adam'>"})
    experiment.report(0, 1, accuracy={"$float": "nan"}, evaluation={"top5": 0.25})
    experiment.journal.close()
    ran = perdure("ls", experiment.path)
    assert ran.lines[2].split()[5:] == ["nan", "0.25", "Adam"]
    assert "evaluation/top5" in ran.lines[0]
    document = json.loads(perdure("ls", experiment.path, "--json").out)
    assert document["trials"][0]["metrics"]["accuracy"] == {"$float": "nan"}


@pytest.mark.parametrize("columns", ["40", "80"])
def test_a_narrow_terminal_gets_fewer_columns(perdure, finished, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    ran = perdure("ls", finished)
    assert max(map(len, ran.lines)) <= int(columns)
    assert "accuracy" in ran.lines[0]
