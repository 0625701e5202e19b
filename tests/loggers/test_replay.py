"""Loggers that block or raise hold up nobody, and are told later what they missed."""

import json
import threading
import time

import pytest

from perdure import tune
from perdure.cli.main import main
from perdure.core.events import Source, Spec
from perdure.journal.file import FileJournalReader
from perdure.loggers.base import LoggerCallback
from perdure.loggers.replay import DEFAULT_LOGGERS, replay
from perdure.loggers.thread import LoggerFollower
from perdure.testing.written import WrittenExperiment


@pytest.fixture
def written(tmp_path):
    """Two trials, one of which went back to its first checkpoint after its second row."""
    experiment = WrittenExperiment(tmp_path / "exp", spec=Spec(metric="loss", mode="min", max_failures=3))
    first, second = experiment.trial({"lr": 1}), experiment.trial({"lr": 2})
    experiment.attempt(first)
    experiment.report(first, 1, {"loss": 3.0}, checkpoint=0)
    experiment.report(first, 2, {"loss": 2.0})
    experiment.fail(first)
    experiment.attempt(first, Source(trial=first, number=0), iteration=1)
    experiment.report(first, 2, {"loss": 1.0})
    experiment.end(first)
    experiment.attempt(second)
    experiment.report(second, 1, {"loss": 5.0})
    experiment.close()
    return experiment


def rows_of(written, number):
    lines = (written.path / f"train_abcde_{number:05d}" / "result.json").read_text().splitlines()
    return [(row["training_iteration"], row["loss"]) for row in map(json.loads, lines)]


class Remembers(LoggerCallback):
    def __init__(self):
        self.told = []

    def log_trial_result(self, iteration, trial, result):
        self.told.append((trial.trial_id, result["training_iteration"], result["loss"]))

    def log_trial_end(self, trial, failed=False):
        self.told.append((trial.trial_id, "failed" if failed else "ended"))


def test_lost_files_are_made_anew(written):
    count = replay(written.path, FileJournalReader(written.path), [kind() for kind in DEFAULT_LOGGERS])
    assert count == 16
    assert rows_of(written, 0) == [(1, 3.0), (2, 1.0)]
    assert rows_of(written, 1) == [(1, 5.0)]
    whole = (written.path / "train_abcde_00000" / "result.json").read_bytes()
    (written.path / "train_abcde_00000" / "result.json").write_text("rubbish")
    (written.path / "train_abcde_00001" / "progress.csv").unlink()
    assert main(["replay-loggers", str(written.path)]) == 0
    assert (written.path / "train_abcde_00000" / "result.json").read_bytes() == whole
    assert (written.path / "train_abcde_00001" / "progress.csv").read_text().count("\n") == 2
    assert "ValueError: boom" in (written.path / "train_abcde_00000" / "error.txt").read_text()


def test_another_logger_is_told_what_happened_in_order(written):
    logger = Remembers()
    replay(written.path, FileJournalReader(written.path), [logger])
    assert logger.told == [
        ("abcde_00000", 1, 3.0),
        ("abcde_00000", 2, 2.0),
        ("abcde_00000", 2, 1.0),
        ("abcde_00000", "ended"),
        ("abcde_00001", 1, 5.0),
    ]
    assert not (written.path / "loggers.json").exists()


def test_the_command_takes_a_logger_of_yours(written, tmp_path, monkeypatch, capsys):
    (tmp_path / "my_loggers.py").write_text(
        "from perdure.tune.logger import LoggerCallback\n"
        "class Prints(LoggerCallback):\n"
        "    def log_trial_result(self, iteration, trial, result):\n"
        "        if result['loss'] > 4: raise ValueError('too much')\n"
        "        print(trial.trial_id, result['loss'])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["replay-loggers", str(written.path), "--logger", "my_loggers:Prints"]) == 1
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "abcde_00000 3.0",
        "abcde_00000 2.0",
        "abcde_00000 1.0",
        "16 records replayed to Prints",
    ]
    assert "too much" in told.err
    assert not (written.path / "train_abcde_00000" / "result.json").exists()
    for wrong in ("my_loggers", "my_loggers:Nothing", "no_such_module:X", "json:JSONDecoder"):
        assert main(["replay-loggers", str(written.path), "--logger", wrong]) == 2


def test_files_of_a_running_experiment_are_left_to_its_driver(tmp_path, capsys):
    running = WrittenExperiment(tmp_path / "running")
    running.trial()
    assert main(["replay-loggers", str(running.path)]) == 1
    assert "Nothing was changed" in capsys.readouterr().err
    running.close()


def test_a_logger_that_blocks_ends_neither_trials_nor_fit(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PERDURE_LOGGERS_CLOSE_S", "0.2")
    real = LoggerFollower.close

    def close(follower, timeout_s):  # to write the files may take a busy machine longer
        return real(follower, timeout_s if follower._kinds == [Blocks] else 60)

    monkeypatch.setattr(LoggerFollower, "close", close)
    stuck, let_go = tmp_path / "stuck", threading.Event()

    class Blocks(Remembers):
        def log_trial_result(self, iteration, trial, result):
            super().log_trial_result(iteration, trial, result)
            stuck.touch()
            let_go.wait()

    def train(config):
        for step in range(3):
            tune.report({"loss": step * config["x"]})
            while not stuck.exists():
                time.sleep(0.01)

    logger = Blocks()
    grid = tune.Tuner(
        train,
        param_space={"x": tune.grid_search([1, 2])},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(name="exp", storage_path=str(tmp_path), callbacks=[logger], executor="inline"),
    ).fit()
    assert [result.metrics["loss"] for result in grid] == [2, 4]
    assert len(logger.told) == 1
    for result in grid:  # the files do not wait for it
        with open(f"{result.path}/result.json") as file:
            assert [json.loads(line)["training_iteration"] for line in file] == [1, 2, 3]
    said = capsys.readouterr().out
    assert "The loggers (Blocks) did not end within 0.2 s and were left behind" in said
    assert "perdure replay-loggers" in said
    let_go.set()
    thread = next((thread for thread in threading.enumerate() if thread.name == "perdure-loggers"), None)
    if thread is not None:
        thread.join(60)
        assert not thread.is_alive()
    assert len(logger.told) <= 4  # a few rows that were read already, and nothing of the experiment's end
    missed = Remembers()
    replay(tmp_path / "exp", FileJournalReader(tmp_path / "exp"), [missed])
    assert len(missed.told) == 8


def test_a_logger_that_raises_is_told_of_once_and_what_comes_next(tmp_path, capsys):
    class Raises(Remembers):
        def log_trial_result(self, iteration, trial, result):
            super().log_trial_result(iteration, trial, result)
            raise OSError("the tracker is away")

    def train(config):
        for step in range(3):
            tune.report({"loss": step})

    logger = Raises()
    grid = tune.Tuner(
        train, run_config=tune.RunConfig(name="exp", storage_path=str(tmp_path), callbacks=[logger], executor="inline")
    ).fit()
    assert grid.num_errors == 0
    assert len(logger.told) == 4
    assert capsys.readouterr().out.count("OSError: the tracker is away") == 1
