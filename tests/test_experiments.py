"""`tune.run`, `tune.run_experiments` and `tune.Experiment`: the Tuner by its older names."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure import tune
from perdure.errors import ConfigurationError, ExperimentExistsError, TrialFailedError


def square(config: dict[str, Any]) -> None:
    cpus = tune.get_context().get_trial_resources()["CPU"]
    for step in range(3):
        tune.report({"loss": config.get("x", 0) ** 2 + step, "cpus": cpus})


def fragile(config: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "x").write_text("x")
        began = "checkpoint" if tune.get_checkpoint() else "scratch"
        tune.report({"x": config["x"], "began": began}, checkpoint=tune.Checkpoint.from_directory(directory))
    if config["x"] == 1 and not Path(config["repaired"]).exists():
        raise RuntimeError("this one is broken")


Run = Callable[..., tune.ExperimentAnalysis]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`tune.run` of a silent experiment "exp", without a process for each trial."""
    _inline(monkeypatch)
    return lambda trainable, **options: tune.run(
        trainable, **{"name": "exp", "storage_path": str(tmp_path), "verbose": 0, **options}
    )


def _inline(monkeypatch: pytest.MonkeyPatch) -> None:
    from perdure import experiments
    from perdure.config import RunConfig

    monkeypatch.setattr(experiments, "RunConfig", lambda **given: RunConfig(executor="inline", **given))


def test_it_returns_an_analysis_of_what_was_asked_for(run: Run, tmp_path: Path) -> None:
    analysis = run(
        square,
        config={"x": tune.grid_search([1, 2, 3])},
        metric="loss",
        mode="min",
        num_samples=2,
        stop={"training_iteration": 2},
        trial_name_creator=lambda trial: f"square-{trial.trial_id}",
    )
    assert isinstance(analysis, tune.ExperimentAnalysis)
    assert analysis.experiment_path == str(tmp_path / "exp")
    assert len(analysis.trials) == 6
    assert analysis.best_config == {"x": 1}
    assert all(trial.last_result["training_iteration"] == 2 for trial in analysis.trials)
    assert str(analysis.trials[0]).startswith("square-")


def test_trials_run_in_processes_of_their_own(tmp_path: Path) -> None:
    analysis = tune.run(square, name="exp", storage_path=str(tmp_path), verbose=0, config={"x": 2})
    assert analysis.trials[0].last_result["loss"] == 6


def test_a_failed_trial_raises_unless_it_is_told_not_to(run: Run, tmp_path: Path) -> None:
    config = {"x": tune.grid_search([0, 1]), "repaired": str(tmp_path / "repaired")}
    with pytest.raises(TrialFailedError, match="Trials did not complete: .*_00001") as error:
        run(fragile, config=config)
    assert isinstance(error.value, tune.TuneError)
    assert "this one is broken" in str(error.value)
    assert [trial.status for trial in tune.ExperimentAnalysis(tmp_path / "exp").trials] == ["TERMINATED", "ERROR"]
    analysis = run(fragile, config=config, name="quiet", raise_on_failed_trial=False)
    assert [trial.status for trial in analysis.trials] == ["TERMINATED", "ERROR"]


@pytest.mark.parametrize(
    ("how", "began"),
    [
        ({"resume": "AUTO+ERRORED"}, "checkpoint"),
        ({"resume": "AUTO+RESTART_ERRORED"}, "scratch"),
        ({"resume": "AUTO+ERRORED_ONLY"}, "checkpoint"),
        ({"resume_config": tune.ResumeConfig(errored="resume")}, "checkpoint"),
    ],
)
def test_errors_run_again_when_it_is_said(run: Run, tmp_path: Path, how: dict[str, Any], began: str) -> None:
    repaired = tmp_path / "repaired"
    config = {"x": tune.grid_search([0, 1]), "repaired": str(repaired)}
    run(fragile, config=config, raise_on_failed_trial=False)
    repaired.touch()
    assert run(fragile, config=config, resume=True, raise_on_failed_trial=False).trials[1].status == "ERROR"
    analysis = run(fragile, config=config, **how)
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 2
    assert analysis.trials[1].last_result["began"] == began


def test_a_name_that_is_taken_is_refused_unless_it_is_to_be_resumed(run: Run) -> None:
    run(square)
    with pytest.raises(ExperimentExistsError):
        run(square)
    assert len(run(square, resume="AUTO").trials) == 1


def test_resources_are_each_runs_own(run: Run) -> None:
    assert run(square, resources_per_trial={"cpu": 2}).trials[0].last_result["cpus"] == 2
    assert run(square, name="plain").trials[0].last_result["cpus"] == 1


class Counter(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.value = 0

    def step(self) -> dict[str, Any]:
        self.value += 1
        return {"value": self.value, "done": self.value == 4}

    def save_checkpoint(self, directory: str) -> None:
        Path(directory, "value").write_text(str(self.value))

    def load_checkpoint(self, directory: str) -> None:
        self.value = int(Path(directory, "value").read_text())


def test_older_spellings_of_the_checkpoint_config_are_taken(run: Run, tmp_path: Path) -> None:
    told = r"CheckpointConfig\(num_to_keep=1, .*checkpoint_score_order='min'"
    with pytest.warns(DeprecationWarning, match=told) as warned:
        analysis = run(
            Counter,
            keep_checkpoints_num=1,
            checkpoint_score_attr="min-value",
            checkpoint_freq=1,
            resources_per_trial={"cpu": 1},
        )
    assert warned[0].filename == __file__  # Python shows it to whoever wrote the script, and to nobody else
    kept = sorted(path.name for path in Path(analysis.trials[0].path).glob("checkpoint_*"))
    assert kept == ["checkpoint_000000", "checkpoint_000003"]  # the best, and the latest


def test_experiments_run_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _inline(monkeypatch)
    tune.register_trainable("squares", square)
    first = tune.Experiment("first", square, config={"x": 3}, storage_path=str(tmp_path), num_samples=2)
    others = {"second": {"run": "squares", "storage_path": str(tmp_path), "checkpoint_config": {"num_to_keep": 1}}}
    trials = tune.run_experiments([first, others], verbose=0)
    assert [trial.last_result["loss"] for trial in trials] == [11, 11, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]
    assert first.path == first.local_path == str(tmp_path / "first")
    assert (first.run_identifier, first.public_spec) == ("square", {"num_samples": 2})
    assert first.stopper("id", {}) is False
    again = tune.run(first, verbose=0, resume=True)
    assert len(again.trials) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"restore": "/a/checkpoint"}, "load it in the trainable"),
        ({"export_formats": ["h5"]}, "export_model"),
        ({"resume": "PROMPT"}, "AUTO"),
        ({"local_dir": "/tmp"}, "storage_path"),
        ({"fail_fast": True, "max_failures": 2}, "leave max_failures at 0"),
        ({"mode": "best"}, "min"),
        ({"chdir_to_trial_dir": True, "config": 3}, "param_space"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(
    run: Run, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        run(square, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"e": {"config": {}}}, '"run" is missing'),
        ({"e": {"run": square, "lr": 1}}, "no argument lr"),
        (3, "use an Experiment"),
    ],
)
def test_what_describes_no_experiment_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        tune.run_experiments(given)


@pytest.mark.parametrize("twice", [{"stop": {"x": 1}}, {"config": {"x": 1}}, {"checkpoint_freq": 2}, {"name": "b"}])
def test_what_an_experiment_says_is_not_said_beside_it(tmp_path: Path, twice: dict[str, Any]) -> None:
    experiment = tune.Experiment("a", lambda config: None, storage_path=str(tmp_path))
    with pytest.raises(ConfigurationError, match=f"{next(iter(twice))} beside it"):
        tune.run(experiment, verbose=0, **twice)
    assert list(tmp_path.iterdir()) == []
