"""Functions and classes as trainables: what they may do, and what they find when they go on."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from perdure import train, tune
from perdure.core.events import Action, Decision
from perdure.schedulers.base import Judgement
from perdure.tune.schedulers import TrialScheduler
from tests.end_to_end.conftest import Start


def count_up(config: dict[str, Any]) -> None:
    """Report steps 1 to 6 with a checkpoint each, going on from the latest one; stumble where the config says so."""
    latest = tune.get_checkpoint()
    first = json.loads(Path(latest.path, "state.json").read_text())["step"] if latest else 0
    for step in range(first + 1, 7):
        stumble(config, step)
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "state.json").write_text(json.dumps({"step": step}))
            checkpoint = tune.Checkpoint.from_directory(directory)
            tune.report({"step": step, "began_at": first}, checkpoint=checkpoint)


def stumble(config: dict[str, Any], step: int) -> None:
    """Fail once at the step that the config names."""
    if step != config.get("fail_at"):
        return
    marker = Path(tune.get_context().get_trial_dir(), "has_failed")
    if not marker.exists():
        marker.touch()
        if config.get("how") == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("stumbled")


def steps_of(result: tune.Result) -> list[tuple[int, int]]:
    frame = result.metrics_dataframe
    return list(zip(frame["step"], frame["began_at"], strict=True))


# --- get_checkpoint ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["raised", "killed"])
def test_a_retry_finds_the_latest_checkpoint(tuner: Start, how: str) -> None:
    grid = tuner(count_up, {"fail_at": 4, "how": how}, failure_config=tune.FailureConfig(max_failures=1)).fit()
    assert grid.num_errors == 0
    assert steps_of(grid[0]) == [(1, 0), (2, 0), (3, 0), (4, 3), (5, 3), (6, 3)]
    assert list(grid[0].metrics_dataframe["training_iteration"]) == [1, 2, 3, 4, 5, 6]


def test_a_restored_experiment_finds_the_latest_checkpoint(tuner: Start, storage: Path) -> None:
    grid = tuner(count_up, {"fail_at": 4}).fit()
    assert grid.num_errors == 1
    assert len(grid[0].metrics_dataframe) == 3
    grid = tune.Tuner.restore(storage / "exp", count_up, resume_errored=True).fit()
    assert steps_of(grid[0]) == [(1, 0), (2, 0), (3, 0), (4, 3), (5, 3), (6, 3)]


class PauseEachOnce(TrialScheduler):
    """Pauses every trial at its third step, and has them go on together when all have got there or are over."""

    def __init__(self, trials: int) -> None:
        super().__init__()
        self.trials = trials
        self.waiting: list[str] = []

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> Any:
        if result["step"] != 3:
            return self.CONTINUE
        self.waiting.append(trial.trial_id)
        return Judgement(self.PAUSE, self.wake_up())

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> Sequence[Action]:
        self.trials -= 1
        return self.wake_up()

    def wake_up(self) -> list[Action]:
        if len(self.waiting) < self.trials:
            return []
        woken, self.waiting = self.waiting, []
        return [Action(trial=trial, decision=Decision.CONTINUE, resume=True) for trial in woken]


def test_a_paused_trial_goes_on_from_its_checkpoint(tuner: Start) -> None:
    grid = tuner(count_up, num_samples=3, scheduler=PauseEachOnce(3)).fit()
    assert grid.num_terminated == 3
    for result in grid:
        assert steps_of(result) == [(1, 0), (2, 0), (3, 0), (4, 3), (5, 3), (6, 3)]


def test_a_trial_that_ends_can_wake_a_paused_one(tuner: Start) -> None:
    def some_end_early(config: dict[str, Any]) -> None:
        if config["short"]:
            tune.report({"step": 1, "began_at": 0})
        else:
            count_up(config)

    space = {"short": tune.grid_search([False, True])}
    grid = tuner(some_end_early, space, scheduler=PauseEachOnce(2), max_concurrent_trials=1).fit()
    assert grid.num_terminated == 2
    assert steps_of(grid[0]) == [(1, 0), (2, 0), (3, 0), (4, 3), (5, 3), (6, 3)]


class Counter(tune.Trainable):
    """Counts its steps; saves when it is told to."""

    def setup(self, config: dict[str, Any]) -> None:
        self.count = 0
        self.loaded_at = 0

    def step(self) -> dict[str, Any]:
        self.count += 1
        result = {"step": self.count, "began_at": self.loaded_at, "done": self.count >= 6}
        if self.count == self.config.get("save_at"):
            result["should_checkpoint"] = True
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "count").write_text(str(self.count))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.count = self.loaded_at = int(Path(checkpoint_dir, "count").read_text())


def test_a_paused_class_saves_before_and_goes_on_after(tuner: Start) -> None:
    config = tune.CheckpointConfig(checkpoint_at_end=False)
    grid = tuner(Counter, num_samples=2, scheduler=PauseEachOnce(2), checkpoint_config=config).fit()
    for result in grid:
        assert steps_of(result) == [(1, 0), (2, 0), (3, 0), (4, 3), (5, 3), (6, 3)]


# --- shapes of functions ----------------------------------------------------------------------------------------------


def test_a_generator_reports_what_it_yields(tuner: Start) -> None:
    def generate(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for step in range(3):
            yield {"step": step}

    assert list(tuner(generate).fit()[0].metrics_dataframe["step"]) == [0, 1, 2]


def test_a_returned_dict_is_the_last_row(tuner: Start) -> None:
    def returns(config: dict[str, Any]) -> dict[str, Any]:
        return {"score": config["a"] ** 2}

    grid = tuner(returns, {"a": tune.grid_search([1, 2, 3])}, metric="score", mode="max").fit()
    assert [result.metrics["score"] for result in grid] == [1, 4, 9]
    assert grid.get_best_result().config == {"a": 3}


def test_a_returned_number_is_the_metric(tuner: Start) -> None:
    def returns(config: dict[str, Any]) -> float:
        return 2.5

    assert tuner(returns).fit()[0].metrics["_metric"] == 2.5


def test_a_function_that_returns_nothing_and_reports_nothing_is_over(tuner: Start) -> None:
    grid = tuner(lambda config: None).fit()
    assert grid.num_terminated == 1
    assert grid[0].metrics == {}


def test_train_and_tune_are_one(tuner: Start) -> None:
    def spelled_the_other_way(config: dict[str, Any]) -> None:
        latest = train.get_checkpoint()
        assert latest is None
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "file").write_text(train.get_context().get_trial_id())
            checkpoint = train.Checkpoint.from_directory(directory)
            checkpoint.set_metadata({"kind": "tiny"})
            train.report({"step": 1}, checkpoint=checkpoint)
        assert tune.get_checkpoint().get_metadata() == {"kind": "tiny"}

    grid = tune.Tuner(
        spelled_the_other_way,
        run_config=train.RunConfig(
            name="other",
            verbose=0,
            checkpoint_config=train.CheckpointConfig(num_to_keep=1),
            failure_config=train.FailureConfig(max_failures=0),
        ),
    ).fit()
    assert grid.num_errors == 0, grid.errors
    with grid[0].checkpoint.as_directory() as directory:
        assert Path(directory, "file").read_text() == grid[0].metrics["trial_id"]


def test_the_context_knows_the_trial(tuner: Start, storage: Path) -> None:
    def asks(config: dict[str, Any]) -> None:
        context = tune.get_context()
        tune.report(
            {
                "experiment": context.get_experiment_name(),
                "id": context.get_trial_id(),
                "name": context.get_trial_name(),
                "directory": context.get_trial_dir(),
                "resources": dict(context.get_trial_resources()),
                "working_in": os.getcwd(),
                "size": context.get_world_size(),
            }
        )

    result = tuner(tune.with_resources(asks, {"cpu": 0.5})).fit()[0]
    assert result.metrics["experiment"] == "exp"
    assert result.metrics["id"] == result.metrics["trial_id"]
    assert result.metrics["name"] == f"asks_{result.metrics['id']}"
    assert result.metrics["directory"] == result.metrics["working_in"] == result.path
    assert result.metrics["resources"] == {"CPU": 0.5}
    assert result.metrics["size"] == 1


def test_large_parameters_are_shared(tuner: Start) -> None:
    np = pytest.importorskip("numpy")
    data = np.arange(1 << 20)

    def uses(config: dict[str, Any], data: Any, label: str) -> None:
        tune.report({"sum": int(data.sum()), "label": label})

    grid = tuner(tune.with_parameters(uses, data=data, label="big"), num_samples=2).fit()
    assert [result.metrics["sum"] for result in grid] == [int(data.sum())] * 2
    assert grid[0].metrics["label"] == "big"


def test_objects_in_the_config_arrive_as_they_are(tuner: Start) -> None:
    class Adam:
        pass

    class Momentum:
        pass

    def names_it(config: dict[str, Any]) -> None:
        tune.report({"name": config["optimizer"]["kind"].__name__})

    grid = tuner(names_it, {"optimizer": {"kind": tune.grid_search([Adam, Momentum])}}).fit()
    assert [result.metrics["name"] for result in grid] == ["Adam", "Momentum"]
    assert grid[0].config["optimizer"]["kind"].__name__ == "Adam"


# --- when a class saves -----------------------------------------------------------------------------------------------


def saved_counts(result: tune.Result) -> list[int]:
    return [int(path.read_text()) for path in sorted(Path(result.path).glob("checkpoint_*/count"))]


@pytest.mark.parametrize(
    ("fields", "config", "expected"),
    [
        ({}, {}, [6]),  # at the end, unless told otherwise
        ({"checkpoint_at_end": True}, {}, [6]),
        ({"checkpoint_at_end": False}, {}, []),
        ({"checkpoint_frequency": 2, "checkpoint_at_end": False}, {}, [2, 4, 6]),
        ({"checkpoint_frequency": 2, "checkpoint_at_end": True}, {}, [2, 4, 6]),  # not doubled
        ({"checkpoint_frequency": 4, "checkpoint_at_end": True}, {}, [4, 6]),
        ({"checkpoint_frequency": 4, "checkpoint_at_end": False}, {}, [4]),
        ({"checkpoint_at_end": False}, {"save_at": 2}, [2]),  # the result asked for it
        ({"checkpoint_at_end": True}, {"save_at": 6}, [6]),  # not doubled
        ({"checkpoint_frequency": 3, "checkpoint_at_end": True}, {"save_at": 3}, [3, 6]),  # not tripled
    ],
)
def test_a_class_saves_when_it_should(
    tuner: Start, fields: dict[str, Any], config: dict[str, Any], expected: list[int]
) -> None:
    result = tuner(Counter, config, checkpoint_config=tune.CheckpointConfig(**fields)).fit()[0]
    assert saved_counts(result) == expected
    names = [path.name for path in sorted(Path(result.path).glob("checkpoint_*"))]
    assert names == [f"checkpoint_{number:06d}" for number in range(len(expected))]


class SaveOnFifth(tune.Callback):
    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if result["step"] == 5:
            result["should_checkpoint"] = True


def test_a_callback_may_ask_for_a_checkpoint(tuner: Start) -> None:
    config = tune.CheckpointConfig(checkpoint_at_end=False)
    result = tuner(Counter, callbacks=[SaveOnFifth()], checkpoint_config=config).fit()[0]
    assert saved_counts(result) == [5]
    assert result.metrics["step"] == 6


def test_a_class_that_is_stopped_saves_at_the_end(tuner: Start) -> None:
    result = tuner(Counter, stop={"training_iteration": 4}).fit()[0]
    assert saved_counts(result) == [4]
    assert result.metrics["training_iteration"] == 4


def test_a_dict_is_a_checkpoint_too(tuner: Start, storage: Path) -> None:
    class Dicts(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.count = 0

        def step(self) -> dict[str, Any]:
            self.count += 1
            marker = Path(self.logdir, "failed")
            if self.count == 3 and not marker.exists():
                marker.touch()
                raise RuntimeError("once")
            return {"count": self.count, "done": self.count == 4}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
            return {"count": self.count}

        def load_checkpoint(self, checkpoint: Any) -> None:
            self.count = checkpoint["count"]

    config = tune.CheckpointConfig(checkpoint_frequency=1)
    result = tuner(Dicts, checkpoint_config=config, failure_config=tune.FailureConfig(max_failures=1)).fit()[0]
    assert list(result.metrics_dataframe["count"]) == [1, 2, 3, 4]


class Reusable(tune.Trainable):
    resets = True

    def setup(self, config: dict[str, Any]) -> None:
        self.set_up = getattr(self, "set_up", 0) + 1
        self.value = config["value"]
        self.was_reset = 0

    def step(self) -> dict[str, Any]:
        row = {"value": self.value, "process": os.getpid(), "was_reset": self.was_reset, "done": self.iteration >= 1}
        return {**row, "id": self.trial_id}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.value = new_config["value"]
        self.was_reset += 1
        return self.resets


class NotReusable(Reusable):
    resets = False


@pytest.mark.parametrize("trainable", [Reusable, NotReusable])
def test_processes_can_be_used_again(tuner: Start, trainable: Any) -> None:
    space = {"value": tune.grid_search([1, 2, 3, 4])}
    grid = tuner(trainable, space, reuse_actors=True, max_concurrent_trials=1).fit()
    assert [result.metrics["value"] for result in grid] == [1, 2, 3, 4]
    assert len({result.metrics["process"] for result in grid}) == 1
    assert [result.metrics["was_reset"] for result in grid] == ([0, 1, 2, 3] if trainable is Reusable else [0] * 4)
    assert all(result.metrics["id"] == result.metrics["trial_id"] for result in grid)
    assert all(list(result.metrics_dataframe["training_iteration"]) == [1, 2] for result in grid)


def test_cleanup_is_called_however_it_ends(tuner: Start) -> None:
    class Cleans(tune.Trainable):
        def step(self) -> dict[str, Any]:
            if self.config["bad"] and self.iteration == 1:
                raise RuntimeError("bad")
            return {"step": 1, "done": self.iteration == 2}

        def cleanup(self) -> None:
            Path(self.logdir, "cleaned").touch()

    grid = tuner(Cleans, {"bad": tune.grid_search([True, False])}).fit()
    assert [grid.num_errors, grid.num_terminated] == [1, 1]
    assert all(Path(result.path, "cleaned").exists() for result in grid)
