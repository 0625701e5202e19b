"""What a restore does with each trial, and what it finds when checkpoints are damaged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure import tune
from perdure.core.events import Noticed
from perdure.errors import ConfigurationError, ExperimentNotFoundError, PluginError
from perdure.journal.file import FileJournalReader
from perdure.searchers.bohb import TuneBOHB
from perdure.stoppers.combined import CombinedStopper
from perdure.stoppers.maximum_iteration import MaximumIterationStopper
from perdure.stoppers.noop import NoopStopper
from tests.end_to_end.conftest import Start
from tests.end_to_end.growing import count_up

STEPS = 4


@pytest.fixture
def switch(tmp_path: Path) -> Path:
    """A file: while it is there, trials that would fail do not."""
    return tmp_path / "repaired"


def fragile(config: dict[str, Any]) -> None:
    """Report steps with a checkpoint each; number 1 fails at step 3 unless it was repaired."""
    latest = tune.get_checkpoint()
    first = json.loads(Path(latest.path, "step.json").read_text()) if latest else 0
    run = uuid.uuid4().hex
    for step in range(first + 1, STEPS + 1):
        if config["number"] == 1 and step == 3 and not Path(config["switch"]).exists():
            raise RuntimeError(f"number {config['number']} broke at step {step}")
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "step.json").write_text(json.dumps(step))
            checkpoint = tune.Checkpoint.from_directory(directory)
            tune.report({"step": step, "began_at": first, "run": run}, checkpoint=checkpoint)


def space(switch: Path, count: int = 3) -> dict[str, Any]:
    return {"number": tune.grid_search(list(range(count))), "switch": str(switch)}


def began_at(result: tune.Result) -> list[int]:
    return list(result.metrics_dataframe["began_at"])


def attempts(grid: tune.ResultGrid) -> list[str]:
    """Of each trial, which run of the trainable its latest row is from."""
    return [result.metrics["run"] for result in grid]


# --- which trials run again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, [0, 0]),  # an error stays an error
        ({"resume_errored": True}, [0, 0, 2, 2]),
        ({"restart_errored": True}, [0, 0, 0, 0]),
        ({"_resume_config": tune.ResumeConfig(errored="resume")}, [0, 0, 2, 2]),
        ({"_resume_config": tune.ResumeConfig(errored=tune.ResumeConfig.ResumeType.RESTART)}, [0, 0, 0, 0]),
    ],
)
def test_errors_are_skipped_resumed_or_restarted(
    tuner: Start, storage: Path, switch: Path, how: dict[str, Any], expected: list[int]
) -> None:
    first = tuner(fragile, space(switch)).fit()
    assert (first.num_errors, first.num_terminated) == (1, 2)
    switch.touch()
    grid = tune.Tuner.restore(storage / "exp", fragile, **how).fit()
    assert began_at(grid[1]) == expected
    assert grid.num_errors == (0 if how else 1)
    assert [attempts(grid)[0], attempts(grid)[2]] == [attempts(first)[0], attempts(first)[2]]  # not run again
    rows = [json.loads(line) for line in (Path(grid[1].path) / "result.json").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, len(expected) + 1))
    assert Path(grid[1].path, "error.txt").read_text().count("RuntimeError: number 1 broke at step 3") == 1


def test_finished_trials_can_be_restarted(tuner: Start, storage: Path, switch: Path) -> None:
    first = tuner(fragile, space(switch, 1)).fit()
    grid = tune.Tuner.restore(storage / "exp", fragile, _resume_config=tune.ResumeConfig(finished="restart")).fit()
    assert list(grid[0].metrics_dataframe["step"]) == [1, 2, 3, 4]
    assert attempts(grid)[0] != attempts(first)[0]


def test_unfinished_trials_can_be_left_alone_and_taken_up_later(tuner: Start, storage: Path, switch: Path) -> None:
    fail_fast = tune.FailureConfig(fail_fast=True)
    first = tuner(fragile, space(switch), failure_config=fail_fast, max_concurrent_trials=2).fit()
    assert first.num_errors == 1
    switch.touch()
    left = tune.Tuner.restore(storage / "exp", fragile, resume_unfinished=False).fit()
    unfinished = [result for result in first if result.status not in ("TERMINATED", "ERROR")]
    for result in unfinished:
        assert [again.status for again in left if again.trial_id == result.trial_id] == ["PAUSED"]
    grid = tune.Tuner.restore(storage / "exp", fragile, resume_errored=True).fit()
    assert [result.status for result in grid] == ["TERMINATED"] * 3
    assert [list(result.metrics_dataframe["step"]) for result in grid] == [[1, 2, 3, 4]] * 3


def test_results_can_be_had_without_running(tuner: Start, storage: Path, switch: Path) -> None:
    first = tuner(fragile, space(switch), metric="step", mode="max").fit()
    switch.touch()
    before = {path: path.read_bytes() for path in (storage / "exp").rglob("*") if path.is_file()}
    grid = tune.Tuner.restore(storage / "exp", fragile, resume_errored=True).get_results()
    assert [result.metrics for result in grid] == [result.metrics for result in first]
    assert grid.get_best_result().metrics["step"] == 4
    assert "broke at step 3" in str(grid.errors[0])
    assert {path: path.read_bytes() for path in (storage / "exp").rglob("*") if path.is_file()} == before


def test_there_are_no_results_before_fit(tuner: Start, switch: Path) -> None:
    with pytest.raises(ExperimentNotFoundError, match="fit"):
        tuner(fragile, space(switch)).get_results()


def test_one_script_starts_or_goes_on(tuner: Start, storage: Path, switch: Path) -> None:
    assert not tune.Tuner.can_restore(storage / "exp")
    first = tuner(fragile, space(switch, 1), resume="auto").fit()
    assert tune.Tuner.can_restore(storage / "exp")
    again = tuner(fragile, space(switch, 1), resume="auto").fit()
    assert attempts(again) == attempts(first)


def test_a_path_may_be_spelled_in_every_way_that_a_storage_path_may(
    tuner: Start, storage: Path, switch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = tuner(fragile, space(switch, 1), storage_path=f"file://{storage}").fit()
    assert grid.experiment_path == str(storage / "exp")
    monkeypatch.setenv("HOME", str(storage))
    for spelled in (f"file://{storage}/exp", "~/exp"):
        assert tune.Tuner.can_restore(spelled)
        assert tune.Tuner.restore(spelled, fragile).get_results()[0].path == grid[0].path
        assert tune.ExperimentAnalysis(spelled).trials[0].path == grid[0].path
    assert tune.Result.from_path(f"file://{grid[0].path}").metrics == grid[0].metrics
    with pytest.raises(ConfigurationError, match="s3:// storage is not supported yet"):
        tune.Tuner.can_restore("s3://bucket/exp")


def test_what_has_no_name_cannot_be_gone_on_with(tuner: Start, storage: Path, switch: Path) -> None:
    for resume in ("auto", True, tune.ResumeConfig(errored="resume")):
        with pytest.raises(ConfigurationError, match="has none.*RunConfig.name=.*"):
            tuner(fragile, space(switch, 1), name=None, resume=resume).fit()
    assert not storage.exists()


def test_more_samples_are_added_by_the_same_script(tuner: Start, switch: Path) -> None:
    def draw(config: dict[str, Any]) -> None:
        tune.report({"lr": config["lr"]})

    def run(count: int, name: str) -> list[float]:
        grid = tuner(draw, {"lr": tune.uniform(0, 1)}, num_samples=count, seed=4, resume="auto", name=name).fit()
        return [result.metrics["lr"] for result in grid]

    two = run(2, "grows")
    assert run(5, "grows")[:2] == two
    assert run(5, "grows") == run(5, "at once")


def test_the_trainable_may_be_left_out(tuner: Start, storage: Path, switch: Path) -> None:
    tuner(fragile, space(switch)).fit()
    switch.touch()
    grid = tune.Tuner.restore(storage / "exp", resume_errored=True).fit()
    assert grid.num_errors == 0


class HoldsALock(tune.Callback):
    def __init__(self) -> None:
        self.lock = threading.Lock()


def test_a_callback_that_could_not_be_stored_is_missed(tuner: Start, storage: Path, switch: Path) -> None:
    tuner(fragile, space(switch), callbacks=[HoldsALock()]).fit()
    assert not notices(storage / "exp")
    switch.touch()
    tune.Tuner.restore(storage / "exp", fragile, resume_errored=True).fit()
    assert any("HoldsALock could not be stored" in text for text in notices(storage / "exp"))


def test_a_moved_directory_is_the_experiment(tuner: Start, storage: Path, switch: Path, tmp_path: Path) -> None:
    tuner(fragile, space(switch)).fit()
    switch.touch()
    moved = tmp_path / "elsewhere" / "renamed"
    moved.parent.mkdir()
    shutil.move(storage / "exp", moved)
    grid = tune.Tuner.restore(moved, fragile, resume_errored=True).fit()
    assert grid.experiment_path == str(moved)
    assert grid.num_terminated == 3
    assert all(Path(result.checkpoint.path).is_relative_to(moved) for result in grid)
    assert not (storage / "exp").exists()


# --- damage -----------------------------------------------------------------------------------------------------------


def notices(path: Path) -> list[str]:
    return [event.text for _, event in FileJournalReader(path).read() if isinstance(event, Noticed)]


def damage(directory: Path, number: int) -> Path:
    """Flip one bit of a checkpoint's file, its size unchanged."""
    file = directory / f"checkpoint_{number:06d}" / "step.json"
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]))
    return file


def test_a_damaged_checkpoint_is_passed_over_for_an_older_one(tuner: Start, storage: Path, switch: Path) -> None:
    first = tuner(fragile, space(switch)).fit()
    file = damage(Path(first[1].path), 1)
    switch.touch()
    grid = tune.Tuner.restore(storage / "exp", fragile, resume_errored=True).fit()
    assert grid.num_errors == 0
    assert list(grid[1].metrics_dataframe["step"]) == [1, 2, 3, 4]
    assert began_at(grid[1]) == [0, 1, 1, 1]
    assert any(str(file.name) in text or str(file.parent.name) in text for text in notices(storage / "exp"))


def test_no_whole_checkpoint_left_is_an_error_that_names_the_file(tuner: Start, storage: Path, switch: Path) -> None:
    first = tuner(fragile, space(switch)).fit()
    for number in (0, 1):
        damage(Path(first[1].path), number)
    switch.touch()
    grid = tune.Tuner.restore(storage / "exp", fragile, resume_errored=True).fit()
    assert grid.num_errors == 1
    assert "step.json" in str(grid.errors[0])
    assert grid[1].metrics_dataframe["step"][0] == 1  # what was reported is still there
    grid = tune.Tuner.restore(storage / "exp", fragile, restart_errored=True).fit()
    assert grid.num_errors == 0
    assert began_at(grid[1]) == [0, 0, 0, 0]


def test_a_checkpoint_that_is_gone_counts_as_damaged(tuner: Start, storage: Path, switch: Path) -> None:
    first = tuner(fragile, space(switch)).fit()
    shutil.rmtree(Path(first[1].path, "checkpoint_000001"))
    switch.touch()
    grid = tune.Tuner.restore(storage / "exp", fragile, resume_errored=True).fit()
    assert grid.num_errors == 0
    assert began_at(grid[1]) == [0, 1, 1, 1]


class EndsAfter(tune.Callback):
    """Ctrl-C once so many rows were reported."""

    def __init__(self, rows: int) -> None:
        self.left = rows

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGINT)


PLUGINS: dict[str, Callable[[], dict[str, Any]]] = {
    "first come": lambda: {"scheduler": tune.schedulers.FIFOScheduler()},
    "asha": lambda: {"scheduler": tune.schedulers.ASHAScheduler(max_t=9)},
    "resources": lambda: {
        "scheduler": tune.schedulers.ResourceChangingScheduler(tune.schedulers.ASHAScheduler(max_t=9))
    },
    "a population": lambda: {
        "scheduler": tune.schedulers.PopulationBasedTraining(
            "training_iteration", perturbation_interval=9, hyperparam_mutations={"lr": [0.1, 0.2]}
        )
    },
    "a model": lambda: {
        "scheduler": tune.schedulers.HyperBandForBOHB(max_t=9),
        "search_alg": tune.search.ConcurrencyLimiter(TuneBOHB(seed=1), max_concurrent=2),
    },
}


@pytest.mark.parametrize("name", PLUGINS)
def test_a_tuner_that_was_interrupted_goes_on_with_the_very_plugins_that_it_was_made_with(
    tuner: Start, name: str
) -> None:
    """They have taken over the metric of TuneConfig by then, and it is not taken for one of their own."""

    options = {"num_samples": 3, "metric": "step", "mode": "max", "stop": {"step": 3}, "executor": "inline"}
    made = tuner(count_up, {"lr": tune.uniform(0, 1)}, callbacks=[EndsAfter(4)], **options, **PLUGINS[name]())
    assert made.fit().interrupted
    results = made.fit()
    assert not results.interrupted
    assert {result.status for result in results} == {"TERMINATED"}
    assert len(results) == 3


class FailsOnce(tune.Callback):
    """Raises at the third row, the first time it comes."""

    def __init__(self) -> None:
        self.fails = True

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if result["training_iteration"] == 3 and self.fails:
            self.fails = False
            raise RuntimeError("the third row")


@pytest.mark.parametrize(
    "stop",
    [
        lambda: MaximumIterationStopper(5),
        lambda: [MaximumIterationStopper(5), NoopStopper()],
        lambda: CombinedStopper(MaximumIterationStopper(5)),
    ],
)
def test_plugins_that_an_error_interrupted_do_not_count_twice_what_they_are_told_again(
    tuner: Start, stop: Callable[[], Any]
) -> None:
    """No snapshot was taken by then, and the objects are the very same."""
    scheduler = tune.schedulers.ASHAScheduler("training_iteration", "step", "max", max_t=9, grace_period=1)
    plugins = {"scheduler": scheduler, "stop": stop(), "callbacks": [FailsOnce()]}
    with pytest.raises(RuntimeError, match="the third row"):
        tuner(count_up, {"lr": 1.0}, executor="inline", **plugins).fit()
    (result,) = tuner(count_up, {"lr": 1.0}, executor="inline", resume="auto", **plugins).fit()
    assert list(result.metrics_dataframe["training_iteration"]) == [1, 2, 3, 4, 5]
    restored = scheduler.get_state()
    other = tuner(count_up, {"lr": 1.0}, executor="inline", name="another", **plugins).fit()
    assert len(other[0].metrics_dataframe) == 5
    assert scheduler.get_state() == restored


class OutOfReach(tune.search.Searcher):
    """Asks a service that does not answer for as long as the file is not there; the first time it has no need to."""

    def __init__(self, switch: Path) -> None:
        super().__init__(metric="value", mode="min")
        self.switch = switch
        self.asked = 0

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self.asked += 1
        if self.asked > 1 and not self.switch.exists():
            raise ConnectionError("the service does not answer")
        return {"x": self.asked}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        pass


def run_once(config: dict[str, Any]) -> None:
    """Report without a checkpoint, so that a trial that runs again begins again."""
    tune.report({"value": config["x"], "run": uuid.uuid4().hex})


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_a_trial_that_has_ended_does_not_run_again_because_the_searcher_raised_then(
    tuner: Start, storage: Path, switch: Path, executor: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"search_alg": OutOfReach(switch), "num_samples": 2, "max_concurrent_trials": 1, "executor": executor}
    with pytest.raises(PluginError, match="the service does not answer"):
        tuner(run_once, {}, verbose=1, **options).fit()
    assert "INTERRUPTED" not in capsys.readouterr().out
    before = tune.Tuner.restore(storage / "exp", run_once).get_results()
    assert [result.status for result in before] == ["TERMINATED"]
    switch.touch()
    after = tune.Tuner.restore(storage / "exp", run_once).fit()
    assert [result.config["x"] for result in after] == [1, 2]
    assert attempts(after)[0] == attempts(before)[0]
