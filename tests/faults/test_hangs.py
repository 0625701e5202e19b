"""Trials that fall silent, or go on for too long, end with a name; those beside them do not notice."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from perdure import tune
from perdure.history import read_experiment
from perdure.trainable.messages import Ended, Report
from tests.end_to_end.conftest import Overslept

LIMIT_S = 1000


def sleeper(config: dict[str, Any]) -> None:
    """Hangs after its second row, the first time it gets there if it is to get over it; the other has steps to come."""
    marker = Path(config["marker"])
    for step in range(1, 5):
        if config["hangs"] and step == 3 and not marker.exists():
            marker.touch()
            time.sleep(600)
        while not config["hangs"] and step == 3 and not marker.exists():
            time.sleep(0.01)
        tune.report({"step": step})


def run(tmp_path: Path, failures: tune.FailureConfig, *, late_with: type) -> tune.ResultGrid:
    """Run both, so that the limit is over for the one that hangs with a message of the other."""
    return tune.Tuner(
        sleeper,
        param_space={"hangs": tune.grid_search([True, False]), "marker": str(tmp_path / "hung")},
        run_config=tune.RunConfig(
            name="hangs",
            storage_path=str(tmp_path),
            verbose=0,
            failure_config=failures,
            executor=Overslept(tmp_path / "hung", with_next=late_with),
        ),
    ).fit()


def test_a_trial_that_falls_silent_is_killed_and_named(tmp_path: Path) -> None:
    grid = run(tmp_path, tune.FailureConfig(report_timeout_s=LIMIT_S), late_with=Report)
    hung, fine = grid
    assert "report_timeout_s" in str(hung.error)
    assert hung.metrics["step"] == 2
    assert fine.error is None
    assert fine.metrics["step"] == 4


def test_a_trial_that_falls_silent_is_tried_again(tmp_path: Path) -> None:
    grid = run(tmp_path, tune.FailureConfig(report_timeout_s=LIMIT_S, max_failures=1), late_with=Report)
    assert grid.num_errors == 0
    assert [result.metrics["step"] for result in grid] == [4, 4]
    trials = list(read_experiment(tmp_path / "hangs").trials.values())
    assert [trial.failures for trial in trials] == [1, 0]


def test_a_trial_that_takes_too_long_is_stopped_and_has_not_failed(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("perdure.runner.TIME_UP_GRACE_S", 0.3)
    grid = run(tmp_path, tune.FailureConfig(max_trial_time_s=LIMIT_S), late_with=Ended)
    hung, fine = grid
    assert hung.metrics["step"] == 2
    assert hung.error is None
    assert (fine.error, fine.metrics["step"]) == (None, 4)
