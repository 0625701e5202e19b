"""The older way to look at an experiment."""

import pytest

from perdure.analysis import ExperimentAnalysis
from perdure.core.events import Spec
from perdure.errors import ConfigurationError, ExperimentNotFoundError
from perdure.testing.written import WrittenExperiment


@pytest.fixture
def analysis(tmp_path):
    written = WrittenExperiment(tmp_path / "exp", spec=Spec(metric="loss", mode="min"))
    for lr, losses in ((0.1, [3.0, 2.0]), (0.2, [2.5, 1.0]), (0.3, [0.5, 4.0])):
        trial = written.trial({"lr": lr})
        written.attempt(trial)
        for iteration, loss in enumerate(losses, 1):
            written.report(trial, iteration, {"loss": loss, **({"late": 1} if lr == 0.2 else {})}, checkpoint=iteration)
        written.end(trial)
    written.close()
    return ExperimentAnalysis(tmp_path / "exp")


def test_the_best(analysis):
    assert analysis.best_config == {"lr": 0.2}
    assert analysis.best_result["loss"] == 1.0
    assert analysis.best_trial.last_result["loss"] == 1.0
    assert analysis.best_logdir == analysis.best_trial.path
    assert analysis.best_checkpoint.path.endswith("checkpoint_000002")
    assert analysis.best_dataframe["loss"].tolist() == [2.5, 1.0]
    assert analysis.best_result_df.index.tolist() == [analysis.best_trial.trial_id]
    assert analysis.get_best_config("loss", "max") == {"lr": 0.3}
    assert analysis.get_best_trial(scope="all").config == {"lr": 0.3}
    assert analysis.get_best_logdir("loss", "max") == analysis.trials[2].path
    assert analysis.get_best_checkpoint(analysis.trials[2]).path.endswith("checkpoint_000001")
    assert analysis.get_last_checkpoint(analysis.trials[2]).path.endswith("checkpoint_000002")
    assert analysis.get_best_trial("nope", "max") is None


def test_all_of_them(analysis):
    ids = [trial.trial_id for trial in analysis.trials]
    assert analysis.get_all_configs() == {ids[0]: {"lr": 0.1}, ids[1]: {"lr": 0.2}, ids[2]: {"lr": 0.3}}
    assert analysis.get_all_configs(prefix=True)[ids[0]] == {"config/lr": 0.1}
    assert [analysis.results[trial]["loss"] for trial in ids] == [2.0, 1.0, 4.0]
    assert analysis.results_df.loc[ids[1], "loss"] == 1.0
    assert analysis.dataframe("loss", "min")["loss"].tolist() == [2.0, 1.0, 0.5]
    frames = analysis.trial_dataframes
    assert [frames[trial]["loss"].tolist() for trial in ids] == [[3.0, 2.0], [2.5, 1.0], [0.5, 4.0]]
    assert "late" not in frames[ids[0]]


def test_what_is_missing_is_said(tmp_path, analysis):
    with pytest.raises(ExperimentNotFoundError):
        ExperimentAnalysis(tmp_path / "nothing")
    with pytest.raises(ConfigurationError):
        ExperimentAnalysis(analysis.experiment_path, default_mode="best")


def test_the_last_rows_carry_the_tag_of_their_trial(analysis) -> None:
    assert len({trial.experiment_tag for trial in analysis.trials}) == 3
    assert [analysis.results_df.loc[trial.trial_id, "experiment_tag"] for trial in analysis.trials] == [
        trial.experiment_tag for trial in analysis.trials
    ]
