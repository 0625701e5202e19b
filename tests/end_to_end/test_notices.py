"""What a trial is told before it has to go, and what it is retried with."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from perdure import tune
from perdure.core.events import Noticed
from perdure.executors.local import LocalExecutor
from perdure.executors.triage import OutOfMemoryWatch
from perdure.journal.file import FileJournalReader
from tests.end_to_end.conftest import Start


def test_a_trial_can_see_that_its_time_is_up_and_save_before_it_goes(tuner: Start) -> None:
    def train(config: dict[str, Any]) -> None:
        began = time.monotonic()
        while not tune.should_stop():
            time.sleep(0.01)
            assert time.monotonic() - began < 30, "nobody told"
        with tune.checkpoint_dir() as path:
            Path(path, "state").write_text("saved")
            tune.report({"saw": tune.get_context().should_stop()}, checkpoint=tune.Checkpoint.from_directory(path))
        raise AssertionError("report() ends the trial")

    limits = tune.FailureConfig(max_trial_time_s=0.3)
    (result,) = tuner(train, failure_config=limits).fit()
    assert result.error is None
    assert result.metrics["saw"] is True
    assert result.checkpoint is not None


def test_nobody_is_told_outside_a_trial() -> None:
    assert tune.should_stop() is False


@pytest.mark.parametrize(
    "policy", [{"CPU": 2.0}, lambda resources: {**resources, "CPU": 2 * resources["CPU"]}], ids=["dict", "function"]
)
def test_a_trial_that_ran_out_of_memory_is_retried_with_other_resources(
    tuner: Start, monkeypatch: pytest.MonkeyPatch, policy: Any
) -> None:
    """The kernel's counter is played; the kill, the retry and the resources are real."""
    monkeypatch.setattr(OutOfMemoryWatch, "took_one", lambda self: True)

    def train(config: dict[str, Any]) -> None:
        resources = tune.get_context().get_trial_resources()
        assert resources is not None
        if resources["CPU"] < 2:
            os.kill(os.getpid(), signal.SIGKILL)
        tune.report({"cpus": resources["CPU"]})

    failures = tune.FailureConfig(max_failures=1, resources_after_oom=policy)
    (result,) = tuner(train, failure_config=failures, executor=LocalExecutor(cpus=2)).fit()
    assert result.metrics["cpus"] == 2


def test_a_trial_resumed_after_an_error_keeps_its_stoppers_count(tuner: Start, storage: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        checkpoint = tune.get_checkpoint()
        start = 0 if checkpoint is None else int(Path(checkpoint.path, "step").read_text())
        for step in range(start + 1, 20):
            if step == 4 and checkpoint is None:
                raise ValueError("once")
            with tune.checkpoint_dir() as path:
                Path(path, "step").write_text(str(step))
                tune.report({"step": step}, checkpoint=tune.Checkpoint.from_directory(path))

    from perdure.tune.stopper import MaximumIterationStopper

    assert tuner(train, stop=MaximumIterationStopper(6)).fit().num_errors == 1
    (result,) = tune.Tuner.restore(storage / "exp", train, resume_errored=True).fit()
    assert list(result.metrics_dataframe["step"]) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("attribute", "told"), [("accuracy", 1), ("loss", 0), ("training_iteration", 0), (None, 0)])
def test_a_checkpoint_that_cannot_be_ranked_is_told_of_once(tmp_path: Path, attribute: str | None, told: int) -> None:
    """Of two trials with two checkpoints each."""

    def train(config: dict[str, Any]) -> None:
        for step in range(2):
            with tune.checkpoint_dir() as path:
                Path(path, "state").write_text("saved")
                tune.report({"loss": step, "b": 1}, checkpoint=tune.Checkpoint.from_directory(path))

    keeps = tune.CheckpointConfig(num_to_keep=1, checkpoint_score_attribute=attribute)
    tune.Tuner(
        train,
        tune_config=tune.TuneConfig(num_samples=2),
        run_config=tune.RunConfig(
            name="exp", storage_path=str(tmp_path), executor="inline", verbose=0, checkpoint_config=keeps
        ),
    ).fit()
    events = [event for _, event in FileJournalReader(tmp_path / "exp").read()]
    notices = [event.text for event in events if isinstance(event, Noticed)]
    assert len(notices) == told
    if told:
        assert "checkpoint_score_attribute='accuracy'" in notices[0]
        assert "its row has: b, loss." in notices[0]
