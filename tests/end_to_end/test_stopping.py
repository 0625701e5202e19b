"""How an experiment is ended from outside its trials, and what a restore makes of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from perdure import tune
from perdure.errors import ResourceError
from perdure.executors.local import LocalExecutor
from tests.end_to_end.conftest import Hurried, Start


def reports_often(config: dict[str, Any]) -> None:
    for step in range(600):
        time.sleep(0.02)
        tune.report({"step": step})


def goes_silent(config: dict[str, Any]) -> None:
    tune.report({"step": 0})
    time.sleep(60)


def reports_once(config: dict[str, Any]) -> None:
    tune.report({"step": 0})


def test_a_time_budget_terminates_what_runs_and_what_waits(tuner: Start) -> None:
    executor = Hurried(trials=1)
    options = {"num_samples": 2, "max_concurrent_trials": 1, "executor": executor}
    results = tuner(reports_often, time_budget_s=1000, **options).fit()
    assert {result.status for result in results} == {"TERMINATED"}
    assert results[0].metrics["done"] is True


@pytest.mark.parametrize("how", ["budget", "interrupt"])
def test_a_trial_that_does_not_end_in_time_has_not_failed(
    tuner: Start, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("TUNE_FORCE_TRIAL_CLEANUP_S", "0.5")
    budget = {"time_budget_s": 1000, "executor": Hurried(trials=1)}  # it is used up with the first row
    options: dict[str, Any] = budget if how == "budget" else {"callbacks": [Interrupts()]}
    results = tuner(goes_silent, **options).fit()
    assert [result.status for result in results] == ["TERMINATED" if how == "budget" else "PENDING"]
    assert results.num_errors == 0


class Interrupts(tune.Callback):
    """Presses Ctrl-C with the first row."""

    done = False

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if not self.done:
            self.done = True
            os.kill(os.getpid(), signal.SIGINT)


class StopsAll(tune.Stopper):
    def __init__(self) -> None:
        self.seen = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.seen = True
        return True

    def stop_all(self) -> bool:
        return self.seen


def test_a_restore_of_what_a_stopper_ended_starts_nothing_new(tuner: Start, storage: Path) -> None:
    results = tuner(reports_once, stop=StopsAll(), num_samples=5, max_concurrent_trials=1).fit()
    assert len(results) == 1
    assert len(tune.Tuner.restore(storage / "exp", reports_once).fit()) == 1


def test_a_restore_with_less_than_a_trial_needs_is_refused(tuner: Start) -> None:
    trainable = tune.with_resources(reports_often, lambda config: {"cpu": 4})
    with_four = LocalExecutor(cpus=4)
    tuner(trainable, executor=with_four, callbacks=[Interrupts()]).fit()
    with pytest.raises(ResourceError, match=r"asks for 4 CPU, and this machine has 1 .*Restore the experiment where"):
        tuner(trainable, executor=LocalExecutor(cpus=1), resume="auto").fit()


@pytest.mark.parametrize("metric", ["training_iteration", "time_total_s", "inner/loss"])
def test_a_metric_may_be_a_filled_in_column_or_a_nested_one(tuner: Start, metric: str) -> None:
    def train(config: dict[str, Any]) -> None:
        tune.report({"inner": {"loss": 1.0}})

    assert tuner(train, metric=metric, mode="max").fit().num_terminated == 1


class CannotBeSaved(tune.Callback):
    """Has a state that cannot be pickled, and counts the turns of the loop."""

    begun = ended = 0

    def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
        CannotBeSaved.begun = iteration

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        CannotBeSaved.ended = iteration

    def get_state(self) -> dict[Any, Any]:
        return {"lock": threading.Lock()}


def test_a_callback_that_cannot_be_saved_ends_nothing_and_every_turn_is_told(
    tuner: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "0")
    assert tuner(reports_once, callbacks=[CannotBeSaved()]).fit().num_terminated == 1
    assert CannotBeSaved.begun == CannotBeSaved.ended > 1
    assert [record.levelname for record in caplog.records if "could not be saved" in record.message] == ["WARNING"]
