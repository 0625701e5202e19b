"""`perdure resume` in this process; of a running driver see tests/control/test_running.py."""

import pytest

from perdure import tune


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
