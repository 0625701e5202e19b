"""`perdure resume` in this process; of a running driver see tests/control/test_running.py."""

import os

import pytest

from perdure import tune
from perdure.journal.file import FileJournal


def test_an_experiment_that_raises_for_its_script_is_told_of_by_exit_code_and_document(perdure, tmp_path):
    def train(config):
        raise ValueError("no")

    run_config = tune.RunConfig(
        name="exp",
        storage_path=str(tmp_path),
        executor="inline",
        verbose=0,
        failure_config=tune.FailureConfig(fail_fast="raise"),
    )
    with pytest.raises(ValueError, match="no"):
        tune.Tuner(train, tune_config=tune.TuneConfig(num_samples=3), run_config=run_config).fit()
    ran = perdure("resume", tmp_path / "exp", "--resume-errored", "--json")
    assert (ran.code, ran.err) == (3, "")
    told = ran.json["experiment"]
    assert (told["condition"], told["stop_reason"], told["counts"]["ERROR"]) == ("interrupted", "fail_fast", 1)
    assert not perdure("show", tmp_path / "exp", "--json").json["experiment"]["changes"], "it is asked for as before"


def test_one_that_was_killed_before_its_first_record_is_not_begun_by_the_command(perdure, tmp_path):
    FileJournal(tmp_path / "exp").close()
    (tmp_path / "exp" / "trainable.pkl").write_bytes(b"a pickle that nobody may load")
    before = sorted(os.listdir(tmp_path / "exp"))
    ran = perdure("resume", tmp_path / "exp")
    assert ran.code == 2
    assert "has not begun" in ran.err
    assert sorted(os.listdir(tmp_path / "exp")) == before
    shown = perdure("show", tmp_path / "exp")
    assert "perdure resume" not in shown.out
    assert "before it began: run its script again" in shown.out
